# SPDX-License-Identifier: MIT
"""The kernel modules in Debian's kernel, emulated; and the agent that reads them there.

One boot, which the first fixture makes, is looked at by all tests. LATIDO_KMOD_DEBUG=1: in a kernel
with KASAN, lockdep and kmemleak, built from Debian's linux-source (debug_kernel.py).
"""

import json
import os
import re
import sys
import threading

import pytest

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
sys.path.insert(0, os.path.join(ROOT, "infra", "local"))

import emulator  # noqa: E402
import paho.mqtt.client as mqtt  # noqa: E402
import servers  # noqa: E402

DEBUG = os.environ.get("LATIDO_KMOD_DEBUG") == "1"
BIN = os.path.abspath(os.environ.get("LATIDO_BIN") or os.path.join(ROOT, "build", "release", "bin"))
CYCLES = 100
TICKS = 100  # a second
PAGE = 4096

# What every boot says, on any machine; the rest is ours and must not be.
KNOWN = re.compile(r"^Linux version|loading out-of-tree module taints kernel|module verification failed: signature|"
                   r"latido\w*: \w+=\w+ is refused|latido_ram: Unknown symbol")
BAD = re.compile(r"WARNING|BUG[: ]|Oops|Call Trace|KASAN|lockdep|INFO: |possible |suspicious RCU|kmemleak|"
                 r"general protection|page fault|refcount|use-after-free|Redzone|Poison|Object already free|"
                 r"proc_dir_entry|Kernel panic|rcu: .*stall|scheduling while atomic|sleeping function|UBSAN|stack-out")
# Of the machine, not of modules: emulated timers, a host that is shared.
HARMLESS = re.compile(r"ommand line: |Unknown kernel command line|Unable to calibrate|inconsistent|Unstable clock|APIC calibration|kmemleak: Kernel memory leak "
                      r"detector initialized|kmemleak: Automatic memory scanning thread|Lock dependency validator|"
                      r"INFO: lockdep is turned off|lockdep.*MAX_|KernelAddressSanitizer initialized|"
                      r"possible to (?:determine|use)|MDS: |Lockdep|\.\.\. MAX_LOCK")

AGENT_YAML = """
bus:
  url: mqtt://10.0.2.2:{port}
agent:
  source: huesped
  interval: 250ms
  processes_interval: 500ms
  processes_stream: true
  kmod: on
  admin: 127.0.0.1:9501
"""
ONCE_YAML = """
agent:
  source: huesped
"""


class Listener:
    """What arrives at the broker, by topic."""

    def __init__(self, port):
        self.messages, self.lock, self.ready = [], threading.Lock(), threading.Event()
        self.client = mqtt.Client(client_id="kmod-test", protocol=mqtt.MQTTv311)
        self.client.on_connect = lambda c, *_: c.subscribe("#", qos=1)
        self.client.on_subscribe = lambda *_: self.ready.set()
        self.client.on_message = self.on_message
        self.client.connect("127.0.0.1", port)
        self.client.loop_start()
        assert self.ready.wait(60), "no subscription"

    def on_message(self, _client, _arg, message):
        with self.lock:
            self.messages.append((message.topic, message.payload))

    def close(self):
        self.client.disconnect()
        self.client.loop_stop()


@pytest.fixture(scope="module")
def boot(tmp_path_factory):
    folder = tmp_path_factory.mktemp("kmod")
    with servers.Mosquitto(str(folder / "servers")) as broker:
        listener = Listener(broker.port)
        agent = (os.path.join(BIN, "latido-agent"),
                 {"agent.yaml": AGENT_YAML.format(port=broker.port), "once.yaml": ONCE_YAML})
        if DEBUG:
            import debug_kernel
            kernel, kdir = debug_kernel.prepare()
            network, memory, parameters = [], 1024, ["kmemleak=on"]
        else:
            unpacked, kdir = emulator.prepare_kernel()
            kernel, network = os.path.join(unpacked, "kernel"), emulator.module_files(unpacked, emulator.NETWORK)
            memory, parameters = 384, ["slub_debug=FZPU", "page_poison=1"]
        archive = emulator.make_archive(emulator.build_guest(), emulator.build_modules(kdir), network, agent)
        result = emulator.boot(str(folder), kernel, archive, network=True, memory=memory, parameters=parameters,
                               environment={"LT_CYCLES": CYCLES},
                               seconds=3600 if DEBUG else emulator.BOOT_SECONDS)
        result.mqtt = listener.messages
        listener.close()
    print(f"\n{result.seconds:.1f} s in the machine; " + "; ".join(result.notes))
    return result


def show(result):
    return f"console:\n{result.console[-6000:]}\nemulator: {result.emulator}\nfailed: {result.failed}"


def test_came_to_its_end(boot):
    """The emulator's exit code says nothing: the guest's own last line does."""
    assert boot.done is not None, show(boot)
    assert boot.done == (len(boot.passed), 0), show(boot)
    assert len(boot.passed) >= 48, boot.passed


def test_checks_inside(boot):
    assert not boot.failed, show(boot)
    for name in ("cpu_times", "cpu_busy", "ram", "procs_as_walked", "procs_add_up", "tasks_in_pieces", "open_tasks",
                 "cycles", "cycles_readers", "nothing_left", "taint", "agent_exit",
                 "kmemleak" if DEBUG else "no_slab_leak"):
        assert name in boot.passed, name
    assert any(n.startswith(f"{CYCLES} cycles") for n in boot.notes)


def test_kernel_log_is_clean(boot):
    bad = [line for line in boot.console.splitlines()
           if BAD.search(line) and not KNOWN.search(line) and not HARMLESS.search(line)]
    assert not bad, "\n".join(bad) + "\n" + boot.console[-6000:]
    ours = [line for line in boot.console.splitlines() if "latido" in line and not KNOWN.search(line)]
    assert not ours


# ---- the documents ----

CPU_KEYS = ["porcentaje_cpu_uso", "porcentaje_cpu_libre", "used_percent", "window_ms", "samples", "online_cpus", "cpus"]
ROW_KEYS = ["cpu", "used_percent", "user_ns", "nice_ns", "system_ns", "idle_ns", "iowait_ns", "irq_ns", "softirq_ns",
            "steal_ns", "guest_ns", "guest_nice_ns"]
RAM_KEYS = ["total_ram", "ram_libre", "uso_ram", "porcentaje_ram", "used_percent", "free_mb", "total_bytes",
            "free_bytes", "used_bytes", "available_bytes", "buffers_bytes", "cached_bytes", "shared_bytes",
            "slab_reclaimable_bytes", "slab_unreclaimable_bytes"]
PROCS_KEYS = ["procesos_corriendo", "total_procesos", "procesos_durmiendo", "procesos_zombie", "procesos_parados",
              "uninterruptible", "idle", "dead", "parked", "other", "states", "threads", "thread_states"]
TASK_KEYS = ["pid", "comm", "state", "threads", "rss_bytes", "cpu_ns", "start_ns", "cgroup"]


def strict(text):
    """JSON without NaN, exponents or doubled keys; the order of keys is kept."""
    def pairs(items):
        assert len({k for k, _ in items}) == len(items), items
        return dict(items)

    def fixed(number):
        assert re.fullmatch(r"\d+\.\d\d", number), number
        return float(number)

    def constant(name):
        raise AssertionError(name)

    return json.loads(text, object_pairs_hook=pairs, parse_float=fixed, parse_constant=constant)


def test_documents(boot):
    cpu, ram, procs = (strict(boot.text(n)) for n in ("cpu", "ram", "procs"))
    assert list(cpu) == CPU_KEYS
    assert [list(row) for row in cpu["cpus"]] == [ROW_KEYS] * cpu["online_cpus"]
    assert list(ram) == RAM_KEYS
    assert list(procs) == PROCS_KEYS
    assert list(procs["states"]) == list("RSDTtXZPI?") == list(procs["thread_states"])
    assert sum(procs["states"].values()) == procs["total_procesos"]
    assert sum(procs["thread_states"].values()) == procs["threads"]
    assert procs["procesos_parados"] == procs["states"]["T"] + procs["states"]["t"]
    assert cpu["porcentaje_cpu_uso"] + cpu["porcentaje_cpu_libre"] == 100


def repaired(raw):
    """Each byte that is no part of valid UTF-8 as U+FFFD: what the modules write for it."""
    out, i = "", 0
    while i < len(raw):
        for n in range(1, 5):
            try:
                out += raw[i:i + n].decode("utf-8")
                i += n
                break
            except UnicodeDecodeError:
                pass
        else:
            out += "\ufffd"
            i += 1
    return out


def tasks_of(boot, name="tasks"):
    lines = boot.files[name].decode("utf-8").split("\n")
    assert lines.pop() == ""
    return [strict(line) for line in lines]


def walk_of(boot, name):
    """{pid: (name, fields from the state on, path of its cgroup)}"""
    raw, at, found = boot.files[name], 0, {}
    while at < len(raw):
        end = raw.index(b"\n", at)
        pid, n_stat, n_group = (int(w) for w in raw[at:end].split())
        stat = raw[end + 1:end + 1 + n_stat]
        group = raw[end + 1 + n_stat:end + 1 + n_stat + n_group]
        at = end + 1 + n_stat + n_group
        first, last = stat.index(b"("), stat.rindex(b")")
        path = re.search(rb"^0::(.*)$", group, re.M)
        found[pid] = (stat[first + 1:last], stat[last + 2:].split(), path.group(1) if path else None)
    return found


def test_tasks_beside_proc(boot):
    tasks, before, after = tasks_of(boot), walk_of(boot, "walk.before"), walk_of(boot, "walk.after")
    assert all(list(t) == TASK_KEYS for t in tasks)
    pids = [t["pid"] for t in tasks]
    assert pids == sorted(set(pids))
    lived = set(before) & set(after)
    assert lived <= set(pids) <= set(before) | set(after)
    assert len(lived) > 40
    seen, awake = set(), 0
    for t in tasks:
        if t["pid"] not in lived:
            continue
        (comm, a, path), (_, b, _) = before[t["pid"]], after[t["pid"]]
        if int(a[6]) & 0x20:  # PF_WQ_WORKER: /proc shows what it works on behind its name
            assert repaired(comm).startswith(t["comm"].split("/")[0])
        elif not int(a[6]) & 0x200000:  # a kernel thread's name may be longer there
            assert t["comm"] == repaired(comm)
        if a[0] == b[0]:
            # One that sleeps may have been awake between the two looks; all others stay as they are.
            if t["state"] != a[0].decode():
                assert a[0] in (b"S", b"I") and t["state"] in "RD", (t, a)
                awake += 1
            seen.add(t["state"])
        assert t["threads"] == int(a[17])
        assert t["start_ns"] * TICKS // 10**9 == int(a[19])
        lo, hi = ((int(s[11]) + int(s[12])) * 10**9 // TICKS for s in (a, b))
        assert lo - 10**7 <= t["cpu_ns"] <= hi + 2 * 10**7, t
        # 6.1 counts up to 64 pages a thread before it adds them up
        assert abs(t["rss_bytes"] - int(a[21]) * PAGE) <= 64 * PAGE * (t["threads"] + 1) or a[21] != b[21], (t, a)
        assert t["cgroup"] == repaired(path), t
    assert seen >= set("SDTtZIR"), seen
    assert awake * 10 < len(lived), awake


def test_known_processes(boot):
    tasks = {t["pid"]: t for t in tasks_of(boot)}
    hostile = [n for n in boot.pids if n.startswith("hostile")]
    assert len(hostile) == 8
    for name in hostile:
        assert tasks[boot.pids[name]]["comm"] == repaired(boot.files[name]), name
    assert tasks[boot.pids["hostile.3"]]["comm"] == "\ufffd" * 4
    assert tasks[boot.pids["hostile.4"]]["comm"] == "se\u00f1or\u20ac"
    threaded = tasks[boot.pids["threaded"]]
    assert threaded["threads"] == 5 and 24 << 20 <= threaded["rss_bytes"] < 30 << 20
    assert tasks[boot.pids["grouped"]]["cgroup"] == '/de "prueba"\\x'
    assert tasks[boot.pids["spinner"]]["cpu_ns"] > 10**7
    kernel = [t for t in tasks.values() if t["comm"] == "kthreadd"]
    assert kernel and kernel[0]["rss_bytes"] == 0


# ---- the agent ----


def series(event):
    return {(name, labels) for name, labels in re.findall(r"^(\w+)(.*)$", "\n".join(event["metrics"]), re.M)}


def test_same_metrics_with_and_without(boot):
    on, off = (json.loads(boot.text(f"once.{m}")) for m in ("on", "off"))
    assert [on["metrics"][f'latido_kmod_loaded{{module="{m}"}}'] for m in ("cpu", "ram", "procs")] == [1, 1, 1]
    assert [off["metrics"][f'latido_kmod_loaded{{module="{m}"}}'] for m in ("cpu", "ram", "procs")] == [0, 0, 0]
    states = re.compile(r"(thread_)?state=\"[XP]\"")  # shown once there was one
    assert {s for s in series(on) if not states.search(s[1])} == {s for s in series(off) if not states.search(s[1])}
    assert on["types"] == off["types"]
    for name, value in on["metrics"].items():
        if name.startswith("node_memory_") and "Total" in name:
            assert value == off["metrics"][name], name
        elif name.startswith("node_cpu_seconds_total"):
            assert -0.1 <= off["metrics"][name] - value < 60, name
    assert on["metrics"]['node_processes_state{state="Z"}'] == off["metrics"]['node_processes_state{state="Z"}'] == 3
    assert on["metrics"]['node_processes_state{state="T"}'] == off["metrics"]['node_processes_state{state="T"}'] == 2
    # Ticks are hundredths; the modules count nanoseconds.
    fine = [v for n, v in on["metrics"].items() if n.startswith("node_cpu_seconds_total") and v * 100 % 1]
    assert fine and not [v for n, v in off["metrics"].items()
                         if n.startswith("node_cpu_seconds_total") and abs(v * 100 - round(v * 100)) > 1e-6]


@pytest.fixture(scope="module")
def events(boot, tmp_path_factory):
    """What has arrived at the broker on the host, decoded by `latido`'s own library as JSON."""
    import subprocess
    payloads = [p for t, p in boot.mqtt if t == "latido/v1/nodes/huesped/metrics"]
    assert len(payloads) >= 12, [t for t, _ in boot.mqtt]
    sys.path.insert(0, str(tmp_path_factory.mktemp("proto")))
    subprocess.run(["protoc", f"-I{ROOT}/schemas/latido/v1", f"--python_out={sys.path[0]}", "event.proto"], check=True)
    import event_pb2
    found = []
    for payload in payloads:
        e = event_pb2.Event.FromString(payload)
        shape = event_pb2.Shape.FromString(e.shape)
        values, at = {}, 0
        for f in shape.family:
            n_keys = len(f.label_key)
            for row in range(len(f.label_value) // n_keys if n_keys else 1):
                labels = zip(f.label_key, f.label_value[row * n_keys:(row + 1) * n_keys])
                values[f.name + "".join(f"|{k}={v}" for k, v in labels)] = e.values[at]
                at += 1
        found.append((e.stream, e.seq, values))
    return found


def test_numbered_without_holes(events):
    assert [seq for _, seq, _ in events] == list(range(1, len(events) + 1))


def test_values_arrive(boot, events):
    """Each value of the events sent between two readings of the modules' files lies between those."""
    main = [v for stream, _, v in events if stream == ""]
    loaded = [v for v in main if v["latido_kmod_loaded|module=cpu"] == 1]
    before, after = ({m: strict(boot.text(f"agent.{w}.{m}")) for m in ("cpu", "ram", "procs")}
                     for w in ("before", "after"))
    first = loaded[:2]
    assert len(first) == 2
    compared = 0
    for values in first:
        for a, b in zip(before["cpu"]["cpus"], after["cpu"]["cpus"]):
            for mode in ("user", "nice", "system", "idle", "iowait", "irq", "softirq", "steal"):
                v = values[f"node_cpu_seconds_total|cpu={a['cpu']}|mode={mode}"] * 1e9
                assert a[f"{mode}_ns"] - 10**7 <= v <= b[f"{mode}_ns"] + 10**7, (a["cpu"], mode)
                compared += 1
        assert values["node_memory_MemTotal_bytes"] == before["ram"]["total_bytes"]
        for name, key in (("MemFree", "free_bytes"), ("MemAvailable", "available_bytes"), ("Cached", "cached_bytes"),
                          ("Buffers", "buffers_bytes"), ("Shmem", "shared_bytes")):
            a, b = before["ram"][key], after["ram"][key]
            slack = 32 << 20  # the agent itself comes and takes its memory in between
            assert min(a, b) - slack <= values[f"node_memory_{name}_bytes"] <= max(a, b) + slack, name
            compared += 1
        for state in "ZTt":
            assert values[f"node_processes_state|state={state}"] == before["procs"]["states"][state] > 0
        assert values["node_processes_state|state=D"] >= 1
        assert values["node_memory_SwapTotal_bytes"] == 0
    assert compared == 2 * (16 + 5)


def test_modules_come_and_go_under_the_agent(events):
    """Loaded, gone, back: the agent follows, its series stay the same and its counters do not fall."""
    main = [v for stream, _, v in events if stream == ""]
    states = [v["latido_kmod_loaded|module=cpu"] for v in main]
    changes = [s for i, s in enumerate(states) if i == 0 or s != states[i - 1]]
    assert changes == [1, 0, 1], states
    assert len({frozenset(n for n in v if "state=" not in n) for v in main}) == 1
    for name in main[0]:
        if name.startswith("node_cpu_seconds_total"):
            got = [v[name] for v in main]
            assert got == sorted(got), name


def test_processes_stream(boot, events):
    top = [v for stream, _, v in events if stream == "processes"]
    assert len(top) >= 3
    spinner = f"latido_process_cpu_ratio|comm=spinner|pid={boot.pids['spinner']}"
    threaded = f"latido_process_resident_memory_bytes|comm=threaded|pid={boot.pids['threaded']}"
    tasks = {t["pid"]: t for t in tasks_of(boot, "agent.before.tasks")}
    assert not [n for n in top[0] if n.startswith("latido_process_cpu_ratio")], "nothing to compare with yet"
    # A shared host holds the machine up now and then: then one value is too high, and another too low.
    ratios = [values[spinner] for values in top[1:]]
    assert 0.3 < sum(ratios) / len(ratios) < 1.3, ratios
    for values in top:
        assert abs(values[threaded] - tasks[boot.pids["threaded"]]["rss_bytes"]) <= 64 * PAGE * 6
        for family in ("latido_process_cpu_ratio", "latido_process_resident_memory_bytes"):
            assert len([n for n in values if n.startswith(family)]) <= 10
    assert len([n for n in top[0] if n.startswith("latido_process_resident_memory_bytes")]) == 10


def test_agent_says_when_modules_are_missing(boot):
    log = boot.text("agent.log")
    assert log.count("id=kmod_unavailable") >= 2 and "modprobe" in log
    assert log.count("id=kmod_works_again") >= 2
    assert "level=error" not in log
