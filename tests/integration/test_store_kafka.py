# SPDX-License-Identifier: MIT
"""latido-store reading Kafka: every event is stored once, whatever dies.

LATIDO_FULL=1: more events and more deaths; the same scenarios.
"""

import json
import os
import random
import subprocess
import time

import pytest
import servers
from conftest import BIN
from kafka import Kafka
from kafka_site import EPOCH, TOOLS, Relay, Site, finish

pytestmark = pytest.mark.once

FULL = os.environ.get("LATIDO_FULL") == "1"


@pytest.fixture
def site(servers_folder, write_config, run_program, tmp_path):
    with Kafka(servers_folder) as kafka, servers.Postgres(servers_folder) as postgres:
        yield Site(kafka, postgres, write_config, run_program, tmp_path)


def test_simple_run_and_dead_letters(site):
    site.topics()
    store = site.store()
    store.wait_ready()
    load = site.load(20, 200, junk=500)
    finish(load)
    site.wait_stored(4000)
    site.check(20, 200)
    # The poison records are behind the position too.
    servers.wait_until(lambda: site.positions() == 4000 + 4000 // 499, 120, "all of the log is done")
    assert store.metrics().value("latido_consumer_rejected_total", reason="decode") == 4000 // 499
    servers.wait_until(lambda: store.metrics().value("latido_bus_lag_messages") == 0, 120, "no lag")
    store.terminate()
    deadletters(site)


def deadletters(site):
    """What was refused can be listed, shown and sent again."""
    def latido(*args):
        return subprocess.run([os.path.join(BIN, "latido"), "deadletter", *args, "--bus", site.kafka.url],
                              text=True, capture_output=True, check=False, timeout=60)

    rows = [line.split("\t") for line in latido("list").stdout.splitlines()]
    assert len(rows) == 8
    for row in rows:
        assert row[2:6] == ["store", "decode", "latido/v1/nodes/n0/metrics", "6 B"]
    shown = latido("show", rows[0][0])
    assert shown.returncode == 0, shown.stderr
    fields = dict(line.split(": ", 1) for line in shown.stdout.splitlines() if ": " in line)
    assert fields["key"] == "n0" and fields["__connect.errors.topic"] == "latido.metrics"
    assert int(fields["__connect.errors.offset"]) >= 0 and fields["latido.reason"] == "decode"
    assert shown.stdout.splitlines()[-1] == "Cv9qdW5r"
    assert latido("show", "99:1").returncode == 1
    before = site.positions()
    assert "1 message sent again" in latido("replay", rows[0][0]).stderr
    store = site.store("after")
    servers.wait_until(lambda: site.positions() == before + 1, 120, "the replayed one is refused again")
    store.terminate()
    assert len(latido("list").stdout.splitlines()) == 9


@pytest.mark.parametrize("rebalance", ["cooperative", "eager"])
def test_once_each_under_kills(site, rebalance):
    sources, events, kills = (50, 1000, 30) if FULL else (50, 250, 8)
    site.rebalance = rebalance
    site.topics()
    store = site.store()
    store.wait_ready()
    load = site.load(sources, events)
    rng = random.Random(1)
    for i in range(kills):
        # At a random point of its work: after so many rows more.
        goal = min(site.stored() + rng.randrange(1, 1500), sources * events)
        site.wait_stored(goal)
        time.sleep(rng.random() * 0.05)
        store.kill()
        store = site.store(f"store{i + 1}")
    finish(load)
    site.wait_stored(sources * events)
    site.check(sources, events)
    servers.wait_until(lambda: site.positions() == sources * events, 120, "the positions are at the end")


@pytest.mark.parametrize("rebalance", ["cooperative", "eager"])
def test_once_each_while_stores_join_and_leave(site, rebalance):
    """Two and three at a time; some leave regularly, some are killed."""
    sources, events, rounds = (40, 1500, 12) if FULL else (40, 600, 5)
    site.rebalance = rebalance
    site.topics()
    rng = random.Random(2)
    running = [site.store("first")]
    running[0].wait_ready()
    load = site.load(sources, events)
    for i in range(rounds):
        site.wait_stored(min(site.stored() + rng.randrange(500, 3000), sources * events))
        if len(running) < 3:
            running.append(site.store(f"more{i}"))
        if len(running) > 2:
            leaving = running.pop(rng.randrange(len(running) - 1))
            if i % 2:
                leaving.terminate()
            else:
                leaving.kill()
    finish(load)
    site.wait_stored(sources * events)
    site.check(sources, events)


def test_once_each_with_a_zombie(site):
    """A store is stopped beyond its session timeout, another takes over, then it goes on."""
    sources, events, rounds = (40, 1500, 3) if FULL else (40, 1000, 1)
    site.topics()
    zombie = site.store("zombie")
    zombie.wait_ready()
    load = site.load(sources, events)
    for round_ in range(rounds):
        site.wait_stored(min((round_ + 1) * 8000, sources * events))
        os.kill(zombie.pid, 19)  # SIGSTOP
        other = site.store(f"other{round_}")
        before = site.stored()
        # The others can only go on when the group has given up the zombie.
        site.wait_stored(min(before + 5000, sources * events))
        os.kill(zombie.pid, 18)  # SIGCONT
        site.wait_stored(min(before + 8000, sources * events))
        other.terminate()
    finish(load)
    site.wait_stored(sources * events)
    site.check(sources, events)


def test_once_each_when_postgres_is_killed(site):
    sources, events, kills = (40, 1000, 6) if FULL else (40, 500, 3)
    site.topics()
    site.store().wait_ready()
    load = site.load(sources, events)
    rng = random.Random(3)
    for _ in range(kills):
        site.wait_stored(min(site.stored() + rng.randrange(1000, 5000), sources * events))
        time.sleep(rng.random() * 0.05)
        site.postgres.kill(children=False)
        site.postgres.start()
    finish(load)
    site.wait_stored(sources * events)
    site.check(sources, events)


def test_once_each_when_the_leader_is_killed(servers_folder, write_config, run_program, tmp_path):
    sources, events, leaders = (40, 1000, 3) if FULL else (40, 500, 2)
    with Kafka(servers_folder, brokers=3) as kafka, servers.Postgres(servers_folder) as postgres:
        site = Site(kafka, postgres, write_config, run_program, tmp_path)
        site.topics(3)
        site.store().wait_ready()
        load = site.load(sources, events)
        for partition in range(leaders):
            site.wait_stored(min(site.stored() + 4000, sources * events))
            leader = kafka.leader("latido.metrics", partition)
            leader.kill()
            site.wait_stored(min(site.stored() + 4000, sources * events))
            kafka.start()
        finish(load)
        site.wait_stored(sources * events)
        site.check(sources, events)


def test_once_each_when_the_network_is_cut(servers_folder, write_config, run_program, tmp_path):
    """No byte passes between store and Kafka for longer than the session timeout."""
    sources, events = 40, 1000
    with Kafka(servers_folder, relay=True) as kafka, servers.Postgres(servers_folder) as postgres, \
            Relay(kafka.brokers[0].relay_port, kafka.brokers[0].behind_relay_port) as relay:
        site = Site(kafka, postgres, write_config, run_program, tmp_path)
        site.topics()
        site.url = "kafka://" + kafka.servers("relay_port")
        site.store().wait_ready()
        load = site.load(sources, events)
        site.wait_stored(5000)
        relay.hold(True)
        site.url = kafka.url
        other = site.store("other")
        # It gets all partitions when the group has given up the one behind the cut.
        servers.wait_until(lambda: other.ready() and other.metrics().value("latido_bus_partitions") == 6, 60,
                           "the other store has everything")
        site.wait_stored(min(site.stored() + 3000, sources * events))
        relay.hold(False)
        site.wait_stored(min(site.stored() + 3000, sources * events))
        relay.cut()
        other.terminate()
        finish(load)
        site.wait_stored(sources * events)
        site.check(sources, events)


def test_agent_to_postgres(site, run_program):
    """The agent's numbered events, all of them; Kafka has no status that it could keep."""
    site.topics(3)
    store = site.store()
    store.wait_ready()
    agent = run_program("latido-agent", config=site.write_config({
        "bus": {"url": site.kafka.url},
        "agent": {"source": "one", "interval": "200ms", "admin": f"127.0.0.1:{servers.free_port()}"}}, "agent.yaml"))
    agent.wait_ready()
    site.wait_stored(10)
    agent.terminate()  # exits 0
    drained = agent.logged("drained")[0]
    last = int(drained["seq"])
    assert last >= 10
    site.wait_stored(last)
    site.check(1, last)
    assert site.postgres.sql("SELECT DISTINCT epoch FROM epoch") == [(drained["epoch"],)]
    # Nothing else went into the log, and nothing was refused on the way.
    servers.wait_until(lambda: site.positions() == last, 120, "the position is behind the last event")
    assert not agent.logged("status_refused") and not agent.logged("event_refused")
    assert store.metrics().value("latido_consumer_rejected_total") == 0
    store.terminate()


def test_rebalance_does_not_stall_what_stays(site):
    """Cooperative: while partitions move, those that stay go on being read."""
    site.topics()
    first = site.store("first")
    first.wait_ready()
    finish(site.load(10, 10))
    site.wait_stored(100)
    second = site.store("second")
    servers.wait_until(lambda: second.ready() and second.metrics().value("latido_bus_partitions") == 3, 60,
                       "three partitions have moved")
    # The first one lost three, and never those that it has still.
    metrics = first.metrics()
    assert metrics.value("latido_bus_partitions") == 3
    assert metrics.value("latido_bus_assigned_total") == 6
    assert metrics.value("latido_bus_revoked_total") == 3
    finish(site.load(10, 50, epoch=EPOCH + 1))
    site.wait_stored(600)


def test_users_tls_and_permissions(servers_folder, write_config, run_program, tmp_path):
    users = {"latido": "secret", "nobody": "nothing"}
    with Kafka(servers_folder, tls=True, users=users, super_users=("latido",)) as kafka, \
            servers.Postgres(servers_folder) as postgres:
        site = Site(kafka, postgres, write_config, run_program, tmp_path)
        site.topics(2)

        def store(label, url, **keys):
            config = {"bus": {"url": url, "kafka": {"session_timeout": "2s", **keys}, "backoff_base": "50ms",
                              "backoff_cap": "500ms"},
                      "postgres": {"dsn": postgres.dsn},
                      "store": {"admin": f"127.0.0.1:{servers.free_port()}"}}
            return run_program("latido-store", config=write_config(config, f"{label}.yaml"), label=label)

        plain, tls = "kafka://" + kafka.servers("sasl_port"), "kafkas://" + kafka.servers("sasl_tls_port")
        ca = kafka.certificates["ca"]
        for label, url, keys in [
                ("scram256", plain, {}),
                ("plain", tls, {"sasl_mechanism": "PLAIN", "ca_file": ca}),
                ("scram512", tls, {"sasl_mechanism": "SCRAM-SHA-512", "ca_file": ca})]:
            good = store(label, url, username="latido", password="secret", **keys)
            good.wait_ready()
            good.terminate()
        for label, url, keys, text in [
                ("wrong", plain, {"username": "latido", "password": "bad"}, "refused our credentials"),
                ("nobody", plain, {"username": "nobody", "password": "nothing"}, "does not permit"),
                ("noca", tls, {"username": "latido", "password": "secret",
                               "ca_file": kafka.certificates["other_ca"]}, "TLS with Kafka failed")]:
            bad = store(label, url, **keys)
            bad.wait_log("bus_unavailable")
            bad.wait(lambda bad=bad, text=text: text in bad.log_text(), 60, text)
            assert not bad.ready() and "secret" not in bad.log_text()
            bad.terminate()


@pytest.mark.parametrize("properties, text", [
    ({"no.such.property": "1"}, "librdkafka has no property 'no.such.property'"),
    ({"fetch.wait.max.ms": "soon"}, "bad value for 'fetch.wait.max.ms'")])
def test_a_bad_property_is_named(write_config, run_program, properties, text):
    config = write_config({"bus": {"url": "kafka://127.0.0.1:9", "kafka": {"properties": properties}}})
    store = run_program("latido-store", config=config)
    assert store.wait_exit() == 78
    assert text in store.log_text()


def test_topics_create_and_check(servers_folder):
    def latido(kafka, *args):
        return subprocess.run([os.path.join(BIN, "latido"), "topics", *args, "--bus", kafka.url], text=True,
                              capture_output=True, check=False, timeout=60)

    with Kafka(servers_folder) as kafka:
        assert latido(kafka, "check").stdout == (
            "latido.metrics: missing\nlatido.deadletter: missing\nlatido.alerts: missing\n")
        made = latido(kafka, "create", "--partitions", "4")
        assert made.returncode == 0 and made.stdout.count("created") == 3
        assert kafka.partitions("latido.metrics") == 4
        assert latido(kafka, "check", "--partitions", "4").returncode == 0
        again = latido(kafka, "create")
        assert again.returncode == 0 and again.stdout.count("exists") == 3
        less = latido(kafka, "check", "--retention-days", "30")
        assert less.returncode == 1
        assert "the number of partitions is 4, expected 12 or more" in less.stdout
        assert "retention.ms is 604800000, expected 2592000000 or more" in less.stdout


def test_retention_deleted_the_position(site):
    """Recorded as a gap, an error in the log, counters; it goes on at the earliest offset."""
    site.topics(1)
    store = site.store()
    store.wait_ready()
    finish(site.load(1, 300))
    site.wait_stored(300)
    servers.wait_until(lambda: site.positions() == 300, 120, "the position")
    store.terminate()
    finish(site.load(1, 500, epoch=EPOCH + 1))
    # What retention would do: offsets below 600 are deleted while the store is away.
    subprocess.run([os.path.join(TOOLS, "kafka_delete"), site.kafka.servers(), "latido.metrics", "0", "600"],
                   check=True, timeout=60)
    store = site.store("again")
    site.wait_stored(300 + 200)
    store.wait_log("kafka_gap", position="300", continues="600")
    assert site.postgres.sql("SELECT kind, lo, hi, detail->>'topic', epoch_id FROM gap") == [
        ("bus", "300", "599", "latido.metrics", "")]
    shown = subprocess.run([os.path.join(BIN, "latido"), "gaps", "--json", "-c", site.config()], text=True,
                           capture_output=True, check=True, timeout=60).stdout
    assert json.loads(shown)["detail"] == {"topic": "latido.metrics", "partition": 0, "next": 600}
    assert store.metrics().value("latido_bus_gap_messages_total") == 300
    servers.wait_until(lambda: site.positions() == 800, 120, "the end")
    assert site.stored() == 500
    store.terminate()
    # Once only, also when it reads on from there again.
    store = site.store("third")
    store.wait_ready()
    finish(site.load(1, 10, epoch=EPOCH + 2))
    site.wait_stored(510)
    assert site.postgres.sql("SELECT count(*) FROM gap WHERE kind = $$bus$$") == [("1",)]


@pytest.mark.parametrize("rebalance", ["cooperative", "eager"])
def test_positions_set_back_while_the_store_runs(site, rebalance):
    """PostgreSQL fails over to a standby that is behind: what it has not got is read again."""
    site.rebalance = rebalance
    site.topics(1)
    store = site.store().wait_ready()
    finish(site.load(1, 200))
    site.wait_stored(200)
    servers.wait_until(lambda: site.positions() == 200, 120, "the position")
    # All stores' connections end with the server, and the state is an older one.
    site.postgres.sql("""BEGIN; DELETE FROM snapshot WHERE seq > 100; UPDATE progress SET upto = 100;
                         UPDATE kafka_progress SET next_offset = 100; COMMIT;
                         SELECT pg_terminate_backend(pid) FROM pg_stat_activity
                         WHERE application_name = 'latido-store'""")
    finish(site.load(1, 50, first=201))
    site.wait_stored(250)
    servers.wait_until(lambda: site.positions() == 250, 120, "the end")
    site.check(1, 250)
    assert store.metrics().value("latido_consumer_rereads_total") == 1
    assert "kafka_progress has offset 100" in store.logged("read_again")[0]["err"]
    # A table without any position: all of it comes again, and is known.
    site.postgres.sql("DELETE FROM kafka_progress; SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
                      "WHERE application_name = 'latido-store'")
    finish(site.load(1, 50, first=251))
    servers.wait_until(lambda: site.stored() == 300 == site.positions(), 120, "the end again")
    site.check(1, 300)
    store.terminate()


@pytest.mark.parametrize("rebalance", ["cooperative", "eager"])
def test_positions_lost_while_events_come(site, rebalance):
    """Several times, in the middle of the stream of two partitions: it goes on reading, and all is there in the end."""
    site.rebalance = rebalance
    site.topics(2)
    store = site.store().wait_ready()
    finish(site.load(4, 5))
    site.wait_stored(20)
    many = 10000
    load = site.load(4, many, first=6)
    while site.stored() < 3 * many:
        before = site.stored()
        # Of one partition: in the eager protocol the other is stopped and started, too.
        site.postgres.sql("DELETE FROM kafka_progress WHERE part = 0; SELECT pg_terminate_backend(pid) "
                          "FROM pg_stat_activity WHERE application_name = 'latido-store'")
        servers.wait_until(lambda: site.stored() >= min(before + many // 2, 4 * many), 60, "it goes on")
    finish(load)
    finish(site.load(4, 5, first=many + 6))  # a position that went last is missed with the next event
    site.wait_stored(4 * (many + 10))
    servers.wait_until(lambda: site.positions() == 4 * (many + 10), 120, "the end")
    site.check(4, many + 10)
    assert store.value("latido_consumer_rereads_total") >= 1
    store.terminate()


def test_topic_missing_then_made(site):
    store = site.store()
    store.wait_log("bus_unavailable")
    assert "latido topics create" in store.log_text()
    assert not store.ready()
    site.topics()
    store.wait_ready()
    finish(site.load(3, 20))
    site.wait_stored(60)
    site.check(3, 20)
