#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""Does it slow down as a site grows?

- Ingest with 10 to 10 000 sources from MQTT, 100 and 10 000 from Kafka (ingest.py has the ceiling beside it).
- The store's sink into tables that hold 1, 10 and 100 million values already, by turns.
- One series of one source over one hour, asked of a database with 10 to 10 000 sources.

The smallest size is the peer: a ratio near 1 means no growth. How the hot state goes with the number
of sources is in the benchmark "hot".
"""

import json
import os
import random
import subprocess
import time

import psycopg2

import bench
import servers
from bench import TOOLS
from flow import Flow

VALUES = 400
QUERIES = 30
STEP_S = 30


class Fill:
    """The store's sink in a process (tests/tools/store_fill.c), into a database of its own."""

    def __init__(self, postgres, name, sources, values):
        self.name, self.dsn, self.sources = name, postgres.create_database(name), sources
        self.process = subprocess.Popen([os.path.join(TOOLS, "store_fill"), self.dsn, str(sources), str(values)],
                                        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        servers.guard_process(self.process.pid)

    def put(self, events, step_ms):
        """So many events of each source; values a second that the sink took."""
        self.process.stdin.write(f"{events} {step_ms}\n")
        self.process.stdin.flush()
        line = self.process.stdout.readline()
        if not line:
            raise servers.ServerError("store_fill ended")
        done = json.loads(line)
        return done["values"] / done["seconds"]

    def close(self):
        self.process.stdin.close()
        self.process.wait(60)
        servers.unguard_process(self.process.pid)


def role(size, sizes):
    return "peer" if size == sizes[0] else "subject"


def ingest(b, folder, postgres):
    with servers.Mosquitto(folder, queue_bytes=4 << 30) as broker:
        buses, kafka = {"MQTT": (broker.url, b.args.sources)}, None
        if not b.args.no_kafka:
            kafka = bench.need_kafka()(folder, heap="512m", optimise=True).start()
            buses["Kafka"] = (kafka.url, b.args.kafka_sources)
        try:
            flows = {}
            for bus, (url, sizes) in buses.items():
                for sources in sizes:
                    name = f"{bus.lower()}{sources}"
                    flows[bus, sources] = Flow(folder, name, "latido-store", url, sources, 60, "latido_store_values_total",
                                               {"postgres": {"dsn": postgres.create_database(name)},
                                                "store": {"admin": "127.0.0.1:0"}}, {})
            for number in range(1, b.rounds + 1):
                for (bus, sources), flow in flows.items():
                    rate, cpu = flow.measure(max(1, round(2e6 * b.seconds / 60 / sources)))
                    for name, unit, value in (("", "values/s", rate),
                                              (", latido-store", "CPU s/M values", cpu["latido-store"])):
                        b.result(6, f"ingest from {bus}, 60 values an event", f"{sources} sources{name}", unit, value,
                                 number, role(sources, buses[bus][1]))
            for flow in flows.values():
                flow.close()
        finally:
            if kafka:
                kafka.close()


def tables(b, postgres):
    """Rates are of a million values put on top of what is there."""
    fills = {millions: Fill(postgres, f"table{millions}", 100, VALUES) for millions in b.args.millions}
    for millions, fill in fills.items():
        fill.put(max(1, round(millions * 1e6 / VALUES / 100)), 1000)
    postgres.sql("CHECKPOINT")
    for number in range(1, b.rounds + 1):
        for millions, fill in fills.items():
            b.result(6, f"the store's sink, {VALUES} values an event, 1000 events a transaction",
                     f"{millions:g} M values in the table", "values/s", fill.put(round(2e6 * b.seconds / VALUES / 100), 0),
                     number, role(millions, b.args.millions))
    for fill in fills.values():
        fill.close()


def ask(cursor, sources):
    """Medians of ms for the last hour of one series of some sources: asked for the first time, and at once again.

    A few sources are in the cache from the round before; of many, the first question reads pages that
    nobody looked at since they were written.
    """
    took = ([], [])
    for _ in range(QUERIES):
        source = f"node{random.randrange(sources)}"
        for times in took:
            begun = time.perf_counter()
            cursor.execute("SELECT time, value FROM latido_series(%s, 'bench_value', '{\"i\": \"7\"}', "
                           "now() - interval '1 hour', now() + interval '1 minute')", (source,))
            rows = len(cursor.fetchall())
            times.append((time.perf_counter() - begun) * 1000)
            if not 1 <= rows <= 3600 // STEP_S:
                raise servers.ServerError(f"{rows} rows instead of at most {3600 // STEP_S}")
    return [sorted(times)[len(times) // 2] for times in took]


def queries(b, postgres):
    cursors = {}
    for sources in b.args.sources:
        fill = Fill(postgres, f"query{sources}", sources, 10)
        fill.put(3600 // STEP_S, STEP_S * 1000)
        fill.close()
        connection = psycopg2.connect(fill.dsn)
        connection.autocommit = True
        cursors[sources] = connection.cursor()
        cursors[sources].execute("VACUUM ANALYZE")
        ask(cursors[sources], sources)
    for number in range(1, b.rounds + 1):
        for sources, cursor in cursors.items():
            first, again = ask(cursor, sources)
            for how, value in (("at once again", again), ("first time", first)):
                b.result(6, f"one series over one hour, one event in {STEP_S} s, {how}", f"{sources} sources", "ms",
                         value, number, role(sources, b.args.sources))


def main():
    b = bench.Bench("growth", __doc__, rounds=3, seconds=1, extra=[
        ("--sources", {"type": int, "nargs": "+", "default": [10, 100, 1000, 10000]}),
        ("--kafka-sources", {"type": int, "nargs": "+", "default": [100, 10000]}),
        ("--no-kafka", {"action": "store_true", "help": "MQTT only"}),
        ("--millions", {"type": float, "nargs": "+", "default": [1, 10, 100]})])
    with bench.Folder() as folder, servers.Postgres(folder, fsync=True, config=bench.POSTGRES_CONFIG) as postgres:
        tables(b, postgres)
        queries(b, postgres)
        ingest(b, folder, postgres)


if __name__ == "__main__":
    main()
