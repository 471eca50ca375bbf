# SPDX-License-Identifier: MIT
"""The agent against the real node_exporter: same names, label sets, types and values.

On this machine both read at different instants, so the agent samples between two scrapes: counters
must lie between the two, gauges in the range of the two widened by a stated slack. Machines that
are busy with other things make that fail now and then without anybody being wrong, so there are
several rounds, and each series has to pass in one of them; one that is wrong passes in none.

On the tree tests/data/proc/server both read the same files, and values must be equal.
"""

import fnmatch
import http.client
import json
import math
import os
import re
import shutil
import subprocess

import pytest

import servers
from conftest import ROOT

SERVER = os.path.join(ROOT, "tests", "data", "proc", "server")
GAP = os.path.join(ROOT, "docs", "node_exporter-gap.md")
ROUNDS = 20
MIB = 1 << 20

# How far a gauge may be outside of the two scrapes, by pattern; the first that matches. Nothing
# here is about speed: it is what other programs change in the milliseconds between two readings.
SLACK = [
    ("node_cpu_seconds_total{*mode=\"idle\"*", 0.05),    # the kernel's idle time slips back
    ("node_cpu_seconds_total{*mode=\"iowait\"*", 0.05),
    ("node_load*", 0.5),
    ("node_memory_HugePages_*", 0),
    ("node_memory_*_bytes", 64 * MIB),
    ("node_filesystem_files_free*", 5000),
    ("node_filesystem_*_bytes*", 64 * MIB),
    ("node_procs_*", 20),
    ("node_processes_*", 40),
    ("node_sockstat_*_bytes", 4 * MIB),
    ("node_sockstat_*_mem", 1024),
    ("node_sockstat_*", 40),
    ("node_netstat_Tcp_CurrEstab", 40),
    ("node_disk_io_now*", 64),
    ("node_timex_*", 1e-3),
    ("*", 0),
]

# What the agent shows on purpose and node_exporter does not (README, latido-agent(1)).
ZERO_STATES = ("node_processes_state", "node_processes_threads_state")

_SERIES = re.compile(r'^([a-zA-Z_:][a-zA-Z0-9_:]*)(?:\{(.*)\})?$')
_LABEL = re.compile(r'([a-zA-Z_][a-zA-Z0-9_]*)="((?:[^"\\]|\\.)*)"')


def canonical(series):
    name, labels = _SERIES.match(series).groups()
    if not labels:
        return name
    return name + "{" + ",".join(f'{k}="{v}"' for k, v in sorted(_LABEL.findall(labels))) + "}"


def name_of(series):
    return series.split("{", 1)[0]


def slack_of(series):
    return next(slack for pattern, slack in SLACK if fnmatch.fnmatchcase(series, pattern.replace("[", "[[]")))


class NodeExporter:
    def __init__(self, log, *args):
        self.log = log
        self.args = args
        self.port = servers.free_port()

    def __enter__(self):
        program = servers.find_program("prometheus-node-exporter", "prometheus-node-exporter")
        with open(self.log, "wb") as log:
            self.process = subprocess.Popen(
                [program, f"--web.listen-address=127.0.0.1:{self.port}", *self.args],
                stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        servers.guard_process(self.process.pid)
        servers.wait_until(self.answers, 60, "node_exporter answers")
        return self

    def __exit__(self, *_):
        self.process.kill()
        self.process.wait()
        servers.unguard_process(self.process.pid)

    def answers(self):
        try:
            return bool(self.get("/"))
        except OSError:
            return False

    def get(self, path):
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)
        try:
            connection.request("GET", path)
            return connection.getresponse().read().decode()
        finally:
            connection.close()

    def scrape(self, *collectors):
        """({series: value}, {name: type}) of its own metrics, without those of the Go runtime."""
        query = "&".join(f"collect[]={c}" for c in collectors)
        values, types = {}, {}
        for line in self.get("/metrics" + ("?" + query if query else "")).splitlines():
            if line.startswith("# TYPE node_"):
                _, _, name, kind = line.split()
                types[name] = kind
            elif line.startswith("node_"):
                series, value = line.rsplit(" ", 1)
                values[canonical(series)] = float(value)
        return values, types


@pytest.fixture
def snapshot(bin_folder, write_config):
    """One snapshot of the agent: ({series: value}, {name: type})."""
    def take(agent=None):
        result = subprocess.run(
            [os.path.join(bin_folder, "latido-agent"), "--config", write_config({"agent": agent or {"admin": ""}}),
             "--once", "--print"],
            stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=120, check=False)
        assert result.returncode == 0, result.stderr
        event = json.loads(result.stdout)
        special = {None: math.nan, "+Inf": math.inf, "-Inf": -math.inf}
        values = {canonical(s): special[v] if v is None or isinstance(v, str) else float(v)
                  for s, v in event["metrics"].items()}
        types = {name_of(s): event["types"].get(name_of(s), "untyped") for s in values}
        return values, types
    return take


def without_zero_states(values, reference):
    """Without the states that no process is in, which node_exporter leaves out; NaN is no value."""
    return {s: v for s, v in values.items()
            if not math.isnan(v) and not (name_of(s) in ZERO_STATES and v == 0 and s not in reference)}


def test_live(tmp_path, snapshot):
    passed, problems = set(), {}
    types_agent, types_reference = {}, {}
    with NodeExporter(tmp_path / "node_exporter.log", "--collector.processes") as reference:
        for _ in range(ROUNDS):
            before, types_reference = reference.scrape()
            agent, types_agent = snapshot()
            after, _ = reference.scrape()
            names = {name_of(s) for s in agent} & {name_of(s) for s in before}
            problems = compare_round(names, agent, before, after, types_agent, types_reference, passed)
            if not problems:
                break
    assert not problems, "in no round of %d:\n%s" % (ROUNDS, "\n".join(f"{s}: {p}" for s, p in problems.items()))
    # This machine has at least what every Linux has; otherwise the comparison proves nothing.
    assert {"node_cpu_seconds_total", "node_memory_MemTotal_bytes", "node_load1", "node_uname_info",
            "node_context_switches_total", "node_time_seconds"} <= names
    only_agent = sorted(set(types_agent) - set(types_reference))
    print(f"\n{len(names)} metrics compared; only the agent has here: {', '.join(only_agent) or 'none'}")
    # Whatever it emits under a node_ name is node_exporter's.
    assert not [n for n in only_agent if n.startswith("node_")], only_agent


def compare_round(names, agent, before, after, types_agent, types_reference, passed):
    """Adds what passes to `passed`; returns {series: problem} for what has not passed yet."""
    problems = {}
    agent = without_zero_states(agent, before)
    for name in sorted(names):
        if types_agent[name] != types_reference[name]:
            problems[name] = f"type {types_agent[name]}, node_exporter's is {types_reference[name]}"
    wanted = {s for s in before.keys() & after.keys() if name_of(s) in names}
    have = {s for s in agent if name_of(s) in names}
    for series in wanted - have - passed:
        problems[series] = "missing"
    for series in have - before.keys() - after.keys():
        problems[series] = "node_exporter does not have it"
    for series in wanted & have - passed:
        low, high = sorted((before[series], after[series]))
        slack = slack_of(series)
        if low - slack <= agent[series] <= high + slack:
            passed.add(series)
        else:
            problems[series] = f"{agent[series]!r} is not in [{low!r}, {high!r}] with slack {slack!r}"
    return problems


# ---- the tree of files ----


def test_same_files(tmp_path, snapshot):
    tree = str(tmp_path / "server")
    rootfs = f"{tree}/root"
    shutil.copytree(SERVER, tree, symlinks=True)
    with NodeExporter(tmp_path / "node_exporter.log", "--collector.processes", f"--path.procfs={tree}/proc",
                      f"--path.sysfs={tree}/sys", f"--path.rootfs={rootfs}",
                      f"--path.udev.data={rootfs}/run/udev/data", "--no-collector.netdev.netlink") as reference:
        expected, types_reference = reference.scrape()
    agent, types_agent = snapshot({"admin": "", "procfs": f"{tree}/proc", "sysfs": f"{tree}/sys",
                                   "rootfs": f"{tree}/root"})
    names = set(types_agent) & set(types_reference)
    assert {"node_hwmon_temp_celsius", "node_thermal_zone_temp", "node_cpu_core_throttles_total",
            "node_disk_ata_rotation_rate_rpm", "node_cpu_isolated", "node_processes_threads_state"} <= names
    assert {n: types_agent[n] for n in names} == {n: types_reference[n] for n in names}
    # read live by both: statfs of the tree, the clocks
    live = ("node_filesystem_*", "node_time_seconds", "node_timex_*")
    # The agent's own ways, each with its reason in latido-agent(1): an offline CPU (2) is left out;
    # rx_nohandler is not in /proc/net/dev, from where node_exporter reads here.
    def differs_on_purpose(series):
        return (name_of(series) in ("node_cpu_seconds_total", "node_cpu_guest_seconds_total") and 'cpu="2"' in series
                or name_of(series) == "node_network_receive_nohandler_total")

    agent = without_zero_states(agent, expected)
    problems = []
    for series in sorted(agent.keys() | expected.keys()):
        if name_of(series) not in types_agent or series.startswith("latido_") or differs_on_purpose(series):
            continue
        if series not in agent or series not in expected:
            problems.append(f"{series}: only {'the agent' if series in agent else 'node_exporter'} has it")
        elif agent[series] != expected[series] and not any(fnmatch.fnmatchcase(series, p) for p in live):
            problems.append(f"{series}: {agent[series]!r}, node_exporter says {expected[series]!r}")
    assert not problems, "\n".join(problems)


# ---- what is missing ----


def gap_table():
    """{collector: [pattern]} of docs/node_exporter-gap.md."""
    table = {}
    with open(GAP, encoding="utf-8") as f:
        for line in f:
            cells = [c.strip() for c in line.strip().strip("|").split("|")]
            if line.startswith("| ") and len(cells) == 3 and cells[0] not in ("collector", "---"):
                table[cells[0]] = re.findall(r"`([^`]+)`", cells[1])
    return table


def own_collectors(bin_folder):
    text = subprocess.run([os.path.join(bin_folder, "latido-agent"), "--list-metrics"], stdin=subprocess.DEVNULL,
                          capture_output=True, text=True, timeout=120, check=True).stdout
    return set(re.findall(r"^# (\w+):", text, re.M))


def test_gap_is_documented(tmp_path, bin_folder, snapshot):
    table = gap_table()
    patterns = [p for row in table.values() for p in row]
    with NodeExporter(tmp_path / "node_exporter.log") as reference:
        values, types = reference.scrape()
        collectors = {dict(_LABEL.findall(s)).get("collector") for s in values
                      if name_of(s) == "node_scrape_collector_success"}
        _, types_agent = snapshot()
        missing = {n for n in types if n not in types_agent}
    print("\nof node_exporter's default collectors the agent lacks, on this machine:")
    for name in sorted(missing):
        print(f"  {name}")
    unlisted = [n for n in sorted(missing) if not any(fnmatch.fnmatchcase(n, p) for p in patterns)]
    assert not unlisted, f"not in {GAP}: {unlisted}"
    wrong = [n for n in sorted(types_agent) if any(fnmatch.fnmatchcase(n, p) for p in patterns)]
    assert not wrong, f"in {GAP}, but the agent has it: {wrong}"
    assert set(table) - {"(its own)"} == collectors - own_collectors(bin_folder), \
        f"the first column of {GAP} is not node_exporter's default collectors without ours"
