# SPDX-License-Identifier: MIT
"""Moments that chance rarely hits, held open on purpose: a rebalance, a COMMIT, a quota, a missing permission.

Nothing here depends on how quick the machine is: what is held open stays so until the test ends it.
"""

import os
import signal
import struct
import threading

import pytest
import servers
from kafka import Kafka
from kafka_site import EPOCH, Site, finish
from pipeline import Client, event, metrics_topic
from servers import wait_until
from test_bridge import World, held

pytestmark = pytest.mark.once

SECONDS = 120
TOPIC, GROUP = "latido.metrics", "latido-store"


@pytest.fixture
def site(servers_folder, write_config, run_program, tmp_path):
    with Kafka(servers_folder) as kafka, servers.Postgres(servers_folder) as postgres:
        yield Site(kafka, postgres, write_config, run_program, tmp_path)


def by_partition(site):
    return {int(p): int(n) for p, n in site.postgres.sql("SELECT part, next_offset FROM kafka_progress")}


def test_what_stays_is_stored_while_a_rebalance_is_open(site):
    """Cooperative: the group waits for a member that is stopped, and the others go on with what they have."""
    site.topics()
    site.session, site.properties = "10m", {"debug": "consumer"}
    first = site.store("first", ["--log-level", "debug"]).wait_ready()
    second = site.store("second").wait_ready()
    wait_until(lambda: [s.value("latido_bus_partitions") for s in (first, second)] == [3, 3], SECONDS, "three each")
    wait_until(lambda: site.kafka.group_state(GROUP) == "Stable", SECONDS, "the group to settle")
    finish(site.load(40, 10))
    site.wait_stored(400)
    wait_until(lambda: by_partition(site) == site.kafka.ends(TOPIC), SECONDS, "all positions")
    before = by_partition(site)
    moved = first.value("latido_bus_assigned_total"), first.value("latido_bus_revoked_total")

    # A third member joins: the group asks all to join again, and cannot go on without the second.
    second.signal(signal.SIGSTOP)
    joins = len(joining(first))
    third = site.store("third")
    wait_until(lambda: site.kafka.group_state(GROUP) == "PreparingRebalance", SECONDS, "the rebalance begins")
    wait_until(lambda: len(joining(first)) > joins, SECONDS, "the first store takes part in it")
    finish(site.load(40, 25, epoch=EPOCH + 1))
    ends = site.kafka.ends(TOPIC)
    assert all(ends[p] > before[p] for p in before), "each partition has something new"

    def kept():
        now = by_partition(site)
        return {p for p in now if now[p] == ends[p]}, {p for p in now if now[p] == before[p]}
    wait_until(lambda: [len(part) for part in kept()] == [3, 3], SECONDS, "all events of the partitions that stay")
    assert first.value("latido_bus_partitions") == 3
    assert (first.value("latido_bus_assigned_total"), first.value("latido_bus_revoked_total")) == moved
    assert third.value("latido_bus_partitions") == 0
    # It is the same rebalance: only the one that is stopped could have ended it, or ten minutes.
    assert site.kafka.group_state(GROUP) == "PreparingRebalance"

    second.signal(signal.SIGCONT)
    stores = first, second, third
    wait_until(lambda: [s.value("latido_bus_partitions") for s in stores] == [2, 2, 2], SECONDS, "two each")
    site.wait_stored(1400)
    wait_until(lambda: by_partition(site) == ends, SECONDS, "all positions")
    site.check_rows(1400)
    # Whoever is told to end while Kafka is away does not wait for it until the session is over.
    site.kafka.kill()
    for store in stores:
        store.signal(signal.SIGTERM)
    assert [store.wait_exit() for store in stores] == [0, 0, 0]


def joining(program):
    """How often librdkafka asked to join the group."""
    return [line for line in program.logged("kafka_client") if line["facility"] == "JOIN"]


HOLD = """
    CREATE TABLE hold (x int);
    CREATE FUNCTION hold() RETURNS trigger LANGUAGE plpgsql AS
        $$BEGIN IF EXISTS (SELECT FROM hold) THEN PERFORM pg_sleep(3600); END IF; RETURN NULL; END$$;
    CREATE CONSTRAINT TRIGGER hold AFTER INSERT OR UPDATE ON kafka_progress DEFERRABLE INITIALLY DEFERRED
        FOR EACH ROW EXECUTE FUNCTION hold();
    -- no roll-ups, which have transactions of their own
    CREATE FUNCTION never() RETURNS trigger LANGUAGE plpgsql AS $$BEGIN RETURN NULL; END$$;
    CREATE TRIGGER never BEFORE INSERT ON rollup_dirty FOR EACH ROW EXECUTE FUNCTION never();"""
COMMITTING = "SELECT pid FROM pg_stat_activity WHERE state = 'active' AND query = 'COMMIT' AND wait_event = '{}'"


def standby_is_awaited(postgres):
    """From now on each COMMIT waits, on disk already, for a standby that does not exist."""
    postgres.sql("ALTER SYSTEM SET synchronous_standby_names = 'nobody'")
    postgres.sql("SELECT pg_reload_conf()")

    def probe():
        try:
            postgres.sql("CREATE TABLE probe ()")
        except servers.ServerError:
            pass  # it waits until the server is killed
    threading.Thread(target=probe, daemon=True).start()
    wait_until(lambda: postgres.sql("SELECT 1 FROM pg_stat_activity WHERE query LIKE 'CREATE%probe%'"
                                    " AND wait_event = 'SyncRep'"), SECONDS, "commits wait for the standby")
    postgres.sql("ALTER SYSTEM RESET synchronous_standby_names")  # read at the restart


def test_postgres_is_killed_in_commit(site):
    """Inside COMMIT, before it counts; and when it counts already, but the store has not heard of it."""
    sources, events, total = 40, 50, 40
    site.topics()
    site.sql_timeout = "10m"
    store = site.store().wait_ready()
    site.postgres.sql(HOLD)
    # Sources and shapes are known from here on: what waits below is the batches' COMMIT, nothing else.
    finish(site.load(sources, 1))
    site.wait_stored(total)
    for i, reached in enumerate(["before", "after", "before"]):
        if reached == "before":  # a deferred trigger runs in COMMIT
            site.postgres.sql("INSERT INTO hold VALUES (1)")
        else:
            standby_is_awaited(site.postgres)
        load = site.load(sources, events, first=2 + i * events)
        total += sources * events
        committing = COMMITTING.format("PgSleep" if reached == "before" else "SyncRep")
        wait_until(lambda q=committing: site.postgres.sql(q), SECONDS, f"COMMIT waits: {reached}")
        before, position = site.stored(), site.positions()
        assert before == position < total
        if reached == "before":
            site.postgres.sql("DELETE FROM hold")
        store.signal(signal.SIGSTOP)
        assert site.postgres.sql(committing), "it still waits"
        site.postgres.kill(children=False)
        site.postgres.start()
        # The store has not seen the new server yet: this is what the old one left.
        if reached == "before":
            assert (site.stored(), site.positions()) == (before, position)
        else:
            assert site.stored() > before and site.positions() > position
        store.signal(signal.SIGCONT)
        finish(load)
        site.wait_stored(total)
        wait_until(lambda n=total: site.positions() == n, SECONDS, "the positions are at the end")
    site.check(sources, 1 + 3 * events)
    assert store.logged("sink_retry") and store.logged("sink_recovered")


def codecs(kafka, topic):
    """The compression of each batch in the logs of a topic, in order."""
    found = []
    for partition in range(kafka.partitions(topic)):
        path = os.path.join(kafka.brokers[0].data, f"{topic}-{partition}", "0" * 20 + ".log")
        with open(path, "rb") as f:
            data = f.read()
        at = 0
        while at + 23 <= len(data):
            size, attributes = struct.unpack_from(">8xi4xb4xh", data, at)[0], struct.unpack_from(">21xh", data, at)[0]
            if size == 0:
                break
            found.append(("none", "gzip", "snappy", "lz4", "zstd")[attributes & 7])
            at += 12 + size
    return found


def test_compression(kafka, postgres, write_config, run_program, tmp_path):
    """Each codec is what is on the broker's disk, and is read."""
    site = Site(kafka, postgres, write_config, run_program, tmp_path)
    site.topics(1)
    for i, codec in enumerate(["lz4", "zstd", "none"]):
        before = len(codecs(site.kafka, TOPIC))
        finish(site.load(5, 100, epoch=EPOCH + i, compression=codec))
        now = codecs(site.kafka, TOPIC)
        # A batch that would not get smaller stays as it is.
        assert codec in now[before:] and set(now[before:]) <= {codec, "none"}
    site.store().wait_ready()
    site.wait_stored(1500)
    site.check_rows(1500)


@pytest.fixture(scope="module")
def kafka(tmp_path_factory):
    """One broker for the tests that only need topics of their own; its users may do nothing yet."""
    users = dict.fromkeys(("one", "other", "reader", "writer"), "secret")
    with Kafka(str(tmp_path_factory.mktemp("kafka")), users=users) as server:
        server.used = 0
        yield server


@pytest.fixture
def world(kafka, servers_folder, shared_postgres, database, write_config, run_program, tmp_path):
    with servers.Mosquitto(servers_folder, persistence=False) as broker:
        yield World(broker, kafka, shared_postgres, database, write_config, run_program, tmp_path)


def test_a_quota_slows_the_bridge_and_loses_nothing(world):
    """The broker delays its replies: the producer's queue fills, reading stops, and what is sent waits in MQTT."""
    world.kafka.quota("latido-bridge", "producer_byte_rate", 50_000)
    bridge = world.bridge(bus={"queue_bytes": "1MiB", "kafka": {**world.topics, "max_inflight": 20},
                               "mqtt": {"client_id": "bridge", "keepalive": "60s"}})
    client = Client(world.broker, ["latido/v1/nodes/n1/ack"])
    # Random bytes: they do not get smaller on the way.
    sent = [b'{"n":%d,"text":"%s"}' % (n, os.urandom(2000).hex().encode()) for n in range(1500)]
    client.wait([client.send("latido/v1/devices/d1/metrics", payload) for payload in sent])
    client.publish(metrics_topic("n1"), event("n1", 1, [1.0], epoch=EPOCH))
    wait_until(lambda: bridge.value("latido_bus_throttled_total") > 0 and bridge.value("latido_bus_full_total") > 0
               and bridge.value("latido_bus_pauses_total") > 0, SECONDS, "it is slowed down, and pushes back")
    assert bridge.value("latido_bus_throttled_seconds_total") > 0
    assert bridge.value("latido_bridge_inflight_bytes") < 3 << 20
    world.kafka.quota("latido-bridge", "producer_byte_rate", None)
    # At least once: what was under way when a connection broke comes again.
    wait_until(lambda: {m["body"] for m in world.dump() if m["key"] == "d1"} == set(sent), SECONDS, "everything")
    wait_until(lambda: client.json("latido/v1/nodes/n1/ack") == [{"epoch": EPOCH, "have": [[1, 1]]}], SECONDS, "ack")
    assert not world.dump("deadletter_topic") and bridge.value("latido_bridge_refused_total") == 0
    bridge.terminate()
    client.close()


@pytest.mark.parametrize("user, elsewhere", [("reader", False), ("writer", True)])
def test_the_store_may_not_write_dead_letters(kafka, servers_folder, write_config, run_program, tmp_path, user,
                                              elsewhere):
    """What was refused waits and is not passed; /readyz and the log say what to allow; after the grant it goes on."""
    names = {key: f"{user}.{key}" for key in ("topic", "deadletter_topic", "alerts_topic")}
    events, letters, group = names["topic"], names["deadletter_topic"], f"group-{user}"
    with servers.Postgres(servers_folder) as postgres:
        site = Site(kafka, postgres, write_config, run_program, tmp_path)
        site.topics(1, "-c", write_config({"bus": {"url": kafka.url, "kafka": names}}))
        for topic in names.values():
            kafka.allow(user, "describe", "topic", topic)
        kafka.allow(user, "read", "topic", events)
        kafka.allow(user, "read", "group", group)
        if elsewhere:  # with it the producer gets its number, and each message is refused
            kafka.allow(user, "write", "topic", names["alerts_topic"])
        config = write_config({
            "bus": {"url": "kafka://" + kafka.servers("sasl_port"), "backoff_base": "50ms", "backoff_cap": "500ms",
                    "kafka": {**names, "group": group, "session_timeout": "2s", "username": user,
                              "password": "secret"}},
            "postgres": {"dsn": postgres.dsn},
            "store": {"admin": "127.0.0.1:0", "batch": {"max_events": 300, "linger": "20ms"}}})
        store = run_program("latido-store", config=config).wait_ready()
        finish(site.load(5, 20, **names))
        site.wait_stored(100)
        finish(site.load(5, 100, junk=100, epoch=EPOCH + 1, **names))
        total = sum(kafka.ends(events).values())
        assert total > 600
        for kill in (True, False):
            line = store.wait_log("deadletters_forbidden", level="error")
            assert letters in line["err"] and "allow this user to write" in line["remedy"]
            wait_until(lambda: not store.ready(), SECONDS, "/readyz says no")
            assert store.value("latido_consumer_deadletters_waiting") > 0
            assert store.value("latido_consumer_deadletters_refused_total") == 0
            assert site.positions() < total - 100 and sum(kafka.ends(letters).values()) == 0
            if kill:
                store.kill()
                store = run_program("latido-store", config=config, label="again")
        assert len(store.log_text().splitlines()) < 50
        kafka.allow(user, "write", "topic", letters)
        wait_until(lambda: site.positions() == total, SECONDS, "all of the log is done")
        site.check_rows(600)
        wait_until(lambda: sum(kafka.ends(letters).values()) >= total - 600, SECONDS, "the dead letters")
        store.wait_log("deadletters_permitted")
        store.wait_ready()
        store.terminate()


@pytest.mark.parametrize("user, elsewhere", [("one", False), ("other", True)])
def test_the_bridge_may_not_write(world, user, elsewhere):
    """Said with topic and remedy; nothing is acknowledged, nothing is lost, and it goes on after the grant."""
    topics = [world.topics[key] for key in ("topic", "deadletter_topic", "alerts_topic")]
    for topic in topics:
        world.kafka.allow(user, "describe", "topic", topic)
    if elsewhere:  # with it the producer gets its number, and each message is refused
        world.kafka.allow(user, "write", "topic", topics[1])
    world.store()
    bridge = world.bridge(ready=False, bus={
        "url": "kafka://" + world.kafka.servers("sasl_port"),
        "kafka": {**world.topics, "username": user, "password": "secret"}})
    bridge.wait_log("bus_connected", session="events")  # its subscriptions are made
    client = Client(world.broker, ["latido/v1/nodes/+/ack"])
    device = [b'{"n":%d}' % n for n in range(100)]
    client.wait([client.send("latido/v1/devices/d1/metrics", payload) for payload in device])
    agents = {"n1": world.agent()}
    wait_until(lambda: held(agents["n1"]) > 20, SECONDS, "the agent keeps its events")
    said, remedy, end = (("kafka_forbids", "allow the bridge's user", "kafka_accepts_again") if elsewhere
                         else ("bus_unavailable", "allow it (ACL operation Write)", "bus_recovered"))
    line = bridge.wait_log(said, level="error")
    assert topics[0] in line["err"] and remedy in line["err"] + line.get("remedy", "")
    wait_until(lambda: bridge.ready() == elsewhere, SECONDS, "/readyz")
    assert not client.messages and bridge.value("latido_bridge_delivered_total") == 0
    assert not world.dump() and bridge.value("latido_bridge_refused_total") == 0
    assert len(bridge.log_text().splitlines()) < 50
    world.kafka.allow(user, "write", "topic", topics[0])
    wait_until(lambda: {m["body"] for m in world.dump() if m["key"] == "d1"} == set(device), SECONDS, "the devices")
    world.more()
    bridge.wait_log(end)
    client.close()
    world.finish(agents, bridge)
