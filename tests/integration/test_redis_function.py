# SPDX-License-Identifier: MIT
"""schemas/redis/latido.lua: what it refuses, what it keeps, what it deletes."""

import os

import pytest
import redis as client

import servers
from conftest import ROOT

pytestmark = pytest.mark.once  # a program of Redis, not of ours

NODE = "latido:node:n"
EXACT = 2 ** 53


@pytest.fixture(scope="module")
def shared(tmp_path_factory):
    with servers.Redis(str(tmp_path_factory.mktemp("redis"))) as server:
        yield server


@pytest.fixture
def db(shared):
    connection = client.Redis(unix_socket_path=shared.socket, decode_responses=True)
    connection.flushall()
    with open(os.path.join(ROOT, "schemas", "redis", "latido.lua"), encoding="ascii") as f:
        assert connection.function_load(f.read(), replace=True) == "latido"
    yield connection
    connection.close()


def apply(db, seq, fields, epoch=1000, time=5000, stream="", guard=0, interval=1000, shape="aaaa", base=None,
          previous="", expire=60, max_fields=1000, delete=()):
    """One call. base: (epoch, seq, time) of a delta, None = all fields."""
    base_epoch, base_seq, base_time = base or (0, 0, "")
    pairs = [x for pair in fields.items() for x in pair]
    return db.fcall("latido_apply", 1, NODE, stream, epoch, seq, time, guard, interval, shape, base_epoch, base_seq,
                    base_time, previous, expire, max_fields, len(delete), *delete, *pairs)


def test_first_write(db):
    assert apply(db, 1, {"load": "0.5", 'cpu{mode="idle"}': "3"}) == 1
    assert db.hgetall(NODE) == {"load": "0.5", 'cpu{mode="idle"}': "3", "_epoch": "1000", "_seq": "1", "_time": "5000",
                                "_interval": "1000", "_shape": "aaaa"}
    assert 0 < db.ttl(NODE) <= 60


@pytest.mark.parametrize("epoch, seq, applied", [
    (1000, 11, 1), (1000, 12, 1), (1000, 10, 0), (1000, 9, 0), (1000, 1, 0),
    (1001, 1, 1), (1001, 10, 1), (999, 11, 0), (999, 1 << 52, 0), (1, 1, 0),
])
def test_only_newer_is_applied(db, epoch, seq, applied):
    assert apply(db, 10, {"v": "old"}) == 1
    before = db.hgetall(NODE)
    assert apply(db, seq, {"v": "new"}, epoch=epoch) == applied
    assert db.hget(NODE, "v") == ("new" if applied else "old")
    if not applied:
        assert db.hgetall(NODE) == before


@pytest.mark.parametrize("name", ["epoch", "seq"])
def test_exact_up_to_two_to_the_53(db, name):
    """Neighbouring numbers just below 2^53 differ, as text and when compared."""
    first = {"epoch": 1000, "seq": 1, name: EXACT - 1}
    assert apply(db, first["seq"], {"v": "1"}, epoch=first["epoch"]) == 1
    assert apply(db, first["seq"], {"v": "2"}, epoch=first["epoch"]) == 0
    top = {**first, name: EXACT}
    assert apply(db, top["seq"], {"v": "3"}, epoch=top["epoch"]) == 1
    assert db.hget(NODE, "_" + name) == str(EXACT) == "9007199254740992"
    assert apply(db, first["seq"], {"v": "4"}, epoch=first["epoch"]) == 0
    assert db.hget(NODE, "v") == "3"


@pytest.mark.parametrize("bad", [EXACT + 2, "x", "", "1.5", "nan", "inf", "-inf", str(2 ** 64)])
def test_numbers_that_are_not_exact_are_errors(db, bad):
    for arguments in ({"epoch": bad}, {"time": bad}):
        with pytest.raises(client.ResponseError, match="malformed"):
            apply(db, 1, {"v": "1"}, **arguments)
    with pytest.raises(client.ResponseError, match="malformed"):
        apply(db, bad, {"v": "1"})
    assert not db.exists(NODE)


def test_malformed_field_lists_are_errors(db):
    head = ["", 1, 1, 1, 0, 0, "aaaa", 0, 0, "", "", 0, 0]
    for tail in (["0", "odd"], ["2", "one"], ["-1", "a", "b"], ["0", "a", "b", "c"], []):
        with pytest.raises(client.ResponseError):
            db.fcall("latido_apply", 1, NODE, *head, *tail)
    assert not db.exists(NODE)


def test_unnumbered_is_guarded_by_time(db):
    def put(time, value, guard=1):
        return apply(db, 0, {"v": value}, epoch=0, time=time, guard=guard, shape="")
    assert put(5000, "a") == 1
    assert put(4999, "b") == 0
    assert put(5000, "c") == 1
    assert put(5001, "d") == 1
    assert put(1, "e", guard=0) == 1
    assert db.hget(NODE, "v") == "e"
    assert not db.hexists(NODE, "_epoch") and not db.hexists(NODE, "_seq")


def test_numbered_and_unnumbered_guard_themselves_apart(db):
    assert apply(db, 5, {"v": "numbered"}) == 1
    assert apply(db, 0, {"v": "not"}, epoch=0, time=6000, guard=1, shape="") == 1
    assert db.hget(NODE, "_seq") == "5"
    assert apply(db, 5, {"v": "again"}) == 0
    assert apply(db, 6, {"v": "numbered"}) == 1


def test_delta_needs_its_base(db):
    assert apply(db, 1, {"a": "1", "b": "1"}) == 1
    assert apply(db, 2, {"a": "2"}, time=6000, base=(1000, 1, 5000)) == 1
    assert db.hmget(NODE, "a", "b", "_seq", "_time") == ["2", "1", "2", "6000"]
    for base in ((1000, 1, 6000), (999, 2, 6000), (1000, 2, 5999), (1000, 3, 6000)):
        assert apply(db, 3, {"a": "3"}, time=7000, base=base) == 2
    assert db.hget(NODE, "a") == "2"
    db.delete(NODE)
    assert apply(db, 3, {"a": "3"}, time=7000, base=(1000, 2, 6000)) == 2
    assert not db.exists(NODE)


def test_streams_guard_themselves_apart(db):
    assert apply(db, 1, {"a": "1"}) == 1
    assert apply(db, 3, {"b": "3"}, stream="slow", shape="bbbb") == 1
    assert apply(db, 2, {"a": "2"}) == 1
    assert apply(db, 2, {"b": "2"}, stream="slow", shape="bbbb") == 0
    assert db.hmget(NODE, "_seq", "_seq:slow", "_shape", "_shape:slow") == ["2", "3", "aaaa", "bbbb"]


def test_new_epoch_numbers_all_streams_anew(db):
    apply(db, 100, {"a": "1"})
    apply(db, 101, {"b": "1"}, stream="slow", shape="bbbb")
    assert apply(db, 1, {"a": "2"}, epoch=2000) == 1
    assert not db.hexists(NODE, "_seq:slow")
    assert db.hget(NODE, "b") == "1"
    assert apply(db, 102, {"b": "old"}, stream="slow", shape="bbbb") == 0
    assert apply(db, 2, {"b": "2"}, epoch=2000, stream="slow", shape="bbbb") == 1
    assert db.hget(NODE, "b") == "2"


def test_other_shape_is_reported_before_anything_is_written(db):
    apply(db, 1, {"a": "1", "gone": "1"})
    before = db.hgetall(NODE)
    assert apply(db, 2, {"a": "2"}, shape="bbbb") == "aaaa"
    assert db.hgetall(NODE) == before
    assert apply(db, 2, {"a": "2"}, shape="bbbb", previous="cccc") == "aaaa"
    assert apply(db, 2, {"a": "2"}, shape="bbbb", previous="aaaa", delete=["gone"]) == 1
    assert db.hmget(NODE, "a", "gone", "_shape") == ["2", None, "bbbb"]


def test_reset_keeps_the_guards_only(db):
    apply(db, 1, {"a": "1", "gone": "1", "_seq:fake{}": "9"})
    apply(db, 2, {"b": "1"}, stream="slow", shape="cccc")
    assert apply(db, 3, {"a": "3"}, shape="bbbb", previous="*") == 1
    assert db.hgetall(NODE) == {"a": "3", "_epoch": "1000", "_seq": "3", "_seq:slow": "2", "_time": "5000",
                                "_interval": "1000", "_shape": "bbbb"}
    assert 0 < db.ttl(NODE) <= 60
    # The other stream's delta no longer has its base; its guard still holds.
    assert apply(db, 4, {}, stream="slow", shape="cccc", base=(1000, 2, 5000)) == 2
    assert apply(db, 2, {"b": "1"}, stream="slow", shape="cccc") == 0


def test_shape_without_a_key_is_never_trusted(db):
    apply(db, 1, {"a": "1"}, shape="-")
    assert apply(db, 2, {"a": "2"}, shape="-") == "-"
    assert apply(db, 2, {"a": "2"}, shape="-", previous="*") == 1
    assert apply(db, 3, {"a": "3"}, shape="bbbb") == "-"


def test_partial_events_leave_the_shape_alone(db):
    apply(db, 1, {"a": "1"})
    assert apply(db, 2, {"b": "2"}, shape="") == 1
    assert db.hmget(NODE, "a", "b", "_shape") == ["1", "2", "aaaa"]


def test_expiry_only_when_asked(db):
    apply(db, 1, {"a": "1"}, expire=1000)
    apply(db, 2, {"a": "2"}, expire=0)
    assert 900 < db.ttl(NODE) <= 1000


def test_many_fields(db):
    """More than Lua's stack takes in one piece, to write and to delete."""
    names = [f"metric_{i}" for i in range(20001)]
    assert apply(db, 1, {n: "1" for n in names}, max_fields=100000) == 1
    assert db.hlen(NODE) == len(names) + 5
    assert apply(db, 2, {"left": "1"}, shape="bbbb", previous="aaaa", delete=names, max_fields=100000) == 1
    assert db.hlen(NODE) == 6


def test_hash_does_not_grow_for_ever(db):
    for i in range(50):
        assert apply(db, i + 1, {f"made_up_{i}": "1"}, shape="", max_fields=20) == 1
    assert db.hlen(NODE) <= 26
    assert db.hexists(NODE, "made_up_49")
    # A delta cannot restore what a reset drops: all fields are asked for.
    apply(db, 60, {f"f{i}": "1" for i in range(30)}, shape="", max_fields=100)
    assert apply(db, 61, {"f0": "2"}, shape="", base=(1000, 60, 5000), max_fields=20) == 2


def test_foreign_key_is_an_error_that_names_the_type(db):
    db.set(NODE, "text")
    with pytest.raises(client.ResponseError, match="^WRONGTYPE"):
        apply(db, 1, {"a": "1"})
    assert db.get(NODE) == "text"
