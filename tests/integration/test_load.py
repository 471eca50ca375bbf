# SPDX-License-Identifier: MIT
"""latido-load on real servers: simulated nodes, recordings, two ways at once."""

import http.server
import json
import os
import pty
import re
import signal
import subprocess
import threading
import time

import pytest

import servers
from conftest import BIN
from kafka import Kafka
from pipeline import SECONDS, Client, event, metrics_topic

LOAD = os.path.join(BIN, "latido-load")


def on_terminal(*args):
    """Run to the end with a terminal as standard error; (its report, what the terminal was told)."""
    ours, its = pty.openpty()
    shown = []

    def read():
        try:
            while data := os.read(ours, 65536):
                shown.append(data)
        except OSError:  # EIO: nobody has the other end any more
            pass
    reader = threading.Thread(target=read)
    reader.start()
    try:
        run = subprocess.run([LOAD, *args], text=True, check=False, timeout=4 * SECONDS, stdin=subprocess.DEVNULL,
                             stdout=subprocess.PIPE, stderr=its)
    finally:
        os.close(its)
        reader.join()
        os.close(ours)
    shown = b"".join(shown).decode()
    assert run.returncode == 0, run.stdout + shown
    return json.loads(run.stdout), shown


def load(*args, code=0, **more):
    """Run to the end; its report."""
    run = subprocess.run([LOAD, *args], text=True, capture_output=True, check=False, timeout=4 * SECONDS,
                         stdin=subprocess.DEVNULL, **more)
    assert run.returncode == code, run.stdout + run.stderr
    return json.loads(run.stdout) if code == 0 and run.stdout else run.stderr


class Background:
    """A latido-load that is still running."""

    def __init__(self, *args):
        self.process = subprocess.Popen([LOAD, *args], text=True, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                                        stderr=subprocess.PIPE)
        servers.guard_process(self.process.pid)

    def end(self, code=0):
        out, err = self.process.communicate(timeout=4 * SECONDS)
        servers.unguard_process(self.process.pid)
        assert self.process.returncode == code, out + err
        return json.loads(out)


@pytest.fixture
def store(mosquitto, database, write_config, run_program):
    """latido-store behind Mosquitto; .rows(sql) asks its database."""
    program = run_program("latido-store", config=write_config({
        "bus": {"url": mosquitto.url, "backoff_base": "50ms", "backoff_cap": "500ms"},
        "postgres": {"dsn": database, "timeout": "10s"},
        "store": {"admin": "127.0.0.1:0", "batch": {"linger": "20ms"}}}))
    program.wait_ready()
    return program


def rows(dsn, query):
    run = subprocess.run(["psql", "-XAtq", "-F", "\t", "-c", query, dsn], text=True, capture_output=True, check=True)
    return [tuple(line.split("\t")) for line in run.stdout.splitlines()]


def each_once(dsn):
    """[(source, epoch, last)] of all sequences: each holds 1..last once, and nothing was given up."""
    assert rows(dsn, "SELECT count(*) FROM gap") == [("0",)]
    found = rows(dsn, """SELECT s.name, e.epoch, count(*), count(DISTINCT r.seq), min(r.seq), max(r.seq)
        FROM (SELECT epoch_id, seq FROM snapshot UNION ALL SELECT epoch_id, seq FROM snapshot_stray) r
        JOIN epoch e ON e.id = r.epoch_id JOIN source s ON s.id = e.source_id GROUP BY 1, 2 ORDER BY 1, 2""")
    for name, epoch, n, distinct, first, last in found:
        assert n == distinct == last and first == "1", (name, epoch, n, distinct, first, last)
    return [(name, int(epoch), int(last)) for name, epoch, _, _, _, last in found]


@pytest.mark.threaded
def test_simulate_is_numbered_and_acknowledged(mosquitto, store, database):
    report, shown = on_terminal("simulate", "--bus", mosquitto.url, "--sources", "20", "--series", "60",
                                "--interval", "100ms", "--count", "600", "--seed", "7")
    # One line that is drawn again and again: bar, rate, acknowledgements, errors, latencies.
    drawn = [re.fullmatch(r"\[(#*)(\.*)\] +(\d+) %  \d+/s  sent (\d+)  acknowledged (\d+)  again \d+  errors 0  "
                          r"p50 [\d.e+]+ ms  p99 [\d.e+]+ ms\033\[K\s*", line) for line in shown.split("\r[")[1:]
             for line in ["[" + line]]
    assert len(drawn) > 1 and all(drawn), shown
    assert all(len(line[1] + line[2]) == 24 for line in drawn)
    assert drawn[0][2] and not drawn[-1][2] and drawn[-1].group(3, 4, 5) == ("100", "600", "600")
    sent = [int(line[4]) for line in drawn]
    assert sent == sorted(sent) and shown.endswith("\n")
    assert report["events"] == {"sent": 600, "delivered": 600, "acknowledged": 600, "unacknowledged": 0,
                                "sent_again": report["events"]["sent_again"], "errors": 0}
    assert report["values"] == 36000 and report["seed"] == 7 and not report["interrupted"]
    latency = report["latency_ms"]["acknowledged"]
    assert latency["n"] == 600 and 0 < latency["p50"] <= latency["p99"] <= latency["max"]
    (path,) = report["paths"]
    assert path["acknowledged_by"] == "store" and path["sources"] == 20
    stored = each_once(database)
    assert len(stored) == 20 and sum(last for _, _, last in stored) == 600
    assert stored[0][0] == "sim-00001"
    # Plausible: the modes of a processor make up the time, memory is not negative, counters rise.
    assert rows(database, """SELECT bool_and(abs(total - up) < 1e-3 * up) FROM (
        SELECT time, source, sum(value) FILTER (WHERE name = 'node_cpu_seconds_total' AND labels->>'cpu' = '0') total,
            max(value) FILTER (WHERE name = 'node_time_seconds') -
            max(value) FILTER (WHERE name = 'node_boot_time_seconds') up
        FROM sample WHERE source = 'sim-00003' GROUP BY time, source) x""") == [("t",)]
    assert rows(database, """SELECT bool_and(value >= before) FROM (
        SELECT value, lag(value, 1, 0::float8) OVER (PARTITION BY source, name, labels ORDER BY time) before
        FROM sample WHERE name LIKE '%\\_total' AND source = 'sim-00002') x""") == [("t",)]
    assert rows(database, """SELECT min(value) > 0, max(value) <= 16 * 1024^3 FROM sample
        WHERE name = 'node_memory_MemAvailable_bytes'""") == [("t", "t")]


@pytest.mark.once
def test_restarts_begin_new_sequences_and_reset_counters(mosquitto, store, database):
    report = load("simulate", "--bus", mosquitto.url, "--sources", "5", "--series", "40", "--interval", "100ms",
                  "--duration", "6s", "--restart-every", "2s", "--seed", "3")
    assert report["events"]["unacknowledged"] == 0
    stored = each_once(database)
    assert sum(last for _, _, last in stored) == report["events"]["sent"]
    assert len({name for name, _, _ in stored}) == 5 and len(stored) >= 10
    assert rows(database, """SELECT count(*) > 0 FROM (
        SELECT value, lag(value) OVER (PARTITION BY source ORDER BY time) before
        FROM sample WHERE name = 'node_forks_total') x WHERE value < before""") == [("t",)]


@pytest.mark.once
def test_what_a_broker_forgets_is_sent_again(servers_folder, database, write_config, run_program):
    with servers.Mosquitto(servers_folder, persistence=False) as broker:
        program = run_program("latido-store", config=write_config({
            "bus": {"url": broker.url, "backoff_base": "50ms", "backoff_cap": "500ms"},
            "postgres": {"dsn": database, "timeout": "10s"}, "store": {"admin": "127.0.0.1:0"}}))
        program.wait_ready()
        running = Background("simulate", "--bus", broker.url, "--sources", "50", "--series", "20",
                             "--interval", "50ms", "--count", "8000", "--resend", "1s", "--drain", "120s")

        def stored():
            return int(rows(database, "SELECT count(*) FROM snapshot")[0][0])
        servers.wait_until(lambda: stored() > 500, SECONDS, "it runs")
        broker.kill()
        broker.start()
        report = running.end()
    assert report["events"]["acknowledged"] == 8000 and report["events"]["unacknowledged"] == 0
    assert sum(last for _, _, last in each_once(database)) == 8000


@pytest.mark.once
def test_latency_counts_from_when_it_was_due(mosquitto):
    """While the broker stands still nothing can be sent; those events are late, not left out."""
    running = Background("simulate", "--bus", mosquitto.url, "--ack", "broker", "--sources", "4", "--series", "5",
                         "--interval", "20ms", "--duration", "4s")
    with_messages = Client(mosquitto, ["latido/v1/nodes/+/metrics"])
    servers.wait_until(lambda: len(with_messages.messages) > 20, SECONDS, "it runs")
    with_messages.close()
    mosquitto.pause()
    began = time.monotonic()
    while time.monotonic() - began < 1.5:
        time.sleep(0.1)
    mosquitto.resume()
    report = running.end()
    assert report["events"]["unacknowledged"] == 0
    assert report["latency_ms"]["broker"]["max"] > 1200
    assert report["latency_ms"]["broker"]["n"] == report["events"]["sent"]


@pytest.mark.once
def test_no_store_is_said(mosquitto):
    said = load("simulate", "--bus", mosquitto.url, "--sources", "2", "--interval", "100ms", "--count", "4",
                "--drain", "500ms", "--quiet", code=1)
    assert "4 events are not acknowledged" in said and "--ack broker" in said


@pytest.mark.once
def test_interrupted(mosquitto):
    running = Background("simulate", "--bus", mosquitto.url, "--ack", "broker", "--duration", "1h", "--interval", "50ms")
    reader = Client(mosquitto, ["latido/v1/nodes/+/metrics"])
    servers.wait_until(lambda: len(reader.messages) > 20, SECONDS, "it runs")
    reader.close()
    running.process.send_signal(signal.SIGINT)
    report = running.end()
    assert report["interrupted"] and report["events"]["unacknowledged"] == 0


# ---- recordings ----

FLAT = {"total_ram": 2072, "ram_libre": 1110552576, "uso_ram": 442, "porcentaje_ram": 22, "porcentaje_cpu_uso": 22,
        "porcentaje_cpu_libre": 88, "procesos_corriendo": 123, "total_procesos": 233, "procesos_durmiendo": 65,
        "procesos_zombie": 65, "procesos_parados": 65, "hora": "2025-06-17 02:21:54"}


@pytest.fixture
def endpoint():
    """An HTTP server whose documents count up; unless told otherwise every 10th question fails, every 15th gets no JSON."""
    asked = []

    class Handler(http.server.BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self):  # noqa: N802
            asked.append(self.path)
            n = len(asked)
            body = b"<html>" if n % 15 == 0 and self.server.fails else json.dumps(FLAT | {"n": n}, indent=2).encode()
            self.send_response(503 if n % 10 == 0 and self.server.fails else 200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_):
            pass

    class Server(http.server.ThreadingHTTPServer):
        request_queue_size = 512  # connections of users who come at once
        fails = True

    server = Server((servers.HOST, 0), Handler)
    server.asked = asked
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield server
    server.shutdown()
    thread.join()
    server.server_close()


def collect(*args, code=0):
    run = subprocess.run([LOAD, "collect", *args], text=True, capture_output=True, check=False, timeout=2 * SECONDS)
    assert run.returncode == code, run.stderr
    return run.stderr


@pytest.mark.threaded
def test_collect_from_http(endpoint, tmp_path):
    path = tmp_path / "recording.jsonl"
    said = collect("--url", f"http://127.0.0.1:{endpoint.server_port}/metrics?x=1", "--users", "30",
                   "--interval", "100ms..300ms", "--count", "200", "-o", str(path))
    report = json.loads(said.splitlines()[-1])
    assert report["documents"] == 200 and report["errors"] > 0
    assert "HTTP status 503" in said or "no JSON" in said
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    assert len(lines) == 200 and endpoint.asked[0] == "/metrics?x=1"
    assert len({line["from"] for line in lines}) == 30
    assert [line["at"] for line in lines] == sorted(line["at"] for line in lines)
    assert all(line["body"]["total_ram"] == 2072 for line in lines)
    assert len({line["body"]["n"] for line in lines}) == 200


@pytest.mark.once
def test_first_users_shape(endpoint, mosquitto, store, database, tmp_path):
    """300 users ask; what they got comes from 150 sources, each 1 to 4 s after its last. Nothing is said about it."""
    path = tmp_path / "recording.jsonl"
    endpoint.fails = False
    recorder = subprocess.Popen([LOAD, "collect", "--url", f"http://127.0.0.1:{endpoint.server_port}/", "-o", str(path),
                                 "--quiet"], stderr=subprocess.PIPE, text=True)
    servers.guard_process(recorder.pid)

    def lines():
        return [json.loads(line) for line in path.read_text().splitlines(True) if line.endswith("\n")]
    servers.wait_until(lambda: path.exists() and len({line["from"] for line in lines()}) == 300,
                       2 * SECONDS, "300 users")
    recorder.send_signal(signal.SIGINT)
    recorder.communicate(timeout=SECONDS)
    servers.unguard_process(recorder.pid)
    assert recorder.returncode == 0
    recorded = lines()
    assert {int(line["from"]) for line in recorded} <= set(range(301))
    report = load("replay", str(path), "--bus", mosquitto.url, "--count", "220", "--ack", "broker")
    assert report["sources"] == 150 and report["events"]["acknowledged"] == 220
    servers.wait_until(lambda: rows(database, "SELECT count(*) FROM snapshot") == [("220",)], SECONDS, "all stored")
    assert {name for name, _, _ in each_once(database)} == {f"user-{i:05}" for i in range(1, 151)}
    # From due time to due time; the clock's reading may be late by what the machine was.
    (least, most), = rows(database, """SELECT min(pause), max(pause) FROM (SELECT extract(epoch FROM time - lag(time)
        OVER (PARTITION BY source_id ORDER BY seq)) pause FROM snapshot) p""")
    assert 0.5 < float(least) < float(most)


@pytest.mark.once
def test_collect_without_a_server(tmp_path):
    said = collect("--url", f"http://127.0.0.1:{servers.free_port()}/", "--users", "3", "--interval", "100ms",
                   "--duration", "1s", "-o", str(tmp_path / "none"), code=1)
    assert "no answer; does the server run?" in said and said.count("no answer") == 1


@pytest.mark.once
def test_collect_a_topic_and_replay_it(mosquitto, store, database, tmp_path):
    path = str(tmp_path / "recording.jsonl")
    recorder = subprocess.Popen([LOAD, "collect", "--bus", mosquitto.url, "--source", "worker", "--count", "3", "-o", path],
                                stderr=subprocess.PIPE, text=True)
    servers.guard_process(recorder.pid)
    assert "connected to" in recorder.stderr.readline()
    client = Client(mosquitto)
    for seq in range(1, 4):
        client.publish(metrics_topic("other"), event("other", seq, [9.0]))
        client.publish(metrics_topic("worker"), event("worker", seq, [seq + 0.5, seq * 2]))
    client.close()
    recorder.communicate(timeout=SECONDS)
    servers.unguard_process(recorder.pid)
    assert recorder.returncode == 0
    report = load("replay", path, "--bus", mosquitto.url, "--sources", "2", "--rate", "50", "--prefix", "copy")
    assert report["events"]["acknowledged"] == 3 and report["command"] == "replay"
    assert sorted(rows(database, "SELECT value FROM sample WHERE source LIKE 'copy-%' ORDER BY 1")) == [
        ("1.5",), ("2",), ("2.5",), ("3.5",), ("4",), ("6",)]


def write_recording(path, n):
    path.write_text("".join(
        json.dumps({"at": i / 10, "from": str(i), "body": FLAT | {"total_ram": i}}) + "\n" for i in range(n)))
    return str(path)


@pytest.mark.once
def test_split_into_two_ways(mosquitto, store, database, servers_folder, write_config, run_program, tmp_path):
    """Half through MQTT, half through Kafka, into one PostgreSQL: tagged, nothing lost or doubled."""
    path = write_recording(tmp_path / "r.jsonl", 400)
    with Kafka(os.path.join(servers_folder, "k")) as kafka:
        subprocess.run([os.path.join(BIN, "latido"), "topics", "create", "--bus", kafka.url], check=True,
                       capture_output=True)
        second = run_program("latido-store", label="store-kafka", config=write_config({
            "bus": {"url": kafka.url}, "postgres": {"dsn": database, "timeout": "10s"},
            "store": {"admin": "127.0.0.1:0", "batch": {"linger": "20ms"}}}))
        second.wait_ready()
        report = load("replay", path, "--split", "50/50", "--api", "Python,Go", "--bus", mosquitto.url, "--bus",
                      kafka.url, "--sources", "40", "--interval", "100ms..400ms")
        assert report["events"]["sent"] == report["events"]["acknowledged"] == 400
        first, other = report["paths"]
        assert (first["api"], first["acknowledged_by"], first["sources"]) == ("Python", "store", 20)
        assert (other["api"], other["acknowledged_by"], other["sources"]) == ("Go", "broker", 20)
        assert first["sent"] > 100 and other["sent"] > 100
        servers.wait_until(lambda: rows(database, "SELECT count(*) FROM snapshot") == [("400",)], SECONDS, "all stored")
        second.terminate()
    assert sum(last for _, _, last in each_once(database)) == 400
    counted = dict(rows(database, "SELECT labels->>'api', count(*) FROM sample WHERE name = 'total_ram' GROUP BY 1"))
    assert counted == {"Python": str(first["sent"]), "Go": str(other["sent"])}
    # Every document was sent by one of the two, once.
    assert rows(database, "SELECT count(DISTINCT value), min(value), max(value) FROM sample WHERE name = 'total_ram'"
                ) == [("400", "0", "399")]


@pytest.mark.once
def test_flat_out_to_kafka(servers_folder, tmp_path):
    path = write_recording(tmp_path / "r.jsonl", 50)
    with Kafka(servers_folder) as kafka:
        subprocess.run([os.path.join(BIN, "latido"), "topics", "create", "--bus", kafka.url], check=True,
                       capture_output=True)
        report = load("replay", path, "--flat-out", "--bus", kafka.url, "--count", "20000", "--sources", "200",
                      "--report", str(tmp_path / "report.json"), "--quiet")
    assert report == ""
    report = json.loads((tmp_path / "report.json").read_text())
    assert report["events"]["acknowledged"] == 20000 and report["latency_ms"]["broker"]["n"] == 20000


# ---- bad input ----


@pytest.mark.once
@pytest.mark.parametrize("args, said", [
    (["simulate", "--bus", "mqtt://192.0.2.7:1883"], "'192.0.2.7' is not this machine"),
    (["simulate", "--bus", "kafka://127.0.0.1:1,192.0.2.7:9092"], "'192.0.2.7' is not this machine"),
    (["simulate", "--interval", "soon"], "--interval: expected an interval like 1s"),
    (["simulate", "--interval", "4s..1s"], "--interval: expected an interval"),
    (["simulate", "--rate", "5", "--flat-out"], "one of --interval, --rate and --flat-out"),
    (["simulate", "--sources", "0"], "--sources: expected a number from 1"),
    (["simulate", "--prefix", "a/b", "--bus", "mqtt://127.0.0.1:1"], "is no name of a source"),
    (["replay"], "which recording?"),
    (["replay", "x", "--split", "50/60"], "percentages that make 100"),
    (["replay", "x", "--split", "50/50", "--api", "a,b,c"], "--api: expected 2 names"),
    (["replay", "x", "--ack", "nobody"], "expected auto, store or broker"),
    (["collect", "-o", "x"], "either --url or --source"),
    (["collect", "--url", "http://192.0.2.7/", "-o", "/dev/null"], "--i-own-this"),
    (["collect", "--url", "ftp://127.0.0.1/", "-o", "/dev/null"], "expected http://"),
    (["dance"], "no command 'dance'"),
])
def test_wrong_usage(args, said):
    run = subprocess.run([LOAD, *args], text=True, capture_output=True, check=False, timeout=SECONDS)
    assert run.returncode not in (0, -signal.SIGABRT) and said in run.stderr, run.stderr


@pytest.mark.once
@pytest.mark.parametrize("text, said", [
    ("", "holds no document"),
    ("{}\n", ':1: no "body"'),
    ('{"body":{"a":1}}\n{"body":{"a":"x"}}\n', ":2: no numeric value in it"),
    ('{"body":{"a":1}\n', ":1: "),
    ('{"body":{"source":"z","metrics":{"a":1}}}\n', ":1: "),
])
def test_bad_recordings(tmp_path, text, said):
    path = tmp_path / "bad.jsonl"
    path.write_text(text)
    said_ = load("replay", str(path), "--bus", "mqtt://127.0.0.1:1", code=1)
    assert said in said_ and str(path) in said_
