#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""A private PostgreSQL for a test program in C: tests/support/private_postgres.c talks to it.

Prints its connection string (superuser, unix socket) on one line, then obeys lines on stdin, each
answered by a line "done": kill (SIGKILL), pause (SIGSTOP, as a hung machine), resume, start. Ends
the server at the end of stdin, whatever happens to the test program.
"""

import os
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..", "infra", "local"))
import servers  # noqa: E402


def main():
    folder = servers.private_folder()
    if "LATIDO_PRISTINE" in os.environ:  # tests/run.py: there is one to copy
        servers.Postgres.keep_pristine()
    with servers.Postgres(folder, tcp=True, password="secret") as postgres:
        print(postgres.dsn, flush=True)
        print(postgres.tcp_dsn, flush=True)
        for line in sys.stdin:
            getattr(postgres, line.strip())()
            print("done", flush=True)
    servers.remove_folder(folder)


if __name__ == "__main__":
    main()
