# SPDX-License-Identifier: MIT
"""A machine under software emulation that runs Debian's kernel, our modules and a first process of ours.

Everything is made here, as an ordinary user and without /dev/kvm: the kernel package is downloaded
and unpacked (never installed), its kernel is taken out of its compressed image, the modules are
built against the headers of the same version, and the initramfs is written byte by byte. What can
be used again stays in build/kmod.
"""

import glob
import gzip
import lzma
import os
import re
import shutil
import struct
import subprocess
import time

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
BUILD = os.path.join(ROOT, "build", "kmod")
MODULES = ("latido", "latido_cpu", "latido_ram", "latido_procs")
NETWORK = "virtio_pci", "virtio_net"
HEADERS = "linux-headers-amd64"
BOOT_SECONDS = 900  # a hang; a quiet machine needs half a minute
QEMU = "qemu-system-x86_64"


class EmulatorError(Exception):
    """What is missing, and the remedy."""


def run(command, **kwargs):
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, **kwargs)
    if done.returncode:
        raise EmulatorError(f"{' '.join(command)}: exit code {done.returncode}\n{done.stdout[-4000:]}")
    return done.stdout


# ---- the kernel ----


def find_abi():
    """Version of the installed headers, such as 6.1.0-56-amd64; KDIR names others.

    Not that of the running kernel: a container has another, and headers may be newer.
    """
    if os.environ.get("KDIR"):
        with open(os.path.join(os.environ["KDIR"], "include", "config", "kernel.release"), encoding="ascii") as f:
            return f.read().strip(), os.environ["KDIR"]
    depends = subprocess.run(["dpkg-query", "-W", "-f", "${Depends}", HEADERS], capture_output=True, text=True,
                             check=False).stdout
    match = re.search(r"linux-headers-([0-9][\w.+-]*)", depends)
    if not match:
        raise EmulatorError(f"the Debian package {HEADERS} is not installed: make deps")
    abi = match.group(1)
    folder = f"/usr/src/linux-headers-{abi}"
    if not os.path.isdir(folder):
        raise EmulatorError(f"{HEADERS} names {folder}, which is not there: apt-get install --reinstall {HEADERS}")
    return abi, folder


def download(package, folder):
    """Path of the .deb. With package lists of our own where the system's are old or none."""
    own = os.path.join(folder, "apt")
    options = []
    for attempt in range(2):
        if attempt:
            for name in ("state/lists/partial", "cache/archives/partial"):
                os.makedirs(os.path.join(own, name), exist_ok=True)
            options = ["-o", f"Dir::State={own}/state", "-o", f"Dir::Cache={own}/cache",
                       "-o", "Dir::State::status=/var/lib/dpkg/status", "-o", "APT::Sandbox::User="]
            run(["apt-get", *options, "-q", "update"])
        done = subprocess.run(["apt-get", *options, "-q", "download", package], cwd=folder, stdout=subprocess.PIPE,
                              stderr=subprocess.STDOUT, text=True, check=False)
        found = glob.glob(os.path.join(folder, f"{package}_*.deb"))
        if done.returncode == 0 and found:
            return max(found, key=os.path.getmtime)
    raise EmulatorError(f"{package} cannot be downloaded; when the headers are older than what the mirror has: "
                        f"apt-get update && apt-get install {HEADERS}\n{done.stdout}")


def vmlinux(bzimage):
    """The kernel proper: by its PVH entry it starts in half the time that unpacking it there takes.

    Documentation/x86/boot.rst, payload_offset and payload_length; xz of Debian's own image.
    """
    with open(bzimage, "rb") as f:
        image = f.read()
    setup = (image[0x1f1] + 1) * 512
    offset, length = struct.unpack_from("<II", image, 0x248)
    payload = image[setup + offset:setup + offset + length]
    if not payload.startswith(b"\xfd7zXZ"):
        return None
    return lzma.LZMADecompressor(format=lzma.FORMAT_XZ).decompress(payload)


def prepare_kernel():
    """A folder with the kernel and the modules of the package, and the headers' folder."""
    abi, kdir = find_abi()
    folder = os.path.join(BUILD, abi)
    if not os.path.exists(os.path.join(folder, "complete")):
        shutil.rmtree(folder, ignore_errors=True)
        os.makedirs(folder)
        deb = download(f"linux-image-{abi}", folder)
        with subprocess.Popen(["dpkg-deb", "--fsys-tarfile", deb], stdout=subprocess.PIPE) as tar:
            run(["tar", "-x", "-C", folder, "--wildcards", f"./boot/vmlinuz-{abi}",
                 "./lib/modules/*/kernel/drivers/virtio/*", "./lib/modules/*/kernel/drivers/net/virtio_net.ko",
                 "./lib/modules/*/kernel/drivers/net/net_failover.ko", "./lib/modules/*/kernel/net/core/failover.ko"],
                stdin=tar.stdout)
        os.remove(deb)
        image = os.path.join(folder, "boot", f"vmlinuz-{abi}")
        kernel = vmlinux(image)
        with open(os.path.join(folder, "kernel"), "wb") as f:
            if kernel:
                f.write(kernel)
            else:
                with open(image, "rb") as compressed:
                    f.write(compressed.read())
        with open(os.path.join(folder, "complete"), "w", encoding="ascii") as f:
            f.write(abi + "\n")
    return folder, kdir


def module_files(folder, names):
    """The .ko files of the package, each behind those that it needs."""
    have = {os.path.basename(p)[:-3].replace("-", "_"): p
            for p in glob.glob(os.path.join(folder, "lib", "modules", "**", "*.ko"), recursive=True)}
    order = []

    def add(name):
        if name in order:
            return
        if name not in have:
            raise EmulatorError(f"the kernel's module {name} was not unpacked into {folder}")
        for need in run(["/sbin/modinfo", "-F", "depends", have[name]]).strip().split(","):
            if need:
                add(need.replace("-", "_"))
        order.append(name)

    for name in names:
        add(name)
    return [(name, have[name]) for name in order]


def build_modules(kdir, *args):
    """The modules' folder."""
    run(["make", "--no-print-directory", "-C", ROOT, "kmod", f"KDIR={kdir}", "WERROR=1", *args])
    return run(["make", "--no-print-directory", "-s", "-C", ROOT, "kmod-folder", f"KDIR={kdir}"]).strip()


# ---- the initramfs ----


class Archive:
    """cpio, "newc" (Documentation/driver-api/early-userspace/buffer-format.rst), gzipped."""

    def __init__(self):
        self.data = bytearray()
        self.names = set()
        self.device("dev/console", 5, 1)

    def entry(self, name, mode, content=b"", rmajor=0, rminor=0):
        parent = os.path.dirname(name)
        if parent and parent not in self.names:
            self.entry(parent, 0o40755)
        if name in self.names:
            return
        self.names.add(name)
        raw = name.encode() + b"\0"
        fields = (len(self.names), mode, 0, 0, 1, 0, len(content), 0, 0, rmajor, rminor, len(raw), 0)
        self.data += b"070701" + b"".join(b"%08X" % f for f in fields) + raw
        self.data += b"\0" * (-len(self.data) % 4)
        self.data += content
        self.data += b"\0" * (-len(self.data) % 4)

    def device(self, name, major, minor):
        self.entry(name, 0o20600, rmajor=major, rminor=minor)

    def file(self, name, path, mode=0o100644):
        with open(path, "rb") as f:
            self.entry(name, mode, f.read())

    def program(self, name, path):
        """A program and the libraries that it needs, at their own paths."""
        self.file(name, path, 0o100755)
        for line in run(["ldd", path]).splitlines():
            match = re.search(r"(/\S+) \(0x", line)
            if match:
                self.file(match.group(1).lstrip("/"), os.path.realpath(match.group(1)), 0o100755)

    def write(self, path):
        trailer = Archive.__new__(Archive)
        trailer.data, trailer.names = bytearray(), set()
        trailer.entry("TRAILER!!!", 0)
        with gzip.open(path, "wb", compresslevel=1) as f:
            f.write(self.data + trailer.data)


# ---- a boot ----


class Result:
    """What the guest has said: checks, files, notes, and whether it came to its end."""

    def __init__(self, raw, console):
        self.passed, self.failed, self.notes, self.bench, self.pids, self.files = [], [], [], [], {}, {}
        self.done, self.up, self.console = None, raw.startswith(b"guest is up"), console
        at = 0
        while at < len(raw):
            end = raw.find(b"\n", at)
            if end < 0:
                break
            line = raw[at:end].decode("utf-8", "replace").rstrip("\r")
            at = end + 1
            word, _, rest = line.partition(" ")
            if word == "FILE":
                name, size = rest.rsplit(" ", 1)
                self.files[name] = raw[at:at + int(size)]
                at += int(size) + 1
            elif word == "ok":
                self.passed.append(rest)
            elif word in ("FAIL", "DIED"):
                self.failed.append(line)
            elif word == "NOTE":
                self.notes.append(rest)
            elif word == "BENCH":
                self.bench.append(rest)
            elif word == "PID":
                name, pid = rest.split()
                self.pids[name] = int(pid)
            elif word == "DONE":
                self.done = tuple(int(n) for n in rest.split())

    def text(self, name):
        return self.files[name].decode("utf-8")


def boot(folder, kernel, archive, **options):
    """boot_once(), again when the kernel did not come as far as our first process: nothing of ours ran.

    On a host that is very busy an emulated machine now and then finds its timers broken.
    """
    for _ in range(3):
        result = boot_once(folder, kernel, archive, **options)
        if result.up:
            break
    return result


def boot_once(folder, kernel, archive, network=False, memory=384, parameters=(), environment=None,
              seconds=BOOT_SECONDS):
    """Boots, waits until the machine has powered itself off, and reads what it said.

    The emulator exits 0 whatever happened; Result.done is the guest's own last line.
    """
    if not shutil.which(QEMU):
        raise EmulatorError(f"{QEMU} is not installed: it is in the Debian package qemu-system-x86 (make deps)")
    initrd, console, results = (os.path.join(folder, n) for n in ("initramfs.gz", "console.log", "results"))
    archive.write(initrd)
    for path in (console, results):
        with open(path, "wb"):
            pass
    # What the kernel does not know it gives to the first process as its environment.
    words = ["console=ttyS0", "loglevel=6", "panic=-1", "oops=panic", "panic_on_warn=1", "net.ifnames=0",
             "no_timer_check",  # the emulated timer is late on a host that is busy
             *parameters, *(f"{k}={v}" for k, v in (environment or {}).items())]
    command = [QEMU, "-M", "q35", "-accel", "tcg,thread=multi", "-cpu", "max", "-smp", "2", "-m", str(memory),
               "-nodefaults", "-no-user-config", "-display", "none", "-no-reboot",
               "-serial", f"file:{console}", "-serial", f"file:{results}",
               "-kernel", kernel, "-initrd", initrd, "-append", " ".join(words)]
    if network:
        command += ["-netdev", "user,id=n0,ipv6=off", "-device", "virtio-net-pci,netdev=n0,romfile="]
    started = time.monotonic()
    with subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                          stderr=subprocess.STDOUT) as process:
        try:
            said, _ = process.communicate(timeout=seconds)
        except subprocess.TimeoutExpired:
            process.kill()
            said, _ = process.communicate()
            said += f"\nended after {seconds} s".encode()
        except BaseException:
            process.kill()
            raise
    with open(results, "rb") as f:
        raw = f.read()
    with open(console, encoding="utf-8", errors="replace") as f:
        log = f.read()
    result = Result(raw, log)
    result.emulator, result.seconds = said.decode(errors="replace"), time.monotonic() - started
    return result


def build_guest():
    """Our first process, linked statically."""
    run(["make", "--no-print-directory", "-C", ROOT, "WERROR=1", "kmod-guest"])
    return os.path.join(BUILD, "guest", "init")


def make_archive(guest, modules, network_modules=(), agent=None):
    """agent: (program, {name: text of a file})."""
    archive = Archive()
    archive.file("init", guest, 0o100755)
    for name in MODULES:
        archive.file(f"mod/{name}.ko", os.path.join(modules, "stripped", f"{name}.ko"))
    for name, path in network_modules:
        archive.file(f"mod/{name}.ko", path)
    archive.entry("mod/net.order", 0o100644, "".join(f"{n}\n" for n, _ in network_modules).encode())
    if agent:
        archive.program("agent/latido-agent", agent[0])
        for name, text in agent[1].items():
            archive.entry(f"agent/{name}", 0o100644, text.encode())
    return archive
