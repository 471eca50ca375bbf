# SPDX-License-Identifier: MIT
"""Debian's kernel source built with what finds wrong memory use, locking and leaks. Once, into build/kmod."""

import glob
import os
import re
import shutil
import subprocess
import sys

from emulator import BUILD, EmulatorError

CONFIG = os.path.join(os.path.dirname(os.path.abspath(__file__)), "debug.config")
MUST = ("CONFIG_KASAN_GENERIC=y", "CONFIG_PROVE_LOCKING=y", "CONFIG_DEBUG_KMEMLEAK=y", "CONFIG_MODULE_UNLOAD=y",
        "CONFIG_BUG=y", "CONFIG_SMP=y", "CONFIG_VIRTIO_NET=y")


def source():
    found = sorted(glob.glob("/usr/src/linux-source-*.tar.xz"))
    if not found:
        raise EmulatorError("no /usr/src/linux-source-*.tar.xz: apt-get install linux-source (make test-kmod-debug does)")
    return found[-1]


def prepare():
    """Path of the bzImage and of the tree to build modules against."""
    archive = source()
    name = re.search(r"(linux-source-[\d.]+)\.tar", archive).group(1)
    tree, output = os.path.join(BUILD, name), os.path.join(BUILD, name + "-debug")
    image = os.path.join(output, "arch", "x86", "boot", "bzImage")
    stamp = os.path.join(output, "complete")
    version = f"{os.path.getsize(archive)} {os.path.getmtime(archive)}\n" + open(CONFIG, encoding="ascii").read()
    if os.path.exists(stamp) and open(stamp, encoding="ascii").read() == version:
        return image, output
    for folder in (tree, output):
        shutil.rmtree(folder, ignore_errors=True)
    os.makedirs(output)
    run(["tar", "-x", "-C", BUILD, "-f", archive])
    make = ["make", "-C", tree, f"O={output}", f"-j{os.cpu_count() or 2}", "KBUILD_BUILD_USER=test",
            "KBUILD_BUILD_HOST=test"]
    run([*make, f"KCONFIG_ALLCONFIG={CONFIG}", "allnoconfig"])
    with open(os.path.join(output, ".config"), encoding="ascii") as f:
        lines = set(f.read().splitlines())
    missing = [m for m in MUST if m not in lines]
    if missing:
        raise EmulatorError(f"{CONFIG} does not give {', '.join(missing)}")
    run([*make, "bzImage", "modules"])
    with open(stamp, "w", encoding="ascii") as f:
        f.write(version)
    return image, output


def run(command):
    log = os.path.join(BUILD, "debug-kernel.log")
    print("+ " + " ".join(command), file=sys.stderr, flush=True)
    with open(log, "ab") as f:
        if subprocess.run(command, stdout=f, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL, check=False).returncode:
            with open(log, encoding="utf-8", errors="replace") as shown:
                raise EmulatorError(f"{' '.join(command)} failed:\n{shown.read()[-3000:]}")


if __name__ == "__main__":
    print(*prepare())
