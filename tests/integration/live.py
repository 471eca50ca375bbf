# SPDX-License-Identifier: MIT
"""Helpers of the tests of latido-live: the server with its Redis, a feeder, and clients."""

import http.client
import json
import queue
import socket
import subprocess
import threading
import time

import servers
from pipeline import COUNTER, SECONDS, event, family
from servers import wait_until

EPOCH = 1_763_700_000_000_000
USER, PASSWORD = "ana", "correct horse battery"

# A node as small as one can be and still fill every column.
NODE_SHAPE = (
    family("node_boot_time_seconds")
    + family("node_cpu_seconds_total", ["cpu", "mode"], [("0", "idle"), ("0", "user")], COUNTER)
    + family("node_disk_read_bytes_total", ["device"], [("sda",)], COUNTER)
    + family("node_disk_written_bytes_total", ["device"], [("sda",)], COUNTER)
    + family("node_filesystem_avail_bytes", ["device", "fstype", "mountpoint"], [("/dev/sda1", "ext4", "/")])
    + family("node_filesystem_size_bytes", ["device", "fstype", "mountpoint"], [("/dev/sda1", "ext4", "/")])
    + family("node_load1")
    + family("node_memory_MemAvailable_bytes") + family("node_memory_MemTotal_bytes")
    + family("node_network_receive_bytes_total", ["device"], [("eth0",)], COUNTER)
    + family("node_network_transmit_bytes_total", ["device"], [("eth0",)], COUNTER)
    + family("node_os_info", ["pretty_name"], [("Debian GNU/Linux 12 \"bookworm\"",)])
    + family("node_uname_info", ["machine", "release"], [("x86_64", "6.1.0")])
)


def node_values(n, load=0.5):
    """Values of NODE_SHAPE after n seconds: 25 % CPU, 75 % memory, 60 % disk, 1000 and 2000 B/s, 300 B/s of disk."""
    return [1.7e9, 0.75 * n, 0.25 * n, 100 * n, 200 * n, 40e9, 100e9, load, 2e9, 8e9, 1000 * n, 2000 * n, 1, 1]


class Feeder:
    """Writes into Redis what latido-hot would (schemas/redis/README.md), with inline shapes."""

    def __init__(self, redis):
        self.redis, self.seqs = redis, {}
        self.connection = None

    def call(self, *args):
        if self.connection is None:
            self.connection = servers.RedisConnection(self.redis)
        try:
            return self.connection.call(*args)
        except (OSError, EOFError):
            self.connection = None
            raise

    def send(self, source, values, shape=None, time_ms=None, seq=None, epoch=EPOCH, stream="", interval_ms=1000,
             window=True, publish=True, seen=True, shape_hash=0):
        """One event; its seq. `shape_hash`: stands for the shape, as in what latido-hot writes."""
        if seq is None:
            seq = self.seqs.get(source, 0) + 1
        self.seqs[source] = seq
        time_ms = int(time.time() * 1000) if time_ms is None else time_ms
        packed = event(source, seq, values, epoch, b"" if shape_hash else shape, time_ms * 1_000_000, shape_hash,
                       stream=stream, interval_ms=interval_ms)
        # At once: nobody sees a source without its event.
        self.call("MULTI")
        if window:
            self.call("XADD", f"latido:window:{source}", "MAXLEN", "~", 900, f"{epoch if seq else 0}-{seq or '*'}",
                      "e", packed)
        if seen:
            self.call("ZADD", "latido:seen", "GT", time_ms, source)
        if publish:
            self.call("PUBLISH", f"latido:live:{source}", packed)
        self.call("EXEC")
        return seq

    def node(self, source, n, load=0.5, **more):
        return self.send(source, node_values(n, load), NODE_SHAPE, **more)

    def alert(self, fingerprint, **fields):
        if fields:
            body = {"fingerprint": fingerprint, "labels": {"alertname": "Load"}, "annotations": {}, **fields}
            self.call("HSET", "latido:alerts", fingerprint, json.dumps(body))
        else:
            self.call("HDEL", "latido:alerts", fingerprint)


class Gate:
    """Redis behind a door: connections are cut, and the reading of windows is held where one wants to look.

    After hold() the next question for windows waits twice: before Redis gets it ("question"), and before its answer
    arrives ("answer"). reached() waits for either, let_pass() goes on.
    """

    def __init__(self, redis):
        self.redis, self.password = redis, redis.password
        self.listener = socket.create_server((servers.HOST, 0))
        self.port = self.listener.getsockname()[1]
        self.url = f"redis://{servers.HOST}:{self.port}/0"
        self.lock, self.sockets, self.held = threading.Lock(), [], None
        self.places, self.passes = queue.Queue(), threading.Semaphore(0)
        threading.Thread(target=self.accept, daemon=True).start()

    def running(self):
        return self.redis.running()

    def accept(self):
        while True:
            try:
                near, _ = self.listener.accept()
            except OSError:
                return
            far = socket.create_connection((servers.HOST, self.redis.port))
            with self.lock:
                self.sockets += [near, far]
            for source, sink, place in ((near, far, "question"), (far, near, "answer")):
                threading.Thread(target=self.pump, args=(source, sink, place, (near, far)), daemon=True).start()

    def stop_here(self, place, pair, data):
        with self.lock:
            if self.held == "hold" and place == "question" and (b"XRANGE" in data or b"XREVRANGE" in data):
                self.held = pair
            elif self.held == pair and place == "answer":
                self.held = None
            else:
                return
        self.places.put(place)
        self.passes.acquire()

    def pump(self, source, sink, place, pair):
        try:
            while data := source.recv(65536):
                self.stop_here(place, pair, data)
                sink.sendall(data)
        except OSError:
            pass
        for s in pair:
            try:
                s.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass

    def hold(self):
        with self.lock:
            self.held = "hold"

    def reached(self, place):
        assert self.places.get(timeout=SECONDS) == place

    def let_pass(self):
        self.passes.release()

    def cut(self):
        with self.lock:
            sockets, self.sockets = self.sockets, []
        for s in sockets:
            try:
                s.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass

    def close(self):
        self.listener.shutdown(socket.SHUT_RDWR)
        self.listener.close()
        self.cut()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()


class Answer:
    def __init__(self, response):
        self.status, self.headers = response.status, response.headers
        self.body = response.read()

    @property
    def json(self):
        return json.loads(self.body)


class Live:
    """A running latido-live."""

    def __init__(self, run_program, write_config, bin_folder, folder, redis, dsn=None, auth="none", live=None,
                 sections=None):
        self.redis, self.auth, self.bin_folder = redis, auth, bin_folder
        self.users = f"{folder}/users"
        section = {"admin": "127.0.0.1:0", "listen": "127.0.0.1:0", "auth": auth, "users_file": self.users,
                   "flush": "20ms", **(live or {})}
        sections = sections or {}
        config = {"redis": {"url": redis.url, "timeout": "5s"}, "live": section,
                  "postgres": {"dsn": dsn or "host=127.0.0.1 port=1 dbname=none", "timeout": "5s"}}
        for name, more in sections.items():
            config[name] = {**config.get(name, {}), **more}
        self.config = write_config(config)
        if auth == "password":
            self.command("--add-user", USER, stdin=PASSWORD + "\n")
        self.program = run_program("latido-live", config=self.config)
        self.tls = "tls" in section
        self.wait_listening()
        if redis.running():
            self.wait_following()

    def wait_listening(self):
        self.port = int(self.program.wait_log("listening")["port"])
        return self

    def wait_following(self):
        """It has read what is in Redis and has subscribed: nothing that is published is lost on it."""
        self.program.wait(lambda: self.program.value("latido_live_following") == 1, SECONDS, "it follows Redis")

    def restart(self, kill=False):
        """Stop and start again; the port is another one unless it was configured."""
        if kill:
            self.program.kill()
        else:
            self.program.terminate()
        self.program.start()
        self.wait_listening()
        self.wait_following()
        return self

    def command(self, *args, stdin=""):
        """latido-live with these options: (code, stdout, stderr)."""
        run = subprocess.run([f"{self.bin_folder}/latido-live", "--config", self.config, *args], input=stdin,
                             capture_output=True, text=True, timeout=SECONDS, check=False)
        assert run.returncode == 0, run.stderr
        return run.stdout

    def connect(self):
        return socket.create_connection((servers.HOST, self.port), SECONDS)

    def request(self, method, path, body=None, headers=None):
        connection = http.client.HTTPConnection(servers.HOST, self.port, timeout=SECONDS)
        try:
            connection.request(method, path, body, headers or {})
            return Answer(connection.getresponse())
        finally:
            connection.close()

    def get(self, path, **headers):
        return self.request("GET", path, headers=headers)

    def json(self, path, **headers):
        answer = self.get(path, **headers)
        assert answer.status == 200, (path, answer.status, answer.body)
        return answer.json

    def login(self, user=USER, password=PASSWORD, **headers):
        return self.request("POST", "/api/v1/login", json.dumps({"user": user, "password": password}),
                            {"Content-Type": "application/json", **headers})

    def cookie(self):
        answer = self.login()
        assert answer.status == 200, answer.body
        return answer.headers["Set-Cookie"].split(";")[0]

    def raw(self, data, half_close=False):
        """All that comes back for these bytes until the server closes."""
        with self.connect() as s:
            s.sendall(data)
            if half_close:
                s.shutdown(socket.SHUT_WR)
            out = b""
            while part := s.recv(65536):
                out += part
            return out

    def wait_node(self, source, condition=lambda node: True):
        """The node's entry of /api/v1/nodes once it is as wanted."""
        def look():
            nodes = [n for n in self.json("/api/v1/nodes")["nodes"] if n["source"] == source and condition(n)]
            return nodes[0] if nodes else None
        return self.program.wait(look, SECONDS, f"{source} is in the fleet as wanted")

    def stream(self, path="", **headers):
        return Stream(self, path, headers)


class Stream:
    """One client of /api/v1/stream on a thread of its own."""

    def __init__(self, live, query="", headers=None):
        self.events = []  # (event, id, data)
        self.ended = threading.Event()
        self.socket = live.connect()
        lines = "".join(f"{name.replace('_', '-')}: {value}\r\n" for name, value in (headers or {}).items())
        self.socket.sendall(f"GET /api/v1/stream{query} HTTP/1.1\r\nHost: 127.0.0.1:{live.port}\r\n{lines}\r\n".encode())
        self.file = self.socket.makefile("rb")
        self.status = int(self.file.readline().split()[1])
        while self.file.readline().strip():
            pass
        self.paused = threading.Lock()
        self.thread = threading.Thread(target=self.read, daemon=True)
        self.thread.start()

    def read(self):
        event, ident, data = None, None, None
        try:
            for line in self.file:
                text = line.rstrip(b"\n").decode()
                if not text:
                    if event:
                        self.events.append((event, ident, json.loads(data)))
                    event, ident, data = None, None, None
                elif text.startswith("event: "):
                    event = text[7:]
                elif text.startswith("id: "):
                    ident = text[4:]
                elif text.startswith("data: "):
                    assert data is None, "one line of data"
                    data = text[6:]
        except (OSError, ValueError):
            pass
        self.ended.set()

    def of(self, *kinds):
        return [data for event, _, data in list(self.events) if event in kinds]

    def rows(self, source):
        """(seq, row) of the fleet events of one source, in order."""
        return [(row[1], row) for fleet in self.of("fleet") for row in fleet["rows"] if row[0] == source]

    def wait(self, condition, what):
        return wait_until(condition, SECONDS, what)

    def wait_event(self, kind, condition=lambda data: True):
        return self.wait(lambda: next((d for d in self.of(kind) if condition(d)), None), f"event {kind}")

    def last_id(self):
        return [ident for _, ident, _ in self.events if ident][-1]

    def close(self):
        try:
            self.socket.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass
        self.thread.join(SECONDS)
        self.file.close()
        self.socket.close()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()
