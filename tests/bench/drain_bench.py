#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""How long one hour of backlog (3600 snapshots of 400 values) takes to drain, from 1 and from 100 agents.

Spools are filled by agents without a broker; an agent cannot sample an hour of snapshots faster than
it passes, so the spool of one that runs at its shortest interval is filled as far as SECONDS allow
(default 40) and the time is given for what it held, and for 3600 events at that rate. Nothing is
rate-limited: agent.backlog_rate is at its maximum, so that the figure is the pipeline's.
"""

import os
import sys
import time

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
sys.path.insert(0, os.path.join(ROOT, "infra", "local"))

import servers  # noqa: E402
from programs import Program, yaml_config  # noqa: E402

BIN = os.path.abspath(os.environ.get("LATIDO_BIN") or os.path.join(ROOT, "build", "release", "bin"))
FILL_SECONDS = float(os.environ.get("SECONDS") or 40)


def measure(folder, agents, interval_ms):
    with servers.Mosquitto(folder, persistence=False) as broker, servers.Postgres(folder, fsync=True) as postgres:
        def config(name, sections):
            path = os.path.join(folder, name + ".yaml")
            with open(path, "w", encoding="utf-8") as f:
                f.write(yaml_config({"bus": {"url": broker.url, "mqtt": {"client_id": name},
                                             "backoff_base": "100ms", "backoff_cap": "500ms"}, **sections}))
            return path
        broker.kill()
        running = []
        for i in range(agents):
            name = f"a{agents}-{i}"
            running.append(Program(BIN, "latido-agent", folder, config=config(name, {"agent": {
                "source": name, "admin": "127.0.0.1:0" if i == 0 else "", "interval": f"{interval_ms}ms",
                "backlog_rate": 100000, "drain_timeout": "0", "processes_interval": "1h",
                "spool": {"dir": os.path.join(folder, name), "sync": "never"}}}), label=name).start())
        time.sleep(FILL_SECONDS)
        series = running[0].value("latido_agent_series")
        for agent in running:
            agent.terminate()
        for agent in running:
            agent.wait_exit()
        store = Program(BIN, "latido-store", folder, config=config("store", {
            "postgres": {"dsn": postgres.dsn}, "store": {"admin": "127.0.0.1:0"}}), label=f"store{agents}").start()
        broker.start()
        store.wait_ready()
        held = 0
        for agent in running:
            agent.start()
            held += int(agent.wait_log("spool_open")["held"])
        start = time.monotonic()
        while store.value("latido_store_events_total") < held:
            if time.monotonic() - start > 300:
                raise SystemExit("the backlog did not drain")
            time.sleep(0.02)
        seconds = time.monotonic() - start
        holes = postgres.sql("SELECT count(*) FROM gap")[0][0]
        for program in [*running, store]:
            program.kill()
    rate = held / seconds
    print(f"{agents:4} agents: {held} events of {series:.0f} values in {seconds:.1f} s, {rate:.0f} events/s, "
          f"gaps {holes}; an hour of each ({3600 * agents} events) in {3600 * agents / rate:.0f} s", flush=True)


def main():
    for agents, interval_ms in ((1, 100), (100, 1000)):
        folder = servers.private_folder("latido-drain-")
        os.chmod(folder, 0o711)
        try:
            measure(folder, agents, interval_ms)
        finally:
            servers.remove_folder(folder)


if __name__ == "__main__":
    main()
