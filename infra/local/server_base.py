# SPDX-License-Identifier: MIT
"""What private servers of any kind have in common: see servers.py, which is what others import."""

import atexit
import fcntl
import glob
import os
import random
import shutil
import signal
import socket
import stat
import struct
import subprocess
import sys
import tempfile
import time

import guard

HOST = "127.0.0.1"
START_SECONDS = 60
STOP_SECONDS = 60
# Also where daemons are that an ordinary user's PATH does not name.
SEARCH_PATH = os.environ.get("PATH", "") + ":/usr/local/sbin:/usr/sbin:/sbin:/usr/bin:/bin"


class ServerError(Exception):
    """A server did not start, stop or answer; the message ends with the tail of its log."""


def find_program(name, package):
    """Path of a program; says which Debian package has it when it is missing."""
    if name in ("postgres", "initdb", "psql", "createdb"):
        found = sorted(glob.glob(f"/usr/lib/postgresql/*/bin/{name}"), key=lambda p: int(p.split("/")[4]))
        if found:
            return found[-1]
    path = shutil.which(name, path=SEARCH_PATH)
    if not path:
        raise ServerError(f"{name} is not installed: it is in the Debian package {package} (make deps)")
    return path


class Guard:
    """One guard.py for this process; started when the first thing is listed."""

    def __init__(self):
        self.process = None

    def tell(self, line):
        if self.process is None:
            self.process = subprocess.Popen(
                [sys.executable, os.path.abspath(guard.__file__)],
                stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
                start_new_session=True, text=True, bufsize=1)
            atexit.register(self.close)
        self.process.stdin.write(line + "\n")
        self.process.stdin.flush()

    def close(self):
        """Ends the guard: what is still listed goes now."""
        if self.process is not None:
            _ports.close()
            self.process.stdin.close()
            self.process.wait()
            self.process = None


_guard = Guard()


def guard_process(pid):
    """From now on the process ends with this one, at the latest."""
    start = guard.start_time(pid)
    if start is not None:
        _guard.tell(f"+pid {pid} {start}")


def unguard_process(pid):
    _guard.tell(f"-pid {pid}")


def guard_segment(postmaster_pid_file):
    """From now on the SysV segment that the file names goes with this process, at the latest."""
    _guard.tell(f"+shm {postmaster_pid_file}")


def guard_locks(path):
    """From now on the file of locks goes when nobody uses it after this process."""
    _guard.tell(f"+locks {path}")


def private_folder(prefix="latido-", parent=None):
    """A new folder (mode 0700) that is removed when this process ends, at the latest."""
    path = tempfile.mkdtemp(prefix=prefix, dir=parent)
    _guard.tell(f"+dir {path}")
    return path


def remove_folder(path):
    shutil.rmtree(path, ignore_errors=True)
    _guard.tell(f"-dir {path}")


def port_is_free(port):
    with socket.socket() as s:
        s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            s.bind((HOST, port))
        except OSError:
            return False
    return True


class Ports:
    """Which TCP ports the test processes of this user have chosen, so that no two choose the same.

    Looking whether a port is free is not enough: it is between a choice and the bind, and while a
    server is down on purpose. So each process that chooses a port locks the byte of that number in
    one file of this user; the kernel gives the locks back when the process ends, in whatever way.
    The last one to end removes the file. Where there can be no such file, choosing goes on without.
    """

    def __init__(self, path=None):
        self.path = path or os.path.join(tempfile.gettempdir(), f"latido-ports-{os.geteuid()}")
        self.ours = set()
        self.fd = None

    def open(self):
        """Descriptor of the file, or None. It stays open: closing it would give all locks back."""
        if self.fd is not None:
            return self.fd
        try:
            fd = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
        except OSError:
            return None
        status = os.fstat(fd)
        if not stat.S_ISREG(status.st_mode) or status.st_uid != os.geteuid():
            os.close(fd)
            return None
        guard_locks(self.path)
        self.fd = fd
        return fd

    def close(self):
        if self.fd is not None:
            os.close(self.fd)
            self.fd = None

    def take(self, port):
        """True when the port is ours from now on; False when it is somebody's (or ours) already."""
        if port in self.ours:
            return False
        while (fd := self.open()) is not None:
            try:
                fcntl.lockf(fd, fcntl.LOCK_EX | fcntl.LOCK_NB, 1, port)
            except (BlockingIOError, PermissionError):
                return False
            except OSError:
                break  # a file system without locks
            if os.fstat(fd).st_nlink:
                break
            self.close()  # removed by somebody who ended before we had a lock in it
        self.ours.add(port)
        return True


_ports = Ports()


def free_port():
    """A TCP port on the loopback that nothing uses, kept for this process as long as it lives.

    Below the ephemeral range: while a server is down during a restart, no outgoing connection can
    be given its port. Nor does another process that asks this function get it (see Ports).
    """
    with open("/proc/sys/net/ipv4/ip_local_port_range", encoding="ascii") as f:
        top = max(int(f.read().split()[0]), 20000)
    for _ in range(500):
        port = random.randrange(10000, top)
        if port_is_free(port) and _ports.take(port):
            return port
    raise ServerError("no free TCP port on 127.0.0.1 found in 500 tries")


def wait_until(condition, seconds, what):
    """Poll until condition() is true and return its value; TimeoutError after the deadline."""
    deadline = time.monotonic() + seconds
    pause = 0.002
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() >= deadline:
            raise TimeoutError(f"not within {seconds} s: {what}")
        time.sleep(pause)
        pause = min(pause * 1.5, 0.1)


def wait_gone(processes, seconds):
    """Wait until none of the (pid, start time) pairs lives; True if so."""
    try:
        wait_until(lambda: all(guard.start_time(pid) != start for pid, start in processes),
                   seconds, "processes gone")
    except TimeoutError:
        return False
    return True


def short_folder(folder, longest_name):
    """The folder itself, or a new one under /tmp where a unix socket's path would be too long."""
    if len(os.path.join(os.path.abspath(folder), longest_name).encode()) < 108:
        return os.path.abspath(folder)
    return private_folder("latido-", "/tmp")


class Server:
    """What the three have in common; one process tree, one folder, one log file."""

    name = "server"
    stop_signal = signal.SIGTERM
    stop_codes = (0,)

    def __init__(self, folder):
        self.folder = os.path.join(os.path.abspath(folder), self.name)
        os.makedirs(self.folder, exist_ok=True)
        self.log = os.path.join(self.folder, "log")
        self.port = 0
        self.port_is_ours = True  # chosen by us: another one will do when it is taken
        self.process = None

    # What a subclass provides.

    def prepare(self):
        """Write the configuration and create the data where there is none."""

    def command(self):
        """The command line as a list."""
        raise NotImplementedError

    def answers(self):
        """Speak the protocol once; True when the server is ready for clients."""
        raise NotImplementedError

    def forget(self):
        """Remove the data; the server is not running."""

    # The life of a server.

    def __enter__(self):
        self.start()
        return self

    def __exit__(self, *_):
        self.close()

    @property
    def pid(self):
        return self.process.pid if self.process else None

    def running(self):
        """True while the process lives (also while it is paused)."""
        return self.process is not None and self.process.poll() is None

    def start(self):
        """Start and wait until it answers; a chosen port that was taken meanwhile is replaced."""
        if self.running():
            raise ServerError(f"{self.name} is running already")
        for attempt in range(5):
            if not self.port:
                self.port = free_port()
            if not self.port_is_ours and not port_is_free(self.port):
                raise ServerError(f"{self.name}: port {self.port} on {HOST} is in use by another program")
            log_size = os.path.getsize(self.log) if os.path.exists(self.log) else 0
            try:
                self._start_once()
                self.port_is_ours = False  # clients know it by now: a restart keeps it
                return self
            except ServerError:
                if not self.port_is_ours or attempt == 4 or not self._port_was_taken(log_size):
                    raise
                self.choose_again()
        return self

    def choose_again(self):
        """Another program was faster to take a port that we had chosen."""
        self.port = 0

    def _start_once(self):
        self.spawn()
        self.wait_ready()

    def spawn(self):
        """Start the process without waiting; wait_ready() has to follow."""
        self.prepare()
        with open(self.log, "ab") as log:
            self.process = subprocess.Popen(self.command(), stdin=subprocess.DEVNULL, stdout=log,
                                            stderr=log, cwd=self.folder, start_new_session=True)
        guard_process(self.process.pid)

    def wait_ready(self):
        """Wait until it answers; ServerError, and it is killed, when it does not."""
        def ready():
            if self.process.poll() is not None:
                raise ServerError(f"{self.name} ended with code {self.process.returncode} while starting; "
                                  f"its log ends:\n{self.log_tail()}")
            try:
                return self.answers()
            except (OSError, EOFError, struct.error):
                return False

        try:
            wait_until(ready, START_SECONDS, f"{self.name} answers")
        except (TimeoutError, ServerError) as e:
            self.kill()
            if isinstance(e, ServerError):
                raise
            raise ServerError(f"{self.name} did not answer within {START_SECONDS} s; its log ends:\n"
                              f"{self.log_tail()}") from None

    def _port_was_taken(self, log_size):
        with open(self.log, "rb") as f:
            f.seek(log_size)
            return b"already in use" in f.read()

    def tree(self):
        """(pid, start time) of the process and all its descendants."""
        if not self.running():
            return []
        pids = [self.process.pid] + guard.descendants(self.process.pid)
        return [(pid, start) for pid in pids if (start := guard.start_time(pid)) is not None]

    def kill(self, children=True):
        """SIGKILL. children=False: only the main process; returns when that one is gone."""
        if self.process is None:
            return
        tree = self.tree()
        if self.running():
            self.process.kill()
        self.process.wait()
        unguard_process(self.process.pid)
        self.process = None
        left = [pid for pid, start in tree if guard.start_time(pid) == start]
        guard.send(left, signal.SIGKILL if children else signal.SIGCONT)
        if children:
            if not wait_gone(tree, STOP_SECONDS):
                raise ServerError(f"processes of {self.name} survived SIGKILL: {tree}")

    def stop(self):
        """Regular shutdown; ServerError when it does not end or ends with an error."""
        if self.process is None:
            return
        tree = self.tree()
        if self.running():
            self.resume()
            self.process.send_signal(self.stop_signal)
        try:
            code = self.process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self.kill()
            raise ServerError(f"{self.name} did not stop within {STOP_SECONDS} s; its log ends:\n"
                              f"{self.log_tail()}") from None
        unguard_process(self.process.pid)
        self.process = None
        wait_gone(tree, STOP_SECONDS)
        if code not in self.stop_codes:
            raise ServerError(f"{self.name} stopped with code {code}; its log ends:\n{self.log_tail()}")

    def restart(self, empty=False):
        """Stop (if it runs) and start on the same port; empty=True: as if newly installed."""
        self.stop()
        if empty:
            self.forget()
        return self.start()

    def pause(self):
        """SIGSTOP for the whole tree: connections stay open and nothing answers."""
        os.kill(self.process.pid, signal.SIGSTOP)
        guard.send(guard.descendants(self.process.pid), signal.SIGSTOP)

    def resume(self):
        guard.send(guard.descendants(self.process.pid), signal.SIGCONT)
        os.kill(self.process.pid, signal.SIGCONT)

    def close(self):
        """End it for good, quickly, and remove what it left outside its folder."""
        self.kill()

    def log_tail(self, lines=20):
        try:
            with open(self.log, encoding="utf-8", errors="replace") as f:
                return "".join(f.readlines()[-lines:]).rstrip()
        except OSError:
            return "(no log)"

    def write(self, name, text, mode=0o600):
        path = os.path.join(self.folder, name)
        with open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, mode), "w", encoding="utf-8") as f:
            f.write(text)
        return path
