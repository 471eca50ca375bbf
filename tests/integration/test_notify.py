# SPDX-License-Identifier: MIT
"""Notifiers (lib/notify) against receivers that fail in every way, and against Alertmanager."""

import hashlib
import hmac
import http.server
import json
import os
import subprocess
import threading
import time

import pytest

import servers
from conftest import BIN
from servers import wait_until

TOOLS = os.path.join(os.path.dirname(BIN), "tools")
SECONDS = 60


class Receiver:
    """An HTTP server that keeps what it gets; answer(request) says what it answers."""

    def __init__(self, port=0):
        self.requests = []
        self.lock = threading.Lock()
        self.answer = lambda request: 200
        self.headers = {}
        self.hold = threading.Event()
        self.hold.set()
        outer = self

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self):
                body = self.rfile.read(int(self.headers["Content-Length"]))
                request = {"path": self.path, "headers": dict(self.headers), "body": body}
                with outer.lock:
                    outer.requests.append(request)
                    code = outer.answer(request)
                outer.hold.wait(SECONDS)
                try:
                    self.send_response(code)
                    for name, value in outer.headers.items():
                        self.send_header(name, value)
                    if code != 204:
                        self.send_header("Content-Length", "2")
                    self.end_headers()
                    if code != 204:
                        self.wfile.write(b"no" if code >= 300 else b"ok")
                except OSError:
                    self.close_connection = True  # the sender gave up

            def log_message(self, *_):
                pass

        class QuietServer(http.server.ThreadingHTTPServer):
            def handle_error(self, *_):
                pass  # a sender that was stopped

        self.server = QuietServer((servers.HOST, port), Handler)
        self.server.daemon_threads = True
        self.url = f"http://{servers.HOST}:{self.server.server_address[1]}"
        self.thread = threading.Thread(target=self.server.serve_forever, kwargs={"poll_interval": 0.05})
        self.thread.start()

    def close(self):
        self.hold.set()
        self.server.shutdown()
        self.server.server_close()
        self.thread.join()

    def ids(self):
        with self.lock:
            return [r["headers"].get("Idempotency-Key") for r in self.requests]

    def alerts(self):
        """Of all requests, in their order."""
        with self.lock:
            return [a for r in self.requests for a in json.loads(r["body"])]


@pytest.fixture
def receiver():
    r = Receiver()
    yield r
    r.close()


class Tool:
    """tests/tools/notify_tool.c: one notifier."""

    def __init__(self, kind, url, *options):
        self.lines = []
        self.process = subprocess.Popen([os.path.join(TOOLS, "notify_tool"), kind, url, *options], text=True,
                                        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        servers.guard_process(self.process.pid)
        self.thread = threading.Thread(target=self.read)
        self.thread.start()
        self.errors = ""
        self.error_thread = threading.Thread(target=self.read_errors)
        self.error_thread.start()

    def read(self):
        for line in self.process.stdout:
            self.lines.append(line.rstrip("\n"))

    def read_errors(self):
        for line in self.process.stderr:
            self.errors += line

    def say(self, text):
        self.process.stdin.write(text + "\n")
        self.process.stdin.flush()

    def done(self):
        return [tuple(line.split()[1:]) for line in list(self.lines) if line.startswith("done ")]

    def ask(self, word, end):
        """The lines of the answer up to the one that begins with end."""
        start = len(self.lines)
        self.say(word)
        wait_until(lambda: any(line.startswith(end) for line in self.lines[start:]), SECONDS, word)
        return self.lines[start:]

    def metric(self, name):
        lines = self.ask("metrics", "# EOF")
        return next(float(line.split()[-1]) for line in lines if line.startswith(name + "{"))

    def info(self):
        return next(line for line in self.ask("info", "info ") if line.startswith("info ")).split()[1:]

    def stop(self, ms=10000):
        if self.process.poll() is None:
            self.say(f"stop {ms}")
            self.process.stdin.close()
        code = self.process.wait(SECONDS)
        self.thread.join()
        self.error_thread.join()
        self.process.stdout.close()
        self.process.stderr.close()
        servers.unguard_process(self.process.pid)
        return code


@pytest.fixture
def tool():
    started = []

    def start(*args):
        started.append(Tool(*args))
        return started[-1]

    yield start
    for t in started:
        assert t.stop(0) == 0, t.errors


def test_webhook_signed(receiver, tool):
    t = tool("webhook", receiver.url + "/hook?a=1", "secret=s3cret", "token=abc")
    before = int(time.time())
    t.say('post f.1.firing {"state":"firing"}')
    wait_until(lambda: t.done() == [("f.1.firing", "sent")], SECONDS, "delivered")
    (request,) = receiver.requests
    assert request["path"] == "/hook?a=1"
    assert request["body"] == b'{"state":"firing"}'
    headers = request["headers"]
    assert headers["Idempotency-Key"] == "f.1.firing"
    assert headers["Authorization"] == "Bearer abc"
    assert headers["Content-Type"] == "application/json"
    assert headers["User-Agent"].startswith("latido-alert/")
    stamp, signature = (part.split("=", 1)[1] for part in headers["Latido-Signature"].split(","))
    assert before <= int(stamp) <= time.time()
    expected = hmac.new(b"s3cret", stamp.encode() + b"." + request["body"], hashlib.sha256).hexdigest()
    assert hmac.compare_digest(signature, expected)


def test_webhook_order_and_repeats(receiver, tool):
    """What fails is tried again, in order; what is queued already is not queued twice."""
    failures = [500, 503, 429, 408]
    receiver.answer = lambda request: failures.pop() if failures else 204
    t = tool("webhook", receiver.url)
    receiver.hold.clear()
    for i in range(20):
        t.say(f"post id{i} {{}}")
        t.say(f"post id{i} {{}}")
    wait_until(lambda: t.info()[0] == "20", SECONDS, "all there, each once")
    receiver.hold.set()
    wait_until(lambda: len(t.done()) >= 20, SECONDS, "delivered")
    assert t.done() == [(f"id{i}", "sent") for i in range(20)]
    assert receiver.ids() == ["id0"] * 4 + [f"id{i}" for i in range(20)]
    assert t.metric("latido_notify_failed_total") == 4
    assert t.metric("latido_notify_sent_total") == 20
    assert t.metric("latido_notify_request_seconds_count") == 24
    assert t.metric("latido_notify_queue_messages") == 0


def test_webhook_refused_expired_dropped(receiver, tool):
    receiver.answer = lambda request: 404 if request["headers"]["Idempotency-Key"] == "bad" else 200
    t = tool("webhook", receiver.url, "queue_max=3")
    t.say("post bad {}")
    wait_until(lambda: t.done() == [("bad", "refused")], SECONDS, "refused")
    t.say(f"old ancient {25 * 3600 * 1000} {{}}")
    wait_until(lambda: t.done()[1:] == [("ancient", "expired")], SECONDS, "expired")
    assert receiver.ids() == ["bad"]
    receiver.hold.clear()
    t.say("post first {}")
    wait_until(lambda: len(receiver.ids()) == 2, SECONDS, "one under way")
    for i in range(5):
        t.say(f"post q{i} {{}}")
    wait_until(lambda: len(t.done()) == 5, SECONDS, "the oldest are dropped")
    assert t.done()[2:] == [("q0", "dropped"), ("q1", "dropped"), ("q2", "dropped")]
    assert t.metric("latido_notify_queue_messages") == 3
    assert t.metric("latido_notify_queue_capacity") == 3
    receiver.hold.set()
    wait_until(lambda: len(t.done()) == 8, SECONDS, "the rest arrives")
    assert t.done()[5:] == [("first", "sent"), ("q3", "sent"), ("q4", "sent")]
    assert t.metric("latido_notify_dropped_total") == 3
    assert t.metric("latido_notify_refused_total") == 1
    assert t.metric("latido_notify_expired_total") == 1


def test_retry_after(receiver, tool):
    receiver.headers = {"Retry-After": "1"}
    times = []

    def answer(_):
        times.append(time.monotonic())
        return 503 if len(times) == 1 else 200
    receiver.answer = answer
    t = tool("webhook", receiver.url)
    t.say("post a {}")
    wait_until(lambda: t.done(), SECONDS, "delivered")
    # as long as the cap of this notifier lets it wait, which is longer than its first delay
    assert times[1] - times[0] >= 0.15


def test_down_at_start_and_logged_once(tool):
    port = servers.free_port()
    t = tool("webhook", f"http://{servers.HOST}:{port}/")
    t.say("post a {}")
    wait_until(lambda: t.metric("latido_notify_failed_total") >= 3, SECONDS, "failing")
    assert t.info() == ["1", "failing"]
    late = Receiver(port)
    try:
        wait_until(lambda: t.done() == [("a", "sent")], SECONDS, "delivered")
        assert t.info() == ["0", "fine"]
        wait_until(lambda: "id=notify_works" in t.errors, SECONDS, "logged")
        assert t.errors.count("id=notify_failed") == 1
    finally:
        late.close()


def test_stop(receiver, tool):
    """Stopping delivers what is queued; a receiver that does not answer does not hold it up."""
    t = tool("webhook", receiver.url)
    for i in range(50):
        t.say(f"post id{i} {{}}")
    assert t.stop(30000) == 0
    assert receiver.ids() == [f"id{i}" for i in range(50)]
    receiver.hold.clear()
    t = tool("webhook", receiver.url)
    t.say("post slow {}")
    wait_until(lambda: receiver.ids()[-1] == "slow", SECONDS, "under way")
    assert t.stop(100) == 0
    assert t.done() == []


def test_clear(receiver, tool):
    receiver.hold.clear()
    t = tool("webhook", receiver.url)
    t.say("post first {}")
    wait_until(lambda: receiver.ids() == ["first"], SECONDS, "under way")
    t.say("post second {}")
    t.ask("clear", "cleared")
    receiver.hold.set()
    t.say("post third {}")
    wait_until(lambda: ("third", "sent") in t.done(), SECONDS, "delivered")
    assert receiver.ids() == ["first", "third"]


def alert(n, text="", ends=None):
    return json.dumps({"labels": {"alertname": f"A{n}"}, "annotations": {"t": text}, **({"endsAt": ends} if ends else {})})


def test_alertmanager_newest_state(receiver, tool):
    """While a server is down only the newest state of each alert is kept; 64 go in a request."""
    receiver.answer = lambda request: 500
    t = tool("alertmanager", receiver.url + "/am/")
    t.say("alert 1 " + alert(1, "old"))
    wait_until(lambda: receiver.requests, SECONDS, "tried")
    for i in range(200):
        t.say(f"alert {i:x} " + alert(i, "middle"))
    for i in range(200):
        t.say(f"alert {i:x} " + alert(i, "new"))
    wait_until(lambda: t.info()[0] == "200", SECONDS, "all there")
    with receiver.lock:
        receiver.requests.clear()
        receiver.answer = lambda request: 200
    wait_until(lambda: t.info()[0] == "0", SECONDS, "delivered")
    assert {r["path"] for r in receiver.requests} == {"/am/api/v2/alerts"}
    assert max(len(json.loads(r["body"])) for r in receiver.requests) == 64
    got = receiver.alerts()
    assert sorted(a["labels"]["alertname"] for a in got) == sorted(f"A{i}" for i in range(200))
    assert {a["annotations"]["t"] for a in got} == {"new"}


@pytest.mark.parametrize("url", ["ftp://host/", "nothing", "http://", "https://ho st/"])
def test_bad_url(tool, url):
    t = Tool("webhook", url)
    assert t.stop() == 1
    assert t.lines[0].startswith("error notifier tool: not a URL")


def test_real_alertmanager(servers_folder, tool):
    """Debian's Alertmanager takes what we send, merges by labels, and sees the end."""
    alertmanager = pytest.importorskip("server_alertmanager").Alertmanager
    with alertmanager(servers_folder) as server:
        t = tool("alertmanager", server.url)
        now = time.time()

        def stamp(at):
            return time.strftime("%Y-%m-%dT%H:%M:%S.000Z", time.gmtime(at))
        firing = {"labels": {"alertname": "Real", "instance": "n1"}, "annotations": {"summary": "ü \"x\""},
                  "startsAt": stamp(now - 5), "endsAt": stamp(now + 240), "generatorURL": "http://latido/#alert=1"}
        t.say("alert 1 " + json.dumps(firing))
        t.say("alert 2 " + json.dumps({**firing, "labels": {"alertname": "Other"}}))
        got = wait_until(lambda: server.alerts().get("Real"), SECONDS, "firing")
        assert got["labels"] == firing["labels"] and got["annotations"] == firing["annotations"]
        assert got["startsAt"] == firing["startsAt"] and got["endsAt"] == firing["endsAt"]
        t.say("alert 1 " + json.dumps({**firing, "endsAt": stamp(now - 1)}))
        wait_until(lambda: "Real" not in server.alerts(), SECONDS, "resolved")
        assert "Other" in server.alerts()
        assert t.metric("latido_notify_refused_total") == 0
