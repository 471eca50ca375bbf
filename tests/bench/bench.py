# SPDX-License-Identifier: MIT
"""What the benchmarks in Python share: their arguments, their results, CPU time and memory of processes."""

import argparse
import json
import os
import signal
import subprocess
import sys
import time

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
sys.path[:0] = [os.path.join(ROOT, "infra", "local")]

import guard  # noqa: E402
import servers  # noqa: E402
from programs import yaml_config  # noqa: E402

BIN = os.path.abspath(os.environ.get("LATIDO_BIN") or os.path.join(ROOT, "build", "release", "bin"))
TOOLS = os.path.join(os.path.dirname(BIN), "tools")
LACKING = 77  # exit code: something that only this benchmark needs is not installed
TICKS = os.sysconf("SC_CLK_TCK")
# The private server as for tests, but with room for a steady load of rows.
POSTGRES_CONFIG = "shared_buffers = 512MB\nmax_wal_size = 4GB\nautovacuum = off"


def end_by_exit():
    """SIGTERM, which the runner sends when it is interrupted, unwinds: servers stop, folders go."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))


class Bench:
    """One benchmark program: its arguments (rounds, seconds) and the lines that it prints."""

    def __init__(self, name, doc, rounds=3, seconds=1.0, extra=()):
        parser = argparse.ArgumentParser(description=doc, formatter_class=argparse.RawDescriptionHelpFormatter)
        parser.add_argument("--rounds", type=int, default=rounds, help="how often each thing is measured, by turns")
        parser.add_argument("--seconds", type=float, default=seconds,
                            help="about how long one measurement takes; amounts are made to fit")
        for flag, options in extra:
            parser.add_argument(flag, **options)
        self.args, self.name = parser.parse_args(), name
        end_by_exit()
        self.rounds, self.seconds = self.args.rounds, self.args.seconds

    def result(self, figure, case, name, unit, value, number, role="subject"):
        print(json.dumps({"bench": self.name, "figure": str(figure), "case": case, "name": name, "role": role,
                          "unit": unit, "value": value, "round": number}), flush=True)


def say(text):
    """To whoever watches; results go to standard output only."""
    print(text, file=sys.stderr, flush=True)


def lacking(what):
    """End: it cannot run here, and that is nobody's fault."""
    say(what)
    sys.exit(LACKING)


def need_kafka():
    import kafka
    if not os.path.exists(os.path.join(kafka.JARS, ".complete")):
        lacking("Apache Kafka's jars are not there: make kafka-jars")
    return kafka.Kafka


def tree_cpu_seconds(pid):
    """CPU time of a process, its descendants, and those of them that it waited for."""
    total = 0
    for p in [pid, *guard.descendants(pid)]:
        try:
            with open(f"/proc/{p}/stat", encoding="utf-8") as f:
                fields = f.read().rpartition(")")[2].split()
        except OSError:
            continue
        total += sum(int(x) for x in (fields[11:15] if p == pid else fields[11:13]))
    return total / TICKS


def cpu_seconds(pid):
    """CPU time of one process with all its threads, also those that have ended; clock_getcpuclockid(3)."""
    return time.clock_gettime((~pid << 3) | 2)


def memory_kb(pid):
    """VmRSS, RssAnon, VmHWM of a process."""
    with open(f"/proc/{pid}/status", encoding="ascii", errors="replace") as f:
        rows = (line.split() for line in f)
        return {row[0][:-1]: int(row[1]) for row in rows if row[0] in ("VmRSS:", "RssAnon:", "VmHWM:")}


def run_json(*command):
    return json.loads(subprocess.run([str(c) for c in command], check=True, stdin=subprocess.DEVNULL,
                                     stdout=subprocess.PIPE, text=True).stdout)


def write_config(folder, name, sections):
    path = os.path.join(folder, name + ".yaml")
    with open(path, "w", encoding="utf-8") as f:
        f.write(yaml_config(sections))
    return path


class Folder:
    """A private folder for a benchmark's servers; PostgreSQL's user may pass through it."""

    def __enter__(self):
        self.path = servers.private_folder("latido-bench-")
        os.chmod(self.path, 0o711)
        return self.path

    def __exit__(self, *_):
        servers.remove_folder(self.path)
