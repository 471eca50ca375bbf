#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""Cleans up after a program that was killed.

A process that starts servers runs this file as its child and writes one line for each thing that
must not outlive it. When the pipe closes, because the parent ended in whatever way, everything
still listed is killed (with its descendants) and every listed folder is removed.

	+pid NUMBER START	a process; START is its start time, so that a reused number is left alone
	-pid NUMBER
	+dir PATH
	-dir PATH
	+shm PATH		a postmaster.pid: the SysV segment named there goes, after the processes
	+locks PATH		a file of locks that several processes use: it goes when nobody holds one
"""

import fcntl
import os
import shutil
import signal
import subprocess
import sys


def start_time(pid):
    """Start time of a process in clock ticks since boot, or None when there is none (or a zombie)."""
    try:
        with open(f"/proc/{pid}/stat", encoding="utf-8", errors="replace") as f:
            fields = f.read().rpartition(")")[2].split()
    except OSError:
        return None
    return None if fields[0] in "ZX" else int(fields[19])


def descendants(pid):
    """All living descendants of a process, parents before children, without itself."""
    children = {}
    for name in os.listdir("/proc"):
        if not name.isdigit():
            continue
        try:
            with open(f"/proc/{name}/stat", encoding="utf-8", errors="replace") as f:
                fields = f.read().rpartition(")")[2].split()
        except OSError:
            continue
        if fields[0] not in "ZX":
            children.setdefault(int(fields[1]), []).append(int(name))
    found, queue = [], [pid]
    while queue:
        for child in children.get(queue.pop(0), []):
            found.append(child)
            queue.append(child)
    return found


def send(pids, signum):
    """Send a signal to each; processes that are gone are fine."""
    for pid in pids:
        try:
            os.kill(pid, signum)
        except ProcessLookupError:
            pass


def segment_of(postmaster_pid):
    """Number of the SysV segment that a (killed) postmaster made, or None."""
    try:
        with open(postmaster_pid, encoding="utf-8") as f:
            return int(f.read().splitlines()[6].split()[1])
    except (OSError, IndexError, ValueError):
        return None


def drop_segment(postmaster_pid):
    """Remove what a killed postmaster left outside its folder."""
    segment = segment_of(postmaster_pid)
    if segment is not None:
        subprocess.run(["ipcrm", "-m", str(segment)], check=False, stderr=subprocess.DEVNULL)


def drop_locks(path):
    """Remove a file of locks that nobody holds; who has it open sees that and opens it anew."""
    try:
        fd = os.open(path, os.O_RDWR | os.O_NOFOLLOW | os.O_CLOEXEC)
    except OSError:
        return
    try:
        fcntl.lockf(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)  # all of it
        if os.path.samestat(os.fstat(fd), os.stat(path)):
            os.unlink(path)
    except OSError:
        pass  # it is in use, or somebody else was faster
    os.close(fd)


def main():
    for signum in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT):
        signal.signal(signum, signal.SIG_IGN)
    processes, folders, segments, locks = {}, [], set(), set()
    for line in sys.stdin:
        verb, _, rest = line.rstrip("\n").partition(" ")
        if verb == "+pid":
            pid, start = rest.split()
            processes[int(pid)] = int(start)
        elif verb == "-pid":
            processes.pop(int(rest), None)
        elif verb == "+dir":
            folders.append(rest)
        elif verb == "+shm":
            segments.add(rest)
        elif verb == "+locks":
            locks.add(rest)
        elif verb == "-dir" and rest in folders:
            folders.remove(rest)
    for pid, start in processes.items():
        if start_time(pid) == start:
            # The parent first: it could start new children while the old ones are killed.
            tree = [pid] + descendants(pid)
            send(tree, signal.SIGKILL)
    for path in segments:
        drop_segment(path)
    for folder in folders:
        shutil.rmtree(folder, ignore_errors=True)
    for path in locks:
        drop_locks(path)


if __name__ == "__main__":
    main()
