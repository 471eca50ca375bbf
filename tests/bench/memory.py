#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""Memory of each daemon that serves 10, 1 000 and 10 000 sources.

All daemons run with their default configuration, but for addresses; then each source sends some
events of 100 values. Resident memory once everything of that has been dealt with, and the most there
was on the way.
"""

import json
import os
import subprocess

import bench
import servers
from bench import BIN, ROOT
from programs import Program

EVENTS = 3  # of each source, at least
LEAST = 2000
DONE_S = 300


class Daemons:
    def __init__(self, b, folder, number, sources, broker, redis, postgres, kafka):
        self.b, self.folder = b, folder
        bus = {"url": broker.url, "prefix": f"s{sources}r{number}/v1"}
        admin = {"admin": "127.0.0.1:0"}
        database = postgres.create_database(f"s{sources}r{number}")
        topics = {k: f"s{sources}r{number}.{k}" for k in ("topic", "deadletter_topic", "alerts_topic")}
        redis.call("FLUSHALL")
        self.label = f"-{sources}-{number}"
        # program -> (configuration, its count of events)
        plan = {
            "latido-store": ({"bus": bus, "postgres": {"dsn": database}, "store": admin}, "latido_store_events_total"),
            "latido-hot": ({"bus": bus, "redis": {"url": redis.url}, "hot": admin}, "latido_hot_events_total"),
            "latido-alert": ({"bus": bus, "redis": {"url": redis.url}, "postgres": {"dsn": database}, "alert": {
                **admin, "rules": [os.path.join(ROOT, "schemas", "alerts", "node.yaml")]}}, "latido_alert_events_total"),
            "latido-live": ({"redis": {"url": redis.url}, "postgres": {"dsn": database}, "live": {
                **admin, "listen": "127.0.0.1:0", "auth": "none"}}, "latido_live_events_total"),
        }
        if kafka:
            there = bench.write_config(folder, "topics" + self.label, {"bus": {"url": kafka.url, "kafka": topics}})
            subprocess.run([os.path.join(BIN, "latido"), "topics", "create", "-c", there], check=True,
                           stdout=subprocess.DEVNULL)
            plan["latido-bridge"] = ({"bus": {"url": kafka.url, "prefix": bus["prefix"], "kafka": topics},
                                      "bridge": {**admin, "mqtt_url": broker.url}}, "latido_bridge_messages_total")
        self.load_config = bench.write_config(folder, "load" + self.label, {"bus": bus})
        self.running, self.counters = {}, {}
        for program, (sections, counter) in plan.items():
            config = bench.write_config(folder, program + self.label, sections)
            # latido-store first: its tables are what others look for.
            self.running[program] = Program(BIN, program, folder, label=program + self.label,
                                            config=config).start().wait_ready()
            self.counters[program] = counter

    def feed(self, sources):
        run = subprocess.run([os.path.join(BIN, "latido-load"), "simulate", "-c", self.load_config, "--quiet", "--ack",
                              "broker", "--sources", str(sources), "--series", "100", "--count",
                              str(max(EVENTS * sources, LEAST)), "--rate", "2000"],
                             check=True, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True)
        sent = json.loads(run.stdout)["events"]["sent"]
        for program, counter in self.counters.items():
            self.running[program].wait(lambda p=program, c=counter: self.reached(p, c, sent), DONE_S, f"{sent} events")

    def reached(self, program, counter, sent):
        try:
            return self.running[program].value(counter) >= sent
        except OSError:  # it is busy: no answer in time
            return False

    def show(self, number, case):
        for program, process in self.running.items():
            memory = bench.memory_kb(process.pid)
            self.b.result(7, case, program, "MiB resident", memory["VmRSS"] / 1024, number)
            self.b.result(7, case, f"{program}, at most", "MiB resident", memory["VmHWM"] / 1024, number)

    def close(self):
        for program in self.running.values():
            program.terminate()


def main():
    b = bench.Bench("memory", __doc__, rounds=2, extra=[
        ("--sources", {"type": int, "nargs": "+", "default": [10, 1000, 10000]}),
        ("--no-kafka", {"action": "store_true", "help": "without latido-bridge"})])
    with bench.Folder() as folder, servers.Mosquitto(folder, queue_bytes=4 << 30) as broker, \
            servers.Redis(folder) as redis, servers.Postgres(folder, config=bench.POSTGRES_CONFIG) as postgres:
        kafka = None if b.args.no_kafka else bench.need_kafka()(folder, heap="512m", optimise=True).start()
        try:
            for number in range(1, b.rounds + 1):
                for sources in b.args.sources:
                    daemons = Daemons(b, folder, number, sources, broker, redis, postgres, kafka)
                    if sources == b.args.sources[0]:
                        daemons.show(number, "before the first event")
                    daemons.feed(sources)
                    daemons.show(number, f"{sources} sources, 100 values an event")
                    daemons.close()
        finally:
            if kafka:
                kafka.close()


if __name__ == "__main__":
    main()
