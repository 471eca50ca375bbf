# SPDX-License-Identifier: MIT
"""The command `latido`: tap, nodes and top, on real servers and in a real terminal (tmux)."""

import csv
import io
import json
import os
import re
import signal
import subprocess
import time

import pytest
import redis as redis_client

import servers
from conftest import BIN, ROOT
from pipeline import COUNTER, GAUGE, SECONDS, Client, event, family, metrics_topic
from servers import wait_until

pytestmark = pytest.mark.threaded

LATIDO = os.path.join(BIN, "latido")
EPOCH = 1_763_700_000_000_000


def latido(*args, code=0, **more):
    """Run to the end: (stdout, stderr)."""
    done = subprocess.run([LATIDO, *args], stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=SECONDS,
                          check=False, **more)
    assert done.returncode == code, done.stderr + done.stdout
    return done.stdout, done.stderr


def node_event(source, seq, second, busy=0.25, load=0.5, available=4e9, received=1000.0, free=3e9, base_ns=None,
               interval_ms=60_000):
    """What an agent sends, `second` seconds after base_ns (10 s ago); busy: share of CPU time.

    The interval is long enough that nobody is late before a slow machine has looked.
    """
    shape = (family("node_cpu_seconds_total", ["cpu", "mode"], [("0", "idle"), ("0", "user")], COUNTER)
             + family("node_load1") + family("node_memory_MemTotal_bytes") + family("node_memory_MemAvailable_bytes")
             + family("node_network_receive_bytes_total", ["device"], [("eth0",), ("lo",)], COUNTER)
             + family("node_network_transmit_bytes_total", ["device"], [("eth0",), ("lo",)], COUNTER)
             + family("node_filesystem_size_bytes", ["device", "fstype", "mountpoint"], [("/dev/a", "ext4", "/")], GAUGE)
             + family("node_filesystem_free_bytes", ["device", "fstype", "mountpoint"], [("/dev/a", "ext4", "/")], GAUGE)
             + family("node_filesystem_avail_bytes", ["device", "fstype", "mountpoint"], [("/dev/a", "ext4", "/")], GAUGE))
    values = [100 + second * (1 - busy), 50 + second * busy, load, 8e9, available, second * received, second * 1e9,
              second * received / 2, second * 1e9, 10e9, free, free]
    base_ns = base_ns or time.time_ns() - 10 * 10**9
    return event(source, seq, values, epoch=EPOCH, shape=shape, interval_ms=interval_ms,
                 time_ns=base_ns + int(second * 1e9))


# ---- options ----


def test_help_and_version():
    out, _ = latido("--help")
    for word in ("tap", "top", "nodes", "help"):
        assert f"\n  {word} " in out
    assert latido("--version")[0].startswith("latido 0.")
    for command in ("tap", "top", "nodes"):
        text = latido("help", command)[0]
        assert text.startswith(f"Usage: latido {command}")
        assert latido(command, "--help")[0] == text
    assert latido("help")[0] == out


@pytest.mark.parametrize("args, said", [
    ([], "Usage"), (["nonsense"], "no command 'nonsense'"), (["help", "nonsense"], "no command"),
    (["--nonsense"], "nonsense"), (["tap", "--nonsense"], "latido tap --help"), (["tap", "extra"], "extra"),
    (["tap", "-n", "0"], "--count"), (["tap", "-n", "x"], "--count"), (["tap", "-W", "-1"], "--wait"),
    (["top", "-s", "nonsense"], "nonsense"), (["top", "-d", "0"], "--delay"), (["nodes", "-o", "xml"], "xml"),
    (["alerts", "-o", "csv"], "table or json"), (["gaps", "-o", "yaml"], "table or json"), (["tap", "-o", "table"], "pretty"),
    (["nodes", "-s", "size"], "size"), (["top", "-f", "x" * 100], "--filter"), (["top", "-n", "nan"], "--number"),
])
def test_wrong_usage(args, said):
    out, err = latido(*args, code=2)
    assert said in err and not out


def test_wrong_configuration(write_config):
    _, err = latido("nodes", "-c", write_config("redis:\n  urll: x\n"), code=78)
    assert "urll" in err and ":2:" in err
    _, err = latido("nodes", "--redis", "http://x", code=78)
    assert "redis.url" in err
    _, err = latido("tap", "--bus", "http://x", "-n", "1", code=78)
    assert "bus.url" in err
    latido("-c", "/does/not/exist.yaml", "nodes", code=78)


# ---- tap ----


class Tap:
    """A running `latido tap`."""

    def __init__(self, broker, *args, stdout=subprocess.PIPE):
        # No Redis there: announced shapes cannot be looked up unless the test says where.
        config = {"LATIDO_REDIS_URL": "redis://127.0.0.1:1", "LATIDO_BUS_URL": broker.url}
        self.process = subprocess.Popen([LATIDO, "tap", *args], env={**config, **os.environ}, stdin=subprocess.DEVNULL,
                                        stdout=stdout, stderr=subprocess.PIPE, text=True)
        servers.guard_process(self.process.pid)
        self.notices = [self.process.stderr.readline()]
        assert "connected to" in self.notices[0]

    def line(self):
        return self.process.stdout.readline()

    def end(self, code=0):
        """What was not read yet: (stdout, stderr)."""
        out, err = self.process.communicate(timeout=SECONDS)
        servers.unguard_process(self.process.pid)
        assert self.process.returncode == code, err
        return out, err


@pytest.fixture
def client(mosquitto):
    made = Client(mosquitto)
    yield made
    made.close()


@pytest.fixture
def tap(mosquitto):
    started = []

    def start(*args, **more):
        started.append(Tap(mosquitto, *args, **more))
        return started[-1]

    yield start
    for t in started:
        if t.process.poll() is None:
            t.process.kill()
        t.process.wait()


def test_tap_json(tap, client):
    t = tap("-n", "4")
    client.publish(metrics_topic("n"), event("n", 7, [1.5, float("nan")], EPOCH, time_ns=1_763_700_000_250_000_000))
    client.publish(metrics_topic("j"), '{"source":"j","epoch":5,"seq":1,"stream":"s","metrics":{"v{a=\\"b\\"}":2}}')
    client.publish("latido/v1/devices/lamp/metrics", '{"temperature":21.5}')
    client.publish("latido/v1/devices/lamp/metrics/humidity", "40")
    lines = [json.loads(line) for line in t.end()[0].splitlines()]
    assert [x["source"] for x in lines] == ["n", "j", "lamp", "lamp"]
    assert lines[0]["epoch"] == EPOCH and lines[0]["seq"] == 7
    assert lines[0]["time"] == "2025-11-21T04:40:00.250Z"
    assert lines[0]["metrics"] == {'test_value{i="0"}': 1.5, 'test_value{i="1"}': None}
    assert lines[1]["stream"] == "s" and lines[1]["metrics"] == {'v{a="b"}': 2}
    assert lines[2]["metrics"] == {"temperature": 21.5} and lines[3]["metrics"] == {"humidity": 40}
    assert all(re.fullmatch(r"\d{4}-\d\d-\d\dT[\d:.]+Z", x["time"]) for x in lines)


def test_tap_filters(tap, client):
    everything = tap("-n", "3")
    by_source = tap("-s", "work*", "-n", "1")
    exact = tap("-s", "worker2", "-n", "1")
    by_metric = tap("-m", "node_cpu_*", "-n", "1")
    client.publish(metrics_topic("other"), event("other", 1, [1.0], EPOCH))
    client.publish(metrics_topic("worker1"), node_event("worker1", 1, 1))
    client.publish(metrics_topic("worker2"), event("worker2", 1, [1.0], EPOCH))
    assert len(everything.end()[0].splitlines()) == 3
    assert json.loads(by_source.end()[0])["source"] == "worker1"
    assert json.loads(exact.end()[0])["source"] == "worker2"
    found = json.loads(by_metric.end()[0])
    assert found["source"] == "worker1" and found["seq"] == 1
    assert set(found["metrics"]) == {'node_cpu_seconds_total{cpu="0",mode="idle"}',
                                     'node_cpu_seconds_total{cpu="0",mode="user"}'}
    assert found["types"] == {"node_cpu_seconds_total": "counter"}


def test_tap_pretty(tap, client):
    t = tap("-p", "-n", "3")
    client.publish(metrics_topic("n"), event("n", 1, [1.0] * 50, EPOCH))
    client.publish("latido/v1/devices/lamp/metrics", '{"temperature":21.5}')
    hostile = family("m", ["l"], [("\033[2J\x9b",)])
    client.publish(metrics_topic("h"), event("h", 2, [1.0], EPOCH, shape=hostile))
    out, _ = t.end()
    assert re.search(r"^[\d:.]{12}  n  #1  50 values$", out, re.M)
    assert re.search(r"^[\d:.]{12}  lamp  1 value, partial\n    temperature  21.5$", out, re.M)
    assert "\033" not in out and "\x9b" not in out and 'm{l="?[2J' in out


def test_tap_says_what_it_cannot_read(tap, client):
    t = tap("-n", "1")
    for _ in range(5):
        client.publish(metrics_topic("bad"), "{nonsense")
    client.publish("latido/v1/nodes/announced/metrics", event("announced", 1, [1.0], EPOCH, shape=b"", shape_hash=99))
    client.publish(metrics_topic("good"), event("good", 1, [1.0], EPOCH))
    out, err = t.end()
    assert json.loads(out)["source"] == "good"
    assert err.count("latido/v1/nodes/bad/metrics") == 1 and "decode" in err
    assert "without names on latido/v1/nodes/announced/metrics" in err


def test_tap_asks_redis_for_announced_shapes(mosquitto, redis, client, monkeypatch, write_config, run_program):
    config = write_config({"bus": {"url": mosquitto.url}, "redis": {"url": redis.url}, "hot": {"admin": "127.0.0.1:0"}})
    run_program("latido-hot", config=config).wait_ready()
    client.publish(metrics_topic("n"), event("n", 1, [1.0], EPOCH))
    with redis_client.Redis(unix_socket_path=redis.socket) as db:
        number = wait_until(lambda: db.hget("latido:node:n", "_shape"), SECONDS, "the first event in Redis")
    monkeypatch.setenv("LATIDO_REDIS_URL", redis.url)
    t = Tap(mosquitto, "-n", "1")
    client.publish(metrics_topic("n"), event("n", 2, [2.0], EPOCH, shape=b"", shape_hash=int(number, 16)))
    assert json.loads(t.end()[0])["metrics"] == {'test_value{i="0"}': 2}


def test_tap_time_out(tap):
    t = tap("-W", "3")
    assert t.end(27)[0] == ""


def test_tap_time_out_without_a_broker():
    _, err = latido("tap", "--bus", f"mqtt://127.0.0.1:{servers.free_port()}", "-W", "1", code=27)
    assert "trying again" in err


def test_tap_ends_with_its_reader(tap, client):
    t = tap()
    t.process.stdout.close()
    deadline, seq = time.monotonic() + SECONDS, 0
    while t.process.poll() is None and time.monotonic() < deadline:
        seq += 1
        client.publish(metrics_topic("n"), event("n", seq, [1.0], EPOCH))
    assert t.process.poll() == 0
    assert t.process.stderr.read() == ""


def test_tap_interrupted(tap):
    for signum in (signal.SIGINT, signal.SIGTERM):
        t = tap()
        t.process.send_signal(signum)
        t.end()


def test_tap_full_disk(tap, client):
    with open("/dev/full", "w", encoding="ascii") as full:
        t = tap(stdout=full)
        client.publish(metrics_topic("n"), event("n", 1, [1.0], EPOCH))
        assert "No space left" in t.end(1)[1]


def test_two_taps_and_a_reconnect(tap, client, mosquitto):
    """Each has its own session, and nobody's queue is left behind at the broker."""
    a, b = tap(), tap()
    client.publish(metrics_topic("n"), event("n", 1, [1.0], EPOCH))
    assert json.loads(a.line())["seq"] == json.loads(b.line())["seq"] == 1
    mosquitto.restart()
    assert "trying again" in a.process.stderr.readline()
    assert "connected to" in a.process.stderr.readline()
    second = Client(mosquitto)
    second.publish(metrics_topic("n"), event("n", 2, [1.0], EPOCH))
    assert json.loads(a.line())["seq"] == 2
    second.close()


# ---- nodes and top from Redis ----


class Fleet:
    """latido-hot, and nodes that the test plays."""

    def __init__(self, mosquitto, redis, write_config, run_program):
        self.redis = redis
        self.config = write_config({"bus": {"url": mosquitto.url}, "redis": {"url": redis.url},
                                    "hot": {"admin": "127.0.0.1:0", "batch": {"linger": "5ms"}}})
        self.hot = run_program("latido-hot", config=self.config).wait_ready()
        self.client = Client(mosquitto)
        self.sent = 0

    def send(self, source, payload):
        self.client.publish(metrics_topic(source), payload)
        self.sent += 1
        self.hot.wait(lambda: self.hot.value("latido_hot_events_total") >= self.sent, SECONDS, "the event in Redis")

    def node(self, name, **more):
        """Two events, one second apart: rates are known."""
        base_ns = time.time_ns() - 10 * 10**9
        self.send(name, node_event(name, 1, 9, base_ns=base_ns, **more))
        self.send(name, node_event(name, 2, 10, base_ns=base_ns, **more))

    def db(self):
        return redis_client.Redis(unix_socket_path=self.redis.socket)

    def run(self, *args, **more):
        return latido(*args, "-c", self.config, **more)


@pytest.fixture
def fleet(mosquitto, redis, write_config, run_program):
    made = Fleet(mosquitto, redis, write_config, run_program)
    yield made
    made.client.close()


def without_age(table):
    """The AGE column depends on the clock."""
    return re.sub(r" +\d[\d.]*[smhd]$", " AGE", table, flags=re.M)


def test_nodes_table(fleet):
    fleet.node("worker1", busy=0.25)
    fleet.node("worker2", busy=0.9, load=12.5, available=1e9, received=5e6, free=1e9)
    fleet.send("sensor", event("sensor", 1, [1.0], EPOCH))
    out, err = fleet.run("nodes")
    assert not err
    assert without_age(out) == """\
SOURCE     STATE   CPU%   MEM%  DISK%   RX/s   TX/s   LOAD1    AGE
sensor     live       -      -      -      -      -       - AGE
worker1    live    25.0   50.0   70.0   1.0k    500    0.50 AGE
worker2    live    90.0   87.5   90.0   4.8M   2.4M   12.50 AGE
"""
    assert [line.split()[0] for line in fleet.run("nodes", "-s", "cpu")[0].splitlines()[1:]] == [
        "worker2", "worker1", "sensor"]
    assert [line.split()[0] for line in fleet.run("nodes", "-r")[0].splitlines()[1:]] == [
        "worker2", "worker1", "sensor"]


def test_nodes_json_and_csv(fleet):
    fleet.node("worker1", busy=0.5)
    fleet.send("sensor", event("sensor", 1, [1.0], EPOCH))
    rows = json.loads(fleet.run("nodes", "--json")[0])
    assert [r["source"] for r in rows] == ["sensor", "worker1"]
    node = rows[1]
    assert 0 <= node.pop("age_seconds") < 60
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT[\d:.]+Z", node.pop("seen"))
    assert node == {"source": "worker1", "state": "live", "cpu_percent": 50, "memory_percent": 50, "disk_percent": 70,
                    "load1": 0.5, "network_receive_bytes_per_second": 1000, "network_transmit_bytes_per_second": 500}
    assert rows[0]["cpu_percent"] is None
    table = list(csv.DictReader(io.StringIO(fleet.run("nodes", "-o", "csv")[0])))
    assert [r["source"] for r in table] == ["sensor", "worker1"]
    assert float(table[1]["cpu_percent"]) == 50 and table[0]["cpu_percent"] == ""
    assert set(table[0]) == set(rows[0])


def test_nodes_of_an_empty_and_a_missing_redis(redis, write_config):
    config = write_config({"redis": {"url": redis.url}})
    assert latido("nodes", "-c", config)[0] == \
        "SOURCE     STATE   CPU%   MEM%  DISK%   RX/s   TX/s   LOAD1    AGE\n"
    assert json.loads(latido("nodes", "-c", config, "-o", "json")[0]) == []
    redis.stop()
    out, err = latido("nodes", "-c", config, code=1)
    assert not out and "refused" in err


def test_states_by_age(fleet):
    now = time.time()
    for name, age in (("fresh", 0), ("late", 9), ("stale", 40)):
        fleet.send(name, node_event(name, 1, 1, interval_ms=1000))
    with fleet.db() as db:
        for name, age in (("fresh", 0), ("late", 9), ("stale", 40)):
            db.zadd("latido:seen", {name: int((now - age) * 1000)})
        found = {r["source"]: r["state"] for r in json.loads(fleet.run("nodes", "-o", "json")[0])}
        assert found["late"] in ("late", "stale") and found["stale"] == "stale"
        db.zadd("latido:seen", {"fresh": int(time.time() * 1000)})
    out, _ = fleet.run("top", "-b", "-n", "1")
    assert [line.split()[0] for line in out.splitlines()[2:]][:1] == ["stale"]


def test_what_others_wrote_into_redis(fleet):
    fleet.node("worker1")
    hostile = "\033]0;owned\a\033[2J"
    with fleet.db() as db:
        db.zadd("latido:seen", {hostile: time.time() * 1000, "=cmd()": time.time() * 1000, b"\xff\xfe": 5, "x" * 500: 5,
                                b"nul\0": 5})
        db.set("latido:window:stringy", "text")
        db.zadd("latido:seen", {"stringy": time.time() * 1000, "garbage": time.time() * 1000})
        db.xadd("latido:window:garbage", {"e": b"\x0a\xff\xff garbage", "f": "x"})
    out, _ = fleet.run("nodes")
    assert "\033" not in out and "\a" not in out and "?]0;owned" in out
    assert re.search("^worker1 +live +25.0 ", out, re.M)
    assert [r["source"] for r in json.loads(fleet.run("nodes", "-o", "json")[0])].count("worker1") == 1
    assert "\"'=cmd()\"" in fleet.run("nodes", "-o", "csv")[0]
    assert "2 more not shown" in fleet.run("top", "-b", "-n", "1")[0]


def test_other_layout(redis, write_config):
    with redis_client.Redis(unix_socket_path=redis.socket) as db:
        db.hset("latido:meta", "layout", 7)
    _, err = latido("nodes", "-c", write_config({"redis": {"url": redis.url}}), code=1)
    assert "layout 7" in err


def test_top_batch(fleet):
    fleet.node("worker1", busy=0.25)
    fleet.node("worker2", busy=0.75)
    out, err = fleet.run("top", "-b", "-n", "2", "-d", "0.1")
    assert not err and "\033" not in out
    tables = out.split("\n\n")
    assert len(tables) == 2
    for table in tables:
        lines = table.splitlines()
        assert re.fullmatch(r"latido top - [\d:TZ-]+  2 sources: 2 live, 0 late, 0 stale", lines[0])
        assert [line.split()[0] for line in lines[1:]] == ["SOURCE", "worker2", "worker1"]
    assert fleet.run("top", "-b", "-n", "1", "-f", "ker1")[0].count("\nworker") == 1
    assert fleet.run("top", "-b", "-n", "1", "-f", "WORKER?")[0].count("\nworker") == 2
    # Without a terminal one table, with or without -b.
    assert fleet.run("top")[0].count("SOURCE") == 1


def test_top_follows_new_events(fleet):
    """The second table of one run has rates of events that came after the first."""
    base_ns = time.time_ns() - 3600 * 10**9
    for seq in (1, 2):
        fleet.send("worker1", node_event("worker1", seq, seq, busy=0.1, base_ns=base_ns))
    top = subprocess.Popen([LATIDO, "top", "-b", "-n", "1000", "-d", "0.1", "-c", fleet.config], stdout=subprocess.PIPE,
                           stdin=subprocess.DEVNULL, text=True)
    servers.guard_process(top.pid)
    seq, seen = 2, set()
    deadline = time.monotonic() + SECONDS
    while not seen & {"100.0"} and time.monotonic() < deadline:
        seq += 1
        fleet.send("worker1", node_event("worker1", seq, seq, busy=1, base_ns=base_ns))
        for line in iter(top.stdout.readline, "\n"):
            if line.startswith("worker1"):
                seen.add(line.split()[2])
    top.stdout.close()
    assert top.wait(SECONDS) == 0  # its reader is gone: no error
    servers.unguard_process(top.pid)
    assert {"10.0", "100.0"} <= seen


# ---- top on a terminal ----


class Screen:
    """A terminal of its own (tmux) with a shell in it."""

    def __init__(self, folder, columns=90, rows=16):
        self.env = {**os.environ, "TMUX_TMPDIR": folder, "LC_ALL": "C.UTF-8", "TERM": "screen-256color"}
        self.env.pop("TMUX", None)
        self.env.pop("NO_COLOR", None)
        self.tmux("new-session", "-d", "-x", str(columns), "-y", str(rows), "env PS1='$ ' sh")
        self.pid = int(self.tmux("display-message", "-p", "#{pid}"))
        servers.guard_process(self.pid)

    def tmux(self, *args):
        return subprocess.run(["tmux", "-f", "/dev/null", "-L", "latido", *args], env=self.env, check=True,
                              capture_output=True, text=True, timeout=SECONDS).stdout

    def keys(self, *keys):
        self.tmux("send-keys", *keys)

    def type(self, text):
        self.tmux("send-keys", "-l", text)

    def command(self, text):
        self.type(text)
        self.keys("Enter")

    def text(self, colours=False):
        return self.tmux("capture-pane", "-p", *(["-e"] if colours else []))

    def alternate(self):
        return self.tmux("display-message", "-p", "#{alternate_on}").strip() == "1"

    def wait(self, pattern):
        """Wait until the screen shows it; returns the screen."""
        text = ""

        def shows():
            nonlocal text
            text = self.text()
            return re.search(pattern, text, re.M)
        try:
            wait_until(shows, SECONDS, pattern)
        except TimeoutError:
            pytest.fail(f"the screen never showed {pattern!r}; it shows:\n{text}")
        return text

    def pane_pid(self):
        """The program in the foreground of the shell."""
        shell = int(self.tmux("display-message", "-p", "#{pane_pid}"))
        with open(f"/proc/{shell}/task/{shell}/children", encoding="ascii") as f:
            return int(f.read().split()[-1])

    def resize(self, columns, rows):
        self.tmux("resize-window", "-x", str(columns), "-y", str(rows))

    def close(self):
        self.tmux("kill-server")
        servers.unguard_process(self.pid)


@pytest.fixture
def screen():
    folder = servers.private_folder()
    made = Screen(folder)
    yield made
    made.close()
    servers.remove_folder(folder)


def first_column(text):
    lines = text.splitlines()
    start = next(i for i, line in enumerate(lines) if line.startswith("SOURCE"))
    return [line.split()[0] for line in lines[start + 1:-1] if line.strip()]


@pytest.fixture
def top(fleet, screen):
    fleet.node("alpha", busy=0.1, load=3)
    fleet.node("beta", busy=0.5, load=1)
    fleet.node("gamma", busy=0.9, load=2)
    screen.command("echo before")
    screen.wait("^before$")
    screen.command(f"{LATIDO} top -d 0.25 -c {fleet.config}; echo code $?")
    screen.wait("^gamma .* 90.0 ")
    return screen


def test_top_keys(top):
    assert top.alternate()
    assert first_column(top.text()) == ["gamma", "beta", "alpha"]
    top.keys("n")
    top.wait(r"by source")
    assert first_column(top.text()) == ["alpha", "beta", "gamma"]
    top.keys("n")
    top.wait(r"by source reversed")
    assert first_column(top.text()) == ["gamma", "beta", "alpha"]
    top.keys("l")
    top.wait(r"by load")
    assert first_column(top.text()) == ["alpha", "gamma", "beta"]
    top.keys("i")
    top.wait(r"by load reversed")
    assert first_column(top.text()) == ["beta", "gamma", "alpha"]
    top.keys("/")
    top.type("ta")
    top.wait(r"^filter: ta_")
    assert first_column(top.text()) == ["beta"]
    top.keys("BSpace", "BSpace")
    top.type("*[bm]*")
    top.keys("Enter")
    top.wait(r"filter \*\[bm\]\* \(2 of 3\)")
    assert sorted(first_column(top.text())) == ["beta", "gamma"]
    top.keys("Escape")
    top.wait("^alpha")
    top.keys("h")
    top.wait("quit")
    top.wait("sort by")
    top.keys("x")
    top.wait("^alpha")
    top.keys("Space")
    top.wait("PAUSED")
    top.keys("Space")
    top.keys("+")
    top.wait("every 0.5 s")


def test_top_quits_and_restores(top):
    top.keys("q")
    text = top.wait("^code 0$")
    assert not top.alternate()
    assert "before" in text and "SOURCE" not in text
    # The terminal echoes and edits lines again.
    top.type("echo hal")
    top.wait(r"\$ echo hal$")
    top.type("lo")
    top.keys("Enter")
    top.wait("^hallo$")


@pytest.mark.parametrize("signum, code", [(signal.SIGTERM, "0"), (signal.SIGHUP, "0"), (signal.SIGINT, "0"),
                                          (signal.SIGABRT, r"\d+"), (signal.SIGSEGV, r"\d+")])
def test_top_restores_after_signals(top, signum, code):
    os.kill(top.pane_pid(), signum)
    text = top.wait(f"^code {code}$")
    assert not top.alternate()
    # A sanitizer's report of the crash may have pushed what was there before off the screen.
    assert "SOURCE" not in text and ("before" in text or "Sanitizer" in text)
    top.type("echo hal")
    top.wait(r"\$ echo hal$")


def test_top_ctrl_c(top):
    top.keys("C-c")
    wait_until(lambda: not top.alternate(), SECONDS, "the normal screen")


def test_top_into_the_background_and_back(top):
    top.keys("C-z")
    wait_until(lambda: not top.alternate(), SECONDS, "the shell's screen")
    top.wait("before")
    top.command("fg")
    wait_until(top.alternate, SECONDS, "the alternate screen")
    top.wait("^gamma .* 90.0 ")
    top.keys("q")
    wait_until(lambda: not top.alternate(), SECONDS, "the normal screen")


def test_top_resize(top):
    top.resize(50, 16)
    text = top.wait(r"^SOURCE +STATE +CPU% +MEM% +DISK% +AGE$")
    assert "RX/s" not in text
    top.resize(90, 5)
    top.wait("RX/s")
    assert first_column(top.text()) == ["gamma"]
    top.keys("Down")
    top.wait("^beta")
    assert first_column(top.text()) == ["beta"]
    top.keys("End")
    top.wait("^alpha")
    top.keys("Home")
    top.wait("^gamma")
    top.resize(3, 2)
    top.resize(90, 20)
    top.wait("^alpha")
    assert first_column(top.text()) == ["gamma", "beta", "alpha"]


def test_top_when_redis_goes_and_comes(top, fleet):
    fleet.redis.kill()
    text = top.wait("^RECONNECTING, last data .* ago: .*refused")
    assert first_column(text) == ["gamma", "beta", "alpha"]
    fleet.redis.start()
    top.wait("^Redis .*by state")
    top.wait("0 sources")
    fleet.send("delta", node_event("delta", 1, 1))
    top.wait("^delta ")


def test_top_answers_while_redis_hangs(top, fleet):
    fleet.redis.pause()
    try:
        top.keys("n")
        top.wait("by source|RECONNECTING")
        top.keys("q")
        top.wait("^code 0$")
    finally:
        fleet.redis.resume()


def test_top_redis_down_at_start(screen, redis, write_config):
    redis.stop()
    config = write_config({"redis": {"url": redis.url}})
    screen.command(f"{LATIDO} top -d 0.25 -c {config}")
    screen.wait("^CONNECTING: .*refused")
    redis.start()
    screen.wait("0 sources")
    screen.keys("q")
    wait_until(lambda: not screen.alternate(), SECONDS, "the normal screen")


def test_top_colours(fleet, screen):
    fleet.node("hot1", busy=0.95)
    run = f"{LATIDO} top -c {fleet.config}"
    screen.command(run)
    screen.wait("^hot1 .* 95.0 ")
    assert re.search("\033\\[[0-9;]*31m *95.0", screen.text(colours=True))
    screen.keys("q")
    wait_until(lambda: not screen.alternate(), SECONDS, "the normal screen")
    screen.command(f"NO_COLOR=1 {run}")
    screen.wait("^hot1 .* 95.0 ")
    assert "\033[" not in screen.text(colours=True)
    screen.keys("q")
    wait_until(lambda: not screen.alternate(), SECONDS, "the normal screen")
    screen.command("clear")
    screen.command(f"TERM=dumb {run} | cat; TERM=dumb {run}")
    screen.wait("^hot1 .*\n(.*\n)*hot1 ")
    assert not screen.alternate()


# ---- completion ----


def complete(line):
    """What bash offers at the end of the line."""
    script = ('source "$1"; COMP_LINE=$2; read -ra COMP_WORDS <<<"$2"; [[ $2 == *" " ]] && COMP_WORDS+=(""); '
              'COMP_CWORD=$((${#COMP_WORDS[@]} - 1)); _latido; printf "%s\\n" "${COMPREPLY[@]}"')
    out = subprocess.run(["bash", "-c", script, "bash", os.path.join(ROOT, "infra", "completion", "latido.bash"), line],
                         check=True, capture_output=True, text=True, timeout=SECONDS)
    assert not out.stderr
    return out.stdout.split()


def test_completion():
    assert complete("latido t") == ["tap", "top", "topics"]
    assert complete("latido -c /x n") == ["nodes"]
    assert complete("latido help to") == ["top", "topics"]
    assert complete("latido nodes -o ") == ["table", "json", "csv"]
    assert complete("latido alerts -o ") == ["table", "json"]
    assert complete("latido top --sort me") == ["memory"]
    assert complete("latido topics ") == ["create", "check"]
    assert complete("latido deadletter ") == ["list", "show", "replay"]
    for command in ("tap", "top", "nodes", "topics", "deadletter", "gaps", "alerts"):
        known = re.findall(r"(?<=\s)--[a-z-]+", latido("help", command)[0])
        assert sorted(complete(f"latido {command} --")) == sorted(set(known))
