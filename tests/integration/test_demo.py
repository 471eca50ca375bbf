# SPDX-License-Identifier: MIT
"""`make demo`: what it says, that it tells a wrong result, and that it leaves nothing behind."""

import json
import os
import pty
import re
import select
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
import uuid

import pytest

import servers
from conftest import BIN, ROOT
from servers import wait_until

sys.path.insert(0, os.path.join(ROOT, "infra", "demo"))
import demo  # noqa: E402

pytestmark = pytest.mark.once

DEMO = os.path.join(ROOT, "infra", "demo", "demo.py")
SECONDS = 90


class Run:
    """One run of the demo with a mark in its environment, by which all its processes are found."""

    def __init__(self, terminal=False, **env):
        self.mark = uuid.uuid4().hex
        # Short, and open to the user that PostgreSQL runs as.
        self.tmp = tempfile.mkdtemp(prefix="ltd-", dir="/tmp")
        os.chmod(self.tmp, 0o755)
        env = {**os.environ, "LATIDO_TEST_MARK": self.mark, "TMPDIR": self.tmp, "LATIDO_BIN": BIN,
               "TERM": "xterm", "PYTHONDONTWRITEBYTECODE": "1", **env}
        env.pop("DEMO_SECONDS", None) if terminal else None
        self.output = ""
        if terminal:
            pid, self.fd = pty.fork()
            if pid == 0:
                os.execvpe(DEMO, [DEMO], env)
            self.pid, self.process = pid, None
        else:
            self.process = subprocess.Popen([DEMO], env=env, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                                            stderr=subprocess.STDOUT)
            self.pid, self.fd = self.process.pid, self.process.stdout.fileno()

    def read(self):
        """Add what there is to the output; False at its end."""
        if not select.select([self.fd], [], [], 0.2)[0]:
            return True
        try:
            data = os.read(self.fd, 65536)
        except OSError:  # a terminal whose other side is closed
            return False
        self.output += data.decode(errors="replace")
        return bool(data)

    def wait_output(self, text):
        deadline = time.monotonic() + SECONDS
        while text not in self.output:
            assert time.monotonic() < deadline, f"no {text!r} in:\n{self.output}"
            assert self.read() or text in self.output, f"ended without {text!r}:\n{self.output}"

    def wait(self):
        """Exit code, when the output has ended."""
        deadline = time.monotonic() + SECONDS
        while self.read():
            assert time.monotonic() < deadline, f"does not end:\n{self.output}"
        if self.process:
            return self.process.wait(SECONDS)
        return os.waitstatus_to_exitcode(os.waitpid(self.pid, 0)[1])

    def processes(self):
        """{pid: name} of all living processes of this run."""
        found = {}
        for pid in filter(str.isdigit, os.listdir("/proc")):
            try:
                with open(f"/proc/{pid}/environ", "rb") as f:
                    marked = self.mark.encode() in f.read()
                # Redis overwrites its environment; servers are in their folders.
                if not marked and not os.readlink(f"/proc/{pid}/cwd").startswith(self.tmp):
                    continue
                with open(f"/proc/{pid}/comm", encoding="ascii", errors="replace") as f:
                    found[int(pid)] = f.read().strip()
            except OSError:
                continue
        return found

    def pid_of(self, name):
        return next(pid for pid, comm in self.processes().items() if comm == name[:15])

    def check_nothing_left(self):
        wait_until(lambda: not self.processes(), SECONDS, "no process is left")
        wait_until(lambda: not os.listdir(self.tmp), SECONDS, "no file is left")

    def close(self):
        for pid in self.processes():
            os.kill(pid, signal.SIGKILL)
        if self.process:
            self.process.wait()
            self.process.stdout.close()
        else:
            os.close(self.fd)
        shutil.rmtree(self.tmp, ignore_errors=True)


@pytest.fixture
def start():
    runs = []

    def run(**options):
        runs.append(Run(**options))
        return runs[-1]

    yield run
    for r in runs:
        r.close()


def check_summary(output):
    published = int(re.search(r"^Events published by the agent +(\d+) ", output, re.M)[1])
    assert published > 0
    assert int(re.search(r"^Events in PostgreSQL +(\d+)\s*$", output, re.M)[1]) == published
    assert int(re.search(r"^Values in PostgreSQL +(\d+)\s*$", output, re.M)[1]) > 50 * published
    for what in ("commit", "Redis"):
        p50, p99 = re.search(rf"^Event to {what}, p50 · p99 +([\d.e+]+) ms · ([\d.e+]+) ms", output, re.M).groups()
        assert 0 < float(p50) <= float(p99)
    for what in ("CPU busy", "memory available", "disk available", "load, 1 minute", "event number"):
        columns = re.split(r"\s{2,}", re.search(rf"^  {what}.*$", output, re.M)[0].strip())
        assert len(columns) == 3 and columns[1] == columns[2], columns
    assert f"PostgreSQL holds exactly the agent's events 1 to {published}: no hole, no duplicate." in output
    return published


def get(url):
    with urllib.request.urlopen(url, timeout=SECONDS) as answer:
        return answer.headers.get_content_type(), answer.read().decode()


def check_page(run):
    """The address that is printed for a browser has the page, what it needs, and this machine on it."""
    url = re.search(r"^  latido-live +(http://\S+/) +<- open this in a browser", run.output, re.M)[1]
    kind, page = get(url)
    assert kind == "text/html" and "<title>Latido</title>" in page
    script, style = re.search(r'<script[^>]* src="/([^"]+)"', page)[1], re.search(r'rel="stylesheet" href="/([^"]+)"', page)[1]
    assert get(url + script)[0] == "text/javascript" and get(url + style)[0] == "text/css"
    source = demo.Demo.source_name()
    assert json.loads(get(url + "api/v1/session")[1])["title"] == f"Latido demo on {source}"
    wait_until(lambda: source in [node["source"] for node in json.loads(get(url + "api/v1/nodes")[1])["nodes"]],
               SECONDS, "the page's list of nodes has this machine")


def test_for_some_seconds(start):
    run = start(DEMO_SECONDS="5")
    assert run.wait() == 0, run.output
    assert check_summary(run.output) >= 2
    run.check_nothing_left()


@pytest.mark.parametrize("key", ["\x03", "q"], ids=["ctrl-c", "q"])
def test_on_a_terminal(start, key):
    run = start(terminal=True)
    run.wait_output("latido-agent")
    run.output = ""
    run.wait_output(demo.Demo.source_name())  # in the table of latido top
    top = run.pid_of("latido")
    os.write(run.fd, key.encode())
    assert run.wait() == 0, run.output
    check_summary(run.output.replace("\r\n", "\n"))
    assert "Nothing is left running." in run.output
    assert top not in run.processes()
    run.check_nothing_left()


@pytest.mark.parametrize("signum", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_stopped_by_a_signal(start, signum):
    run = start(DEMO_SECONDS="1000")
    run.wait_output("running for 1000 s")
    check_page(run)
    os.kill(run.pid, signum)
    assert run.wait() == 0, run.output
    check_summary(run.output)
    run.check_nothing_left()


def test_stopped_while_starting(start):
    run = start(DEMO_SECONDS="1000")
    run.wait_output("mosquitto ")
    os.kill(run.pid, signal.SIGTERM)
    assert run.wait() == 1
    assert "stopped before everything was ready" in run.output
    run.check_nothing_left()


@pytest.mark.parametrize("part", ["latido-agent", "latido-hot", "latido-store", "latido-alert", "latido-live",
                                  "mosquitto", "redis-server"])
def test_crash_of_a_part_is_said(start, part):
    run = start(DEMO_SECONDS="1000")
    run.wait_output("running for 1000 s")
    os.kill(run.pid_of(part), signal.SIGKILL)
    assert run.wait() == 1
    assert f"demo: {part.removesuffix('-server')} ended unexpectedly" in run.output
    run.check_nothing_left()


def test_port_clash_is_said(start):
    with socket.socket() as taken:
        taken.bind((servers.HOST, 0))
        taken.listen()
        port = taken.getsockname()[1]
        run = start(DEMO_SECONDS="5", DEMO_REDIS_PORT=str(port))
        assert run.wait() == 1
    assert f"demo: redis: port {port} on 127.0.0.1 is in use by another program" in run.output
    run.check_nothing_left()


def test_killed(start):
    run = start(DEMO_SECONDS="1000")
    run.wait_output("running for 1000 s")
    os.kill(run.pid, signal.SIGKILL)
    run.wait()
    run.check_nothing_left()


@pytest.mark.parametrize("env", [{"DEMO_SECONDS": "soon"}, {"DEMO_SECONDS": "5", "DEMO_MQTT_PORT": "http"}])
def test_bad_settings_are_said(start, env):
    run = start(**env)
    assert run.wait() == 2
    assert list(env)[-1] in run.output
    run.check_nothing_left()


# ---- the verdict ----


def row(source="me", epoch=7, rows=10, distinct=10, first=1, last=10):
    return (source, epoch, rows, distinct, first, last, 100)


def test_verdict_right():
    demo.check_stored([row()], "me", 7, 10)


@pytest.mark.parametrize("stored, words", [
    ([], "no event of me"),
    ([row(rows=11)], "1 duplicates"),
    ([row(rows=9, distinct=9)], "1 holes"),
    ([row(rows=9, distinct=9, last=9)], "1 to 9 instead of 1 to 10"),
    ([row(rows=9, distinct=9, first=2)], "2 to 10 instead of 1 to 10"),
    ([row(rows=11, distinct=11, last=11)], "1 to 11 instead of 1 to 10"),
    ([row(epoch=6)], "unexpected source me, epoch 6"),
    ([row(), row(source="else")], "unexpected source else"),
])
def test_verdict_wrong(stored, words):
    with pytest.raises(demo.Failed, match=words):
        demo.check_stored(stored, "me", 7, 10)


def test_verdict_nothing_published():
    with pytest.raises(demo.Failed, match="published nothing"):
        demo.check_stored([], "me", 7, 0)
