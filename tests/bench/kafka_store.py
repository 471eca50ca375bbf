#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""How fast latido-store empties a full Kafka topic, against a bare COPY of the same rows.

Everything on this machine, PostgreSQL with fsync. The two take turns in one run, three times each;
reported are the medians, their ratio, and CPU seconds per million values of store, broker and
server while the store works.

    tests/bench/kafka_store.py [--million N]      millions of values a measurement (20)
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
sys.path.insert(0, os.path.join(ROOT, "infra", "local"))
import guard  # noqa: E402
import servers  # noqa: E402
from kafka import Kafka  # noqa: E402
from programs import Program, yaml_config  # noqa: E402

BIN = os.path.abspath(os.environ.get("LATIDO_BIN") or os.path.join(ROOT, "build", "release", "bin"))
TOOLS = os.path.join(os.path.dirname(BIN), "tools")
SOURCES = 100
TICKS = os.sysconf("SC_CLK_TCK")


def cpu_seconds(pid):
    """Of a process, its descendants, and those of them that it waited for."""
    total = 0
    for p in [pid, *guard.descendants(pid)]:
        try:
            with open(f"/proc/{p}/stat", encoding="utf-8") as f:
                fields = f.read().rpartition(")")[2].split()
        except OSError:
            continue
        total += sum(int(x) for x in (fields[11:15] if p == pid else fields[11:13]))
    return total / TICKS


def run_json(*command):
    return json.loads(subprocess.run([str(c) for c in command], check=True, stdout=subprocess.PIPE, text=True).stdout)


def config(folder, name, sections):
    path = os.path.join(folder, name)
    with open(path, "w", encoding="utf-8") as f:
        f.write(yaml_config(sections))
    return path


def store_run(folder, kafka, postgres, number, values, events):
    """Fill a topic of its own, then let a store empty it."""
    bus = {"url": kafka.url, "kafka": {"topic": f"bench{values}.{number}", "group": f"bench{values}.{number}"}}
    load = config(folder, "load.yaml", {"bus": bus})
    subprocess.run([os.path.join(BIN, "latido"), "topics", "create", "-c", load], check=True, stdout=subprocess.DEVNULL)
    run_json(os.path.join(TOOLS, "bus_load"), load, SOURCES, events // SOURCES, values,
             1763700000000000 + number * 1000 + values)
    store = Program(BIN, "latido-store", folder, label=f"store{values}.{number}", config=config(folder, "store.yaml", {
        "bus": bus, "postgres": {"dsn": postgres.dsn},
        "store": {"admin": f"127.0.0.1:{servers.free_port()}", "retention": "30d"}}))
    store.start()
    store.wait_ready()
    pids = {"store": store.pid, "broker": kafka.brokers[0].pid, "server": postgres.pid}
    first = None
    while True:
        now, n = time.monotonic(), store.metrics().value("latido_store_values_total")
        if n and first is None:
            first, before = (now, n), {k: cpu_seconds(p) for k, p in pids.items()}
        if n >= events * values:
            break
        time.sleep(0.02)
    done, seconds = n - first[1], now - first[0]
    cpu = {k: (cpu_seconds(p) - before[k]) / done * 1e6 for k, p in pids.items()}
    store.terminate()
    return done / seconds, cpu


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--million", type=float, default=20)
    args = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="latido-bench-") as folder, \
            Kafka(folder, heap="512m", optimise=True) as kafka, servers.Postgres(folder, fsync=True) as postgres:
        for values in (60, 400):
            events = int(args.million * 1e6) // values // 1000 * 1000
            ours, bare, cpus = [], [], []
            for number in range(3):
                rate, cpu = store_run(folder, kafka, postgres, number, values, events)
                ours.append(rate)
                cpus.append(cpu)
                result = run_json(os.path.join(TOOLS, "copy_ceiling"), postgres.dsn, events, values, 1000)
                bare.append(result["values"] / result["seconds"])
                postgres.sql("TRUNCATE snapshot")
                postgres.sql("CHECKPOINT")
            a, b = statistics.median(ours), statistics.median(bare)
            cpu = ", ".join(f"{k} {statistics.median(c[k] for c in cpus):.3f}" for k in cpus[0])
            print(f"{values:4} values: from Kafka {a / 1e6:.2f} M values/s, bare COPY {b / 1e6:.2f} M values/s, "
                  f"ratio {a / b:.2f}; CPU s per million values: {cpu}", flush=True)
            print(f"      runs: {[round(x / 1e6, 2) for x in ours]} against {[round(x / 1e6, 2) for x in bare]}")


if __name__ == "__main__":
    main()
