#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""Runs benchmarks and shows medians, spreads and ratios; `make bench` builds and calls it.

    tests/bench/run.py [--rounds N] [--seconds S] [--output bench.json] [BENCH...]     default: all
    tests/bench/run.py help
    tests/bench/run.py --show bench.json...     the tables of former runs
    tests/bench/run.py --keep bench.json...     into the last section of README.md, in place of what is there

Each benchmark is a program of its own that starts the private servers it needs, measures everything
it compares by turns, round after round, and prints one JSON line for each value; tests/bench/README.md
describes them. What is compared is compared within a round. bench.json has all values, this machine
and the versions of what was used. One that fails is named, the others go on, and the exit code is 1.
"""

import argparse
import datetime
import json
import os
import platform
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time

import report

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
HERE = os.path.dirname(os.path.abspath(__file__))
BIN = os.path.abspath(os.environ.get("LATIDO_BIN") or os.path.join(ROOT, "build", "release", "bin"))
LACKING = 77  # as in bench.py
LIMIT_S = 1500
SHOWN_LINES = 15
LAST = "## The last run"


def c_program(name):
    return [os.path.join(os.path.dirname(BIN), "bench", name)]


def python(name):
    return [sys.executable, os.path.join(HERE, name)]


# name -> (command, what it shows)
BENCHES = {
    "codec": (c_program("codec_bench"), "encoding and decoding, beside a bare copy of the values"),
    "bus": (python("bus.py"), "messages through the bus interface: memory, Mosquitto"),
    "spool": (c_program("spool_bench"), "spool appends beside a bare write and fdatasync loop"),
    "store": (c_program("store_bench"), "the store's sink beside a bare COPY of the same rows"),
    "ingest": (python("ingest.py"), "events from MQTT and Kafka into PostgreSQL, beside COPY and one row a sample"),
    "growth": (python("growth.py"), "ingest, tables and queries from 10 to 10 000 sources, 1 to 100 million values"),
    "bridge": (python("bridge.py"), "messages from MQTT to Kafka by latido-bridge, beside a bare loop"),
    "drain": (python("drain.py"), "an hour of backlog of one agent, and of many"),
    "agent": (python("agent.py"), "a tick of the agent beside node_exporter and collectd"),
    "hot": (python("hot.py"), "the hot state into Redis beside a bare loop with the same commands; from MQTT"),
    "latency": (python("latency.py"), "from sample to Redis, COMMIT and subscriber at 10, 50 and 90 % of capacity"),
    "memory": (python("memory.py"), "each daemon at 10, 1 000 and 10 000 sources"),
    "promql": (c_program("promql_bench"), "evaluations of expressions, and what label sets weigh"),
    "rules": (c_program("alert_bench"), "latido-alert's engine alone, 10 000 sources in simulated time"),
    "alert": (python("alert.py"), "latido-alert beside Prometheus, the same rules and series"),
    "live": (python("live.py"), "latido-live with 1 000 streaming clients"),
    "page": (["node", os.path.join(HERE, "page.mjs")], "the page in a browser: first pixels, sample to screen, weight"),
    "kmod": (python("kmod.py"), "a read of /proc/latido beside /proc, in the emulated test machine"),
}


def read_text(path):
    try:
        with open(path, encoding="utf-8", errors="replace") as f:
            return f.read()
    except OSError:
        return ""


def first_line(*command):
    """Of what a program prints about its version; None when there is none."""
    path = shutil.which(command[0], path=os.environ.get("PATH", "") + ":/usr/sbin:/usr/lib/postgresql/15/bin")
    if not path:
        return None
    result = subprocess.run([path, *command[1:]], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                            stderr=subprocess.STDOUT, text=True, check=False, timeout=60)
    return next((line.strip() for line in result.stdout.splitlines() if line.strip()), None)


def package_versions(*names):
    if not shutil.which("dpkg-query"):
        return {}
    out = subprocess.run(["dpkg-query", "-W", "-f", "${Package} ${Version} ${db:Status-Status}\n", *names],
                         stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, check=False).stdout
    return {row[0]: row[1] for row in map(str.split, out.splitlines()) if row[-1] == "installed"}


def machine():
    cpu = re.search(r"^model name\s*:\s*(.*)$", read_text("/proc/cpuinfo"), re.M)
    memory = re.search(r"^MemTotal:\s+(\d+) kB", read_text("/proc/meminfo"), re.M)
    system = re.search(r'^PRETTY_NAME="?([^"\n]*)', read_text("/etc/os-release"), re.M)
    return {"processor": cpu[1] if cpu else platform.machine(), "processors": os.cpu_count(),
            "memory_gib": round(int(memory[1]) / 2**20, 1) if memory else None,
            "system": system[1] if system else platform.system(), "kernel": platform.release(),
            "load_average_before": round(os.getloadavg()[0], 2)}


def versions():
    kafka = re.search(r"<kafka\.version>([^<]*)",
                      read_text(os.path.join(ROOT, "infra", "kafka", "pom.xml")))
    found = {"postgres": first_line("postgres", "--version"), "redis": first_line("redis-server", "--version"),
             "mosquitto": first_line("mosquitto", "-h"), "kafka": kafka[1] if kafka else None,
             "gcc": first_line("gcc", "--version"),
             **package_versions("librdkafka1", "libpaho-mqtt1.3", "libhiredis0.14", "libpq5", "prometheus",
                                "prometheus-node-exporter", "collectd-core")}
    return {k: v for k, v in found.items() if v}


def commit():
    def git(*args):
        try:
            return subprocess.run(["git", "-C", ROOT, *args], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
                                  text=True, check=True).stdout.strip()
        except (OSError, subprocess.CalledProcessError):
            return None
    name = git("rev-parse", "HEAD")
    return name and name + (" with changes" if git("status", "--porcelain", "--untracked-files=no") else "")


class Run:
    """The benchmarks of one call, one after the other."""

    def __init__(self):
        self.process, self.stopped = None, False
        self.failed, self.lacking = {}, {}

    def stop(self, *_):
        """Ctrl-C: end the one that runs, with its servers; none is begun any more."""
        self.stopped = True
        if self.process:
            try:
                os.killpg(self.process.pid, signal.SIGTERM)
            except ProcessLookupError:
                pass

    def measure(self, name, command, arguments):
        """The results of one benchmark; what went wrong is in failed or lacking."""
        results, wrong = [], None
        with tempfile.TemporaryFile("w+", encoding="utf-8", errors="replace") as errors:
            try:
                self.process = subprocess.Popen([*command, *arguments], cwd=ROOT, stdin=subprocess.DEVNULL,
                                                stdout=subprocess.PIPE, stderr=errors, text=True, errors="replace",
                                                start_new_session=True, env={**os.environ, "LATIDO_BIN": BIN})
            except OSError as e:
                self.failed[name] = f"{command[0]}: {e.strerror}"
                return []
            if self.stopped:  # the signal came before there was a process
                self.stop()
            late = threading.Timer(LIMIT_S, lambda pid: os.killpg(pid, signal.SIGKILL), [self.process.pid])
            late.start()
            for line in self.process.stdout:
                try:
                    result = report.parse_line(line)
                    if result["bench"] != name:
                        raise ValueError(f"bench: {result['bench']!r}")
                    results.append(result)
                except ValueError as e:
                    wrong = wrong or f"a line that is no result ({e})"
            code = self.process.wait()
            late.cancel()
            self.process = None
            errors.seek(0)
            said = errors.read().splitlines()
        if code == LACKING:
            self.lacking[name] = " ".join(said[-1:]) or "something is not installed"
            return []
        if self.stopped:
            return results
        if code:
            wrong = f"exit code {code}"
        elif not results:
            wrong = wrong or "no results"
        if wrong:
            self.failed[name] = "\n      ".join([wrong, *said[-SHOWN_LINES:]])
        return results


def headline(document):
    m = document["machine"]
    return (f"{document['begun']}, commit {(document['commit'] or 'unknown')[:9]}, {m['processors']} x {m['processor']}, "
            f"{m['memory_gib']} GiB, {m['system']}, kernel {m['kernel']}, load average before {m['load_average_before']}")


def load(path):
    """(document, rows) of a former run; ends the program when it is none."""
    try:
        with open(path, encoding="utf-8") as f:
            document = json.load(f)
        return document, report.aggregate(document["results"])
    except (OSError, ValueError, KeyError, TypeError) as e:
        print(f"{path}: {e}", file=sys.stderr)
        sys.exit(1)


def show(paths):
    for path in paths:
        document, rows = load(path)
        print(headline(document))
        for name in dict.fromkeys(row["bench"] for row in rows):
            print(f"\n{name}\n{report.table([row for row in rows if row['bench'] == name])}")
    return 0


def keep(paths):
    path = os.path.join(HERE, "README.md")
    text = read_text(path)
    if LAST not in text:
        print(f"{path}: no line {LAST!r}", file=sys.stderr)
        return 1
    text, found = text[:text.index(LAST)] + LAST + "\n\n", []
    documents = [load(p) for p in paths]
    for document, _ in documents:
        text += f"- {', '.join(dict.fromkeys(r['bench'] for r in document['results']))}: {headline(document)}\n"
    used = {k: v for document, _ in documents for k, v in document["versions"].items()}
    text += "- " + "; ".join(f"{k}: {v}" for k, v in used.items()) + "\n"
    for _, rows in documents:
        found += rows
    found.sort(key=lambda row: list(BENCHES).index(row["bench"]) if row["bench"] in BENCHES else len(BENCHES))
    with open(path, "w", encoding="utf-8") as f:
        f.write(text + report.markdown(found))
    return 0


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, help="how often everything is measured (default: each benchmark's own)")
    parser.add_argument("--seconds", type=float, help="about how long one measurement takes (default: their own)")
    parser.add_argument("--output", default="bench.json", metavar="FILE", help="default: bench.json")
    parser.add_argument("--show", nargs="+", metavar="FILE", help="measure nothing, print what such files have")
    parser.add_argument("--keep", nargs="+", metavar="FILE", help="measure nothing, write it into README.md")
    parser.add_argument("bench", nargs="*")
    args = parser.parse_args()
    if args.show or args.keep:
        return show(args.show) if args.show else keep(args.keep)
    if "help" in args.bench:
        print("\n".join(f"{name:<10} {text}" for name, (_, text) in BENCHES.items()))
        return 0
    unknown = [name for name in args.bench if name not in BENCHES]
    if unknown or (args.rounds is not None and args.rounds < 1) or (args.seconds is not None and args.seconds <= 0):
        print(f"unknown benchmark: {' '.join(unknown)}; there are: {' '.join(BENCHES)}" if unknown else
              "--rounds and --seconds must be above 0", file=sys.stderr)
        return 2
    arguments = [*(["--rounds", str(args.rounds)] if args.rounds else []),
                 *(["--seconds", str(args.seconds)] if args.seconds else [])]
    document = {"begun": datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="seconds"),
                "commit": commit(), "machine": machine(), "versions": versions(), "arguments": arguments}
    print(headline(document))
    print("median, least .. most of the rounds; ratios are of the values of one round")
    run, every, rows = Run(), [], []
    for signum in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(signum, run.stop)
    for name in dict.fromkeys(args.bench or BENCHES):
        if run.stopped:
            break
        command, text = BENCHES[name]
        print(f"\n{name}: {text}", flush=True)
        begun = time.monotonic()
        results = run.measure(name, command, arguments)
        try:
            found = report.aggregate(results)
        except ValueError as e:
            run.failed.setdefault(name, str(e))
            found = []
        every += results
        rows += found
        if found:
            print(report.table(found))
        if name in run.lacking:
            print(f"    not run: {run.lacking[name]}")
        print(f"    {time.monotonic() - begun:.0f} s" + ("; FAILED" if name in run.failed else ""), flush=True)
    document |= {"rows": [{k: v for k, v in row.items() if k != "rounds"} for row in rows], "results": every,
                 "failed": run.failed, "not_run": run.lacking}
    with open(args.output + ".new", "w", encoding="utf-8") as f:
        json.dump(document, f, indent=1)
        f.write("\n")
    os.replace(args.output + ".new", args.output)
    for name, why in run.failed.items():
        print(f"\nFAILED: {name}: {why}")
    if run.stopped:
        print("stopped", file=sys.stderr)
        return 130
    print(f"\n{len(every)} values in {args.output}")
    return 1 if run.failed else 0


if __name__ == "__main__":
    sys.exit(main())
