# SPDX-License-Identifier: MIT
"""Helpers of the tests of latido-alert: a webhook receiver, a site with the servers that it needs."""

import http.server
import json
import threading
import time

import pipeline
import servers
from servers import wait_until

SECONDS = pipeline.SECONDS


class Webhook:
    """An HTTP server that keeps what is posted to it: (id, state, body, headers), in order.

    answer: the status of the next answers; a callable is asked with the parsed body. It does as the
    man page tells receivers: a message whose Idempotency-Key it has taken is answered and not taken
    again (repeated: those of a sender that was killed between our answer and its note of it).
    """

    def __init__(self):
        self.calls, self.refused, self.repeated = [], [], []
        self.answer = 200
        self.lock = threading.Lock()
        receiver = self

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self):
                raw = self.rfile.read(int(self.headers["Content-Length"]))
                body = json.loads(raw)
                with receiver.lock:
                    answer = receiver.answer(body) if callable(receiver.answer) else receiver.answer
                    kept = receiver.calls if answer < 300 else receiver.refused
                    if answer < 300 and self.headers["Idempotency-Key"] in [c[0] for c in receiver.calls]:
                        kept = receiver.repeated
                    kept.append((body["id"], body["data"]["state"], body, dict(self.headers), raw))
                self.send_response(answer)
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, *_):
                pass

        class Server(http.server.ThreadingHTTPServer):
            daemon_threads = True

            def handle_error(self, *_):
                pass  # a sender that was killed

        self.server = Server((servers.HOST, 0), Handler)
        self.thread = threading.Thread(target=self.server.serve_forever, daemon=True)
        self.thread.start()

    @property
    def url(self):
        return f"http://{servers.HOST}:{self.server.server_port}/hook"

    def states(self, name=None):
        """(alertname, instance, state) of every message taken."""
        with self.lock:
            return [(b["data"]["labels"]["alertname"], b["data"]["labels"].get("instance"), state)
                    for _, state, b, _, _ in self.calls if name in (None, b["data"]["labels"]["alertname"])]

    def ids(self):
        with self.lock:
            return [call[0] for call in self.calls]

    def close(self):
        self.server.shutdown()
        self.server.server_close()


class Site:
    """Servers and programs of one test, all latido-alerts with one rule file."""

    def __init__(self, broker, redis, dsn, write_config, run_program, tmp_path, rules, **alert):
        self.broker, self.redis = broker, redis
        self.write_config, self.run_program = write_config, run_program
        self.rules = tmp_path / "rules.yaml"
        self.rules.write_text(rules, encoding="utf-8")
        self.sections = {
            "log": {"level": "debug"},
            "bus": {"url": broker.url, "backoff_base": "50ms", "backoff_cap": "500ms"},
            "redis": {"url": redis.url if redis else "redis://127.0.0.1:1/0", "timeout": "5s"},
            "postgres": {"dsn": dsn or "host=/nonexistent", "timeout": "10s"},
            "hot": {"admin": "127.0.0.1:0", "max_rate_hz": 50},
            "store": {"admin": "127.0.0.1:0"},
            "alert": {"admin": "127.0.0.1:0", "rules": [str(self.rules)], "history": bool(dsn), "lease": "1s",
                      "grace": "3s", "interval": "250ms", **alert},
            "agent": {"source": "node1", "interval": "250ms", "admin": "127.0.0.1:0",
                      "collectors": ["time", "cpu", "stat", "loadavg", "meminfo"]},
        }
        self.client = pipeline.Client(broker)
        self.seq = {}

    def config(self, **alert):
        sections = dict(self.sections)
        sections["alert"] = {**sections["alert"], **alert}
        return self.write_config(sections)

    def start(self, name="latido-alert", label=None, ready=True, **alert):
        program = self.run_program(name, config=self.config(**alert), label=label)
        return program.wait_ready() if ready else program

    def send(self, source, interval_ms=60_000, time_ns=None, device=False, topic="metrics", **values):
        """One event of these gauges, now."""
        seq = self.seq[source] = self.seq.get(source, 0) + 1
        shape = b"".join(pipeline.family(name) for name in values)
        kind = "devices" if device else "nodes"
        self.client.publish(f"latido/v1/{kind}/{source}/{topic}",
                            pipeline.event(source, seq, list(values.values()), epoch=EPOCH, shape=shape,
                                           time_ns=time_ns or time.time_ns(), interval_ms=interval_ms))

    def active(self):
        """{alertname/instance: AlertEvent} as Redis has them."""
        try:
            flat = self.redis.call("HGETALL", "latido:alerts")
        except (OSError, EOFError, servers.ServerError):
            return {}
        found = map(json.loads, flat[1::2])
        return {f"{a['labels']['alertname']}/{a['labels'].get('instance', '')}": a for a in found}

    def state(self, alert):
        return self.active().get(alert, {}).get("state")

    def wait_state(self, alert, state):
        def look():
            found = self.active().get(alert, {})
            return found if found.get("state") == state else None
        return wait_until(look, SECONDS, f"{alert} is {state}")

    def wait_hot(self, source):
        """latido-hot has what was sent: who was not there to hear it finds it in Redis."""
        wait_until(lambda: pipeline.hash_seq(self.redis, source) >= self.seq[source], SECONDS, f"{source} is in Redis")

    def close(self):
        self.client.close()


EPOCH = int(time.time() * 1e6)
