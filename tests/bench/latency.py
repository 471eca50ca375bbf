#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""From the sample to Redis, to COMMIT and to a subscriber, at 10, 50 and 90 % of what this machine carries.

Load, Mosquitto or Kafka, latido-hot, latido-store, a subscriber (tests/tools/lag.c), Redis and PostgreSQL
(fsync on) share the machine. First as many events as fast as it goes, until all three have the last
one: that rate is the capacity. Then the shares of it, by turns. Times count from the moment at which
an event was due, also when it could not be sent then.
"""

import json
import os
import subprocess
import time

import bench
import servers
from bench import BIN, TOOLS
from programs import Metrics, Program

SHARES = (10, 50, 90)
QUANTILES = (("p50", 0.5), ("p99", 0.99), ("p99.9", 0.999))
DONE_S = 300


def since(now, before):
    """The metrics of the time in between."""
    old = {(name, tuple(sorted(labels.items()))): value for name, labels, value in before.samples}
    result = Metrics("")
    result.samples = [(name, labels, value - old.get((name, tuple(sorted(labels.items()))), 0))
                      for name, labels, value in now.samples]
    return result


class Site:
    """latido-hot and latido-store behind one bus, with a database of their own."""

    def __init__(self, b, folder, name, url, redis, postgres):
        self.b, self.folder = b, folder
        bus = {"url": url}
        self.config = bench.write_config(folder, name + "-load", {"bus": {**bus, "mqtt": {"max_inflight": 1000}}})
        if url.startswith("kafka"):
            subprocess.run([os.path.join(BIN, "latido"), "topics", "create", "-c", self.config], check=True,
                           stdout=subprocess.DEVNULL)
        self.store = Program(BIN, "latido-store", folder, label=name + "-store", config=bench.write_config(
            folder, name + "-store", {"bus": bus, "postgres": {"dsn": postgres.create_database(name)},
                                      "store": {"admin": "127.0.0.1:0"}})).start().wait_ready()
        self.hot = Program(BIN, "latido-hot", folder, label=name + "-hot", config=bench.write_config(
            folder, name + "-hot", {"bus": bus, "redis": {"url": redis.url}, "hot": {"admin": "127.0.0.1:0"}})
            ).start().wait_ready()

    def lag(self):
        process = subprocess.Popen([os.path.join(TOOLS, "lag"), self.config], stdin=subprocess.DEVNULL,
                                   stdout=subprocess.PIPE, text=True)
        servers.guard_process(process.pid)
        if process.stdout.readline() != "ready\n":
            raise servers.ServerError("the subscriber does not come up")
        return process

    def run(self, *how):
        """(report of the load, subscriber's, hot's and store's metrics of that time, seconds until all was done)."""
        lag, hot, store, begun = self.lag(), self.hot.metrics(), self.store.metrics(), time.monotonic()
        run = subprocess.run([os.path.join(BIN, "latido-load"), "simulate", "-c", self.config, "--quiet", "--ack", "broker",
                              "--sources", str(self.b.args.sources), "--series", str(self.b.args.series), *how], check=False,
                             stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True)
        report = json.loads(run.stdout)
        if run.returncode:
            raise servers.ServerError(f"latido-load: not every event was acknowledged: {report['events']}")
        sent = report["events"]["sent"]
        servers.wait_until(lambda: self.hot.value("latido_hot_events_total") >= self.total(hot, "hot") + sent
                           and self.store.value("latido_store_events_total") >= self.total(store, "store") + sent,
                           DONE_S, "all events are in Redis and PostgreSQL")
        seconds = time.monotonic() - begun
        lag.terminate()
        subscriber = json.loads(lag.communicate(timeout=60)[0])
        servers.unguard_process(lag.pid)
        return report, subscriber, since(self.hot.metrics(), hot), since(self.store.metrics(), store), seconds

    @staticmethod
    def total(metrics, who):
        try:
            return metrics.value(f"latido_{who}_events_total")
        except KeyError:
            return 0


def measure(b, site, bus, rate, share, number):
    report, subscriber, hot, store, _ = site.run("--rate", str(rate), "--duration", f"{b.seconds:g}s")
    case = f"{bus}, {b.args.sources} sources, {b.args.series} values an event, {share} % of capacity"
    took = {
        "subscriber": lambda name, _: subscriber[name],
        "Redis": lambda _, q: hot.quantile("latido_hot_event_to_redis_seconds", q) * 1000,
        "COMMIT": lambda _, q: store.quantile("latido_store_event_to_commit_seconds", q) * 1000,
        "broker's answer": lambda name, _: report["latency_ms"]["broker"][name]}
    for where, value in took.items():
        for name, q in QUANTILES:
            b.result(4, case, f"sample to {where}, {name}", "ms", value(name, q), number)


def main():
    b = bench.Bench("latency", __doc__, rounds=2, seconds=5, extra=[
        ("--sources", {"type": int, "default": 100}), ("--series", {"type": int, "default": 400}),
        ("--no-kafka", {"action": "store_true", "help": "MQTT only"})])
    with bench.Folder() as folder, servers.Mosquitto(folder, queue_bytes=4 << 30) as broker, \
            servers.Redis(folder) as redis, servers.Postgres(folder, fsync=True, config=bench.POSTGRES_CONFIG) as postgres:
        buses, kafka = {"MQTT": broker.url}, None
        if not b.args.no_kafka:
            kafka = bench.need_kafka()(folder, heap="512m", optimise=True).start()
            buses["Kafka"] = kafka.url
        try:
            sites, rates = {}, {}
            for bus, url in buses.items():
                site = sites[bus] = Site(b, folder, bus.lower(), url, redis, postgres)
                site.run("--rate", "1000", "--count", "2000")  # sources and shapes are known, everything is warm
                report, *_, seconds = site.run("--flat-out", "--duration", f"{b.seconds:g}s")
                rates[bus] = report["events"]["sent"] / seconds
                b.result(4, f"{bus}, {b.args.sources} sources, {b.args.series} values an event",
                         "capacity: load, broker, hot, store, a subscriber", "events/s", rates[bus], 1)
            for number in range(1, b.rounds + 1):
                for share in SHARES:
                    for bus, site in sites.items():
                        measure(b, site, bus, max(1, round(rates[bus] * share / 100)), share, number)
            for site in sites.values():
                site.store.terminate()
                site.hot.terminate()
        finally:
            if kafka:
                kafka.close()


if __name__ == "__main__":
    main()
