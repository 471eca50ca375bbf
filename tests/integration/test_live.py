# SPDX-License-Identifier: MIT
"""latido-live on a real Redis: the fleet, the stream, the window, alerts, and what goes away and comes back."""

import ctypes
import json
import math
import random
import re
import shutil
import subprocess
import time

import pytest

from live import EPOCH, NODE_SHAPE, Feeder, Gate, Live, node_values
from pipeline import SECONDS, event, family
from servers import RedisConnection, wait_until

pytestmark = pytest.mark.threaded
COLUMNS = ["cpu", "mem", "disk", "rx", "tx", "io", "load", "main"]


@pytest.fixture
def feeder(redis):
    return Feeder(redis)


@pytest.fixture
def start(run_program, write_config, bin_folder, tmp_path, redis):
    def begin(server=redis, **more):
        return Live(run_program, write_config, bin_folder, str(tmp_path), server, **more)
    return begin


def now_ms():
    return int(time.time() * 1000)


def test_fleet_row_has_every_figure(start, feeder):
    live = start()
    for n in range(1, 4):
        feeder.node("worker1", n, load=1.5, time_ms=now_ms() - 3000 + n * 1000, interval_ms=60_000)
    node = live.wait_node("worker1", lambda n: n["seq"] == 3)
    assert (node["kind"], node["state"], node["interval_ms"], node["epoch"]) == ("node", "live", 60_000, EPOCH)
    assert node["labels"] == {"os": 'Debian GNU/Linux 12 "bookworm"', "release": "6.1.0", "machine": "x86_64"}
    assert (node["boot_time_s"], node["cpus"], node["memory_bytes"], node["main"]) == (1.7e9, 1, 8e9, None)
    fleet = live.json("/api/v1/nodes?spark=all")
    assert fleet["columns"] == COLUMNS
    values = dict(zip(COLUMNS, fleet["nodes"][0]["values"]))
    assert values["main"] is None
    for column, want in {"cpu": 25, "mem": 75, "disk": 60, "rx": 1000, "tx": 2000, "io": 300, "load": 1.5}.items():
        assert values[column] == pytest.approx(want, rel=0.01), column


def announce(feeder, shape):
    """As latido-hot does it; its hash."""
    hash_of = ctypes.CDLL("libxxhash.so.0").XXH3_64bits
    hash_of.restype, hash_of.argtypes = ctypes.c_uint64, [ctypes.c_char_p, ctypes.c_size_t]
    number = hash_of(shape, len(shape))
    feeder.call("SET", f"latido:shape:{number:016x}", shape)
    return number


def test_sparklines_and_heartbeat_begin_with_the_window(start, feeder):
    """What was before the start comes from the windows, in steps of five seconds. Their events name shapes by hash only."""
    now = now_ms()
    number = announce(feeder, NODE_SHAPE)
    for n in range(100):
        feeder.node("old", n, load=n, time_ms=now - 100_000 + n * 1000, publish=False, shape_hash=number)
    live = start()
    live.wait_node("old", lambda n: n["seq"] == 100)
    fleet = live.json("/api/v1/nodes?spark=load,cpu")
    node = fleet["nodes"][0]
    assert set(node["spark"]) == {"load", "cpu"}
    load = node["spark"]["load"]
    assert len(load) == len(node["beat"]) == 60 and fleet["spark_step_ms"] == 5000
    assert fleet["spark_end_ms"] % 5000 == 0 and fleet["spark_end_ms"] > fleet["time_ms"]
    known = [v for v in load if v is not None]
    assert 19 <= len(known) <= 22 and known == sorted(known) and known[-1] == 99
    assert node["beat"].count("l") >= 18 and node["beat"].startswith("-" * 30) and "m" not in node["beat"]
    assert live.get("/api/v1/nodes?spark=nonsense").status == 400


def test_device_shows_its_own_series(start, feeder):
    live = start()
    shape = family("temperature") + family("humidity")
    feeder.send("sensor-1", [21.5, 40.0], shape, seq=0, interval_ms=0, window=False)
    node = live.wait_node("sensor-1", lambda n: n["kind"] == "device")
    assert (node["kind"], node["main"], node["seq"], node["values"][7]) == ("device", "temperature", 0, 21.5)
    detail = live.json("/api/v1/nodes/sensor-1")
    series = [s[0] for s in detail["streams"][0]["series"]]
    assert dict(zip(series, detail["streams"][0]["values"])) == {"temperature": 21.5, "humidity": 40}


def test_first_event_of_a_source_just_before_the_start(start, feeder):
    """Published before anybody had subscribed, noted in latido:seen after that was read."""
    feeder.send("sensor-2", [21.5], family("temperature"), seq=0, interval_ms=0, publish=False, seen=False)
    for n in range(1, 4):
        feeder.node("n", n, publish=False, seen=False)
    live = start()
    assert live.json("/api/v1/nodes")["nodes"] == []
    for source in ("n", "sensor-2"):
        feeder.call("ZADD", "latido:seen", "GT", now_ms(), source)
    live.wait_node("n", lambda node: node["seq"] == 3)
    assert live.wait_node("sensor-2", lambda node: node["kind"] == "device")["values"][7] == 21.5


def test_node_detail_and_shape(start, feeder):
    live = start()
    feeder.send("n", [math.nan, math.inf, -math.inf, 0.1 + 0.2])
    live.wait_node("n")
    detail = live.json("/api/v1/nodes/n")
    stream = detail["streams"][0]
    assert stream["values"] == [None, "+Inf", "-Inf", 0.30000000000000004]
    assert stream["series"][3] == ["test_value", {"i": "3"}, "gauge"]
    answer = live.get(f"/api/v1/shapes/{stream['shape']}")
    assert answer.json["series"] == stream["series"] and "immutable" in answer.headers["Cache-Control"]
    assert live.get("/api/v1/shapes/" + "0" * 32).status == 404
    assert live.get("/api/v1/nodes/unknown").status == 404


def test_stream_tells_every_event_once_in_order(start, feeder):
    live = start()
    feeder.node("n", 1)
    live.wait_node("n")
    with live.stream() as stream:
        stream.wait_event("alerts")
        assert [e for e, _, _ in stream.events[:5]] == ["hello", "status", "source", "fleet", "alerts"]
        assert stream.of("fleet")[0]["full"] is True and stream.rows("n")[0][0] == 1
        for n in range(2, 102):
            feeder.node("n", n)
        stream.wait(lambda: stream.rows("n")[-1][0] == 101, "the last event")
        assert [seq for seq, _ in stream.rows("n")] == list(range(1, 102))
        assert len({ident for _, ident, _ in stream.events if ident}) > 1


def test_watched_node_gets_every_value(start, feeder):
    """Complete once, then differences; applying them gives the values that were sent."""
    live = start()
    shape = family("a") + family("b") + family("c")
    feeder.send("n", [1, 2, 3], shape)
    live.wait_node("n")
    with live.stream("?node=n&fleet=0") as stream:
        first = stream.wait_event("node")
        assert first["v"] == [1, 2, 3] and first["seq"] == 1 and "d" not in first
        feeder.send("n", [1, 2.5, 3], shape)
        feeder.send("n", [1, math.nan, 4], shape)
        feeder.send("n", [1, math.nan, 4], shape)
        feeder.send("n", [7, 8], family("a") + family("d"))
        feeder.send("n", [5, 9], family("x") + family("y"), stream="slow")
        stream.wait(lambda: len(stream.of("node")) >= 6, "all events")
        nodes = stream.of("node")
        values, seqs = {}, []
        for data in nodes:
            if "v" in data:
                values[data["stream"]] = list(data["v"])
            for index, value in zip(data.get("d", [])[::2], data.get("d", [])[1::2]):
                values[data["stream"]][index] = value
            seqs.append((data["seq"], list(values[data["stream"]])))
        # The first difference may come complete: the source became watched with this client.
        assert seqs == [(1, [1, 2, 3]), (2, [1, 2.5, 3]), (3, [1, None, 4]), (4, [1, None, 4]), (5, [7, 8]),
                        (6, [5, 9])]
        assert nodes[3]["d"] == [] and "shape" in nodes[4] and nodes[4]["shape"] != nodes[0]["shape"]
        assert not stream.of("fleet")


def test_coming_back_misses_nothing(start, feeder):
    live = start()
    feeder.node("n", 1)
    live.wait_node("n")
    with live.stream("?node=n") as stream:
        stream.wait_event("node")
        feeder.node("n", 2)
        stream.wait(lambda: stream.rows("n")[-1][0] == 2, "an event")
        stream.wait(lambda: stream.of("node")[-1]["seq"] == 2, "the node's event")
        ident = stream.last_id()
    for n in range(3, 50):
        feeder.node("n", n)
    live.wait_node("n", lambda node: node["seq"] == 49)
    for how in ({"Last_Event_ID": ident}, {}):
        query = "?node=n" if how else f"?node=n&after={ident}"
        with live.stream(query, **how) as again:
            hello = again.wait_event("hello")
            assert hello["resumed"] is True and hello["gaps"] == []
            again.wait(lambda s=again: s.rows("n") and s.rows("n")[-1][0] == 49, "what was missed")
            again.wait(lambda s=again: s.of("node") and s.of("node")[-1]["seq"] == 49, "the node's events")
            assert [seq for seq, _ in again.rows("n")] == list(range(3, 50))
            assert [e["seq"] for e in again.of("node")] == list(range(3, 50))
            assert "v" in again.of("node")[0] and "d" in again.of("node")[1]
            assert not any(f["full"] for f in again.of("fleet"))


def test_fleet_and_stream_join_without_a_hole(start, feeder):
    live = start()
    for n in range(1, 5):
        feeder.node("n", n)
    fleet = live.wait_node("n", lambda node: node["seq"] == 4) and live.json("/api/v1/nodes")
    feeder.node("n", 5)
    with live.stream(f"?after={fleet['stream_id']}") as stream:
        stream.wait(lambda: stream.rows("n") and stream.rows("n")[-1][0] == 5, "the next event")
        assert [seq for seq, _ in stream.rows("n")] == [5]


@pytest.mark.parametrize("ident", ["0000000000000000-1", "nonsense", "", "-1", "ffffffffffffffff-99999999999999999999"])
def test_ids_of_another_run_begin_anew(start, feeder, ident):
    live = start()
    feeder.node("n", 1)
    live.wait_node("n")
    with live.stream(Last_Event_ID=ident) as stream:
        assert stream.wait_event("hello")["resumed"] is False
        assert stream.wait_event("fleet")["full"] is True


def test_no_hole_however_often_a_stream_is_cut(start, feeder):
    """Four clients, each cut some forty times in a steady flow at any moment: in the end each has every event, once."""
    live = start(live={"resume": "1h"})
    for node in ("n0", "n1"):
        feeder.node(node, 1)
        live.wait_node(node)
    dice = random.Random(7)
    clients = [{"query": q, "segments": [], "resumed": []} for q in ("", "", "?node=n0&fleet=0", "?node=n1&node=n0")]

    def connect(client):
        ids = [i for s in client["segments"] for _, i, _ in s.events if i]
        headers = {"Last_Event_ID": ids[-1]} if ids else {}
        client["segments"].append(live.stream(client["query"], **headers))
        client["resumed"].append(bool(ids))

    for client in clients:
        connect(client)
        client["segments"][0].wait_event("alerts")  # which comes behind the state
    for n in range(2, 402):
        feeder.node("n0", n)
        feeder.node("n1", n)
        for client in clients:
            if dice.random() < 0.1:
                client["segments"][-1].close()
                connect(client)

    def numbers(client, node):
        """Of each event that was told as such, and of those in newest states."""
        told, states = [], []
        for s in client["segments"]:
            for kind, _, data in list(s.events):
                if kind == "fleet":
                    (states if data["full"] else told).extend(("fleet", row[1]) for row in data["rows"] if row[0] == node)
                elif kind == "node" and data["source"] == node:
                    (states if "v" in data else told).append(("node", data["seq"]))
        return told, states

    for client in clients:
        wanted = (["fleet"] if "fleet=0" not in client["query"] else []) + (["node"] if "node" in client["query"] else [])
        for node in ("n0", "n1"):
            for kind in wanted:
                if kind == "node" and f"node={node}" not in client["query"]:
                    continue

                def have(kind=kind, node=node, client=client):
                    told, states = numbers(client, node)
                    return {seq for k, seq in told + states if k == kind}
                wait_until(lambda have=have: 401 in have(), SECONDS, "the last event")
                told, _ = numbers(client, node)
                told = [seq for k, seq in told if k == kind]
                assert have() == set(range(1, 402)), (client["query"], node, kind)
                assert len(told) == len(set(told)), "nothing twice"
        assert len(client["segments"]) > 20
        for segment, resumed in zip(client["segments"], client["resumed"]):
            assert resumed == (segment is not client["segments"][0]) and not segment.of("skip")
            assert all(hello["resumed"] == resumed for hello in segment.of("hello"))
        client["segments"][-1].close()


def test_resuming_beyond_the_ring_is_said(start, feeder):
    live = start(live={"resume_bytes": "1KiB"})
    feeder.node("n", 1)
    live.wait_node("n")
    with live.stream() as stream:
        ident = stream.wait_event("hello")["id"]
        for n in range(2, 60):
            feeder.node("n", n)
            stream.wait(lambda n=n: stream.rows("n")[-1][0] == n, "each in its own frame")
    with live.stream(Last_Event_ID=ident) as stream:
        assert stream.wait_event("hello")["resumed"] is False


def test_window_in_columns(start, feeder):
    live = start()
    begin = now_ms() - 60_000
    for n in range(50):
        feeder.send("n", [n, n * 2], family("a") + family("b", ["x"], [('q"1',)]), time_ms=begin + n * 1000)
    for n in range(50, 60):
        feeder.send("n", [n, -n], family("a") + family("c"), time_ms=begin + n * 1000)
    feeder.send("n", [1.5], family("s"), time_ms=begin, stream="slow", interval_ms=60000)
    live.wait_node("n", lambda node: node["seq"] == 61)
    window = live.json("/api/v1/nodes/n/window")
    assert window["truncated"] is False and {s["stream"] for s in window["streams"]} == {"", "slow"}
    main = next(s for s in window["streams"] if s["stream"] == "")
    assert main["time_ms"] == [begin + n * 1000 for n in range(60)] and main["interval_ms"] == 1000
    columns = {(s["name"], json.dumps(s["labels"])): s["values"] for s in main["series"]}
    assert columns["a", "{}"] == list(range(60))
    assert columns["b", json.dumps({"x": 'q"1'})] == [n * 2 for n in range(50)] + [None] * 10
    assert columns["c", "{}"] == [None] * 50 + [-n for n in range(50, 60)]
    some = live.json(f"/api/v1/nodes/n/window?name=c&name=s&since={(begin + 54_000) / 1000}")
    assert [(s["stream"], [x["name"] for x in s["series"]], len(s["time_ms"])) for s in some["streams"]] == \
        [("", ["c"], 5)]
    assert live.get("/api/v1/nodes/n/window?since=yesterday").status == 400
    assert live.get("/api/v1/nodes/none/window").status == 404


def test_states_change_without_events(start, feeder):
    live = start()
    feeder.node("n", 1, time_ms=now_ms() - 47_000, interval_ms=20_000)  # late after 50 s, stale after 100
    feeder.node("dead", 1, time_ms=now_ms() - 600_000)
    live.wait_node("dead", lambda node: node["state"] == "stale")
    with live.stream() as stream:
        stream.wait_event("source", lambda d: any(s["source"] == "n" and s["state"] == "late" for s in d))
        feeder.node("n", 2, interval_ms=20_000)
        stream.wait(lambda: [s["state"] for d in stream.of("source") for s in d if s["source"] == "n"][-1] == "live",
                    "alive again")


def test_alerts_appear_change_and_go(start, feeder):
    live = start()
    a, b = "00000000000000aa", "00000000000000bb"
    feeder.alert(a, state="firing", labels={"alertname": "Load", "instance": "n"}, value=3)
    feeder.call("HSET", "latido:alerts", "not-a-fingerprint", "{}")
    feeder.call("HSET", "latido:alerts", "00000000000000cc", "{broken")
    live.program.wait(lambda: live.json("/api/v1/alerts")["active"], SECONDS, "the first alert")
    with live.stream("?fleet=0") as stream:
        assert [x["fingerprint"] for x in stream.wait_event("alerts")["active"]] == [a]
        feeder.call("HSET", "latido:alerts", b,
                    json.dumps({"fingerprint": b, "state": "pending", "labels": {"alertname": "x\ny"}}, indent=1))
        assert stream.wait_event("alert")["labels"] == {"alertname": "x\ny"}
        feeder.alert(a, state="resolved", labels={"alertname": "Load", "instance": "n"}, value=1)
        stream.wait_event("alert", lambda d: d.get("state") == "resolved")
        feeder.alert(a)
        assert stream.wait_event("alert", lambda d: d.get("gone"))["fingerprint"] == a
    assert [x["fingerprint"] for x in live.json("/api/v1/alerts")["active"]] == [b]
    assert live.json("/api/v1/alerts?source=n")["active"] == []
    assert live.json(f"/api/v1/alerts?fingerprint={b}")["active"][0]["state"] == "pending"


def test_redis_goes_away_and_comes_back(start, feeder, redis):
    """A banner, the last picture stays, and nothing that is in the windows is missing afterwards."""
    live = start()
    for n in range(1, 4):
        feeder.node("n", n)
    live.wait_node("n", lambda node: node["seq"] == 3)
    with live.stream() as stream:
        assert stream.wait_event("status")["redis"]["state"] == "ok"
        redis.stop()
        down = stream.wait_event("status", lambda d: d["redis"]["state"] == "down")
        assert down["redis"]["error"] and down["redis"]["since_ms"] > 0
        assert live.json("/api/v1/nodes")["nodes"][0]["seq"] == 3
        assert live.get("/api/v1/nodes/n/window").status == 503
        redis.start()
        feeder.connection = None
        stream.wait(lambda: stream.of("status")[-1]["redis"]["state"] == "ok", "healed")
        for n in range(4, 8):
            feeder.node("n", n)
        stream.wait(lambda: stream.rows("n")[-1][0] == 7, "events go on")
        assert [seq for seq, _ in stream.rows("n")] == [3, 4, 5, 6, 7]
    assert live.json("/api/v1/status")["redis"]["state"] == "ok"


def test_events_of_a_broken_connection_come_from_the_window(start, feeder, redis):
    """The connection alone breaks: what was published meanwhile is caught up."""
    live = start()
    feeder.node("n", 1)
    live.wait_node("n")
    with live.stream() as stream:
        stream.wait_event("fleet")
        with RedisConnection(redis) as admin:
            for n in range(2, 30):
                if n == 10:
                    admin.call("CLIENT", "KILL", "TYPE", "pubsub")
                feeder.node("n", n)
        stream.wait(lambda: stream.rows("n")[-1][0] == 29, "the last event")
        assert [seq for seq, _ in stream.rows("n")] == list(range(1, 30))


def test_events_wait_for_their_shape(start, feeder):
    """Only the hash is in the event: all of a burst are shown once the shape was asked for, however busy Redis is."""
    number = announce(feeder, NODE_SHAPE)
    live = start()
    with live.stream() as stream:
        stream.wait_event("fleet")
        for n in range(1, 301):
            feeder.call("PUBLISH", "latido:live:n", event("n", n, node_values(n), EPOCH, b"", time.time_ns(), number))
            feeder.node("other", n)
        stream.wait(lambda: stream.rows("n") and stream.rows("n")[-1][0] == 300, "the last event")
        assert [seq for seq, _ in stream.rows("n")] == list(range(1, 301))
    assert live.program.value("latido_live_undecoded_events_total") == 0


def test_events_while_the_past_is_being_read(start, feeder, redis):
    """The moment between the old and the new: whenever an event comes, it is told once, to whom was there and who comes.

    The connections break; events come that nobody hears; others when we have subscribed and Redis does not yet know that
    we want its windows; others when it has answered, and we do not have the answer. The same when the server starts, with
    a client that comes in the middle.
    """
    sources, sent = ("n0", "n1", "n2"), 0

    def send(count=3):
        nonlocal sent
        for _ in range(count):
            sent += 1
            for source in sources:
                feeder.node(source, sent)

    def read_slowly(between=lambda: None):
        gate.reached("question")
        send()
        gate.let_pass()
        gate.reached("answer")
        between()
        send()
        gate.let_pass()

    def check(stream):
        stream.wait(lambda: all(stream.rows(s) and stream.rows(s)[-1][0] == sent for s in sources), "the last events")
        for source in sources:
            seqs = [seq for seq, _ in stream.rows(source)]
            assert seqs == list(range(seqs[0], sent + 1)), (source, seqs)
        stream.wait(lambda: stream.of("node") and stream.of("node")[-1]["seq"] == sent, "the last of the node")
        seqs = [e["seq"] for e in stream.of("node")]
        assert seqs == list(range(seqs[0], sent + 1)), seqs

    with Gate(redis) as gate:
        live = start(gate, sections={"redis": {"timeout": "60s"}})
        send()
        live.wait_node("n2", lambda node: node["seq"] == sent)
        with live.stream("?node=n0") as stream:
            stream.wait_event("alerts")
            for _ in range(3):
                gate.hold()
                gate.cut()
                send()
                read_slowly()
                live.wait_node("n2", lambda node: node["seq"] == sent)
            check(stream)
        assert live.program.value("latido_live_events_total") == len(sources) * sent
        live.program.terminate()
        gate.hold()
        live.program.start()
        live.wait_listening()
        streams = []
        read_slowly(lambda: streams.append(live.stream("?node=n1")))
        live.wait_following()
        send()
        with streams[0] as stream:
            check(stream)
        assert live.program.value("latido_live_events_total") == len(sources) * sent


def test_redis_down_at_the_start(start, feeder, redis):
    redis.stop()
    live = start()
    assert live.json("/api/v1/nodes")["nodes"] == []
    live.program.wait(lambda: live.json("/api/v1/status")["redis"]["state"] == "down", SECONDS, "it is seen")
    redis.start()
    feeder.node("n", 1)
    live.wait_node("n")


def test_postgres_down_is_a_banner_too(start):
    live = start()
    live.program.wait(lambda: live.json("/api/v1/status")["postgres"]["state"] == "down", SECONDS, "it is seen")
    answer = live.get("/api/v1/series?source=n&name=a")
    assert answer.status == 503 and "Retry-After" in answer.headers
    assert live.json("/api/v1/alerts")["history"] == []
    assert live.get("/api/v1/alerts?history=10").status == 503


def test_server_restart_ends_streams_politely(start, feeder):
    live = start()
    feeder.node("n", 1)
    live.wait_node("n")
    with live.stream() as stream:
        stream.wait_event("fleet")
        live.restart()
        assert stream.wait_event("end") == {"reason": "stopping"}
        assert stream.ended.wait(SECONDS)
        ident = stream.last_id()
    live.wait_node("n")
    with live.stream("?node=n", Last_Event_ID=ident) as stream:
        assert stream.wait_event("hello")["resumed"] is False
        assert stream.wait_event("node")["seq"] == 1


@pytest.mark.once
def test_slow_client_is_told_what_it_missed(start, feeder):
    """It stops reading; another one gets everything meanwhile; when it reads on it gets the newest state."""
    live = start(live={"client_queue": "16KiB", "stall": "1h"})
    for i in range(40):
        feeder.node(f"n{i}", 1)
    live.wait_node("n39")
    sock = live.connect()
    sock.setsockopt(6, 10, 4096)  # TCP_WINDOW_CLAMP: the kernel takes little for it
    sock.sendall(b"GET /api/v1/stream HTTP/1.1\r\nHost: localhost\r\n\r\n")
    sent = 0
    with live.stream() as other:
        other.wait_event("alerts")

        def feed_until_lagging():
            nonlocal sent
            for i in range(40):
                feeder.node(f"n{i}", sent + 2)
            sent += 1
            return live.program.value("latido_live_lagging_clients") == 1
        wait_until(feed_until_lagging, SECONDS, "the slow client lags")
        other.wait(lambda: other.rows("n39")[-1][0] == sent + 1, "the other one has all")
        assert [seq for seq, _ in other.rows("n7")] == list(range(1, sent + 2))
    out = b""
    sock.settimeout(SECONDS)
    while b"event: skip" not in out or not out.endswith(b"\n\n") or b"event: alerts" not in out[out.find(b"event: skip"):]:
        part = sock.recv(65536)
        assert part
        out += part
    text = out.decode()
    skip = json.loads(re.search(r"event: skip\ndata: (.*)\n", text)[1])
    rows = sum(len(json.loads(d)["rows"]) for d in re.findall(r"event: fleet\ndata: (.*)\n", text[:text.index("event: skip")]))
    after = text[text.index("event: skip"):]
    full = json.loads(re.search(r"event: fleet\ndata: (.*)\n", after)[1])
    assert full["full"] is True and len(full["rows"]) == 40 and {r[1] for r in full["rows"]} == {sent + 1}
    # 40 rows of the complete picture at the start, and every event either sent or declared
    assert rows - 40 + skip["events"] == 40 * sent and skip["events"] > 0
    sock.close()


@pytest.mark.once
def test_hopeless_client_is_cut(start, feeder):
    live = start(live={"client_queue": "16KiB", "stall": "1s"})
    sock = live.connect()
    sock.setsockopt(6, 10, 4096)
    sock.sendall(b"GET /api/v1/stream HTTP/1.1\r\nHost: localhost\r\n\r\n")
    n = 0

    def feed_until_cut():
        nonlocal n
        n += 1
        for i in range(40):
            feeder.node(f"n{i}", n)
        return live.program.value("latido_live_cut_clients_total") == 1
    wait_until(feed_until_cut, SECONDS, "it is cut")
    assert live.program.value("latido_live_clients") == 0
    sock.close()


def test_metrics_of_the_fleet(start, feeder):
    """Prometheus's own checker takes it; every value with its time; silent sources are left out."""
    live = start()
    when = now_ms() - 1000
    feeder.node("n1", 1, time_ms=when)
    feeder.node("n2", 2, time_ms=when)
    feeder.send("d", [1.5], family("odd", ["instance", "l"], [("x", 'a"\\\n')]), interval_ms=0)
    feeder.node("silent", 1, time_ms=now_ms() - 3_600_000)
    for name in ("n1", "n2", "d", "silent"):
        live.wait_node(name)
    answer = live.get("/metrics")
    assert answer.headers["Content-Type"].startswith("text/plain; version=0.0.4")
    text = answer.body.decode()
    assert f'node_load1{{instance="n1",job="node"}} 0.5 {when}\n' in text
    assert 'odd{instance="d",job="device",exported_instance="x",l="a\\"\\\\\\n"} 1.5 ' in text
    assert "silent" not in text and "# TYPE node_cpu_seconds_total counter\n" in text
    assert text.count("# TYPE node_load1 ") == 1
    if shutil.which("promtool"):
        run = subprocess.run(["promtool", "check", "metrics"], input=text, capture_output=True, text=True,
                             timeout=SECONDS, check=False)
        problems = [line for line in run.stderr.splitlines() + run.stdout.splitlines() if "no help text" not in line]
        assert not [p for p in problems if "error" in p.lower()], problems


def test_page_and_its_files(start):
    live = start()
    index = live.get("/")
    assert index.status == 200 and index.headers["Content-Type"].startswith("text/html")
    assert live.get("/nodes/web1.example.org").body == index.body  # a deep link
    again = live.get("/", If_None_Match="x")
    assert again.status == 200
    same = live.request("GET", "/", headers={"If-None-Match": index.headers["ETag"]})
    assert same.status == 304 and same.body == b""
    head = live.request("HEAD", "/")
    assert head.body == b"" and head.headers["Content-Length"] == str(len(index.body))
    for path in ("/api/v1/none", "/assets/none.js", "/prometheus/none"):
        assert live.get(path).status == 404, path
    assert live.request("POST", "/", b"", {"Content-Length": "0"}).status == 405
    for link in re.findall(rb'(?:src|href)="(/[^"]+)"', index.body):
        assert live.get(link.decode()).status == 200, link


def test_many_names_and_streams_of_one_source_are_bounded(start, feeder):
    live = start()
    for i in range(20):
        feeder.send("n", [i], family("a"), stream=f"s{i}")
    feeder.send("n", node_values(1), NODE_SHAPE)
    live.wait_node("n")
    assert len(live.json("/api/v1/nodes/n")["streams"]) <= 16
    names = "&".join(f"name=x{i}" for i in range(65))
    assert live.get(f"/api/v1/nodes/n/window?{names}").status == 400
    nodes = "&".join(f"node=x{i}" for i in range(33))
    assert live.stream("?" + nodes).status == 400
    assert live.stream("?node=a%20b").status == 400
