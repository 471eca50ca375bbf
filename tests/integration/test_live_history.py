# SPDX-License-Identifier: MIT
"""latido-live's history: series in steps, alerts of the past, and Prometheus's HTTP API beside Prometheus itself."""

import json
import os
import struct
import threading
import time
import urllib.parse

import psycopg2
import pytest

import servers
from live import Feeder, Live
from pipeline import COUNTER, SECONDS, Client, event, family, metrics_topic
from programs import Program, yaml_config
from server_prometheus import Prometheus
from servers import wait_until

N = 600  # events of each node, one a second
SHAPE = (family("node_cpu_seconds_total", ["cpu", "mode"],
                [(c, m) for c in "01" for m in ("idle", "user")], COUNTER)
         + family("node_load1") + family("odd", ["instance", "job"], [("x", "y")]))


def values(node, n):
    """Of second n: CPU times that begin again in the middle, a load with one spike."""
    reset = n if n < 400 else n - 400
    load = 50.0 if n == 123 else (n * 7 + node) % 10
    return [0.75 * reset, 0.25 * reset, 0.5 * reset, 0.5 * reset, load, node + n / 8]


class History:
    pass


@pytest.fixture(scope="module")
def history(tmp_path_factory, bin_folder):
    """Two nodes and a device of the last ten minutes in PostgreSQL by latido-store, and latido-live on it."""
    folder = str(tmp_path_factory.mktemp("history"))
    h = History()
    programs = []
    numbers = iter(range(100))

    def write_config(sections):
        path = os.path.join(folder, f"c{next(numbers)}.yaml")
        with open(path, "w", encoding="utf-8") as file:
            file.write(yaml_config(sections))
        return path

    def run_program(name, config):
        program = Program(bin_folder, name, folder, config=config)
        programs.append(program)
        return program.start()
    parts = [servers.Mosquitto(folder), servers.Redis(folder), servers.Postgres(folder)]
    try:
        h.broker, h.redis, h.postgres = [p.__enter__() for p in parts]
        run_program("latido-store", write_config({
            "bus": {"url": h.broker.url}, "postgres": {"dsn": h.postgres.dsn},
            "store": {"admin": "127.0.0.1:0", "inbox_dir": os.path.join(folder, "inbox")}})).wait_ready()
        client = Client(h.broker)
        h.start = int(time.time()) * 1000 - (N + 20) * 1000 + 250
        for n in range(N):
            for i, node in enumerate(("n1", "n2")):
                client.publish(metrics_topic(node), event(node, n + 1, values(i, n), shape=SHAPE, interval_ms=1000,
                                                          time_ns=(h.start + n * 1000) * 1_000_000))
        client.publish("latido/v1/devices/d1/metrics", json.dumps({"ts": h.start, "values": {"temp": 21.5}}))
        wait_until(lambda: h.postgres.sql("SELECT count(*) FROM snapshot")[0][0] == str(2 * N + 1), SECONDS,
                   "everything is stored")
        client.close()
        h.live = Live(run_program, write_config, bin_folder, folder, h.redis, dsn=h.postgres.dsn,
                      sections={"postgres": {"timeout": "30s"}})
        feeder = Feeder(h.redis)
        for node in ("n1", "n2"):
            feeder.send(node, values(0, N), SHAPE, seq=N + 1, epoch=1_000_000)
            h.live.wait_node(node)
        yield h
        for program in programs:
            program.terminate()
    finally:
        for program in programs:
            program.kill()
        for part in parts:
            part.close()


def series_of(history, query):
    return history.live.json("/api/v1/series?" + query)


def span(history, begin=0, end=N):
    return f"from={(history.start + begin * 1000) / 1000:.3f}&to={(history.start + end * 1000) / 1000:.3f}"


def test_steps_keep_minimum_maximum_average(history):
    answer = series_of(history, f"source=n1&name=node_load1&step=60&{span(history)}")
    (series,) = answer["series"]
    assert (series["name"], series["labels"], series["kind"], answer["step_ms"]) == ("node_load1", {}, "gauge", 60000)
    assert answer["truncated"] is False and answer["sampled_ms"] == 0 and answer["exact"] is True
    buckets = {}
    for n in range(N):
        buckets.setdefault((history.start + n * 1000) // 60000 * 60000, []).append(values(0, n)[4])
    assert series["time_ms"] == sorted(buckets)
    for i, t in enumerate(series["time_ms"]):
        assert series["min"][i] == min(buckets[t]) and series["max"][i] == max(buckets[t])
        assert series["avg"][i] == pytest.approx(sum(buckets[t]) / len(buckets[t]))
    assert max(series["max"]) == 50


def test_rates_of_counters(history):
    answer = series_of(history, f"source=n1&name=node_cpu_seconds_total&name=node_load1&rate=true&step=30s&"
                                f"{span(history, 0, 390)}")
    rates = {s["labels"].get("cpu", "") + s["labels"].get("mode", ""): s for s in answer["series"]}
    assert set(rates) == {"0idle", "0user", "1idle", "1user", ""}
    for key, want in {"0idle": 0.75, "0user": 0.25, "1idle": 0.5, "1user": 0.5}.items():
        for form in ("min", "max", "avg"):
            assert rates[key][form] == pytest.approx([want] * len(rates[key][form])), key
    assert max(rates[""]["max"]) == 50  # a gauge stays as it is


def test_counter_that_begins_again(history):
    answer = series_of(history, f"source=n1&name=node_cpu_seconds_total&match=cpu=0&match=mode=idle&rate=true&"
                                f"step=10&{span(history, 350, 450)}")
    (series,) = answer["series"]
    assert min(series["min"]) == 0 and max(series["max"]) == pytest.approx(0.75)


def test_sums_by_label(history):
    answer = series_of(history, f"source=n1&name=node_cpu_seconds_total&rate=true&by=mode&step=60&"
                                f"{span(history, 0, 390)}")
    assert [s["labels"] for s in answer["series"]] == [{"mode": "idle"}, {"mode": "user"}]
    assert answer["series"][0]["avg"] == pytest.approx([1.25] * len(answer["series"][0]["avg"]))
    whole = series_of(history, f"source=n1&name=node_cpu_seconds_total&rate=true&by=&step=60&{span(history, 0, 390)}")
    assert [s["labels"] for s in whole["series"]] == [{}]
    assert whole["series"][0]["avg"] == pytest.approx([2.0] * len(whole["series"][0]["avg"]))


@pytest.mark.parametrize("query", [
    "", "source=n1", "name=a", "source=n1&name=a-b", "source=a b&name=a", "source=n1&name=a&step=0",
    "source=n1&name=a&step=x", "source=n1&name=a&from=x", "source=n1&name=a&from=2&to=1", "source=n1&name=a&rate=yes",
    "source=n1&name=a&match=x", "source=n1&name=a&by=a-b", "source=n1&name=a&from=0&to=1e9",
    "source=n1&name=a&from=1700000000&to=1700100000&step=1", "source=n1&name=a&to=nan", "source=n1&name=a&to=1e400",
    "source=n1&" + "&".join(["name=a"] * 17)])
def test_bad_questions(history, query):
    answer = history.live.get("/api/v1/series?" + query.replace(" ", "%20"))
    assert answer.status == 400 and answer.json["error"], query


def test_quotes_are_only_text(history):
    """Nothing of a question becomes part of an SQL statement."""
    for text in ("'; DROP TABLE snapshot; --", "$1", "%'", "\\", '"'):
        quoted = urllib.parse.quote(text)
        assert series_of(history, f"source=n1&name=node_load1&match=a={quoted}")["series"] == []
        query = urllib.parse.quote('{__name__=~".+",x=%s}' % json.dumps(text))
        assert history.live.json(f"/prometheus/api/v1/query?query={query}")["data"]["result"] == []
    assert history.postgres.sql("SELECT count(*) > 0 FROM snapshot")[0][0] in ("t", "true", "1")


def test_alerts_of_the_past(history):
    for state, seconds in (("pending", 30), ("firing", 20), ("resolved", 10)):
        history.postgres.sql(f"""INSERT INTO alert_event (fingerprint, active_at, state, at, value, name, source, labels, annotations,
                rule)
            VALUES ('00000000000000aa', now() - interval '30 s', '{state}', now() - interval '{seconds} s', 1.5, 'Load', 'n1',
                    '{{"alertname":"Load","instance":"n1"}}', '{{"summary":"x"}}', '{{"name":"Load"}}')""")
    answer = history.live.json("/api/v1/alerts?history=10")
    assert [e["state"] for e in answer["history"]] == ["resolved", "firing", "pending"]
    first = answer["history"][0]
    assert first["labels"]["instance"] == "n1" and first["value"] == 1.5 and first["at_ms"] > first["active_at_ms"]
    assert len(history.live.json("/api/v1/alerts?history=1")["history"]) == 1
    assert history.live.json("/api/v1/alerts?history=10&source=n2")["history"] == []
    assert history.live.json("/api/v1/alerts?history=10&fingerprint=00000000000000bb")["history"] == []
    assert len(history.live.json("/api/v1/alerts?history=10&source=n1")["history"]) == 3
    for bad in ("history=1001", "history=-1", "history=1&from=x", "fingerprint=zz", "source=a%20b"):
        assert history.live.get("/api/v1/alerts?" + bad).status == 400, bad


def test_state_of_a_node_in_the_past(history):
    at = (history.start + 100_500) / 1000
    answer = history.live.json(f"/api/v1/nodes/n1/at?time={at:.3f}")
    (found,) = answer["events"]
    assert (answer["time_ms"], found["time_ms"]) == (history.start + 100_000,) * 2
    assert (found["epoch"], found["seq"], answer["truncated"]) == (1_000_000, 101, False)
    assert found["values"] == values(0, 100)
    assert found["series"][0] == ["node_cpu_seconds_total", {"cpu": "0", "mode": "idle"}, "counter"]
    # Long after the last event, and of one name.
    late = history.live.json(f"/api/v1/nodes/n1/at?time={at + 86400:.3f}&name=node_load1")
    assert late["time_ms"] == history.start + (N - 1) * 1000
    assert [(e["series"], e["values"]) for e in late["events"]] == [([["node_load1", {}, "gauge"]],
                                                                    [values(0, N - 1)[4]])]
    none = history.live.json(f"/api/v1/nodes/n1/at?time={at:.3f}&name=nothing")
    assert (none["events"], none["time_ms"]) == ([], history.start + 100_000)
    for path in (f"nobody/at?time={at}", f"n1/at?time={history.start / 1000 - 1:.3f}"):
        missing = history.live.get("/api/v1/nodes/" + path)
        assert missing.status == 404 and "is stored" in missing.json["error"], path
    for bad in ("", "?time=yesterday", f"?time={at}&name=a%20b", f"?time={at}" + "&name=a" * 65):
        assert history.live.get("/api/v1/nodes/n1/at" + bad).status == 400, bad


def test_process_table_is_that_of_the_moment(history):
    """A stream of its own whose shape changes with every process, beside the main one."""
    def table(*pids):
        return family("latido_process_cpu_ratio", ["comm", "pid"], [(f"p{pid}", str(pid)) for pid in pids])
    client = Client(history.broker)
    start = history.start - 3 * 3_600_000
    for n, (shape, vals, stream) in enumerate([
            (family("node_load1"), [1.0], ""), (table(1, 2), [0.5, 0.25], "processes"),
            (table(2, 3), [0.75, 0.125], "processes"), (family("node_load1"), [2.0], ""),
            (table(4), [0.0625], "processes")]):
        client.publish(metrics_topic("p1"), event("p1", n + 1, vals, shape=shape, time_ns=(start + n * 1000) * 1_000_000,
                                                  interval_ms=1000, stream=stream))
    wait_until(lambda: history.postgres.sql("SELECT upto FROM progress p JOIN epoch e ON e.id = p.epoch_id "
                                            "JOIN source o ON o.id = e.source_id WHERE o.name = 'p1'") == [("5",)],
               SECONDS, "they are stored")
    client.close()

    def pids(second):
        answer = history.live.json(f"/api/v1/nodes/p1/at?time={(start + second * 1000) / 1000:.3f}")
        return [(s[1].get("pid", s[0]), v) for e in answer["events"] for s, v in zip(e["series"], e["values"])]
    assert pids(1) == [("1", 0.5), ("2", 0.25), ("node_load1", 1.0)]
    assert pids(2) == [("2", 0.75), ("3", 0.125), ("node_load1", 1.0)]
    assert pids(3) == [("node_load1", 2.0), ("2", 0.75), ("3", 0.125)]
    assert pids(60) == [("4", 0.0625), ("node_load1", 2.0)]
    # Prometheus, beside which others of these tests put the answers, has nothing of this node.
    history.postgres.sql("DELETE FROM snapshot WHERE source_id = (SELECT id FROM source WHERE name = 'p1')")


def test_pipeline_says_how_the_servers_are(history):
    def look():
        answer = history.live.json("/api/v1/pipeline")
        return answer if answer["postgres"]["commits_per_s"] is not None else None
    answer = wait_until(look, SECONDS, "two looks at PostgreSQL")
    assert answer["redis"]["state"] == answer["postgres"]["state"] == "ok"
    assert answer["redis"]["used_memory_bytes"] > 100_000 and answer["redis"]["connected_clients"] >= 1
    assert answer["redis"]["ping_ms"] > 0 and answer["postgres"]["ping_ms"] > 0
    assert answer["postgres"]["database_bytes"] > 1_000_000 and answer["postgres"]["connections"] >= 2
    assert answer["postgres"]["newest_ms"] == history.start + (N - 1) * 1000
    assert (answer["postgres"]["missing_events"], answer["postgres"]["gap_events"]) == (0, 0)
    assert sum(answer["sources"].values()) >= 2 and answer["parts"] == []


def test_pipeline_asks_once_for_all_who_look(history):
    """While PostgreSQL is slow it is asked once; whoever looks meanwhile gets that answer."""
    asked = ("SELECT count(*) FROM pg_stat_activity "
             "WHERE wait_event_type = 'Lock' AND query LIKE 'SELECT pg_database_size%'")
    answers = []

    def look():
        answers.append(history.live.get("/api/v1/pipeline"))

    def is_asked():
        if not threads or not threads[-1].is_alive():  # an answer of before was still fresh
            threads.append(threading.Thread(target=look))
            threads[-1].start()
        return history.postgres.sql(asked) == [("1",)]
    threads = []
    with psycopg2.connect(history.postgres.dsn) as slow:
        slow.cursor().execute("LOCK TABLE gap IN ACCESS EXCLUSIVE MODE")
        wait_until(is_asked, SECONDS, "the question waits")
        more = [threading.Thread(target=look) for _ in range(12)]
        for t in more:
            t.start()
        # A question of its own goes through meanwhile: those before it hold no thread.
        before = len(answers)
        series = f"/api/v1/series?source=n1&name=node_load1&step=10&{span(history)}"
        assert [history.live.get(series).status for _ in range(3)] == [200] * 3
        assert history.postgres.sql(asked) == [("1",)] and len(answers) == before
    slow.close()
    for t in threads + more:
        t.join(SECONDS)
    assert [a.status for a in answers[before:]] == [200] * 13
    assert len({a.json["postgres"]["ping_ms"] for a in answers[before:]}) == 1


def test_many_questions_at_once_are_answered_or_refused(history):
    statuses = []

    def ask():
        statuses.append(history.live.get(f"/api/v1/series?source=n1&name=node_load1&step=10&{span(history)}").status)
    threads = [threading.Thread(target=ask) for _ in range(40)]
    for t in threads:
        t.start()
    for t in threads:
        t.join(SECONDS)
    assert len(statuses) == 40 and set(statuses) <= {200, 503} and 200 in statuses


# ---- beside Prometheus ----


@pytest.fixture(scope="module")
def oracle(history, tmp_path_factory):
    """A Prometheus that holds the same samples under the same labels."""
    with Prometheus(str(tmp_path_factory.mktemp("prometheus"))) as server:
        labels = [{"__name__": "node_cpu_seconds_total", "cpu": c, "mode": m} for c in "01" for m in ("idle", "user")]
        labels += [{"__name__": "node_load1"}, {"__name__": "odd", "exported_instance": "x", "exported_job": "y"}]
        written = []
        for i, node in enumerate(("n1", "n2")):
            for k, have in enumerate(labels):
                points = [(history.start + n * 1000, struct.unpack("<Q", struct.pack("<d", values(i, n)[k]))[0])
                          for n in range(N)]
                written.append(({**have, "instance": node, "job": "node"}, points))
        written.append(({"__name__": "temp", "instance": "d1", "job": "device"},
                        [(history.start, struct.unpack("<Q", struct.pack("<d", 21.5))[0])]))
        server.remote_write(written)
        yield server


def both(history, oracle, method, path, parameters):
    """(status, JSON) of ours and theirs."""
    text = urllib.parse.urlencode(parameters, doseq=True)
    if method.startswith("POST"):
        headers = {"Content-Type": "application/x-www-form-urlencoded"}
        if method == "POST?":
            path, text = f"{path}?{text}", ""
        ours = history.live.request("POST", "/prometheus" + path, text, headers)
        theirs = oracle.call("POST", path, text, headers)
    else:
        ours = history.live.get(f"/prometheus{path}?{text}")
        theirs = oracle.call("GET", f"{path}?{text}")
    return (ours.status, ours.json), (theirs[0], json.loads(theirs[1]))


def canonical(answer):
    status, body = answer
    data = body.get("data")
    if isinstance(data, dict) and isinstance(data.get("result"), list) and data["resultType"] in ("vector", "matrix"):
        data["result"].sort(key=lambda e: json.dumps(e["metric"], sort_keys=True))
    return status, body


def first_difference(a, b, where="answer"):
    """Where two documents differ first, and how, in one line."""
    if isinstance(a, dict) and isinstance(b, dict) and a.keys() == b.keys():
        pairs = [(a[key], b[key], f"{where}.{key}") for key in a]
    elif isinstance(a, (list, tuple)) and isinstance(b, (list, tuple)) and len(a) == len(b):
        pairs = [(x, y, f"{where}[{i}]") for i, (x, y) in enumerate(zip(a, b))]
    else:
        return f"{where}: ours {str(a)[:300]} ({len(str(a))} characters), theirs {str(b)[:300]} ({len(str(b))})"
    return next((first_difference(x, y, at) for x, y, at in pairs if x != y), "")


# What Grafana's Prometheus data source sends, read from grafana/grafana of version 12.2: pkg/promlib (client/client.go,
# models/query.go, resource/resource.go, healthcheck.go, heuristics.go) and packages/grafana-prometheus (datasource.ts,
# resource_clients.ts, language_provider.ts, metric_find_query.ts). Queries go by POST with a form (by GET where that is
# configured), times as seconds with the shortest fraction, the step as seconds or fractions of one; resources by POST
# with the parameters in the address and an empty body ("POST?" here), or by GET, all with limit=40000.
# $S, $E: start and end of the data.
SHAPES = [
    # health check, and the probes at the start
    ("POST", "/api/v1/query", {"query": "1+1", "time": "4"}),
    ("POST?", "/api/v1/query_exemplars", {"query": "test", "start": "$S000", "end": "$E000"}),
    ("POST", "/api/v1/query_exemplars", {"query": "rate(node_load1[1m0s])", "start": "$S", "end": "$E"}),
    ("GET", "/api/v1/rules", {}),
    # panels: $__rate_interval as Go writes durations, $__interval, $__range, steps below a second
    ("POST", "/api/v1/query_range", {"query": "rate(node_cpu_seconds_total[1m0s])", "start": "$S", "end": "$E", "step": "15"}),
    ("POST", "/api/v1/query_range", {"query": 'max by (mode) (rate(node_cpu_seconds_total{instance=~"n1|n2"}[1m15s]))',
                                     "start": "$S", "end": "$E", "step": "15", "timeout": "60s"}),
    ("POST", "/api/v1/query_range", {"query": "irate(node_cpu_seconds_total[2m30s])", "start": "$S", "end": "$E", "step": "30"}),
    ("POST", "/api/v1/query_range", {"query": "rate(node_cpu_seconds_total[1h0m0s])", "start": "$S", "end": "$E", "step": "60"}),
    ("POST", "/api/v1/query_range", {"query": "node_load1", "start": "$S", "end": "$S+60", "step": "0.5"}),
    ("POST", "/api/v1/query_range", {"query": "node_load1", "start": "$S.123", "end": "$S+60.123", "step": "0.02"}),
    ("POST", "/api/v1/query_range", {"query": "max_over_time(node_load1[500ms])", "start": "$S", "end": "$E", "step": "20"}),
    ("POST", "/api/v1/query", {"query": "avg_over_time(node_load1[600s])", "time": "$E.4580002"}),
    ("POST", "/api/v1/query", {"query": "quantile_over_time(0.95, node_load1[600s]) > bool 2", "time": "$E"}),
    ("POST", "/api/v1/query_range", {"query": 'ALERTS{alertstate="firing"}', "start": "$S", "end": "$E", "step": "60"}),
    # what its hints offer
    ("POST", "/api/v1/query_range", {"query": "histogram_quantile(0.95, sum(rate(node_load1_bucket[1m0s])) by (le))",
                                     "start": "$S", "end": "$E", "step": "15"}),
    # names, labels and values for the builder, the metrics browser and ad hoc filters
    ("POST?", "/api/v1/series", {"match[]": '{__name__!=""}', "start": "$S", "end": "$E", "limit": "40000"}),
    ("POST?", "/api/v1/series", {"match[]": '{__name__="node_load1",instance!=""}', "start": "$S", "end": "$E", "limit": "40000"}),
    ("POST", "/api/v1/series", {"match[]": '{__name__!=""}', "start": "$S", "end": "$E", "limit": "40000"}),
    ("POST?", "/api/v1/labels", {"limit": "40000", "start": "$S", "end": "$E", "match[]": '{__name__="node_cpu_seconds_total"}'}),
    ("POST?", "/api/v1/labels", {"start": "$S", "end": "$E", "match[]": ["node_load1", 'temp{job="device"}']}),
    ("POST?", "/api/v1/query", {"query": "count by (instance) (node_load1)", "time": "$E"}),
    ("GET", "/api/v1/label/__name__/values", {"limit": "40000", "start": "$S", "end": "$E", "match[]": '{__name__=~".*load.*"}'}),
    ("GET", "/api/v1/label/instance/values", {"limit": "40000", "start": "$S", "end": "$E", "match[]": 'node_load1{job="node"}'}),
    ("GET", "/api/v1/label/U__mode_2e_x/values", {"start": "$S", "end": "$E"}),
    ("GET", "/api/v1/label/mode.x/values", {"start": "$S", "end": "$E"}),
    # the same by older versions, and by hand
    ("POST", "/api/v1/query", {"query": "1+1", "time": "$E"}),
    ("GET", "/api/v1/query", {"query": "1+1", "time": "$E"}),
    ("POST", "/api/v1/query", {"query": "node_load1", "time": "$E"}),
    ("GET", "/api/v1/query", {"query": 'node_load1{instance="n1"}', "time": "$E.5"}),
    ("GET", "/api/v1/query", {"query": 'node_load1{instance="n1"}[30s]', "time": "$E"}),
    ("GET", "/api/v1/query", {"query": '{__name__=~"node_.+",instance=~"n.*",mode!="idle"}', "time": "$E"}),
    ("GET", "/api/v1/query", {"query": "nothing_of_this_name", "time": "$E"}),
    ("GET", "/api/v1/query", {"query": '"text"', "time": "$E"}),
    ("GET", "/api/v1/query", {"query": "temp", "time": "$S+60"}),
    ("GET", "/api/v1/query", {"query": "node_load1 offset 2m", "time": "$E"}),
    ("GET", "/api/v1/query", {"query": 'odd{exported_job="y"}', "time": "$E"}),
    ("POST", "/api/v1/query_range", {"query": "node_load1", "start": "$S", "end": "$E", "step": "15"}),
    ("POST", "/api/v1/query_range", {"query": 'node_cpu_seconds_total{mode="idle",cpu="0"}', "start": "$S", "end": "$E",
                                     "step": "60"}),
    ("GET", "/api/v1/query_range", {"query": 'node_load1{instance="n1"}', "start": "$S.250", "end": "$E.250",
                                    "step": "30s"}),
    ("GET", "/api/v1/query_range", {"query": "node_load1", "start": "$E", "end": "$E+600", "step": "20"}),
    ("GET", "/api/v1/query_range", {"query": 'rate(node_cpu_seconds_total{mode="user"}[1m])', "start": "$S", "end": "$E",
                                    "step": "60"}),
    ("GET", "/api/v1/query_range", {"query": "sum by (mode) (node_cpu_seconds_total)", "start": "$S", "end": "$E",
                                    "step": "60"}),
    ("GET", "/api/v1/series", {"match[]": "node_load1", "start": "$S", "end": "$E"}),
    ("POST", "/api/v1/series", {"match[]": ['{instance="n1"}', "temp"], "start": "$S", "end": "$E"}),
    ("GET", "/api/v1/series", {"match[]": '{__name__=~"nothing.*"}', "start": "$S", "end": "$E"}),
    ("GET", "/api/v1/labels", {"start": "$S", "end": "$E"}),
    ("POST", "/api/v1/labels", {"start": "$S", "end": "$E", "match[]": "node_load1"}),
    ("GET", "/api/v1/label/__name__/values", {"start": "$S", "end": "$E"}),
    ("GET", "/api/v1/label/instance/values", {"start": "$S", "end": "$E", "match[]": "node_load1"}),
    ("GET", "/api/v1/label/mode/values", {"start": "$S", "end": "$E"}),
    ("GET", "/api/v1/label/none/values", {"start": "$S", "end": "$E"}),
    ("GET", "/api/v1/query_exemplars", {"query": "node_load1", "start": "$S", "end": "$E"}),
    # newer versions: limits, time-outs, and what dashboards such as Node Exporter Full ask
    ("GET", "/api/v1/label/__name__/values", {"start": "$S", "end": "$E", "limit": "40000"}),
    ("GET", "/api/v1/label/instance/values", {"match[]": '{__name__="node_load1",job="node"}', "start": "$S", "end": "$E",
                                              "limit": "40000"}),
    ("POST", "/api/v1/labels", {"start": "$S", "end": "$E", "match[]": '{__name__="node_cpu_seconds_total"}', "limit": "40000"}),
    ("GET", "/api/v1/series", {"match[]": 'node_load1{instance=~"n.*"}', "start": "$S", "end": "$E", "limit": "40000"}),
    ("POST", "/api/v1/query_range", {"query": 'avg by (instance) (rate(node_cpu_seconds_total{mode!="idle",job=~"node"}[1m0s]))',
                                     "start": "$S.000", "end": "$E.000", "step": "15", "timeout": "30s"}),
    ("POST", "/api/v1/query", {"query": "count(count(node_cpu_seconds_total) by (cpu))", "time": "$E.000"}),
    ("POST", "/api/v1/query", {"query": "topk(1, node_load1)", "time": "$E"}),
    ("POST", "/api/v1/query_range", {"query": 'max_over_time(node_load1{instance="n2"}[5m])', "start": "$S", "end": "$E",
                                     "step": "1m"}),
    # what is wrong
    ("GET", "/api/v1/query", {"query": ""}),
    ("GET", "/api/v1/query", {"query": "node_load1{"}),
    ("GET", "/api/v1/query", {"query": "node_load1", "time": "yesterday"}),
    ("POST", "/api/v1/query_range", {"query": "node_load1", "start": "$E", "end": "$S", "step": "15"}),
    ("POST", "/api/v1/query_range", {"query": "node_load1", "start": "$S", "end": "$E", "step": "0"}),
    ("POST", "/api/v1/query_range", {"query": "node_load1", "start": "0", "end": "$E", "step": "1"}),
    ("GET", "/api/v1/query_range", {"query": "node_load1[5m]", "start": "$S", "end": "$E", "step": "15"}),
    ("GET", "/api/v1/query_range", {"query": "node_load1", "start": "$S", "end": "$E"}),
    ("GET", "/api/v1/series", {}),
    ("GET", "/api/v1/query", {"query": "rate(node_load1)", "time": "$E"}),
]


# Refused by both, each in its own words: a $__rate_interval with a fraction as Go writes it, what only newer servers
# know, and a variable that nobody has filled in.
REFUSED = [("rate(node_load1[1m0.5s])", "1:17"), ("histogram_avg(rate(node_load1[1m0s]))", "1:1"), ('{"node_load1"}', "1:2"),
           ("rate(node_load1[$__rate_interval])", "1:17")]


@pytest.mark.parametrize("expression,place", REFUSED)
def test_what_cannot_be_evaluated_is_refused_with_its_place(history, oracle, expression, place):
    for path, more in (("query", {}), ("query_range", {"start": "1000", "end": "2000", "step": "0.5"})):
        ours, theirs = both(history, oracle, "POST", f"/api/v1/{path}", {"query": expression, **more})
        assert (ours[0], ours[1]["status"], ours[1]["errorType"]) == (theirs[0], theirs[1]["status"], theirs[1]["errorType"])
        assert f" {place}: parse error: " in " " + ours[1]["error"]


@pytest.mark.parametrize("number", range(len(SHAPES)))
def test_answers_are_those_of_prometheus(history, oracle, number):
    method, path, parameters = SHAPES[number]
    start, end = history.start // 1000, history.start // 1000 + N

    def fill(v):
        if isinstance(v, list):
            return [fill(x) for x in v]
        v = v.replace("$S+60", str(start + 60)).replace("$E+600", str(end + 600))
        return v.replace("$S", str(start)).replace("$E", str(end))
    ours, theirs = both(history, oracle, method, path, {k: fill(v) for k, v in parameters.items()})
    ours, theirs = canonical(ours), canonical(theirs)
    if theirs[1]["status"] == "error":
        assert (ours[0], ours[1].get("errorType"), ours[1].get("error")) == \
            (theirs[0], theirs[1]["errorType"], theirs[1]["error"])
    else:
        assert ours == theirs, f"{parameters} of {start} to {end}: {first_difference(ours, theirs)}"


def test_probes_of_data_sources(history):
    version = history.live.json("/prometheus/api/v1/status/buildinfo")["data"]["version"]
    assert version.startswith("2.")
    metadata = history.live.json("/prometheus/api/v1/metadata")["data"]
    assert metadata["node_cpu_seconds_total"] == [{"type": "counter", "help": "", "unit": ""}]
    assert list(history.live.json("/prometheus/api/v1/metadata?metric=node_load1")["data"]) == ["node_load1"]
    assert len(history.live.json("/prometheus/api/v1/metadata?limit=2")["data"]) == 2
    form = history.live.request("POST", "/prometheus/api/v1/query", "query=1", {"Content-Type": "text/plain"})
    assert form.status == 400


def test_what_takes_no_post_says_so_as_prometheus_does(history, oracle):
    """Grafana sends all resources by POST, and asks again by GET when the status says 405: versions differ in what they know."""
    form = {"Content-Type": "application/x-www-form-urlencoded"}
    for path in ("label/instance/values", "metadata", "rules", "alerts", "targets", "status/buildinfo", "status/config",
                 "status/flags"):
        ours = [history.live.request(m, f"/prometheus/api/v1/{path}", "", form).status for m in ("POST", "GET")]
        theirs = [oracle.call(m, f"/api/v1/{path}", "", form)[0] for m in ("POST", "GET")]
        assert ours == theirs == [405, 200], path


def test_long_range_of_plain_selectors_is_read_by_steps(history):
    """More snapshots than are read as they are: only the newest of each step's look-back is."""
    end = history.start // 1000 + N
    query = urllib.parse.urlencode({"query": "node_load1", "start": end - 10 * 86400, "end": end, "step": 3600})
    result = history.live.json("/prometheus/api/v1/query_range?" + query)["data"]["result"]
    at_end = history.live.json(f"/prometheus/api/v1/query?query=node_load1&time={end}")["data"]["result"]
    assert {r["metric"]["instance"]: r["values"][-1] for r in result} == \
        {r["metric"]["instance"]: r["value"] for r in at_end}
