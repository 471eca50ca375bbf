#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""latido-alert beside Prometheus: the same 100 rules over the same series at the same rate, in one run.

latido-alert gets one event a second of every source through a private Mosquitto; Debian's prometheus
scrapes the same sources and values once a second and evaluates the same rule file every second.
CPU time and memory are those of each whole process while both work. Then values of single sources
jump over a threshold, at any moment of a second, and the time from publishing that event until the
alert is on the bus is measured, some hundred times a round (median and 99th percentile).

The issue's size is 10 000 sources; their 4 million series need more memory than Prometheus finds on
a small machine, and a broker and a sender beside both. build/release/bench/alert_bench has that size
without bus. Nothing here passes or fails.
"""

import http.server
import json
import os
import random
import subprocess
import sys
import threading
import time

import bench
import servers
from bench import BIN, ROOT, cpu_seconds
from programs import Program

sys.path.insert(0, os.path.join(ROOT, "tests", "integration"))

import pipeline  # noqa: E402

CORES, DISKS, GROUPS = 4, 2, 10
EXPRESSIONS = (
    '1 - avg by (instance) (rate(node_cpu_seconds_total{{mode="idle"}}[1m])) > {high}',
    "node_memory_MemAvailable_bytes / node_memory_MemTotal_bytes * 100 < {low}",
    "node_filesystem_avail_bytes / node_filesystem_size_bytes * 100 < {low}",
    "up < {low}",
    "node_filesystem_files_free / node_filesystem_files < {low}",
    "node_timex_sync_status < {low}",
    "node_filesystem_readonly > {high}",
    "increase(node_vmstat_oom_kill[2m]) > {high}",
    'avg by (instance) (rate(node_cpu_seconds_total{{mode="iowait"}}[1m])) > 1 + {high}',
    "predict_linear(node_filesystem_avail_bytes[2m], 86400) < {low}",
)
MODES = ("idle", "iowait", "irq", "nice", "softirq", "steal", "system", "user")
FILESYSTEM = ("avail_bytes", "files", "files_free", "readonly", "size_bytes")


def rules():
    text = "groups:\n"
    for g in range(GROUPS):
        text += f"- name: g{g}\n  rules:\n"
        for i, expression in enumerate(EXPRESSIONS):
            expr = expression.format(low=0.01 * (g + 1), high=0.9 + 0.01 * g)
            text += f"  - alert: A{g}_{i}\n    expr: '{expr}'\n    for: 2m\n    labels: {{severity: warning}}\n"
    return text + "- name: jump\n  rules:\n  - alert: Jump\n    expr: bench_jump > 0.5\n"


class Fleet:
    """What every source says at a second, as an event's values and as text for a scrape."""

    def __init__(self, series):
        self.names, families = [], []  # names in order of values

        def add(name, keys=(), rows=((),), kind=pipeline.GAUGE):
            families.append(pipeline.family(name, list(keys), rows, kind))
            for row in rows:
                labels = ",".join(f'{k}="{v}"' for k, v in zip(keys, row))
                self.names.append(name + (f"{{{labels}}}" if labels else ""))

        add("bench_jump")
        add("node_cpu_seconds_total", ["cpu", "mode"], [(str(c), m) for c in range(CORES) for m in MODES],
            pipeline.COUNTER)
        for name in FILESYSTEM:
            add("node_filesystem_" + name, ["device", "mountpoint"], [(f"/dev/sd{d}", f"/disk{d}") for d in range(DISKS)])
        for name in ("node_memory_MemAvailable_bytes", "node_memory_MemTotal_bytes", "node_timex_sync_status"):
            add(name)
        add("node_vmstat_oom_kill", kind=pipeline.COUNTER)
        add("node_other", ["i"], [(str(i),) for i in range(series - len(self.names))])
        self.shape = b"".join(families)
        self.jumping, self.texts = set(), {}

    def values(self, source, t):
        out = [1.0 if source in self.jumping else 0.0]
        out += [t * 0.1 + source % 7] * (CORES * len(MODES))
        for name in FILESYSTEM:
            out += [0.0 if name == "readonly" else 1e9 + t % 1000] * DISKS
        out += [4e9 + t % 1000, 8e9, 1.0, 0.0]
        return out + [float(t % 1000 + i) for i in range(len(self.names) - len(out))]

    def text(self, source, t):
        """Kept for a second: writing texts must not take the core that is to be measured."""
        key = (t, source % 7, source in self.jumping)
        text = self.texts.get(key)
        if not text:
            text = "".join(f"{name} {value!r}\n" for name, value in zip(self.names, self.values(source, t))).encode()
            self.texts = {**{k: v for k, v in self.texts.items() if k[0] >= t - 1}, key: text}
        return text


def scrape_server(fleet):
    class Handler(http.server.BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self):
            body = fleet.text(int(self.path.rsplit("/", 1)[1]), int(time.time()))
            self.send_response(200)
            self.send_header("Content-Type", "text/plain; version=0.0.4")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_):
            pass

    class Server(http.server.ThreadingHTTPServer):
        daemon_threads = True

        def handle_error(self, *_):
            pass  # a scrape that Prometheus gave up

    server = Server((servers.HOST, 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    return server


class Sender(threading.Thread):
    """One event a second of every source, spread over the second."""

    def __init__(self, fleet, client, sources):
        super().__init__(daemon=True)
        self.fleet, self.client, self.sources = fleet, client, sources
        self.epoch, self.lock = int(time.time() * 1e6), threading.Lock()
        self.seq = [0] * sources
        self.stopped = threading.Event()
        self.late = 0

    def send(self, source):
        with self.lock:
            self.seq[source] += 1
            payload = pipeline.event(f"node-{source}", self.seq[source], self.fleet.values(source, int(time.time())),
                                     epoch=self.epoch, shape=self.fleet.shape, time_ns=time.time_ns(), interval_ms=1000)
            self.client.send(pipeline.metrics_topic(f"node-{source}"), payload)

    def run(self):
        begin, n = time.monotonic(), 0
        while not self.stopped.is_set():
            wait = begin + n / self.sources - time.monotonic()
            if wait > 0:
                time.sleep(wait)
            elif wait < -1:
                self.late += 1
            self.send(n % self.sources)
            n += 1


def start_prometheus(folder, port, sources, rule_file):
    targets = "".join(f"  - targets: ['{servers.HOST}:{port}']\n    labels: {{instance: node-{s}, "
                      f"__metrics_path__: /s/{s}}}\n" for s in range(sources))
    config = os.path.join(folder, "prometheus.yml")
    with open(config, "w", encoding="utf-8") as f:
        f.write("global: {scrape_interval: 1s, evaluation_interval: 1s}\n"
                f"rule_files: [{rule_file}]\nscrape_configs:\n- job_name: node\n  static_configs:\n{targets}")
    with open(os.path.join(folder, "prometheus.log"), "wb") as log:
        process = subprocess.Popen(
            [servers.find_program("prometheus", "prometheus"), "--config.file", config, "--storage.tsdb.path",
             os.path.join(folder, "tsdb"), "--web.listen-address", f"{servers.HOST}:{servers.free_port()}"],
            stdin=subprocess.DEVNULL, stdout=log, stderr=log)
    servers.guard_process(process.pid)
    return process


def jumps(sender, fleet, client, count):
    """Seconds from the event that crosses the threshold until the alert is on the bus."""
    found, begun, free = [], {}, list(range(sender.sources))
    seen, sent, due, deadline = len(client.messages), 0, 0.0, time.monotonic() + 60 + count / 10
    while len(found) < count:
        now = time.monotonic()
        if now > deadline:
            raise TimeoutError(f"{count - len(found)} of {count} alerts did not come")
        if sent < count and free and now >= due:
            source = free.pop(random.randrange(len(free)))
            fleet.jumping.add(source)
            begun[source] = time.monotonic()
            sender.send(source)
            sent, due = sent + 1, now + random.random() / 25  # at any phase of the rules' second
        for _, payload in client.messages[seen:]:
            seen += 1
            data = json.loads(payload)["data"] if payload else {"labels": {}}
            source = int(data["labels"].get("instance", "-0").rsplit("-", 1)[1])
            if data["labels"].get("alertname") == "Jump" and source in begun:
                if data["state"] == "firing":
                    found.append(now - begun[source])
                    fleet.jumping.discard(source)
                elif data["state"] == "resolved":
                    del begun[source]
                    free.append(source)
        time.sleep(0.002)
    return sorted(found)


def measure(b, number, sender, alert, pids):
    cpu = {name: cpu_seconds(pid) for name, pid in pids.items()}
    begun, late = time.monotonic(), sender.late
    time.sleep(b.seconds)
    span = time.monotonic() - begun
    if sender.late > late:
        bench.say(f"round {number}: the sender was more than a second late; this machine is too busy for this size")
    case = (f"{b.args.sources} sources x {b.args.series} series, one event or scrape a second, "
            f"{GROUPS * len(EXPRESSIONS) + 1} rules every second")
    for name, pid in pids.items():
        role = "subject" if name == "latido-alert" else "peer"
        b.result("alert", case, name, "% of a core", (cpu_seconds(pid) - cpu[name]) / span * 100, number, role)
        b.result("alert", case, name, "MiB resident", bench.memory_kb(pid)["VmRSS"] / 1024, number, role)
    metrics = alert.metrics()
    b.result("alert", case, "latido-alert, a kept series", "bytes/series",
             metrics.value("latido_alert_series_bytes") / metrics.value("latido_alert_series"), number)
    for name, q in (("p50", 0.5), ("p99", 0.99)):
        b.result("alert", case, f"latido-alert, evaluation of a group, {name}", "ms",
                 metrics.quantile("latido_alert_group_seconds", q) * 1000, number)


def main():
    b = bench.Bench("alert", __doc__, rounds=3, seconds=8, extra=[
        ("--" + name, {"type": int, "default": value}) for name, value in
        (("sources", 100), ("series", 400), ("jumps", 300))])
    fleet = Fleet(b.args.series)
    with bench.Folder() as folder, servers.Mosquitto(folder) as broker, servers.Redis(folder) as redis:
        rule_file = os.path.join(folder, "rules.yaml")
        with open(rule_file, "w", encoding="utf-8") as f:
            f.write(rules())
        alert = Program(BIN, "latido-alert", folder, config=bench.write_config(folder, "latido", {
            "bus": {"url": broker.url}, "redis": {"url": redis.url},
            "alert": {"admin": "127.0.0.1:0", "rules": [rule_file], "history": False}})).start().wait_ready()
        client = pipeline.Client(broker, ["latido/v1/alerts/#"])
        sender = Sender(fleet, client, b.args.sources)
        sender.start()
        web = scrape_server(fleet)
        prometheus = start_prometheus(folder, web.server_port, b.args.sources, rule_file)
        time.sleep(15)  # both have what the rules look at
        for number in range(1, b.rounds + 1):
            measure(b, number, sender, alert, {"latido-alert": alert.pid, "prometheus": prometheus.pid})
            latency = jumps(sender, fleet, client, b.args.jumps)
            for name, q in (("p50", 0.5), ("p99", 0.99)):
                b.result("alert", "an event that crosses a threshold", f"event to alert on the bus, {name}", "ms",
                         latency[int(q * (len(latency) - 1))] * 1000, number)
        sender.stopped.set()
        client.close()
        alert.terminate()
        prometheus.terminate()
        prometheus.wait(60)
        web.shutdown()


if __name__ == "__main__":
    main()
