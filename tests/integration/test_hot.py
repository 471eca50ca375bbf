# SPDX-License-Identifier: MIT
"""latido-hot between a real Mosquitto and a real Redis."""

import json
import re
import signal
import struct
import time

import pytest
import redis as redis_client

import servers
from pipeline import COUNTER, SECONDS, Client, event, family, hash_seq, metrics_topic, node_hash
from servers import wait_until

pytestmark = pytest.mark.threaded

EPOCH = 1_763_700_000_000_000


class Hot:
    """latido-hot with its servers, and a device, a node and a reader played by the test."""

    def __init__(self, broker, server, write_config, run_program, sections):
        config = {
            "bus": {"url": broker.url, "backoff_base": "50ms", "backoff_cap": "500ms"},
            "redis": {"url": server.url, "timeout": "5s"},
            "hot": {"admin": "127.0.0.1:0", "max_rate_hz": 50, "batch": {"linger": "10ms"}},
        }
        for name, section in sections.items():
            config[name].update(section)
        self.server, self.run_program = server, run_program
        self.config = write_config(config)
        self.client = Client(broker)
        self.program = None

    def start(self, ready=True):
        if self.program is None:
            self.program = self.run_program("latido-hot", config=self.config)
        else:
            self.program.start()
        if ready:
            self.program.wait_ready()
        return self

    def restart(self):
        self.program.terminate()
        return self.start()

    @property
    def redis(self):
        return redis_client.Redis(unix_socket_path=self.server.socket, socket_timeout=SECONDS)

    def hash(self, source="n"):
        with self.redis as db:
            return {k.decode(): v.decode() for k, v in db.hgetall(f"latido:node:{source}").items()}

    def seq(self, source="n"):
        try:
            return int(self.hash(source).get("_seq", 0))
        except redis_client.RedisError:
            return 0

    def publish(self, seq, metrics, source="n", epoch=EPOCH, **more):
        self.client.publish(metrics_topic(source), json.dumps(
            {"source": source, "epoch": epoch, "seq": seq, "metrics": metrics, **more}))

    def wait_seq(self, seq, source="n"):
        self.program.wait(lambda: self.seq(source) == seq, SECONDS, f"event {seq} of {source} in Redis")

    def put(self, seq, metrics, source="n", **more):
        self.publish(seq, metrics, source, **more)
        self.wait_seq(seq, source)

    def values(self, source="n"):
        return {k: v for k, v in self.hash(source).items() if not k.startswith("_")}

    def count(self, name, **labels):
        return self.program.value(name, **labels)


@pytest.fixture
def make_hot(mosquitto, redis, write_config, run_program):
    made = []

    def make(**sections):
        hot = Hot(mosquitto, redis, write_config, run_program, sections)
        made.append(hot)
        return hot

    yield make
    for hot in made:
        hot.client.close()


@pytest.fixture
def hot(make_hot):
    return make_hot().start()


def test_every_key(hot):
    with hot.redis as db:
        live = db.pubsub()
        live.subscribe("latido:live:n")
        assert live.get_message(timeout=SECONDS)["type"] == "subscribe"
        before = int(time.time() * 1000)
        hot.put(1, {"node_load1": 0.5, 'cpu{mode="idle"}': 12.25}, interval_ms=1000)
        assert hot.values() == {"node_load1": "0.5", 'cpu{mode="idle"}': "12.25"}
        assert hot.hash()["_epoch"] == str(EPOCH)
        assert hot.hash()["_interval"] == "1000"
        assert before <= float(hot.hash()["_time"]) <= time.time() * 1000
        message = live.get_message(timeout=SECONDS)
        ((entry, fields),) = db.xrange("latido:window:n")
        assert entry == f"{EPOCH}-1".encode()
        assert fields[b"e"] == message["data"]
        assert struct.pack("<d", 12.25) in message["data"]
        assert db.exists("latido:shape:" + hot.hash()["_shape"])
        hot.program.wait(lambda: db.zscore("latido:seen", "n") is not None, SECONDS, "it was seen")
        assert before <= db.zscore("latido:seen", "n") <= time.time() * 1000
        assert db.hget("latido:meta", "layout") == b"1"
        for key in db.keys("*"):
            assert key in (b"latido:seen", b"latido:meta") or db.ttl(key) > 0, key
        live.close()


def test_devices(hot):
    hot.client.publish("latido/v1/devices/lamp/metrics", '{"temperature":21.5}')
    hot.client.publish("latido/v1/devices/lamp/metrics/humidity", "40")
    hot.program.wait(lambda: hot.values("lamp") == {"temperature": "21.5", "humidity": "40"}, SECONDS, "the device")


def test_older_never_overwrites_newer(hot):
    hot.put(10, {"v": 10})
    hot.publish(9, {"v": 9})
    hot.publish(500, {"v": 500}, epoch=EPOCH - 1)
    hot.put(1, {"v": 1}, epoch=EPOCH + 1)
    hot.publish(11, {"v": 11})
    hot.put(2, {"v": 2}, epoch=EPOCH + 1)
    assert hot.values() == {"v": "2"}
    assert hot.count("latido_hot_old_events_total") == 3
    (line,) = hot.program.logged("epoch_replaced")
    assert (line["epoch"], line["newer"]) == (str(EPOCH - 1), str(EPOCH)) and "agent.source" in line["remedy"]
    # Also not after a restart, when only Redis remembers.
    hot.restart()
    hot.publish(12, {"v": 12})
    hot.publish(2, {"v": 3}, epoch=EPOCH + 1)
    hot.put(3, {"v": 4}, epoch=EPOCH + 1)
    assert hot.values() == {"v": "4"}
    with hot.redis as db:
        ids = [e for e, _ in db.xrange("latido:window:n")]
    assert ids == [f"{EPOCH}-10".encode(), f"{EPOCH + 1}-1".encode(), f"{EPOCH + 1}-2".encode(),
                   f"{EPOCH + 1}-3".encode()]


def test_changed_fields_only(hot):
    """As Redis's MONITOR sees it: the second write names the one field that changed."""
    names = [f"m{i}" for i in range(30)]
    hot.put(1, {n: 1 for n in names})
    with hot.redis as db, db.monitor() as monitor:
        hot.put(2, {n: 1 + (n == "m7") for n in names})
        hot.put(3, {n: 1 + (n == "m7") for n in names})
        written = []
        with hot.redis as other:
            other.echo("end of the test")
        for line in monitor.listen():
            if "end of the test" in line["command"]:
                break
            if line["client_type"] == "lua" and line["command"].startswith("HSET"):
                written += re.findall(r"\bm\d+ \S+", line["command"])
    assert written == ["m7 2"]
    assert hot.values()["m7"] == "2" and len(hot.values()) == 30


def test_rate_is_bounded_and_the_last_value_arrives(make_hot):
    hot = make_hot(hot={"max_rate_hz": 2}).start()
    hot.put(1, {"v": 1})
    with hot.redis as db:
        started, before = time.monotonic(), db.info("commandstats")["cmdstat_fcall"]["calls"]
        hot.client.wait([hot.client.send(metrics_topic("n"), event("n", i, [float(i)], epoch=EPOCH))
                         for i in range(2, 401)])
        hot.wait_seq(400)
        calls = db.info("commandstats")["cmdstat_fcall"]["calls"] - before
        assert calls <= 2 * (time.monotonic() - started) + 2
        assert hot.hash()['test_value{i="0"}'] == "400"
        assert db.xlen("latido:window:n") == 400
    assert hot.count("latido_hot_deferred_total") > 0


def test_series_that_vanish(hot):
    hot.put(1, {"a": 1, "b": 1, "c": 1})
    hot.put(2, {"b": 2, "d": 2})
    assert hot.values() == {"b": "2", "d": "2"}
    # While hot is away too.
    hot.program.terminate()
    hot.start()
    hot.put(3, {"d": 3, "e": 3})
    assert hot.values() == {"d": "3", "e": "3"}


def test_redis_down_at_start(make_hot, redis):
    redis.stop()
    hot = make_hot().start(ready=False)
    hot.program.wait_log("bus_connected")
    for i in range(1, 21):
        hot.publish(i, {"v": i})
    hot.program.wait(lambda: hot.program.get("/readyz")[0] == 503, SECONDS, "not ready")
    assert "redis" in hot.program.get("/readyz")[1]
    redis.start()
    hot.wait_seq(20)
    hot.program.wait_ready()
    with hot.redis as db:
        assert db.xlen("latido:window:n") == 20


def test_redis_killed_and_back_empty(hot, redis):
    hot.put(1, {"a": 1, "b": 1})
    redis.kill()
    hot.publish(2, {"a": 2, "b": 1})
    hot.program.wait(lambda: not hot.program.ready(), SECONDS, "notices that Redis is gone")
    hot.publish(3, {"a": 3, "b": 1})
    redis.restart(empty=True)
    hot.wait_seq(3)
    assert hot.values() == {"a": "3", "b": "1"}
    with hot.redis as db:
        # Before them the first one, if the kill came between its writes and their answers.
        assert [e for e, _ in db.xrange("latido:window:n")][-2:] == [f"{EPOCH}-2".encode(), f"{EPOCH}-3".encode()]
        assert db.exists("latido:shape:" + hot.hash()["_shape"])
    hot.put(4, {"a": 3, "b": 4})
    assert hot.values() == {"a": "3", "b": "4"}


def test_flushed_under_it(hot):
    hot.put(1, {"a": 1, "b": 1})
    with hot.redis as db:
        db.flushall()
    hot.put(2, {"a": 2, "b": 1})
    assert hot.values() == {"a": "2", "b": "1"}
    with hot.redis as db:
        assert db.exists("latido:shape:" + hot.hash()["_shape"])
        assert db.hget("latido:meta", "layout") == b"1"


def test_redis_hangs_for_a_while(make_hot, redis):
    hot = make_hot(redis={"timeout": "500ms"}).start()
    hot.put(1, {"v": 1})
    redis.pause()
    try:
        for i in range(2, 30):
            hot.publish(i, {"v": i})
        hot.program.wait(lambda: not hot.program.ready(), SECONDS, "notices that Redis hangs")
    finally:
        redis.resume()
    hot.wait_seq(29)
    # Each numbered event once, whatever was sent twice.
    with hot.redis as db:
        ids = [e for e, _ in db.xrange("latido:window:n")]
    assert ids == [f"{EPOCH}-{i}".encode() for i in range(1, 30)]


def test_foreign_key_blocks_nobody(hot):
    with hot.redis as db:
        db.set("latido:node:bad", "mine")
        hot.publish(1, {"v": 1}, source="bad")
        hot.put(1, {"v": 1}, source="good")
        line = hot.program.wait_log("redis_key")
        assert line["key"] == "latido:node:bad" and "WRONGTYPE" in line["err"] and "delete" in line["remedy"]
        assert db.get("latido:node:bad") == b"mine"
        db.delete("latido:node:bad")
        hot.put(2, {"v": 2}, source="bad")


def test_announced_shape_is_found_in_redis(hot):
    """A source that sends names only now and then is understood at once after a restart."""
    shape = family("temp", ["room"], [("kitchen",), ("cellar",)], COUNTER)
    hot.client.publish(metrics_topic("n"), event("n", 1, [20.0, 10.0], EPOCH, shape=shape))
    hot.wait_seq(1)
    number = int(hot.hash()["_shape"], 16)
    hot.restart()
    hot.client.publish(metrics_topic("n"), event("n", 2, [21.0, 10.0], EPOCH, shape=b"", shape_hash=number))
    hot.wait_seq(2)
    assert hot.values() == {'temp{room="kitchen"}': "21", 'temp{room="cellar"}': "10"}


def test_sigterm_writes_what_was_read(make_hot):
    hot = make_hot(hot={"max_rate_hz": 0.01}).start()
    hot.put(1, {"v": 1})
    hot.client.wait([hot.client.send(metrics_topic("n"), event("n", i, [float(i)], epoch=EPOCH))
                     for i in range(2, 2001)])
    hot.program.wait(lambda: hot.count("latido_hot_events_total") >= 2000, SECONDS, "all read")
    assert hot.seq() == 1  # the rest waits for its turn in 100 s
    hot.program.terminate()
    assert hot.seq() == 2000
    assert hot.values() == {'test_value{i="0"}': "2000"}


def test_sigterm_during_a_burst_and_again(hot):
    """What was read before SIGTERM is in Redis, the rest comes from the broker's queue afterwards."""
    sent = [hot.client.send(metrics_topic("n"), event("n", i, [float(i)] * 50, epoch=EPOCH)) for i in range(1, 3001)]
    hot.program.wait(lambda: hot.seq() > 0, SECONDS, "the first ones")
    hot.program.terminate()
    hot.client.wait(sent)
    hot.start()
    hot.wait_seq(3000)
    assert len(hot.values()) == 50 and set(hot.values().values()) == {"3000"}


def test_many_sources_at_once(hot):
    sent = [hot.client.send(metrics_topic(f"node{n}"), event(f"node{n}", i, [float(i), float(n)], epoch=EPOCH))
            for i in range(1, 11) for n in range(100)]
    hot.client.wait(sent)
    for n in range(100):
        hot.wait_seq(10, f"node{n}")
        assert list(hot.values(f"node{n}").values()) == ["10", str(n)]
    with hot.redis as db:
        # Written last; and counted when Redis has answered.
        hot.program.wait(lambda: db.zcard("latido:seen") == 100, SECONDS, "all were seen")
        assert all(db.xlen(f"latido:window:node{n}") == 10 for n in range(100))
    hot.program.wait(lambda: "latido_hot_event_to_redis_seconds_count 1000\n" in hot.program.get("/metrics")[1], SECONDS,
                     "all were counted")


@pytest.mark.parametrize("change, said", [
    ({"redis": {"url": "http://127.0.0.1"}}, "redis.url"),
    ({"redis": {"password": "wrong"}}, "password"),
])
def test_wrong_configuration_ends_it(make_hot, change, said):
    hot = make_hot(**change).start(ready=False)
    assert hot.program.wait_exit() == 78
    assert said in hot.program.log_text()


def test_other_layout_ends_it(make_hot):
    hot = make_hot()
    with hot.redis as db:
        db.hset("latido:meta", "layout", "2")
    hot.start(ready=False)
    assert hot.program.wait_exit() == 78
    assert "layout 2" in hot.program.log_text() and "redis.url" in hot.program.log_text()


def test_credentials(servers_folder, mosquitto, write_config, run_program, tmp_path):
    """The password comes from a file, and no log shows it."""
    with servers.Redis(servers_folder, password="s3cr3t-word") as server:
        path = tmp_path / "password"
        path.write_text("s3cr3t-word\n", encoding="ascii")
        path.chmod(0o600)
        config = write_config({"bus": {"url": mosquitto.url}, "hot": {"admin": "127.0.0.1:0"},
                               "redis": {"url": server.url, "password_file": str(path)}})
        program = run_program("latido-hot", config=config).wait_ready()
        client = Client(mosquitto)
        client.publish(metrics_topic("n"), event("n", 1, [1.0], EPOCH))
        with servers.RedisConnection(server) as redis:
            program.wait(lambda: hash_seq(redis, "n") == 1, SECONDS, "the event")
            assert node_hash(redis, "n")['test_value{i="0"}'] == "1"
        client.close()
        assert "s3cr3t" not in program.log_text()


def test_second_signal_leaves_at_once(make_hot, redis):
    hot = make_hot(redis={"timeout": "60s"}, hot={"drain_timeout": "60s"}).start()
    hot.put(1, {"v": 1})
    redis.pause()
    try:
        hot.publish(2, {"v": 2})
        hot.program.wait(lambda: hot.count("latido_consumer_putting_events") >= 1, SECONDS, "the event is read")
        hot.program.signal(signal.SIGTERM)
        hot.program.wait_log("draining")
        hot.program.signal(signal.SIGTERM)
        assert hot.program.wait_exit() == 3
    finally:
        redis.resume()


def test_deferred_writes_need_no_further_event(make_hot):
    hot = make_hot(hot={"max_rate_hz": 2}).start()
    hot.put(1, {"v": 1})
    for i in range(2, 6):
        hot.publish(i, {"v": i})
    wait_until(lambda: hot.values() == {"v": "5"}, SECONDS, "the last value by itself")
