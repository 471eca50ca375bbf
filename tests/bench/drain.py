#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""How fast one hour of backlog (3600 snapshots of 400 values) drains from one agent and from 100.

The spools are filled beforehand (tests/tools/spool_fill.c). agent.backlog_rate is at its maximum, so
that the figure is the pipeline's: agent, broker, store and PostgreSQL (fsync on) share the machine.
Measured from the first backlog event stored to the last, while each agent goes on sampling.
"""

import os
import subprocess
import time

import bench
import servers
from bench import BIN, TOOLS
from programs import Program

VALUES = 400
HOUR = 3600  # events of an agent
SECONDS = 5


def measure(b, number, folder, agents, events):
    # The agents stay below what a default Mosquitto would queue; this one has no such limit.
    with servers.Mosquitto(folder, persistence=False) as broker, \
            servers.Postgres(folder, fsync=True, config=bench.POSTGRES_CONFIG) as postgres:
        def config(name, sections):
            return bench.write_config(folder, name, {"bus": {
                "url": broker.url, "mqtt": {"client_id": name}, "backoff_base": "100ms", "backoff_cap": "500ms"},
                **sections})
        tool = os.path.join(TOOLS, "spool_fill")
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
        peak = max(bench.memory_kb(program.pid)["VmHWM"] for program in running)
        duplicates = store.value("latido_store_duplicates_total")
        messages = store.value("latido_consumer_messages_total")
        answers = store.value("latido_consumer_answers_total")
        for program in [*running, store]:
            program.kill()
    case = f"{events} snapshots of {VALUES} values from each of {agents} agents"
    b.result("drain", case, "drained", "snapshots/s", want / seconds, number)
    b.result("drain", case, "time", "s", seconds, number)
    b.result("drain", case, "sent twice", "snapshots", duplicates, number)
    b.result("drain", case, "acknowledgements", "% of messages", answers / messages * 100, number)
    b.result("drain", case, "an agent's memory at most", "MiB", peak / 1024, number)


def main():
    b = bench.Bench("drain", __doc__, rounds=2, seconds=SECONDS, extra=[
        ("--agents", {"type": int, "nargs": "+", "default": [1, 100], "help": "numbers of agents"}),
        ("--events", {"type": int, "help": "of each agent; default: an hour's, of many a part, too, by --seconds"})])
    for number in range(1, b.rounds + 1):
        for agents in b.args.agents:
            part = b.args.events or min(HOUR, max(10, int(HOUR * b.seconds / agents)))
            # All of it takes a minute or more for many agents: once, unless a shorter run was asked for.
            whole = number == 1 and b.seconds >= SECONDS and not b.args.events
            for events in sorted({part, HOUR} if whole else {part}):
                with bench.Folder() as folder:
                    measure(b, number, folder, agents, events)


if __name__ == "__main__":
    main()
