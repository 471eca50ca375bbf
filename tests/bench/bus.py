#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""Starts a broker for bus_bench.c and runs it."""

import os
import subprocess
import sys

import bench
import servers


def main():
    bench.end_by_exit()
    with bench.Folder() as folder, servers.Mosquitto(folder) as broker:
        program = os.path.join(os.path.dirname(bench.BIN), "bench", "bus_bench")
        return subprocess.run([program, *sys.argv[1:]], env={**os.environ, "BENCH_BUS_URL": broker.url},
                              check=False).returncode


if __name__ == "__main__":
    sys.exit(main())
