#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""What one tick of latido-agent costs beside one scrape of node_exporter and one interval of collectd.

Two agents (process states every fifth tick, as by default; and at every tick) publish to a private
Mosquitto while two node_exporters (the same collectors; its defaults) are scraped at the same rate.
CPU time is that of each whole process, in both cases from reading the kernel to the socket: the
agents' MQTT client and node_exporter's HTTP server are in it, broker and scraper are not. collectd, where
it is installed, reads what it has of the same at the same interval and publishes to the same broker.
Each round measures all of them in the same seconds.

Then an agent with the default interval runs alone and its memory is watched (--steady 600: for ten
minutes).
"""

import http.client
import os
import re
import subprocess
import time

import bench
import servers
from bench import BIN, cpu_seconds, memory_kb
from programs import Program

INTERVAL_MS = 100


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


class Collectd:
    """collectd with the plugins that read what the agent's default collectors read, as far as it has them."""

    PLUGINS = ("contextswitch", "cpu", "df", "disk", "interface", "irq", "load", "memory", "processes", "protocols",
               "swap", "uptime", "vmem")

    def __init__(self, folder, broker):
        program = servers.find_program("collectd", "collectd-core")
        config = os.path.join(folder, "collectd.conf")
        with open(config, "w", encoding="utf-8") as f:
            f.write(f'Hostname "collectd"\nFQDNLookup false\nBaseDir "{folder}"\nPIDFile "{folder}/collectd.pid"\n'
                    f'TypesDB "/usr/share/collectd/types.db"\nInterval {INTERVAL_MS / 1000}\n'
                    + "".join(f"LoadPlugin {name}\n" for name in (*self.PLUGINS, "mqtt"))
                    + "<Plugin vmem>\n  Verbose true\n</Plugin>\n<Plugin df>\n  ReportInodes true\n</Plugin>\n"
                    f'<Plugin mqtt>\n  <Publish "bench">\n    Host "127.0.0.1"\n    Port {broker.port}\n'
                    '    ClientId "collectd"\n    Prefix "collectd"\n    StoreRates false\n    QoS 1\n  </Publish>\n'
                    "</Plugin>\n")
        self.log = os.path.join(folder, "collectd.log")
        with open(self.log, "wb") as log:
            self.process = subprocess.Popen([program, "-f", "-C", config], stdin=subprocess.DEVNULL, stdout=log,
                                            stderr=log)
        servers.guard_process(self.process.pid)
        publishing = subprocess.run([servers.find_program("mosquitto_sub", "mosquitto-clients"), "-p", str(broker.port),
                                     "-t", "collectd/#", "-C", "100", "-W", "60", "-F", "%t"], check=False,
                                    stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True)
        if publishing.returncode:
            with open(self.log, encoding="utf-8", errors="replace") as f:
                raise servers.ServerError("collectd publishes nothing:\n" + f.read())

    def close(self):
        self.process.kill()
        self.process.wait()
        servers.unguard_process(self.process.pid)


def collectd_if_installed(folder, broker):
    try:
        servers.find_program("collectd", "collectd-core")
    except servers.ServerError:
        bench.say("collectd is not installed and not measured; infra/deps.sh bench installs it")
        return None
    return Collectd(folder, broker)


def start_agent(folder, broker, label, **keys):
    config = bench.write_config(folder, label, {"bus": {"url": broker.url, "mqtt": {"client_id": label}},
                                                "agent": {"source": label, "admin": "127.0.0.1:0", **keys}})
    return Program(BIN, "latido-agent", folder, config=config, label=label).start().wait_ready()


def output(*command):
    return subprocess.run(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                          text=True, check=True, timeout=60).stdout


def same_collectors():
    """Those of the agent that node_exporter has, too."""
    theirs = re.findall(r"--collector\.(\w+)\s", output(
        servers.find_program("prometheus-node-exporter", "prometheus-node-exporter"), "--help"))
    ours = re.findall(r"^# (\w+):", output(os.path.join(BIN, "latido-agent"), "--list-metrics"), re.M)
    return [name for name in ours if name in theirs]


def measure_round(agents, exporters, collectd, ticks):
    """{name: microseconds of CPU a tick or scrape}, all over the same seconds."""
    theirs = collectd and cpu_seconds(collectd.process.pid)
    cpu = {a.label: cpu_seconds(a.pid) for a in agents}
    before = {a.label: a.value("latido_agent_ticks_total") for a in agents}
    # Asking for /metrics costs the agents CPU time too: taken after the first reading of both, and
    # paid inside the measured time once more at the end.
    spent = {name: 0.0 for name in exporters}
    start = time.monotonic()
    for i in range(ticks):
        for name, exporter in exporters.items():
            begun = cpu_seconds(exporter.process.pid)
            exporter.scrape()
            spent[name] += cpu_seconds(exporter.process.pid) - begun
        rest = start + (i + 1) * INTERVAL_MS / 1000 - time.monotonic()
        if rest > 0:
            time.sleep(rest)
    result = {name: used / ticks * 1e6 for name, used in spent.items()}
    if collectd:
        intervals = (time.monotonic() - start) * 1000 / INTERVAL_MS
        result["collectd"] = (cpu_seconds(collectd.process.pid) - theirs) / intervals * 1e6
    for a in agents:
        done = a.value("latido_agent_ticks_total") - before[a.label]
        result[a.label] = (cpu_seconds(a.pid) - cpu[a.label]) / done * 1e6
    return result


def compare(b, folder, broker):
    every = f"{INTERVAL_MS}ms"
    agents = [start_agent(folder, broker, "agent", interval=every, processes_interval=f"{5 * INTERVAL_MS}ms"),
              start_agent(folder, broker, "agent-processes", interval=every, processes_interval=every)]
    same = [f"--collector.{c}" for c in same_collectors()]
    exporters = {"same": NodeExporter(folder, "same", "--collector.disable-defaults", *same),
                 "defaults": NodeExporter(folder, "defaults")}
    titles = {"agent": "latido-agent, process states every 5th tick", "same": "node_exporter, the same collectors",
              "agent-processes": "latido-agent, process states every tick", "defaults": "node_exporter, defaults",
              "collectd": "collectd, what it has of the same"}
    collectd = collectd_if_installed(folder, broker)
    ticks = max(2, int(b.seconds * 1000 / INTERVAL_MS))
    case = f"every {INTERVAL_MS} ms"
    try:
        pids = {**{a.label: a.pid for a in agents}, **{n: e.process.pid for n, e in exporters.items()}}
        if collectd:
            pids["collectd"] = collectd.process.pid
        counts = {name: e.scrape() for name, e in exporters.items()}
        counts.update({a.label: int(a.value("latido_agent_series")) for a in agents})
        measure_round(agents, exporters, collectd, ticks)  # everything warm
        for number in range(1, b.rounds + 1):
            cpu = measure_round(agents, exporters, collectd, ticks)
            for name in pids:
                title = titles[name]
                role = "subject" if name.startswith("agent") else "peer"
                b.result(5, case, title, "us CPU/tick", cpu[name], number, role)
                if name in counts:
                    b.result(5, case, title, "values", counts[name], number)
                b.result(5, case, title, "MiB resident", memory_kb(pids[name])["VmRSS"] / 1024, number, role)
        b.result(5, case, "processes on this machine", "processes",
                 sum(name.isdigit() for name in os.listdir("/proc")), 1)
    finally:
        for e in [*exporters.values(), *([collectd] if collectd else [])]:
            e.close()
        for a in agents:
            a.kill()


def steady(b, folder, broker):
    """Memory and CPU time of an agent with the default configuration."""
    agent = start_agent(folder, broker, "steady")
    agent.wait(lambda: agent.value("latido_agent_ticks_total") >= 5, 60, "5 ticks")
    start, cpu, first = time.monotonic(), cpu_seconds(agent.pid), memory_kb(agent.pid)
    ticks = agent.value("latido_agent_ticks_total")
    time.sleep(b.args.steady)
    cpu, span = cpu_seconds(agent.pid) - cpu, time.monotonic() - start
    last, ticks = memory_kb(agent.pid), agent.value("latido_agent_ticks_total") - ticks
    missed = agent.value("latido_agent_missed_ticks_total")
    agent.terminate()
    case = f"one agent alone at its default interval for {b.args.steady:.0f} s"
    b.result(5, case, "CPU time", "us CPU/tick", cpu / ticks * 1e6, 1)
    b.result(5, case, "CPU share", "% of a core", cpu / span * 100, 1)
    b.result(5, case, "memory", "MiB resident", last["VmRSS"] / 1024, 1)
    b.result(5, case, "memory at most", "MiB resident", last["VmHWM"] / 1024, 1)
    b.result(5, case, "grown by, anonymous", "KiB", last["RssAnon"] - first["RssAnon"], 1)
    b.result(5, case, "ticks missed", "ticks", missed, 1)


def main():
    b = bench.Bench("agent", __doc__, rounds=5, seconds=3, extra=[
        ("--steady", {"type": float, "default": 20, "metavar": "S"})])
    with bench.Folder() as folder, servers.Mosquitto(folder) as broker:
        compare(b, folder, broker)
        steady(b, folder, broker)


if __name__ == "__main__":
    main()
