#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""What a read of /proc/latido costs beside reading and parsing what it replaces, in the emulated test machine."""

import os
import sys

import bench
from bench import ROOT

sys.path.insert(0, os.path.join(ROOT, "tests", "kmod"))

import emulator  # noqa: E402


# What says the same: file under /proc -> case.
SAME = {"latido/cpu": "processors", "stat": "processors", "latido/ram": "memory", "meminfo": "memory",
        "latido/procs": "processes", "latido/tasks": "processes", "PID/stat": "processes"}


def main():
    b = bench.Bench("kmod", __doc__, rounds=1)
    folder, kdir = emulator.prepare_kernel()
    archive = emulator.make_archive(emulator.build_guest(), emulator.build_modules(kdir))
    for number in range(1, b.rounds + 1):
        with bench.Folder() as work:
            result = emulator.boot(work, os.path.join(folder, "kernel"), archive, environment={"LT_BENCH": "1"})
        if not result.done or result.failed:
            print(result.console[-4000:], result.failed, result.emulator, file=sys.stderr)
            return 1
        for line in result.bench:
            ns, what = line.split(" ", 1)
            subject = "/proc/latido/" in what
            b.result("kmod", f"{SAME[what.split('/', 2)[2]]}; emulated machine, 2 processors, 500 processes", what,
                     "ns/read", int(ns), number, "subject" if subject else "peer")
    return 0


if __name__ == "__main__":
    sys.exit(main())
