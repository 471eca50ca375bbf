#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""Private Mosquitto, Redis and PostgreSQL servers in a folder of the caller.

For tests and for `make demo`: own processes on free loopback ports or unix sockets, own data,
nothing of the system's instances is touched. Only the standard library is used.

    with Mosquitto(folder) as broker, Redis(folder) as redis, Postgres(folder) as pg:
        ... broker.url, redis.url, pg.dsn ...
        broker.kill()       # SIGKILL
        broker.restart()    # the same port, the same data; empty=True forgets the data

As a program it runs all three until Ctrl-C and prints how to reach them:

    infra/local/servers.py FOLDER

start() returns when the server answers its own protocol, or raises ServerError with the end of the
server's log. Whatever happens to the calling process, guard.py ends the servers with it.
"""

import signal
import sys

from server_base import (HOST, ServerError, find_program, free_port, guard_process, private_folder,
                         remove_folder, unguard_process, wait_until)
from server_mosquitto import Mosquitto
from server_postgres import Postgres
from server_prometheus import Prometheus
from server_redis import Redis, RedisConnection

__all__ = ["HOST", "Mosquitto", "Postgres", "Prometheus", "Redis", "RedisConnection", "ServerError", "find_program",
           "free_port", "guard_process", "private_folder", "remove_folder", "unguard_process", "wait_until"]


def main():
    if len(sys.argv) != 2 or sys.argv[1].startswith("-"):
        print(f"usage: {sys.argv[0]} FOLDER\nruns a private Mosquitto, Redis and PostgreSQL until Ctrl-C",
              file=sys.stderr)
        return 2
    for signum in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(signum, lambda *_: sys.exit(0))
    try:
        with Mosquitto(sys.argv[1], persistence=True) as broker, Redis(sys.argv[1]) as redis, \
                Postgres(sys.argv[1], fsync=True) as postgres:
            print(f"bus.url: {broker.url}\nredis.url: {redis.url}\npostgres.dsn: {postgres.dsn}", flush=True)
            signal.pause()
    except ServerError as e:
        print(f"{sys.argv[0]}: {e}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        pass
    return 0


if __name__ == "__main__":
    sys.exit(main())
