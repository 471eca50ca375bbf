#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""Boots the test machine and prints what reading costs there, in one run."""

import os
import sys
import tempfile

import emulator


def main():
    folder, kdir = emulator.prepare_kernel()
    archive = emulator.make_archive(emulator.build_guest(), emulator.build_modules(kdir))
    with tempfile.TemporaryDirectory(prefix="latido-kmod-") as work:
        result = emulator.boot(work, os.path.join(folder, "kernel"), archive, environment={"LT_BENCH": "1"})
    if not result.done or result.failed:
        print(result.console[-4000:], result.failed, result.emulator, file=sys.stderr)
        return 1
    print("== kmod, emulated machine, 2 CPUs, 500 processes; nanoseconds each")
    for line in result.bench:
        ns, what = line.split(" ", 1)
        print(f"{int(ns):>12,}  {what}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
