#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""Values a second that latido-store commits from a full MQTT queue and from a full Kafka topic.

Beside it, on the same PostgreSQL (fsync on): COPY of the same rows straight from memory, which is the
ceiling, and COPY of one row a sample into a table with an index over source, series and time, the
layout that most tools use. Also CPU seconds per million values of each process, and bytes on disk
per value with indexes. Broker, store and server share the machine; all sources were seen before.

The path through the broker has a ceiling of its own: paho alone (tests/tools/mqtt_drain.c), which
takes as many messages from a full queue and drops them.
"""

import os
import subprocess

import bench
import servers
from bench import TOOLS, tree_cpu_seconds
from flow import Flow, fill, load_config

SAMPLES = "bench_sample"
BARE_SOURCES = 100  # paho does not care whose a message is
SIZE = "SELECT sum(pg_total_relation_size(inhrelid)) FROM pg_inherits WHERE inhparent = 'snapshot'::regclass"


class Bare:
    """paho, a session and nothing else."""

    def __init__(self, folder, broker, values, sources):
        self.name, self.broker, self.values, self.sources, self.seq = f"bare{values}x{sources}", broker, values, sources, 0
        self.load_config = load_config(folder, self.name, {"url": broker.url, "prefix": self.name + "/v1"})
        self.run(0)

    def run(self, messages):
        command = [os.path.join(TOOLS, "mqtt_drain"), "paho", servers.HOST, str(self.broker.port), self.name + "/v1",
                   self.name, str(messages)]
        if messages:
            return bench.run_json(*command)
        return subprocess.run(command, check=True, stdin=subprocess.DEVNULL)

    def measure(self, events):
        """As Flow.measure()."""
        fill(self.load_config, self.sources, events, self.values, self.seq + 1)
        self.seq += events
        cpu, total = tree_cpu_seconds(self.broker.pid), events * self.sources * self.values
        done = self.run(events * self.sources)
        return total / done["seconds"], {"paho": done["cpu_seconds"] / total * 1e6,
                                         "MQTT": (tree_cpu_seconds(self.broker.pid) - cpu) / total * 1e6}


class Case:
    """One size of events and number of sources."""

    def __init__(self, b, folder, brokers, postgres, values, sources, mosquitto):
        self.b, self.postgres, self.values, self.sources = b, postgres, values, sources
        self.events = max(1, round(4e6 * b.seconds / values / sources))  # of each source
        self.name = f"{values} values an event, {sources} sources"
        self.flows, self.databases = {}, {}
        self.paho = Bare(folder, mosquitto, values, sources) if sources <= BARE_SOURCES else None
        for bus, (url, pid) in brokers.items():
            name = f"{bus.lower()}{values}x{sources}"
            dsn = self.databases[bus] = postgres.create_database(name)
            self.flows[bus] = Flow(folder, name, "latido-store", url, sources, values, "latido_store_values_total", {
                "postgres": {"dsn": dsn}, "store": {"admin": "127.0.0.1:0", "retention": "30d"}},
                {bus: pid, "PostgreSQL": postgres.pid})
        postgres.sql(f"CREATE TABLE {SAMPLES} (time timestamptz NOT NULL, source_id int NOT NULL, series_id int NOT NULL,"
                     f" value float8 NOT NULL); CREATE INDEX ON {SAMPLES} (source_id, series_id, time)",
                     self.database("MQTT"))

    def database(self, bus):
        return next(word[7:] for word in self.databases[bus].split() if word.startswith("dbname="))

    def result(self, name, rate, cpu, size, number, role="subject"):
        self.b.result(1, self.name, name, "values/s", rate, number, role)
        self.b.result(1, self.name, name, "bytes/value", size, number, role)
        for process, seconds in cpu.items():
            self.b.result(1, self.name, f"{name}: {process}", "CPU s/M values", seconds, number)

    def from_bus(self, bus, number):
        database = self.database(bus)
        self.postgres.sql("TRUNCATE snapshot", database)
        empty = int(self.postgres.sql(SIZE, database)[0][0])
        rate, cpu = self.flows[bus].measure(self.events)
        total = self.events * self.sources * self.values
        self.result(f"latido-store from {bus}", rate, cpu,
                    (int(self.postgres.sql(SIZE, database)[0][0]) - empty) / total, number)

        return rate

    def bare(self, number, name, role, events, table=None):
        database = self.database("MQTT")
        size = SIZE if not table else f"SELECT pg_total_relation_size('{table}')"
        self.postgres.sql(f"TRUNCATE {table or 'snapshot'}", database)
        empty, cpu = int(self.postgres.sql(size, database)[0][0]), tree_cpu_seconds(self.postgres.pid)
        done = bench.run_json(os.path.join(TOOLS, "copy_ceiling"), self.databases["MQTT"], events, self.values,
                              min(events, 1000), self.sources, *([table] if table else []))
        self.result(name, done["values"] / done["seconds"],
                    {"PostgreSQL": (tree_cpu_seconds(self.postgres.pid) - cpu) / done["values"] * 1e6},
                    (int(self.postgres.sql(size, database)[0][0]) - empty) / done["values"], number, role)

    def one_round(self, number):
        rates = {bus: self.from_bus(bus, number) for bus in self.flows}
        if self.paho:
            case = f"{self.name}, the path through the broker"
            rate, cpu = self.paho.measure(self.events)
            self.b.result(1, case, "latido-store from MQTT", "values/s", rates["MQTT"], number)
            self.b.result(1, case, "paho drops all", "values/s", rate, number, "ceiling")
            for process, seconds in cpu.items():
                self.b.result(1, case, f"paho drops all: {process}", "CPU s/M values", seconds, number)
        self.bare(number, "COPY, same rows", "ceiling", self.events * self.sources)
        # A tenth: it is that much slower.
        self.bare(number, "COPY, one indexed row a sample", "peer",
                  max(1, self.events * self.sources // 10), SAMPLES)
        self.postgres.sql("CHECKPOINT")

    def close(self):
        for flow in self.flows.values():
            flow.close()


def main():
    b = bench.Bench("ingest", __doc__, rounds=3, seconds=1, extra=[
        ("--values", {"type": int, "nargs": "+", "default": [60, 400]}),
        ("--sources", {"type": int, "nargs": "+", "default": [100, 10000]}),
        ("--no-kafka", {"action": "store_true", "help": "MQTT only"})])
    with bench.Folder() as folder, servers.Mosquitto(folder, queue_bytes=4 << 30) as broker, \
            servers.Postgres(folder, fsync=True, config=bench.POSTGRES_CONFIG) as postgres:
        brokers, kafka = {"MQTT": (broker.url, broker.pid)}, None
        if not b.args.no_kafka:
            kafka = bench.need_kafka()(folder, heap="512m", optimise=True).start()
            brokers["Kafka"] = (kafka.url, kafka.brokers[0].pid)
        try:
            cases = [Case(b, folder, brokers, postgres, values, sources, broker)
                     for values in b.args.values for sources in b.args.sources]
            for number in range(1, b.rounds + 1):
                for case in cases:
                    case.one_round(number)
            for case in cases:
                case.close()
        finally:
            if kafka:
                kafka.close()


if __name__ == "__main__":
    main()
