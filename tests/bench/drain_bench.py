#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""How long one hour of backlog (3600 snapshots of 400 values) takes to drain, from 1 and from 100 agents.

    drain_bench.py [AGENTS EVENTS]...      default: 1 3600 100 3600

The spools are filled beforehand (tests/tools/spool_fill.c). agent.backlog_rate is at its maximum, so
that the figure is the pipeline's: agent, broker, store and PostgreSQL (fsync on) share the machine.
Measured from the first backlog event stored to the last, while each agent goes on sampling.
"""

import os
import subprocess
import sys
import time

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
sys.path.insert(0, os.path.join(ROOT, "infra", "local"))

import servers  # noqa: E402
from programs import Program, yaml_config  # noqa: E402

BIN = os.path.abspath(os.environ.get("LATIDO_BIN") or os.path.join(ROOT, "build", "release", "bin"))
VALUES = 400


def peak_rss(pid):
    """In KiB."""
    with open(f"/proc/{pid}/status", encoding="ascii") as f:
        return next(int(line.split()[1]) for line in f if line.startswith("VmHWM"))


def measure(folder, agents, events):
    # The agents stay below what a default Mosquitto would queue; this one has no such limit.
    with servers.Mosquitto(folder, persistence=False) as broker, servers.Postgres(folder, fsync=True) as postgres:
        def config(name, sections):
            path = os.path.join(folder, name + ".yaml")
            with open(path, "w", encoding="utf-8") as f:
                f.write(yaml_config({"bus": {"url": broker.url, "mqtt": {"client_id": name},
                                             "backoff_base": "100ms", "backoff_cap": "500ms"}, **sections}))
            return path
        tool = os.path.join(os.path.dirname(BIN), "tools", "spool_fill")
        for i in range(agents):
            subprocess.run([tool, os.path.join(folder, f"a{i}"), f"a{i}", str(events), str(VALUES)], check=True)
        store = Program(BIN, "latido-store", folder, config=config("store", {
            "postgres": {"dsn": postgres.dsn}, "store": {"admin": "127.0.0.1:0"}})).start().wait_ready()
        running = [Program(BIN, "latido-agent", folder, label=f"a{i}", config=config(f"a{i}", {"agent": {
            "source": f"a{i}", "admin": "", "collectors": ["loadavg"], "backlog_rate": 100000,
            "spool": {"dir": os.path.join(folder, f"a{i}"), "max_bytes": "64GiB", "sync": "never"}}})).start()
            for i in range(agents)]
        want, start, begun = agents * events, time.monotonic(), None
        while True:
            stored = int(postgres.sql("SELECT count(*) FROM snapshot WHERE seq <= " + str(events))[0][0]
                         if begun and store.value("latido_store_events_total") >= want
                         else store.value("latido_store_events_total"))
            if stored and not begun:
                begun = time.monotonic()
            if begun and stored >= want and store.value("latido_store_events_total") >= want:
                break
            if time.monotonic() - start > 1800:
                raise SystemExit("the backlog did not drain")
            time.sleep(0.05)
        seconds = time.monotonic() - begun
        peak = max(peak_rss(program.pid) for program in running)
        duplicates = store.value("latido_store_duplicates_total")
        messages = store.value("latido_consumer_messages_total")
        answers = store.value("latido_consumer_answers_total")
        for program in [*running, store]:
            program.kill()
    print(f"{agents:4} agents: {want} events of {VALUES} values in {seconds:.1f} s: {want / seconds:.0f} events/s; "
          f"{duplicates:.0f} sent twice, {answers / messages * 100:.1f} acknowledgements for 100 messages; "
          f"an agent's memory at most {peak / 1024:.1f} MB", flush=True)


def main():
    numbers = [int(a) for a in sys.argv[1:]] or [1, 3600, 100, 3600]
    for agents, events in zip(numbers[::2], numbers[1::2]):
        folder = servers.private_folder("latido-drain-")
        os.chmod(folder, 0o711)
        try:
            measure(folder, agents, events)
        finally:
            servers.remove_folder(folder)


if __name__ == "__main__":
    main()
