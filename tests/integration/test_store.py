# SPDX-License-Identifier: MIT
"""latido-store between a real broker and a real PostgreSQL: once each, whatever dies."""

import base64
import signal
import subprocess
import time

import pytest

import servers
from pipeline import Client, event, family, metrics_topic, missing, stored
from servers import wait_until

SECONDS = 90


def store_config(write_config, broker, dsn, **sections):
    config = {
        "log": {"level": "debug"},
        "bus": {"url": broker.url, "backoff_base": "50ms", "backoff_cap": "500ms"},
        "postgres": {"dsn": dsn, "timeout": "10s"},
        "store": {"admin": "127.0.0.1:0", "batch": {"linger": "20ms"}},
    }
    for name, section in sections.items():
        config.setdefault(name, {}).update(section)
    return write_config(config)


@pytest.fixture
def client(mosquitto):
    client = Client(mosquitto, ["latido/v1/deadletter/#"])
    yield client
    client.close()


class Database:
    """A database of the server that the tests of a run share, with what pipeline.py wants of a server."""

    def __init__(self, server, dsn):
        self.server, self.dsn = server, dsn
        self.name = dict(pair.split("=", 1) for pair in dsn.split())["dbname"]

    def sql(self, query):
        return self.server.sql(query, self.name)


@pytest.fixture
def db(shared_postgres, database):
    """For tests that do not stop the server."""
    return Database(shared_postgres, database)


@pytest.fixture
def start_store(mosquitto, write_config, run_program):
    """start_store(database, ready=True, label=None, **sections of the configuration)"""

    def start(database, ready=True, label=None, **sections):
        config = store_config(write_config, mosquitto, database.dsn, **sections)
        store = run_program("latido-store", config=config, label=label)
        return store.wait_ready() if ready else store

    return start


def send(client, sources, first, last, epoch=1_000_000, order=iter):
    """Events first..last of each source, all acknowledged by the broker."""
    # Built beforehand: the client's thread would fight for the interpreter all the time.
    messages = [(metrics_topic(source), event(source, seq, [seq, seq / 2], epoch=epoch, time_ns=time.time_ns()))
                for seq in order(range(first, last + 1)) for source in sources]
    client.wait([client.send(*message) for message in messages])


def wait_stored(postgres, sources, last, epoch=1_000_000):
    """Exactly the events 1..last of each source, each once."""
    def all_there():
        try:
            return all(stored(postgres, s).get(epoch, (0,))[0] >= last for s in sources)
        except servers.ServerError:
            return False
    try:
        wait_until(all_there, SECONDS, f"events 1..{last}")
    except TimeoutError:
        pytest.fail("; ".join(f"{s}: {stored(postgres, s)} missing {missing(postgres, s, last)[:20]}" for s in sources))
    for source in sources:
        assert stored(postgres, source)[epoch] == (last, last, 1, last)


@pytest.mark.threaded
def test_twice_is_once(client, db, start_store):
    store = start_store(db)
    send(client, ["n1", "n2"], 1, 50)
    send(client, ["n1", "n2"], 1, 50, order=reversed)
    send(client, ["n1", "n2"], 51, 51)  # behind all of these
    wait_stored(db, ["n1", "n2"], 51)
    store.wait(lambda: store.value("latido_store_duplicates_total") == 100, SECONDS, "duplicates counted")
    assert store.value("latido_store_events_total") == 102
    assert store.value("latido_store_holes") == 0
    assert store.metrics().count("latido_store_event_to_commit_seconds") == 102


def test_two_stores(client, db, start_store):
    """Both receive everything, at the same time."""
    stores = [start_store(db, label=f"store{i}", bus={"mqtt": {"client_id": f"store{i}"}}) for i in (1, 2)]
    sources = [f"n{i}" for i in range(8)]
    send(client, sources, 1, 200)
    for store in stores:
        store.wait(lambda s=store: s.value("latido_store_events_total") + s.value("latido_store_duplicates_total")
                   == 200 * 8, SECONDS, "everything was seen")
    wait_stored(db, sources, 200)
    assert sum(s.value("latido_store_events_total") for s in stores) == 200 * 8
    # One of them goes; the other one has it all.
    stores[0].terminate()
    send(client, sources, 201, 220)
    wait_stored(db, sources, 220)


def test_two_stores_start_at_once(client, db, start_store):
    """On an empty database: one migrates, the other waits for it."""
    stores = [start_store(db, ready=False, label=f"store{i}", bus={"mqtt": {"client_id": f"store{i}"}}) for i in (1, 2)]
    for store in stores:
        store.wait_ready()
    assert db.sql("SELECT count(*) = count(DISTINCT version) FROM schema_migration") == [("t",)]
    send(client, ["n1"], 1, 10)
    wait_stored(db, ["n1"], 10)


def test_postgres_down_at_start(client, postgres, start_store):
    postgres.stop()
    store = start_store(postgres, ready=False)
    store.wait_log("bus_connected")
    store.wait_log("sink_retry", sink="postgres")
    assert store.get("/readyz")[0] == 503
    assert store.get("/healthz")[0] == 200
    send(client, ["n1"], 1, 20)
    postgres.start()
    store.wait_ready()
    wait_stored(postgres, ["n1"], 20)
    assert len(store.logged("sink_recovered")) == 1


@pytest.mark.threaded
def test_postgres_killed_in_the_stream(client, postgres, start_store):
    start_store(postgres)
    for round_ in range(3):
        messages = [event("n1", seq, [seq], time_ns=time.time_ns())
                    for seq in range(1 + 300 * round_, 301 + 300 * round_)]
        sent = [client.send(metrics_topic("n1"), message) for message in messages]
        postgres.kill()
        client.wait(sent)
        postgres.start()
    wait_stored(postgres, ["n1"], 900)


def test_store_killed_and_events_sent_again(client, db, start_store):
    """What the broker gave to a store that died is gone (MQTT); a source that sends it again completes it."""
    for round_ in range(3):
        store = start_store(db, label=f"store{round_}", bus={"mqtt": {"client_id": "store"}})
        messages = [event("n1", seq, [seq], time_ns=time.time_ns()) for seq in range(1, 200 * (round_ + 1))]
        sent = [client.send(metrics_topic("n1"), message) for message in messages]
        wait_until(lambda r=round_: stored(db, "n1").get(1_000_000, (0,))[0] > 150 * r, SECONDS, "some events")
        store.signal(signal.SIGKILL)
        store.wait_exit()
        client.wait(sent)
    start_store(db, label="last", bus={"mqtt": {"client_id": "store"}})
    send(client, ["n1"], 1, 600)
    wait_stored(db, ["n1"], 600)


def test_sigterm_commits_what_was_read(client, db, start_store):
    store = start_store(db, store={"batch": {"linger": "30s", "max_events": 100000}})
    send(client, ["n1"], 1, 500)
    store.wait(lambda: store.value("latido_consumer_events_total") == 500, SECONDS, "all were read")
    assert stored(db, "n1") == {}  # the batch is still open
    store.terminate()
    wait_stored(db, ["n1"], 500)


def test_poison_blocks_nothing(client, db, start_store):
    store = start_store(db)
    db.sql("ALTER TABLE snapshot ADD CONSTRAINT unlucky CHECK (seq <> 13)")
    payload = event("n1", 13, [13], time_ns=time.time_ns())
    client.publish(metrics_topic("n1"), payload)
    send(client, ["n1"], 1, 12)
    send(client, ["n1"], 14, 30)
    letters = wait_until(lambda: client.json("latido/v1/deadletter/store"), SECONDS, "a dead letter")
    assert len(letters) == 1
    assert letters[0]["reason"] == "conflict"
    assert "unlucky" in letters[0]["error"]
    assert base64.b64decode(letters[0]["body"]) == payload
    wait_until(lambda: stored(db, "n1").get(1_000_000, (0,))[0] == 29, SECONDS, "the others")
    assert db.sql("SELECT lo, hi FROM latido_hole") == [("13", "13")]
    assert store.value("latido_store_holes") == 1
    # The source can not send it again: that is recorded, and the hole is closed.
    client.publish(metrics_topic("n1"), event("n1", 31, [31], oldest=20, time_ns=time.time_ns()))
    wait_until(lambda: db.sql("SELECT kind, lo, hi FROM gap") == [("lost", "13", "13")], SECONDS, "a gap")
    store.wait(lambda: store.value("latido_store_holes") == 0, SECONDS, "no hole")
    assert store.value("latido_store_gap_events_total") == 1


def test_devices(client, db, start_store):
    """With a time of their own: once. Without: each."""
    store = start_store(db)
    dated = b'{"ts": %d, "values": {"temperature": 21.5}}' % (time.time_ns() // 1_000_000)
    for _ in range(3):
        client.publish("latido/v1/devices/d1/metrics", dated)
        client.publish("latido/v1/devices/d2/metrics", b'{"temperature": 22.5}')
    store.wait(lambda: store.value("latido_consumer_events_total") == 6, SECONDS, "all were read")
    wait_until(lambda: len(db.sql("SELECT 1 FROM sample WHERE source = 'd2' AND value = 22.5")) == 3, SECONDS,
               "three rows of d2")
    assert len(db.sql("SELECT 1 FROM sample WHERE source = 'd1' AND value = 21.5")) == 1
    assert db.sql("SELECT DISTINCT kind FROM source") == [("device",)]


def test_shape_known_from_the_database(client, db, start_store):
    """A store that was restarted finds the shape that was announced to the one before."""
    shape = family("m", ["k"], [("a",), ("b",)])
    first = start_store(db, label="first", bus={"mqtt": {"client_id": "store"}})
    client.publish(metrics_topic("n1"), event("n1", 1, [1, 2], shape=shape, time_ns=time.time_ns()))
    wait_stored(db, ["n1"], 1)
    shape_hash = int(db.sql("SELECT hash FROM shape")[0][0]) % 2**64
    first.terminate()
    start_store(db, label="second", bus={"mqtt": {"client_id": "store"}})
    client.publish(metrics_topic("n1"), event("n1", 2, [3, 4], shape=b"", shape_hash=shape_hash, time_ns=time.time_ns()))
    wait_stored(db, ["n1"], 2)
    assert db.sql("SELECT value FROM sample WHERE labels = '{\"k\": \"b\"}' ORDER BY time") == [("2",), ("4",)]
    assert db.sql("SELECT count(*) FROM shape") == [("1",)]


def test_strays_and_late_events(client, db, start_store):
    start_store(db, store={"retention": "2d"})
    now = time.time_ns()
    day = 86_400_000_000_000
    times = {1: now, 2: now - day, 3: now - 3 * day, 4: now + day, 5: 1}
    for seq, time_ns in times.items():
        client.publish(metrics_topic("n1"), event("n1", seq, [seq], time_ns=time_ns))
    wait_stored(db, ["n1"], 5)
    assert db.sql("SELECT seq FROM snapshot ORDER BY seq") == [("1",), ("2",)]
    assert db.sql("SELECT seq FROM snapshot_stray ORDER BY seq") == [("3",), ("4",), ("5",)]


def test_refused_at_start(db, mosquitto, write_config, run_program):
    """Wrong database: says so and ends with EX_CONFIG; a supervisor need not try again."""
    config = store_config(write_config, mosquitto, db.dsn.replace(db.name, "nowhere"))
    store = run_program("latido-store", config=config)
    assert store.wait_exit() == 78
    assert "nowhere" in store.log_text() and "postgres.dsn" in store.log_text()


def test_refuses_a_schema_that_is_behind(db, bin_folder, start_store):
    store = start_store(db, ready=False, store={"migrate": False})
    assert store.wait_exit() == 78
    assert "latido-store --migrate" in store.log_text()
    subprocess.run([f"{bin_folder}/latido-store", "--config", store.argv[2], "--migrate"], check=True,
                   stdout=subprocess.DEVNULL)
    start_store(db, label="again", store={"migrate": False})
