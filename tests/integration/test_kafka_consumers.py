# SPDX-License-Identifier: MIT
"""latido-hot, latido tap and the demo on Kafka, and topics that grow under running consumers."""

import collections
import json
import os
import random
import subprocess
import threading

import pytest

import servers
from conftest import BIN, ROOT
from kafka import Kafka
from kafka_site import EPOCH, Site, finish
from pipeline import SECONDS

pytestmark = pytest.mark.once


@pytest.fixture(scope="module")
def kafka(tmp_path_factory):
    """One broker for the tests of this file; each has topics of its own."""
    with Kafka(str(tmp_path_factory.mktemp("kafka"))) as server:
        server.used = 0
        yield server


class OwnTopics(Site):
    """Topics, groups and programs of one test in a shared broker."""

    def __init__(self, kafka, redis, write_config, run_program, tmp_path, postgres=None):
        super().__init__(kafka, postgres, write_config, run_program, tmp_path)
        kafka.used += 1
        self.redis, self.topic = redis, f"t{kafka.used}.metrics"
        self.bus = {"url": kafka.url, "backoff_base": "50ms", "backoff_cap": "500ms",
                    "kafka": {"topic": self.topic, "deadletter_topic": f"t{kafka.used}.deadletter",
                              "alerts_topic": f"t{kafka.used}.alerts", "session_timeout": "2s"}}
        self.path = write_config({
            "bus": self.bus, "redis": {"url": redis.url, "timeout": "5s"},
            **({"postgres": {"dsn": postgres.dsn, "timeout": "10s"}} if postgres else {}),
            "hot": {"admin": "127.0.0.1:0", "batch": {"linger": "10ms"}, "window_bytes": "1GiB"},
            "store": {"admin": "127.0.0.1:0", "batch": {"linger": "20ms"}}}, "own.yaml")

    def latido(self, *args):
        return subprocess.run([os.path.join(BIN, "latido"), "--config", self.path, *args], text=True,
                              capture_output=True, check=True, timeout=SECONDS).stdout

    def create(self, partitions):
        self.latido("topics", "create", "--partitions", str(partitions))

    def load(self, sources, events, junk=0, epoch=EPOCH):
        path = self.write_config({"bus": self.bus}, f"load{len(self.loads)}.yaml")
        return self.start_load(path, sources, events, junk, epoch)

    def hot(self, label="hot"):
        return self.run_program("latido-hot", config=self.path, label=label)

    def window(self, source):
        """The numbers of the events that Redis has of a source, oldest first."""
        rows = self.redis.call("XRANGE", f"latido:window:{source}", "-", "+")
        return [int(row[0].split("-")[1]) for row in rows]

    def wait_window(self, sources, events):
        """Redis has every event of every source, in order and once."""
        def newest(source):
            return int(dict(zip(*[iter(self.redis.call("HGETALL", f"latido:node:{source}"))] * 2)).get("_seq", 0))

        names = [f"n{i}" for i in range(sources)]
        servers.wait_until(lambda: all(newest(n) == events for n in names), 2 * SECONDS, "the newest of each source")
        for name in names:
            assert self.window(name) == list(range(1, events + 1)), name


@pytest.fixture
def site(kafka, redis, write_config, run_program, tmp_path):
    return OwnTopics(kafka, redis, write_config, run_program, tmp_path)


def test_hot_loses_nothing_when_killed(site):
    """Positions are stored after Redis has the data; poison records in between hold up nothing."""
    sources, events = 20, 300
    site.create(4)
    hot = site.hot()
    hot.wait_ready()
    load = site.load(sources, events, junk=500)
    rng = random.Random(3)
    for i in range(6):
        before = hot.metrics().value("latido_consumer_events_total")
        goal = before + rng.randrange(1, 400)
        if load.poll() is None:
            servers.wait_until(lambda: load.poll() is not None or
                               hot.metrics().value("latido_consumer_events_total") >= goal, SECONDS, "some events")
        hot.kill()
        hot = site.hot(f"hot{i + 1}")
        hot.wait_ready()
    finish(load)
    site.wait_window(sources, events)
    servers.wait_until(
        lambda: sum("\thot\t" in row for row in site.latido("deadletter", "list").splitlines()) >=
        sources * events // 499, SECONDS, "each poison record became a dead letter")


def test_hot_killed_while_redis_does_not_answer(site):
    """What was read and could not be written is read again by the next one."""
    sources, events = 10, 100
    site.create(2)
    hot = site.hot()
    hot.wait_ready()
    finish(site.load(sources, 10))
    site.wait_window(sources, 10)
    site.redis.pause()
    finish(site.load(sources, events, epoch=EPOCH + 1))
    servers.wait_until(lambda: hot.metrics().value("latido_bus_held_bytes") > 0, SECONDS, "it has read something")
    hot.kill()
    site.redis.resume()
    site.hot("after").wait_ready()

    def numbers():
        return [[row[0] for row in site.redis.call("XRANGE", f"latido:window:n{i}", f"{EPOCH + 1}-0", "+")]
                for i in range(sources)]
    servers.wait_until(lambda: all(len(n) >= events for n in numbers()), SECONDS, "all of the second epoch")
    assert numbers() == [[f"{EPOCH + 1}-{seq}" for seq in range(1, events + 1)]] * sources


class Tap:
    """`latido tap` in the background; what it printed, as (source, epoch, seq)."""

    def __init__(self, site, *args):
        self.events, self.notices = [], []
        self.connected = threading.Event()
        self.process = subprocess.Popen([os.path.join(BIN, "latido"), "--config", site.path, "tap", "--json", *args],
                                        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        servers.guard_process(self.process.pid)
        self.threads = [threading.Thread(target=self.read), threading.Thread(target=self.listen)]
        for thread in self.threads:
            thread.start()

    def read(self):
        for line in self.process.stdout:
            if line.endswith("\n"):  # else it was killed in the middle
                event = json.loads(line)
                self.events.append((event["source"], event["epoch"], event["seq"]))

    def listen(self):
        for line in self.process.stderr:
            self.notices.append(line)
            if "connected to" in line:
                self.connected.set()

    def end(self, kill=False):
        if kill:
            self.process.kill()
        else:
            self.process.terminate()
        return self.wait()

    def wait(self):
        code = self.process.wait(SECONDS)
        servers.unguard_process(self.process.pid)
        for thread in self.threads:
            thread.join(SECONDS)
        return code


def in_order(events):
    """Of each source and epoch, every number is one more than the one before."""
    last = collections.defaultdict(int)
    for source, epoch, seq in events:
        assert seq == last[source, epoch] + 1, (source, epoch, seq, last[source, epoch])
        last[source, epoch] = seq
    return last


def test_tap_shows_what_comes_from_now_on(site):
    site.create(3)
    finish(site.load(5, 10))
    tap = Tap(site, "--source", "n[0-3]")
    assert tap.connected.wait(SECONDS), tap.notices

    # It says "connected" before it knows where every partition ends.
    epochs = iter(range(EPOCH + 1, EPOCH + 1000))

    def seen_all():
        finish(site.load(5, 1, epoch=next(epochs)))
        seen = collections.Counter(e[1] for e in list(tap.events))
        return any(n == 4 for n in seen.values())
    servers.wait_until(seen_all, SECONDS, "one event of each of the four sources")
    finish(site.load(5, 50, epoch=EPOCH + 5000))
    servers.wait_until(lambda: sum(e[1] == EPOCH + 5000 for e in tap.events) == 200, SECONDS, "four times fifty")
    assert tap.end() == 0
    assert all(epoch != EPOCH and source != "n4" for source, epoch, _ in tap.events)
    in_order([e for e in tap.events if e[1] == EPOCH + 5000])


def test_tap_with_a_group_goes_on_where_it_stopped(site):
    """Nothing is left out, whatever ended the tap before; after a regular end nothing comes twice."""
    site.create(3)
    finish(site.load(6, 50))
    # A member that is not heard for the session's length is put out and begins again a little earlier,
    # so these two have a long one. The one that is killed has a short one: the next waits that long.
    patient = site.write_config({"bus": {"kafka": {"session_timeout": "2m"}}}, "patient.yaml")
    first = Tap(site, "--config", patient, "--group", "people", "--count", "70")
    assert first.wait() == 0
    assert len(first.events) == 70
    second = Tap(site, "--config", patient, "--group", "people")
    servers.wait_until(lambda: len(second.events) >= 230, SECONDS, "the rest")
    assert second.end() == 0
    last = in_order(sorted(first.events + second.events))
    assert set(last.values()) == {50} and len(last) == 6
    killed = Tap(site, "--group", "people")
    finish(site.load(6, 50, epoch=EPOCH + 1))
    servers.wait_until(lambda: len(killed.events) > 20, SECONDS, "some")
    killed.end(kill=True)
    # It may have printed all of these; of the next ones it has printed none.
    finish(site.load(6, 50, epoch=EPOCH + 2))
    after = Tap(site, "--group", "people")
    wanted = {(f"n{i}", epoch, seq) for i in range(6) for epoch in (EPOCH + 1, EPOCH + 2) for seq in range(1, 51)}
    servers.wait_until(lambda: set(killed.events) | set(after.events) == wanted, SECONDS, "each at least once")
    assert after.end() == 0


def test_tap_group_is_for_kafka():
    run = subprocess.run([os.path.join(BIN, "latido"), "tap", "--group", "x", "--bus", "mqtt://127.0.0.1:1"],
                         text=True, capture_output=True, check=False, timeout=SECONDS)
    assert run.returncode == 78 and "--group is for kafka://" in run.stderr


def test_partitions_added_under_running_consumers(kafka, redis, postgres, write_config, run_program, tmp_path):
    """What goes to partitions that nobody knew at the start is read like the rest."""
    site = OwnTopics(kafka, redis, write_config, run_program, tmp_path, postgres)
    site.create(2)
    store, hot = run_program("latido-store", config=site.path), site.hot()
    store.wait_ready()
    hot.wait_ready()
    finish(site.load(20, 20))
    site.wait_stored(400)
    kafka.add_partitions(site.topic, 5)
    # Before anybody has noticed: a producer that starts now knows all five.
    finish(site.load(20, 20, epoch=EPOCH + 1))
    site.wait_stored(800)
    used = {row[0] for row in postgres.sql("SELECT part FROM kafka_progress WHERE next_offset > 0")}
    assert used - {"0", "1"}, "partitions that did not exist at the start"
    servers.wait_until(lambda: store.metrics().value("latido_bus_partitions") == 5, SECONDS, "five partitions")
    assert postgres.sql("SELECT count(*), count(DISTINCT (epoch_id, seq)) FROM snapshot") == [("800", "800")]
    assert postgres.sql("SELECT count(*) FROM gap") == [("0",)]
    servers.wait_until(lambda: all(
        redis.call("HGET", f"latido:node:n{i}", "_epoch") == str(EPOCH + 1) and
        redis.call("HGET", f"latido:node:n{i}", "_seq") == "20" for i in range(20)), SECONDS, "the newest in Redis")


def test_order_is_kept_when_leaders_die(servers_folder, redis, write_config, run_program, tmp_path):
    """Every source's events stand in Kafka in the order in which they were sent."""
    sources, events = 12, 800
    with Kafka(servers_folder, brokers=3) as cluster:
        cluster.used = 0
        site = OwnTopics(cluster, redis, write_config, run_program, tmp_path)
        site.create(3)
        load = site.load(sources, events)
        tap = Tap(site, "--group", "order")
        for partition in range(2):
            seen = len(tap.events)
            servers.wait_until(lambda: len(tap.events) >= min(seen + 1500, sources * events),
                               SECONDS, "events")
            leader = cluster.leader(site.topic, partition)
            leader.kill()
            cluster.start()
        finish(load)
        servers.wait_until(lambda: len(set(tap.events)) >= sources * events, 2 * SECONDS, "all events")
        assert tap.end() == 0
        # A group whose coordinator died may begin again at an older position; an event that overtook
        # another one would be seen before all in front of it were.
        last = collections.defaultdict(int)
        for source, _, seq in tap.events:
            assert seq <= last[source] + 1, (source, seq, last[source])
            last[source] = max(last[source], seq)
        assert set(last.values()) == {events}


def test_demo_on_kafka():
    """`make demo BUS=kafka` exits 0 only when PostgreSQL holds exactly what the agent published."""
    run = subprocess.run([os.path.join(ROOT, "infra", "demo", "demo.py")], text=True, capture_output=True, check=False,
                         env={**os.environ, "BUS": "kafka", "DEMO_SECONDS": "3", "LATIDO_BIN": BIN}, timeout=300)
    assert run.returncode == 0, run.stdout + run.stderr
    assert "kafka://127.0.0.1:" in run.stdout and "mosquitto" not in run.stdout
    assert "no hole, no duplicate" in run.stdout


def test_demo_of_another_bus_is_refused():
    run = subprocess.run([os.path.join(ROOT, "infra", "demo", "demo.py")], text=True, capture_output=True, check=False,
                         env={**os.environ, "BUS": "pigeon", "LATIDO_BIN": BIN}, timeout=60)
    assert run.returncode == 2 and "BUS is mqtt or kafka, not 'pigeon'" in run.stdout
