# SPDX-License-Identifier: MIT
"""latido-agent against a real Mosquitto."""

import contextlib
import json
import os
import shutil
import signal
import subprocess
import threading
import time

import paho.mqtt.client as mqtt
import pytest
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties

import servers
from conftest import ROOT
from servers import wait_until

SERVER = os.path.join(ROOT, "tests", "data", "proc", "server")
PROTOBUF = "application/x-protobuf;proto=latido.v1.Event"
PREFIX = "latido/v1/nodes/n1"
SECONDS = 90

pytestmark = pytest.mark.threaded  # an MQTT client and the asking of mounts have threads


def varint(data, at):
    value = shift = 0
    while True:
        byte = data[at]
        at += 1
        value |= (byte & 0x7F) << shift
        shift += 7
        if byte < 0x80:
            return value, at


def protobuf(data):
    """{field number: value} of one message; the last of each number counts."""
    fields, at = {}, 0
    while at < len(data):
        tag, at = varint(data, at)
        if tag & 7 == 0:
            fields[tag >> 3], at = varint(data, at)
        elif tag & 7 == 1:
            fields[tag >> 3] = int.from_bytes(data[at:at + 8], "little")
            at += 8
        else:
            assert tag & 7 == 2, f"wire type {tag & 7}"
            size, at = varint(data, at)
            fields[tag >> 3] = data[at:at + size]
            at += size
    assert at == len(data)
    return fields


class Event:
    def __init__(self, message):
        self.content_type = message.properties.ContentType
        self.expires = hasattr(message.properties, "MessageExpiryInterval")
        if self.content_type == "application/json":
            self.json = json.loads(message.payload)
            self.source, self.epoch, self.seq = self.json["source"], self.json["epoch"], self.json["seq"]
            self.oldest, self.interval_ms = self.json["oldest"], self.json["interval_ms"]
            return
        assert self.content_type == PROTOBUF
        f = protobuf(message.payload)
        self.source, self.epoch, self.seq = f[1].decode(), f[2], f[3]
        self.time_ns, self.oldest, self.shape = f[4], f[5], f.get(6)
        self.count, self.hash, self.interval_ms = len(f[7]) // 8, f[8], f[11]


class Watch:
    """Subscribes to everything; keeps its session, so that it misses nothing while the broker is away."""

    def __init__(self, port, topic=PREFIX + "/#", client_id="watch"):
        self.lock = threading.Lock()
        self.messages = []
        self.subscribed = threading.Event()
        self.topic = topic
        self.client = mqtt.Client(client_id, protocol=mqtt.MQTTv5)
        self.client.reconnect_delay_set(1, 1)
        self.client.on_connect = lambda client, *_: client.subscribe(topic, qos=1)
        self.client.on_subscribe = lambda *_: self.subscribed.set()
        self.client.on_message = self._on_message
        properties = Properties(PacketTypes.CONNECT)
        properties.SessionExpiryInterval = 3600
        self.client.connect("127.0.0.1", port, clean_start=False, properties=properties)
        self.client.loop_start()
        assert self.subscribed.wait(SECONDS)

    def _on_message(self, _client, _userdata, message):
        with self.lock:
            self.messages.append(message)

    def close(self):
        self.client.disconnect()
        self.client.loop_stop()

    def events(self):
        with self.lock:
            return [Event(m) for m in self.messages if m.topic == PREFIX + "/metrics"]

    def states(self):
        with self.lock:
            return [(json.loads(m.payload), m.retain) for m in self.messages if m.topic == PREFIX + "/status"]

    def seqs(self):
        """What arrived, each once, sorted: the broker may deliver twice (at least once)."""
        return sorted({e.seq for e in self.events()})


@pytest.fixture
def watch():
    with contextlib.ExitStack() as stack:
        def start(port, **kwargs):
            w = Watch(port, **kwargs)
            stack.callback(w.close)
            return w
        yield start


@pytest.fixture
def agent(run_program, write_config):
    """Start an agent of the source n1; keyword arguments are keys of its section."""
    def start(url, bus=None, **keys):
        section = {"source": "n1", "interval": "100ms", "admin": "127.0.0.1:0", **keys}
        connection = {"url": url, "backoff_base": "50ms", "backoff_cap": "200ms", **(bus or {})}
        return run_program("latido-agent", write_config({"bus": connection, "agent": section}))
    return start


def ends(program, code, seconds=SECONDS):
    program.signal(signal.SIGTERM)
    assert program.wait_exit(seconds) == code, program.log_tail()


def broker_without_data(folder, port):
    return servers.Mosquitto(folder, persistence=True, port=port)


# ---- events ----


def test_numbered_without_holes(mosquitto, watch, agent):
    w = watch(mosquitto.port)
    a = agent(mosquitto.url)
    a.wait(lambda: len(w.events()) >= 20, SECONDS, "20 events")
    a.terminate()
    made = int(a.logged("drained")[0]["seq"])
    wait_until(lambda: w.seqs() == list(range(1, made + 1)), SECONDS, f"events 1 to {made}")
    events = w.events()
    assert {e.epoch for e in events} == {events[0].epoch} and events[0].epoch > 1.7e15
    for e in events:
        assert (e.source, e.interval_ms, e.content_type) == ("n1", 100, PROTOBUF)
        assert 1 <= e.oldest <= e.seq
        assert e.shape and e.count > 50
        assert not e.expires  # there is no spool yet: an expiry would lose data


def test_ticks_are_aligned_and_missed_ones_counted(mosquitto, watch, agent):
    """One event a slot of the wall clock; what is missing between two is what the agent says it missed."""
    w = watch(mosquitto.port)
    a = agent(mosquitto.url)
    a.wait(lambda: len(w.events()) >= 15, SECONDS, "15 events")
    a.signal(signal.SIGSTOP)  # a machine that stands still for a while
    stopped_at = max(w.seqs())
    wait_until(lambda: os.path.exists(f"/proc/{a.pid}/stat") and
               open(f"/proc/{a.pid}/stat", encoding="ascii").read().rsplit(")", 1)[1].split()[0] == "T",
               SECONDS, "agent stopped")
    since = time.time()
    wait_until(lambda: time.time() >= since + 0.7, SECONDS, "some ticks that cannot be kept")
    a.signal(signal.SIGCONT)
    a.wait(lambda: w.seqs()[-1] >= stopped_at + 15, SECONDS, "15 more events")
    a.wait(lambda: a.value("latido_agent_missed_ticks_total") >= 3, SECONDS, "missed ticks")
    assert a.value("latido_agent_clock_jumps_total") == 0
    # Counters and events at one moment: no tick between the two readings.
    def reading():
        metrics = a.metrics()
        ticks = metrics.value("latido_agent_ticks_total")
        arrived = w.events()
        return (metrics, arrived) if max(e.seq for e in arrived) == ticks else None
    metrics, events = a.wait(reading, SECONDS, "all events of the counters")
    slots = [e.time_ns // 100_000_000 for e in sorted(events, key=lambda e: e.seq)]
    gaps = [b - a for a, b in zip(slots, slots[1:])]
    assert min(gaps) >= 1, "two events in one slot"
    assert sum(g - 1 for g in gaps) == metrics.value("latido_agent_missed_ticks_total")
    a.terminate()


def test_json(mosquitto, watch, agent, bin_folder):
    w = watch(mosquitto.port)
    a = agent(mosquitto.url, encoding="json")
    a.wait(lambda: len(w.events()) >= 3, SECONDS, "3 events")
    a.terminate()
    event = w.events()[-1]
    assert event.content_type == "application/json" and event.source == "n1"
    assert event.json["metrics"]["node_load1"] >= 0
    once = subprocess.run([os.path.join(bin_folder, "latido-agent"), "--once", "--print"], check=True, timeout=60,
                          stdin=subprocess.DEVNULL, capture_output=True, text=True).stdout
    # One sample needs no bus: only what runs has figures of its own.
    names = {s.split("{")[0] for s in event.json["metrics"] if not s.startswith("latido_")}
    assert names == {s.split("{")[0] for s in json.loads(once)["metrics"] if not s.startswith("latido_")}


def test_announced_shapes(mosquitto, watch, agent, tmp_path):
    tree = tmp_path / "tree"
    shutil.copytree(SERVER, tree, symlinks=True)
    w = watch(mosquitto.port)
    a = agent(mosquitto.url, shape="announced", announce_interval="1h", procfs=str(tree / "proc"),
              sysfs=str(tree / "sys"), rootfs=str(tree / "root"), collectors=["loadavg", "netdev"])
    a.wait(lambda: len(w.events()) >= 5, SECONDS, "5 events")
    first = w.events()
    assert first[0].shape and not any(e.shape for e in first[1:])
    assert {e.hash for e in first} == {first[0].hash}
    # an interface appears: a new shape, once
    with open(tree / "proc/net/dev", "a", encoding="ascii") as f:
        f.write("  veth9: 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16\n")
    a.wait(lambda: [e for e in w.events() if e.hash != first[0].hash][3:], SECONDS, "4 events with the new shape")
    second = [e for e in w.events() if e.hash != first[0].hash]
    assert second[0].shape and b"veth9" in second[0].shape and not any(e.shape for e in second[1:4])
    # a new connection: again
    mosquitto.restart()
    a.wait(lambda: len([e for e in w.events() if e.hash == second[0].hash and e.shape]) >= 2, SECONDS,
           "the shape again after the reconnect")
    a.terminate()


def test_announced_again_after_a_while(mosquitto, watch, agent):
    w = watch(mosquitto.port)
    a = agent(mosquitto.url, shape="announced", announce_interval="1s", collectors=["loadavg"])
    a.wait(lambda: sum(e.shape is not None for e in w.events()) >= 3, SECONDS, "3 announcements")
    a.terminate()
    assert any(e.shape is None for e in w.events())


# ---- status ----


def test_birth_and_offline(mosquitto, watch, agent):
    a = agent(mosquitto.url).wait_ready()
    a.wait(lambda: a.value("latido_agent_events_delivered_total") >= 1, SECONDS, "an event delivered")
    w = watch(mosquitto.port)  # later: the status is retained
    a.wait(w.states, SECONDS, "the status")
    status, retained = w.states()[0]
    assert retained
    assert status["state"] == "online" and status["interval_ms"] == 100
    a.wait(w.events, SECONDS, "an event")
    assert status["epoch"] == w.events()[0].epoch
    assert status["conn"] >= status["epoch"]
    assert status["version"]
    a.terminate()
    wait_until(lambda: len(w.states()) >= 2, SECONDS, "the second status")
    assert w.states()[1][0] == {**status, "state": "offline"}


def test_last_will(mosquitto, watch, agent):
    w = watch(mosquitto.port)
    a = agent(mosquitto.url)
    a.wait(w.states, SECONDS, "the birth")
    birth = w.states()[0][0]
    a.kill()
    wait_until(lambda: len(w.states()) >= 2, SECONDS, "the will")
    assert w.states()[1][0] == {**birth, "state": "offline"}


def test_each_connection_has_its_own_number(mosquitto, watch, agent):
    w = watch(mosquitto.port)
    a = agent(mosquitto.url)
    a.wait(w.states, SECONDS, "the birth")
    mosquitto.restart()
    a.wait(lambda: len([s for s, _ in w.states() if s["state"] == "online"]) >= 2, SECONDS, "the second birth")
    births = [s for s, _ in w.states() if s["state"] == "online"]
    assert births[-1]["conn"] > births[0]["conn"]
    assert births[-1]["epoch"] == births[0]["epoch"]
    a.terminate()


# ---- the broker goes and comes ----


def test_broker_down_at_start(servers_folder, watch, agent):
    port = servers.free_port()
    a = agent(f"mqtt://127.0.0.1:{port}")
    a.wait(lambda: a.value("latido_agent_queue_events") >= 10, SECONDS, "10 events in the queue")
    assert not a.ready()
    assert len(a.logged("bus_unavailable")) == 1  # said once, not at each try
    with broker_without_data(servers_folder, port) as broker:
        # The subscription must be there before the agent's events: take the address from it first.
        w = watch(broker.port)
        a.wait_ready()
        a.wait(lambda: w.seqs() and w.seqs()[-1] >= 15, SECONDS, "events")
        a.terminate()
        seqs = w.seqs()
        # All that the watcher could see, from the first that came after it had subscribed.
        assert seqs == list(range(seqs[0], seqs[-1] + 1))
        assert a.logged("stopped")[0]["exit"] == "0"
    assert w.events()[0].oldest == 1  # nothing was dropped


def test_nothing_lost_while_the_broker_restarts(mosquitto, watch, agent):
    w = watch(mosquitto.port)
    a = agent(mosquitto.url)
    a.wait(lambda: len(w.events()) >= 5, SECONDS, "5 events")
    mosquitto.stop()
    before = w.seqs()[-1]
    a.wait(lambda: a.value("latido_agent_queue_events") >= 10, SECONDS, "10 events in the queue")
    mosquitto.start()
    a.wait(lambda: w.seqs()[-1] >= before + 20, SECONDS, "events again")
    a.terminate()
    last = max(w.seqs())
    wait_until(lambda: w.seqs() == list(range(1, last + 1)), SECONDS, "no hole")
    assert len({e.epoch for e in w.events()}) == 1


def test_broker_comes_back_empty(mosquitto, watch, agent):
    w = watch(mosquitto.port)
    a = agent(mosquitto.url)
    a.wait(lambda: len(w.events()) >= 3, SECONDS, "3 events")
    mosquitto.kill()
    before = w.seqs()[-1]
    mosquitto.restart(empty=True)
    a.wait(lambda: w.seqs()[-1] >= before + 20, SECONDS, "events again")
    after = watch(mosquitto.port, client_id="late")
    wait_until(after.states, SECONDS, "the retained status again")
    assert after.states()[0][0]["state"] == "online"
    a.terminate()


def test_queue_is_bounded(servers_folder, watch, agent):
    port = servers.free_port()
    limit = 256 * 1024
    a = agent(f"mqtt://127.0.0.1:{port}", queue_max_bytes="256KiB", encoding="json")
    a.wait(lambda: a.value("latido_agent_events_dropped_total", reason="queue_full") >= 3, SECONDS, "dropped events")
    assert a.value("latido_agent_queue_bytes") <= limit
    assert a.logged("queue_full")
    with broker_without_data(servers_folder, port) as broker:
        w = watch(broker.port)
        a.wait(lambda: a.value("latido_agent_queue_events") <= 1 and len(w.events()) >= 5, SECONDS, "an empty queue")
        a.wait(lambda: a.logged("queue_has_room"), SECONDS, "recovery logged")
        metrics = a.metrics()
        a.terminate()
        dropped = int(metrics.value("latido_agent_events_dropped_total", reason="queue_full"))
        seqs = w.seqs()
        # The oldest were dropped; a slow machine may fill the queue once more while it empties.
        missing = sorted(set(range(seqs[0], seqs[-1] + 1)) - set(seqs))
        assert len(missing) <= dropped <= seqs[-1] - len(seqs)
        for e in w.events():
            assert e.oldest <= e.seq
        # Events say what can no longer be sent.
        gone = max(e.oldest for e in w.events())
        assert gone > dropped and gone > max(missing, default=0)


# ---- the end ----


def test_drain_flushes(mosquitto, watch, agent):
    w = watch(mosquitto.port)
    a = agent(mosquitto.url, drain_timeout="80s")
    a.wait(lambda: len(w.events()) >= 3, SECONDS, "3 events")
    mosquitto.pause()
    a.wait(lambda: a.value("latido_agent_queue_events") >= 10, SECONDS, "10 events in the queue")
    a.signal(signal.SIGTERM)
    a.wait_log("draining")
    mosquitto.resume()
    assert a.wait_exit(SECONDS) == 0, a.log_tail()
    wait_until(lambda: w.states() and w.states()[-1][0]["state"] == "offline", SECONDS, "offline")
    seqs = w.seqs()
    assert seqs == list(range(1, seqs[-1] + 1)) and len(seqs) >= 13


def test_drain_that_loses_events_says_so(agent):
    a = agent(f"mqtt://127.0.0.1:{servers.free_port()}", drain_timeout="200ms")
    a.wait(lambda: a.value("latido_agent_queue_events") >= 3, SECONDS, "3 events in the queue")
    ends(a, 3)
    line = a.logged("drain_incomplete")[0]
    assert int(line["events_lost"]) >= 3 and line["first_seq"] == "1"


def test_offline_is_said_without_time_to_drain(mosquitto, watch, agent):
    w = watch(mosquitto.port)
    a = agent(mosquitto.url, drain_timeout="0")
    a.wait(lambda: len(w.events()) >= 3, SECONDS, "3 events")
    a.signal(signal.SIGTERM)
    assert a.wait_exit() in (0, 3)  # an event may have been on its way
    wait_until(lambda: w.states()[-1][0]["state"] == "offline", SECONDS, "offline")


def test_second_signal_leaves_at_once(agent):
    a = agent(f"mqtt://127.0.0.1:{servers.free_port()}", drain_timeout="1h")
    a.wait(lambda: a.value("latido_agent_queue_events") >= 1, SECONDS, "an event in the queue")
    a.signal(signal.SIGTERM)
    a.wait_log("draining")
    ends(a, 3)


# ---- configuration and command line ----


@pytest.mark.parametrize("section, what", [
    ({"collectors": ["cpu", "cpus"]}, '"cpus"'),
    ({"source": "a/b"}, "agent.source"),
    ({"interval": "5ms"}, "agent.interval"),
    ({"sauce": "x"}, "sauce"),
    ({"netdev_ignore_devices": "("}, "netdev_ignore_devices"),
    ({"procfs": "/does/not/exist"}, "agent.procfs"),
    ({"procfs": "/etc/passwd"}, "not a directory"),
])
def test_bad_configuration(run_program, write_config, section, what):
    a = run_program("latido-agent", write_config({"agent": section}))
    assert a.wait_exit() == 78
    assert what in a.log_text()


def test_command_line(run_program, bin_folder):
    once = run_program("latido-agent", args=["--once"])
    assert once.wait_exit() == 2
    assert "--once and --print go together" in once.log_text()
    assert run_program("latido-agent", args=["--bogus"]).wait_exit() == 2
    binary = os.path.join(bin_folder, "latido-agent")
    run = {"check": True, "timeout": 60, "stdin": subprocess.DEVNULL, "capture_output": True, "text": True}
    event = json.loads(subprocess.run([binary, "--once", "--print"], **run).stdout)
    listed = subprocess.run([binary, "--list-metrics"], **run).stdout
    rows = {line.split()[0]: line.split()[1] for line in listed.splitlines()
            if line.startswith(("node_", "latido_"))}
    for series in event["metrics"]:
        name = series.split("{")[0]
        assert rows.get(name) == event["types"].get(name, "unknown"), name
    assert "epoch" not in event and event["time"].endswith("Z")


def test_print_to_a_full_disk(bin_folder):
    with open("/dev/full", "w", encoding="ascii") as full:
        result = subprocess.run([os.path.join(bin_folder, "latido-agent"), "--once", "--print"], stdout=full,
                                stdin=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, timeout=60, check=False)
    assert result.returncode == 1
    assert "No space left" in result.stderr


def test_of_its_own_metrics_the_events_have_those_of_a_collector(mosquitto, watch, agent, bin_folder, tmp_path):
    w = watch(mosquitto.port)
    a = agent(mosquitto.url, encoding="json", spool={"dir": str(tmp_path / "spool")})
    a.wait(lambda: len(w.events()) >= 3, SECONDS, "events")
    listed = subprocess.run([os.path.join(bin_folder, "latido-agent"), "--list-metrics"], stdin=subprocess.DEVNULL,
                            capture_output=True, text=True, timeout=60, check=True).stdout
    listed = listed.split("# latido: ", 1)[1].split("\n\n", 1)[0].splitlines()[1:]
    own = {s: v for s, v in w.events()[-1].json["metrics"].items() if not s.startswith(("node_", "latido_kmod_"))}
    # With a spool all that is listed is there; what the kernel modules say is about the node.
    assert {s.split("{")[0] for s in own} == {line.split()[0] for line in listed}
    assert own['latido_spool_disk_max_bytes{spool="agent"}'] == a.value("latido_spool_disk_max_bytes")
    assert own['latido_spool_dropped_total{reason="disk_full",spool="agent"}'] == 0
    assert own["latido_bus_connects_total"] == 1
    assert 2 <= own['latido_spool_records{spool="agent"}'] <= a.value("latido_agent_events_total")  # no store takes them
    metrics = a.metrics()
    assert metrics.value("latido_agent_collector_up", collector="uname") == 1
    assert metrics.value("latido_agent_collector_errors_total", collector="uname") == 0
    assert metrics.value("latido_agent_series") > 50
    assert metrics.count("latido_agent_tick_seconds") >= 1
    a.terminate()
    before = len(w.events())
    a = agent(mosquitto.url, encoding="json", collectors=["uname"])
    a.wait(lambda: len(w.events()) > before, SECONDS, "an event without that collector")
    assert [s.split("{")[0] for s in w.events()[-1].json["metrics"]] == ["node_uname_info"]
    a.terminate()


def test_a_broken_collector_is_counted_and_logged_once(mosquitto, watch, agent, tmp_path):
    tree = tmp_path / "tree"
    shutil.copytree(SERVER, tree, symlinks=True)
    w = watch(mosquitto.port)
    a = agent(mosquitto.url, encoding="json", procfs=str(tree / "proc"), sysfs=str(tree / "sys"),
              rootfs=str(tree / "root"))
    a.wait(w.events, SECONDS, "an event")
    good = (tree / "proc/loadavg").read_text()
    (tree / "proc/loadavg").write_text("nonsense\n")
    a.wait(lambda: a.value("latido_agent_collector_errors_total", collector="loadavg") >= 5, SECONDS, "errors")
    assert a.value("latido_agent_collector_up", collector="loadavg") == 0
    assert len(a.logged("collector_failed", collector="loadavg")) == 1
    a.wait(lambda: "node_load1" not in w.events()[-1].json["metrics"], SECONDS, "an event without the load")
    assert "node_intr_total" in w.events()[-1].json["metrics"]
    (tree / "proc/loadavg").write_text(good)
    a.wait(lambda: "node_load1" in w.events()[-1].json["metrics"], SECONDS, "the load again")
    assert a.logged("collector_works_again", collector="loadavg")
    a.terminate()
