#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""latido-alert beside Prometheus: the same 100 rules over the same series at the same rate, in one run.

One program (tests/tools/alert_fleet.c) is all sources: it publishes an event of each to a private
Mosquitto every --interval seconds, and answers as many scrapes with the same values for Debian's
prometheus. Both evaluate the same rule file every --evaluate seconds, over the same windows. CPU time
and memory are those of each whole process while both work; what one of them left out (scrapes,
evaluations) is said. Then values of single sources jump over a threshold, and the time from
publishing that event until the alert is on the bus is measured (median and 99th percentile): at any
moment of a second, and with all sources at the full second, as agents send.

--sizes (ALERT_SIZES) has the cases. "big" is the issue's 10 000 sources: their 4 million series need 12 GiB
in Prometheus, which can scrape them only every 30 s on two cores; it takes about five minutes.
build/release/bench/alert_bench has that size at one event a second, without bus. Nothing here passes
or fails.
"""

import json
import os
import queue
import random
import subprocess
import sys
import threading
import time
import urllib.request

import bench
import servers
from bench import BIN, ROOT, TOOLS, cpu_seconds
from programs import Metrics, Program

sys.path.insert(0, os.path.join(ROOT, "tests", "integration"))

import pipeline  # noqa: E402

SIZES, BIG = "100:1:1,1000:10:10", "10000:60:60"
GROUPS = 10
# {short}, {long}: windows of at least one and two minutes, and four samples.
EXPRESSIONS = (
    '1 - avg by (instance) (rate(node_cpu_seconds_total{{mode="idle"}}[{short}s])) > {high}',
    "node_memory_MemAvailable_bytes / node_memory_MemTotal_bytes * 100 < {low}",
    "node_filesystem_avail_bytes / node_filesystem_size_bytes * 100 < {low}",
    "up < {low}",
    "node_filesystem_files_free / node_filesystem_files < {low}",
    "node_timex_sync_status < {low}",
    "node_filesystem_readonly > {high}",
    "increase(node_vmstat_oom_kill[{long}s]) > {high}",
    'avg by (instance) (rate(node_cpu_seconds_total{{mode="iowait"}}[{short}s])) > 1 + {high}',
    "predict_linear(node_filesystem_avail_bytes[{long}s], 86400) < {low}",
)
HOLD_S = 2.5  # a value stays above the threshold for so long: evaluations see it too


def rules(interval):
    text = "groups:\n"
    for g in range(GROUPS):
        text += f"- name: g{g}\n  rules:\n"
        for i, expression in enumerate(EXPRESSIONS):
            expr = expression.format(low=0.01 * (g + 1), high=0.9 + 0.01 * g, short=int(max(60, 4 * interval)),
                                     long=int(max(120, 4 * interval)))
            text += f"  - alert: A{g}_{i}\n    expr: '{expr}'\n    for: 2m\n    labels: {{severity: warning}}\n"
    return text + "- name: jump\n  interval: 1s\n  rules:\n  - alert: Jump\n    expr: bench_jump > 0.5\n"


class Fleet:
    """All sources: a process that is told what to do, line by line."""

    def __init__(self, folder, broker, sources, series, interval):
        config = bench.write_config(folder, "fleet", {"bus": {"url": broker.url, "mqtt": {"max_inflight": 1000}}})
        self.process = subprocess.Popen(
            [os.path.join(TOOLS, "alert_fleet"), config, str(sources), str(series), str(int(interval * 1000))],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=1)
        servers.guard_process(self.process.pid)
        self.jumped, self.answers = queue.Queue(), queue.Queue()
        self.port = int(self.process.stdout.readline().split()[1])
        threading.Thread(target=self.read, daemon=True).start()

    def read(self):
        for line in self.process.stdout:
            (self.jumped if line.startswith("jumped") else self.answers).put(line.split()[1:])

    def tell(self, order):
        self.process.stdin.write(order + "\n")

    def count(self):
        """Events sent, of these acknowledged, scrapes, how late the latest event was in ms."""
        self.tell("count")
        return [int(x) for x in self.answers.get(timeout=60)]

    def close(self):
        self.process.stdin.close()
        self.process.wait(60)


class Prometheus:
    name = "prometheus"

    def __init__(self, folder, fleet, sources, interval, evaluate, rule_file):
        targets = "".join(f"  - targets: ['{servers.HOST}:{fleet.port}']\n    labels: {{instance: n{s}, "
                          f"__metrics_path__: /s/{s}}}\n" for s in range(sources))
        config = os.path.join(folder, "prometheus.yml")
        with open(config, "w", encoding="utf-8") as f:
            f.write(f"global: {{scrape_interval: {int(interval * 1000)}ms, evaluation_interval: {evaluate}s}}\n"
                    f"rule_files: [{rule_file}]\nscrape_configs:\n- job_name: node\n  static_configs:\n{targets}")
        self.url = f"http://{servers.HOST}:{servers.free_port()}"
        with open(os.path.join(folder, "prometheus.log"), "wb") as log:
            self.process = subprocess.Popen(
                [servers.find_program("prometheus", "prometheus"), "--config.file", config, "--storage.tsdb.path",
                 os.path.join(folder, "tsdb"), "--web.listen-address", self.url[7:]],
                stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        servers.guard_process(self.process.pid)
        self.pid = self.process.pid

    def metrics(self):
        with urllib.request.urlopen(self.url + "/metrics", timeout=60) as answer:
            return Metrics(answer.read().decode())

    def close(self):
        """What it has written goes with the folder: it need not write the rest."""
        self.process.kill()
        self.process.wait(60)


class Jumps:
    """Sources whose values cross a threshold for some seconds, and when their alerts came."""

    def __init__(self, fleet, broker, sources):
        self.fleet, self.free = fleet, list(range(sources))
        self.begun, self.fired, self.back, self.alerts = {}, {}, [], queue.SimpleQueue()
        self.client = pipeline.Client(broker, ["latido/v1/alerts/#"])
        self.client.client.on_message = lambda _c, _u, m: self.alerts.put((time.monotonic_ns(), m.payload))

    def look(self, found):
        # What a process said last may be read first.
        while not self.fleet.jumped.empty():
            source, at_ns = self.fleet.jumped.get()
            self.begun[int(source)] = int(at_ns)
        while not self.alerts.empty():
            at_ns, payload = self.alerts.get()
            data = json.loads(payload)["data"] if payload else {"labels": {}}
            if data["labels"].get("alertname") != "Jump":
                continue
            source = int(data["labels"]["instance"][1:])
            if data["state"] == "firing":
                self.fired[source] = at_ns
            else:
                self.free.append(source)
        for source in self.fired.keys() & self.begun.keys():
            found.append((self.fired.pop(source) - self.begun.pop(source)) / 1e9)
            self.back.append((time.monotonic() + HOLD_S, source))
        while self.back and self.back[0][0] < time.monotonic():
            self.fleet.tell(f"back {self.back.pop(0)[1]}")

    def run(self, count, rate):
        """Seconds from event to alert of so many jumps, sorted."""
        found, sent, due = [], 0, 0.0
        deadline = time.monotonic() + 60 + 10 * count / rate
        while len(found) < count:
            now = time.monotonic()
            if now > deadline:
                raise TimeoutError(f"{count - len(found)} of {count} alerts did not come")
            if sent < count and self.free and now >= due:
                self.fleet.tell(f"jump {self.free.pop(random.randrange(len(self.free)))}")
                sent, due = sent + 1, now + random.random() * 2 / rate
            self.look(found)
            time.sleep(0.005)
        return sorted(found)


class Case:
    """One size: everything that belongs to it runs while it is measured."""

    def __init__(self, b, sources, interval, evaluate):
        self.b, self.sources, self.interval, self.evaluate = b, sources, interval, evaluate
        self.name = (f"{sources} sources x {b.args.series} series, an event or scrape every {interval:g} s, "
                     f"{GROUPS * len(EXPRESSIONS)} rules every {evaluate} s")

    def result(self, what, unit, value, number, role="subject"):
        self.b.result("alert", self.name, what, unit, value, number, role)

    def share(self, what, program, name, a_second, before, number):
        """What came of what should have come since then."""
        came, span = program.metrics().value(name) - before[1], time.monotonic() - before[0]
        self.result(f"{program.name}, {what}", "% of planned", came / (a_second * span) * 100, number)

    def measure(self, number, fleet, alert, prometheus):
        evaluations = GROUPS * len(EXPRESSIONS) / self.evaluate + 1
        plans = [("events", alert, "latido_alert_events_total", self.sources / self.interval),
                 ("evaluations", alert, "latido_alert_evaluations_total", evaluations)]
        if prometheus:  # the five series that a scrape adds are samples, too
            plans += [("scraped samples", prometheus, "prometheus_tsdb_head_samples_appended_total",
                       self.sources / self.interval * (self.b.args.series + 5)),
                      ("evaluations", prometheus, "prometheus_rule_evaluations_total", evaluations)]
        programs = ((alert, "subject"), (prometheus, "peer"))[:2 if prometheus else 1]
        fleet.count()
        cpu = {p: (cpu_seconds(p.pid), time.monotonic()) for p, _ in programs}
        before = [(time.monotonic(), program.metrics().value(name)) for _, program, name, _ in plans]
        time.sleep(self.b.seconds if self.interval <= 1 else max(self.b.seconds, 2 * self.interval))
        for p, role in programs:
            used, span = cpu_seconds(p.pid) - cpu[p][0], time.monotonic() - cpu[p][1]
            self.result(p.name, "% of a core", used / span * 100, number, role)
            self.result(p.name, "MiB resident", bench.memory_kb(p.pid)["VmRSS"] / 1024, number, role)
        for plan, had in zip(plans, before):
            self.share(*plan, had, number)
        late_ms = fleet.count()[3]
        if late_ms > 1000:
            bench.say(f"round {number}: an event was sent {late_ms} ms late; this machine is too busy for this size")
        metrics, peer = alert.metrics(), prometheus and prometheus.metrics()
        self.result("latido-alert, a kept series", "bytes/series",
                    metrics.value("latido_alert_series_bytes") / metrics.value("latido_alert_series"), number)
        for name, q in (("p50", 0.5), ("p99", 0.99)):
            self.result(f"latido-alert, evaluation of a group, {name}", "ms",
                        metrics.quantile("latido_alert_group_seconds", q) * 1000, number)
            if peer:
                self.result(f"prometheus, evaluation of a group, {name}", "ms",
                            peer.value("prometheus_rule_group_duration_seconds", quantile=str(q)) * 1000, number)

    def latency(self, how, jumps, number):
        found = jumps.run(self.b.args.jumps, self.b.args.rate)
        for name, q in (("p50", 0.5), ("p99", 0.99)):
            self.result(f"event to alert on the bus, {how}, {name}", "ms", found[int(q * (len(found) - 1))] * 1000, number)

    def run(self):
        with bench.Folder() as folder, servers.Mosquitto(folder) as broker, servers.Redis(folder) as redis:
            rule_file = os.path.join(folder, "rules.yaml")
            with open(rule_file, "w", encoding="utf-8") as f:
                f.write(rules(self.interval))
            alert = Program(BIN, "latido-alert", folder, config=bench.write_config(folder, "latido", {
                "bus": {"url": broker.url}, "redis": {"url": redis.url},
                "alert": {"admin": "127.0.0.1:0", "rules": [rule_file], "history": False,
                          "interval": f"{self.evaluate}s"}})).start().wait_ready()
            fleet = Fleet(folder, broker, self.sources, self.b.args.series, self.interval)
            jumps = Jumps(fleet, broker, self.sources)
            fleet.tell("begin")
            prometheus = None
            if not self.b.args.alone:
                prometheus = Prometheus(folder, fleet, self.sources, self.interval, self.evaluate, rule_file)
            time.sleep(max(15, 2.5 * self.interval))  # both have what the rules look at
            for number in range(1, self.b.rounds + 1):
                self.measure(number, fleet, alert, prometheus)
                self.latency("at any moment", jumps, number)
            if self.interval <= 1:
                fleet.tell("together")
                time.sleep(3)
                for number in range(1, self.b.rounds + 1):
                    self.latency("all at the full second", jumps, number)
            fleet.close()
            jumps.client.close()
            alert.terminate()
            if prometheus:
                prometheus.close()


def main():
    b = bench.Bench("alert", __doc__, rounds=2, seconds=8, extra=[
        ("--sizes", {"default": os.environ.get("ALERT_SIZES", SIZES), "metavar": "SOURCES:INTERVAL:EVALUATE,...",
                     "help": f"default: ALERT_SIZES or {SIZES}; big: {BIG}, one round"}),
        ("--alone", {"action": "store_true", "help": "without Prometheus"}),
        ("--series", {"type": int, "default": 400}),
        ("--jumps", {"type": int, "default": 200, "help": "a round"}),
        ("--rate", {"type": float, "default": 25, "help": "jumps a second"})])
    if b.args.sizes == "big":
        b.args.sizes, b.rounds = BIG, 1
    for size in b.args.sizes.split(","):
        sources, interval, evaluate = size.split(":")
        Case(b, int(sources), float(interval), int(evaluate)).run()


if __name__ == "__main__":
    main()
