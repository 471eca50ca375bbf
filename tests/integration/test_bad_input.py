# SPDX-License-Identifier: MIT
"""What comes from outside: bad payloads become dead letters with a reason, and nothing stops."""

import base64
import json
import random
import subprocess

import pytest

from pipeline import (SECONDS, Client, Pipeline, _bytes, event, family, hash_seq, metrics_topic, node_hash, stored,
                      varint)
from servers import wait_until

MIB = 1 << 20
SOURCE = "node1"
NODE, BACKLOG = metrics_topic(SOURCE), f"latido/v1/nodes/{SOURCE}/backlog"
DEVICE, DEVICE_METRIC = "latido/v1/devices/dev1/metrics", "latido/v1/devices/dev1/metrics/temperature"
TOPICS = {"node": NODE, "backlog": BACKLOG, "device": DEVICE, "device-metric": DEVICE_METRIC}
GOOD = event(SOURCE, 1, [1.0, 2.0])


def many_series(n):
    """n series in one family: as small as it gets on the wire."""
    return family("m", ["i"], [(f"{i:x}",) for i in range(n)])


def random_payloads(n, seed=20251121):
    rng = random.Random(seed)
    for _ in range(n):
        kind = rng.randrange(3)
        if kind == 0:  # noise
            data = rng.randbytes(rng.randrange(1, 300))
        else:  # a good event, damaged
            data = bytearray(GOOD if kind == 1 else b'{"source":"node1","metrics":{"a":1,"b{c=\\"d\\"}":2.5}}')
            for _ in range(rng.randrange(1, 6)):
                data[rng.randrange(len(data))] = rng.randrange(256)
        yield bytes(data)


# name: (payload, reasons of which one must be given)
BAD = {
    "empty": (b"", {"decode"}),
    "truncated protobuf": (GOOD[:-5], {"decode"}),
    "truncated length": (GOOD[:8], {"decode", "limits", "source_mismatch", "shape_mismatch"}),
    "truncated json": (b'{"source":"node1","metrics":{"a":1', {"decode"}),
    "oversized": (b"\x0a\x05node1" + bytes(MIB), {"too_large"}),
    "oversized json": (b'{"a":' + b" " * MIB + b"1}", {"too_large"}),
    "100 000 series": (event(SOURCE, 3, [0.0] * 100_000, shape=many_series(100_000)), {"too_large"}),
    "wrong source": (event("other", 3, [1.0]), {"source_mismatch"}),
    "wrong source json": (b'{"source":"other","metrics":{"a":1}}', {"source_mismatch"}),
    "bad source": (event("no/de", 3, [1.0]), {"limits", "decode", "source_mismatch"}),
    "non-finite json": (b'{"metrics":{"a":NaN}}', {"decode"}),
    "overflowing json": (b'{"metrics":{"a":1e999}}', {"decode"}),
    "duplicate series": (event(SOURCE, 3, [1.0, 2.0], shape=family("x", ["i"], [("1",), ("1",)])), {"limits"}),
    "duplicate family": (event(SOURCE, 3, [1.0, 2.0], shape=family("x") + family("x")), {"limits"}),
    "duplicate key json": (b'{"metrics":{"a":1,"a":2}}', {"decode", "limits"}),
    "bad metric name": (event(SOURCE, 3, [1.0], shape=family("1 x")), {"limits"}),
    "fewer values than series": (event(SOURCE, 3, [1.0], shape=many_series(2)), {"shape_mismatch"}),
    "more values than series": (event(SOURCE, 3, [1.0, 2.0, 3.0], shape=many_series(2)), {"shape_mismatch"}),
    "wrong hash": (event(SOURCE, 3, [1.0], shape=family("x"), shape_hash=12345), {"shape_mismatch"}),
    "unknown shape": (event(SOURCE, 3, [1.0], shape=b"", shape_hash=12345), {"unknown_shape"}),
    "seq without epoch": (_bytes(1, SOURCE) + varint(3 << 3) + varint(7) + _bytes(6, family("x")) +
                          _bytes(7, bytes(8)), {"decode", "limits"}),
    "deep json": (b"[" * 100_000, {"decode", "limits"}),
}


def good_event(seq, marker):
    return event(SOURCE, seq, [marker], shape=family("marker"), epoch=5_000_000)


@pytest.fixture
def pipeline(mosquitto, redis, postgres, write_config, run_program):
    p = Pipeline(mosquitto, redis, postgres, write_config, run_program)
    p.start_consumers()
    return p


@pytest.fixture
def client(mosquitto):
    c = Client(mosquitto, ["latido/v1/deadletter/+"])
    yield c
    c.close()


def consumers_of(topic):
    """Only the store reads the backlog."""
    return ["store"] if topic == BACKLOG else ["store", "hot"]


def letters(client, consumer):
    return client.json(f"latido/v1/deadletter/{consumer}")


@pytest.mark.parametrize("topic", TOPICS.values(), ids=TOPICS.keys())
def test_bad_payloads_become_dead_letters(pipeline, client, topic):
    client.publish(NODE, good_event(1, 1.0))
    pipeline.wait_stored(1, SOURCE)
    pipeline.wait_hot(1, SOURCE)
    bad = dict(BAD)
    if topic in (DEVICE, DEVICE_METRIC):
        # A device's JSON may name anything, and a bare document is an event; what is meant for node1 is not.
        for name in ("wrong source", "bad source"):
            del bad[name]
    for payload, _ in bad.values():
        client.publish(topic, payload)
    client.publish(NODE, good_event(2, 2.0))
    pipeline.wait_stored(2, SOURCE)
    pipeline.wait_hot(2, SOURCE)

    for consumer in consumers_of(topic):
        wait_until(lambda consumer=consumer: len(letters(client, consumer)) >= len(bad), SECONDS,
                   f"{len(bad)} dead letters of {consumer}")
        found = letters(client, consumer)
        for name, (payload, reasons) in bad.items():
            mine = [x for x in found if x["size"] == len(payload) and
                    payload.startswith(base64.b64decode(x["body"]))]
            assert mine, f"no dead letter of {consumer} for: {name}"
            if topic in (NODE, BACKLOG):
                assert {x["reason"] for x in mine} & reasons, f"{name}: {mine[0]['reason']}: {mine[0]['error']}"
            for x in mine:
                assert x["consumer"] == consumer and x["topic"] == topic and x["error"] and x["reason"]
                assert x["truncated"] == (len(base64.b64decode(x["body"])) < len(payload))
        program = getattr(pipeline, consumer)
        assert program.running() and program.ready()
        assert program.value("latido_consumer_rejected_total") == len(found)
        assert program.logged("message_refused")
    assert stored(pipeline.postgres, SOURCE) == {5_000_000: (2, 2, 1, 2)}
    assert float(node_hash(pipeline.redis, SOURCE)["marker"]) == 2.0


def test_random_payloads_stop_nothing(pipeline, client):
    payloads = list(random_payloads(1500))
    client.wait([client.send(list(TOPICS.values())[i % 4], data) for i, data in enumerate(payloads)])
    # An event that happens to be whole may have advanced a sequence: a fresh source shows that all goes on.
    client.publish(metrics_topic("after"), event("after", 1, [1.0]))
    pipeline.wait_stored(1, "after")
    pipeline.wait_hot(1, "after")
    for program in (pipeline.store, pipeline.hot):
        assert program.running() and program.ready()
        consumer = program.name.removeprefix("latido-")
        wait_until(lambda consumer=consumer, program=program:
                   len(letters(client, consumer)) == program.value("latido_consumer_rejected_total"),
                   SECONDS, "every refused message has its letter")
        assert len(letters(client, consumer)) > len(payloads) / 4


def test_the_limits_are_exact(mosquitto, redis, postgres, write_config, run_program, client):
    """With room for the bytes, 100 000 series pass and one more does not; nothing stops behind them."""
    pipeline = Pipeline(mosquitto, redis, postgres, write_config, run_program, limits={"max_bytes": "8MiB"},
                        postgres={"timeout": "2m"})  # a hundred thousand series are made at once
    pipeline.start_consumers()
    client.publish(NODE, event(SOURCE, 1, [float(i) for i in range(100_000)], shape=many_series(100_000)))
    pipeline.wait_hot(1, SOURCE)
    assert node_hash(redis, SOURCE)['m{i="1869f"}'] == "99999"
    client.publish(NODE, event(SOURCE, 2, [0.0] * 100_001, shape=many_series(100_001)))
    client.publish(NODE, event(SOURCE, 2, [7.0]))
    pipeline.wait_stored(2, SOURCE)
    pipeline.wait_hot(2, SOURCE)
    assert postgres.sql("SELECT cardinality(vals), vals[100000] FROM snapshot WHERE seq = 1") == [("100000", "99999")]
    for consumer in ("store", "hot"):
        wait_until(lambda consumer=consumer: letters(client, consumer), SECONDS, "one dead letter")
        assert [x["reason"] for x in letters(client, consumer)] == ["limits"]


def test_missing_and_infinite_values(pipeline, client):
    """NaN is "no value now"; infinities are values."""
    nan, inf = float("nan"), float("inf")
    shape = family("a") + family("b") + family("c")
    client.publish(NODE, event(SOURCE, 1, [1.0, nan, inf], shape=shape))
    client.publish(NODE, b'{"source":"node1","epoch":1000000,"seq":2,"metrics":{"a":2,"b":null,"c":"-Inf"}}')
    pipeline.wait_stored(2, SOURCE)
    pipeline.wait_hot(2, SOURCE)
    rows = pipeline.postgres.sql("SELECT name, value FROM sample ORDER BY time, name")
    assert rows == [("a", "1"), ("c", "Infinity"), ("a", "2"), ("c", "-Infinity")]
    assert float(node_hash(pipeline.redis, SOURCE)["a"]) == 2.0
    assert not letters(client, "store") and not letters(client, "hot")


def test_duplicates_and_late_events(pipeline, client):
    """Any order, any repetition: stored once; the live state never goes back."""
    for seq in (3, 1, 3, 2, 2, 5, 1, 4, 4):
        client.publish(NODE if seq != 2 else BACKLOG, event(SOURCE, seq, [float(seq)], shape=family("marker")))
    pipeline.wait_stored(5, SOURCE)
    wait_until(lambda: stored(pipeline.postgres, SOURCE) == {1_000_000: (5, 5, 1, 5)}, SECONDS, "all five")
    pipeline.wait_hot(5, SOURCE)
    client.publish(NODE, event(SOURCE, 4, [4.0], shape=family("marker")))
    client.publish(NODE, event(SOURCE, 9, [9.0], shape=family("marker"), epoch=999_999))
    client.publish(metrics_topic("after"), event("after", 1, [1.0]))
    pipeline.wait_hot(1, "after")
    assert hash_seq(pipeline.redis, SOURCE) == 5 and float(node_hash(pipeline.redis, SOURCE)["marker"]) == 5.0


# ---- devices ----


def mosquitto_pub(broker, topic, payload):
    subprocess.run(["mosquitto_pub", "-h", "127.0.0.1", "-p", str(broker.port), "-q", "1", "-t", topic, "-m", payload],
                   check=True, timeout=60)


def latest(postgres, source):
    """The newest value of each series of a source, from the view for SQL users."""
    rows = postgres.sql(f"""SELECT DISTINCT ON (name, labels) name, value FROM sample
        WHERE source = $${source}$$ ORDER BY name, labels, time DESC""")
    return {name: float(value) for name, value in rows}


@pytest.mark.parametrize("topic, payload, source, expected", [
    (metrics_topic("worker1"),
     json.dumps({"source": "worker1", "epoch": 1763700000000000, "seq": 1, "metrics": {"node_load1": 0.42}}),
     "worker1", {"node_load1": 0.42}),
    (DEVICE, '{"temperature":21.5}', "dev1", {"temperature": 21.5}),
    (DEVICE_METRIC, "21.5", "dev1", {"temperature": 21.5}),
    (DEVICE, '{"AM2301":{"Temperature":21.5,"Humidity":"40.0"},"on":true}', "dev1",
     {"AM2301_Temperature": 21.5, "AM2301_Humidity": 40.0, "on": 1.0}),
], ids=["event", "document", "number", "nested"])
def test_published_by_hand(pipeline, mosquitto, topic, payload, source, expected):
    mosquitto_pub(mosquitto, topic, payload)
    wait_until(lambda: latest(pipeline.postgres, source) == expected, SECONDS, "it is in PostgreSQL")
    wait_until(lambda: expected.items() <= {
        k: float(v) for k, v in node_hash(pipeline.redis, source).items() if not k.startswith("_")}.items(),
        SECONDS, "it is in Redis")
    assert pipeline.redis.call("ZSCORE", "latido:seen", source) is not None
