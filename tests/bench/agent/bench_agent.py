#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""What one tick of latido-agent costs beside one scrape of node_exporter, on this machine, in one run.

Two agents (process states every fifth tick, as by default; and at every tick) publish to a private
Mosquitto while two node_exporters (the same collectors; its defaults) are scraped at the same rate.
CPU time is that of each whole process, in both cases from reading the kernel to the socket: the
agents' MQTT client and node_exporter's HTTP server are in it, broker and scraper are not. Each round
measures all four in the same seconds; the medians of the rounds are shown.

Then a third agent with the default interval runs alone and its memory is watched.

Environment: BENCH_ROUNDS (7), BENCH_INTERVAL_MS (100), BENCH_SECONDS (20; 600 for ten minutes),
LATIDO_BIN (build/release/bin). Nothing here passes or fails; the exit code says only if it ran.
"""

import http.client
import os
import re
import statistics
import subprocess
import sys
import time

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__)))))
sys.path.insert(0, os.path.join(ROOT, "infra", "local"))

import servers  # noqa: E402
from programs import Program, yaml_config  # noqa: E402

BIN = os.path.abspath(os.environ.get("LATIDO_BIN") or os.path.join(ROOT, "build", "release", "bin"))
ROUNDS = int(os.environ.get("BENCH_ROUNDS", "7"))
INTERVAL_MS = int(os.environ.get("BENCH_INTERVAL_MS", "100"))
SECONDS = float(os.environ.get("BENCH_SECONDS", "20"))
TICKS = 30
AIM = 0.25
RSS_AIM_KB = 8192


def cpu_seconds(pid):
    """CPU time of a process with all its threads, also those that have ended; clock_getcpuclockid(3)."""
    return time.clock_gettime((~pid << 3) | 2)


def memory_kb(pid):
    with open(f"/proc/{pid}/status", encoding="ascii", errors="replace") as f:
        found = dict(re.findall(r"^(VmRSS|RssAnon|VmHWM):\s+(\d+) kB", f.read(), re.M))
    return {k: int(v) for k, v in found.items()}


class NodeExporter:
    def __init__(self, folder, name, *args):
        self.port = servers.free_port()
        program = servers.find_program("prometheus-node-exporter", "prometheus-node-exporter")
        with open(os.path.join(folder, name + ".log"), "wb") as log:
            self.process = subprocess.Popen([program, f"--web.listen-address=127.0.0.1:{self.port}", *args],
                                            stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        servers.guard_process(self.process.pid)
        self.connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)
        servers.wait_until(self.answers, 60, f"{name} answers")

    def answers(self):
        try:
            return self.scrape() > 0
        except OSError:
            self.connection.close()
            return False

    def scrape(self):
        """Number of node_ samples; the connection is kept, as Prometheus does."""
        self.connection.request("GET", "/metrics")
        return len(re.findall(rb"^node_", self.connection.getresponse().read(), re.M))

    def close(self):
        self.connection.close()
        self.process.kill()
        self.process.wait()
        servers.unguard_process(self.process.pid)


def start_agent(folder, broker, label, **keys):
    config = os.path.join(folder, label + ".yaml")
    with open(config, "w", encoding="utf-8") as f:
        f.write(yaml_config({"bus": {"url": broker.url, "mqtt": {"client_id": label}},
                             "agent": {"source": label, "admin": "127.0.0.1:0", **keys}}))
    return Program(BIN, "latido-agent", folder, config=config, label=label).start().wait_ready()


def own_collectors():
    text = subprocess.run([os.path.join(BIN, "latido-agent"), "--list-metrics"], stdin=subprocess.DEVNULL,
                          capture_output=True, text=True, check=True, timeout=60).stdout
    return re.findall(r"^# (\w+):", text, re.M)


def measure_round(agents, exporters):
    """{name: microseconds of CPU a tick or scrape}, all over the same seconds."""
    cpu = {a.label: cpu_seconds(a.pid) for a in agents}
    ticks = {a.label: a.value("latido_agent_ticks_total") for a in agents}
    # Asking for /metrics costs the agents CPU time too: taken after the first reading of both, and
    # paid inside the measured time once more at the end.
    spent = {name: 0.0 for name in exporters}
    start = time.monotonic()
    for i in range(TICKS):
        for name, exporter in exporters.items():
            before = cpu_seconds(exporter.process.pid)
            exporter.scrape()
            spent[name] += cpu_seconds(exporter.process.pid) - before
        rest = start + (i + 1) * INTERVAL_MS / 1000 - time.monotonic()
        if rest > 0:
            time.sleep(rest)
    result = {}
    for a in agents:
        done = a.value("latido_agent_ticks_total") - ticks[a.label]
        result[a.label] = (cpu_seconds(a.pid) - cpu[a.label]) / done * 1e6
    for name in exporters:
        result[name] = spent[name] / TICKS * 1e6
    return result


def spread(values):
    return f"{statistics.median(values):8.0f}  ({min(values):.0f} - {max(values):.0f})"


def compare(folder, broker):
    every = f"{INTERVAL_MS}ms"
    agents = [start_agent(folder, broker, "agent", interval=every, processes_interval=f"{5 * INTERVAL_MS}ms"),
              start_agent(folder, broker, "agent-processes", interval=every, processes_interval=every)]
    same = [f"--collector.{c}" for c in own_collectors()]
    exporters = {"same": NodeExporter(folder, "same", "--collector.disable-defaults", *same),
                 "defaults": NodeExporter(folder, "defaults")}
    try:
        counts = {name: e.scrape() for name, e in exporters.items()}
        counts.update({a.label: int(a.value("latido_agent_series")) for a in agents})
        measure_round(agents, exporters)  # everything warm
        rounds = [measure_round(agents, exporters) for _ in range(ROUNDS)]
    finally:
        for e in exporters.values():
            e.close()
        for a in agents:
            a.kill()
    processes = sum(name.isdigit() for name in os.listdir("/proc"))
    titles = {"agent": "latido-agent, process states every 5th tick", "same": "node_exporter, the same collectors",
              "agent-processes": "latido-agent, process states every tick", "defaults": "node_exporter, defaults"}
    print(f"{processes} processes, {os.cpu_count()} CPUs, every {INTERVAL_MS} ms, {ROUNDS} rounds of {TICKS}; "
          "us of CPU a tick or scrape: median (least - most)")
    for name, title in titles.items():
        print(f"  {title:46} {counts[name]:5} values {spread([r[name] for r in rounds])}")
    print("ratio, median of the rounds; to be at most a quarter:")
    for a in ("agent", "agent-processes"):
        for e in ("same", "defaults"):
            ratio = statistics.median(r[a] / r[e] for r in rounds)
            print(f"  {titles[a]} / {titles[e]}: {ratio:.3f}{'' if ratio <= AIM else '   ABOVE'}")


def steady(folder, broker):
    """Memory and CPU time of an agent with the default configuration over SECONDS."""
    agent = start_agent(folder, broker, "steady")
    try:
        agent.wait(lambda: agent.value("latido_agent_ticks_total") >= 5, 60, "5 ticks")
        start, cpu, first = time.monotonic(), cpu_seconds(agent.pid), memory_kb(agent.pid)
        ticks = agent.value("latido_agent_ticks_total")
        points = [first]
        print(f"memory over {SECONDS:.0f} s at the default interval (RSS kB / of it anonymous):")
        for i in range(1, 11):
            time.sleep(max(0.0, start + SECONDS * i / 10 - time.monotonic()))
            points.append(memory_kb(agent.pid))
        metrics = agent.metrics()
        ticks = metrics.value("latido_agent_ticks_total") - ticks
        cpu = cpu_seconds(agent.pid) - cpu
        print("  " + "  ".join(f"{p['VmRSS']}/{p['RssAnon']}" for p in points))
        last = points[-1]
        print(f"  most {last['VmHWM']} kB{'' if last['VmHWM'] <= RSS_AIM_KB else '   ABOVE 8 MB'}; "
              f"grown by {last['VmRSS'] - first['VmRSS']} kB, anonymous by {last['RssAnon'] - first['RssAnon']} kB, "
              f"in the second half by {last['RssAnon'] - points[5]['RssAnon']} kB")
        print(f"  {ticks:.0f} ticks, {metrics.value('latido_agent_missed_ticks_total'):.0f} missed, "
              f"{cpu / ticks * 1e6:.0f} us of CPU a tick, {cpu / SECONDS * 100:.3f} % of one CPU")
        agent.terminate()
    finally:
        agent.kill()


def main():
    folder = servers.private_folder("latido-bench-")
    try:
        with servers.Mosquitto(folder) as broker:
            compare(folder, broker)
            steady(folder, broker)
    finally:
        servers.remove_folder(folder)


if __name__ == "__main__":
    main()
