#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""The whole pipeline for the browser tests, driven by lines of JSON.

Private Mosquitto, Redis and PostgreSQL, latido-store, latido-hot, latido-alert (with RULES, about
sources that only tests publish), an agent of this machine, and latido-live behind a login. Each line on standard input is a command, each line on standard output
its answer; the end of input stops everything.

    {"do": "publish", "topic": "...", "payload": {...}}    by MQTT, as any device would
    {"do": "event", "source": "...", "seq": 1, ...}        by MQTT, numbered and protobuf, as an agent would
    {"do": "redis", "args": ["HSET", ...]}                 one command
    {"do": "rows", "sources": ["n1", ...], "load": 0.5}    an event of each, as latido-hot would write it; hundreds at once
    {"do": "sql", "text": "..."}                           rows as texts
    {"do": "stop" | "start" | "kill", "what": "live" | "redis" | "postgres" | "agent" | ...}
    {"do": "simulate", "sources": 50}                      latido-load beside the agent
    {"do": "share", "name": "wall"}                        a share link of latido-live
    {"do": "log", "what": "live"}                          end of a program's log

Programs come from LATIDO_BIN (default build/release/bin), latido-live from LATIDO_LIVE_BIN where that
is set: it alone may be a sanitizer build. First line of the output: addresses, and
who may log in.
"""

import json
import os
import subprocess
import sys
import tempfile

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
sys.path[:0] = [os.path.join(ROOT, "infra", "local"), os.path.join(ROOT, "tests", "integration")]

import servers  # noqa: E402
from live import Feeder  # noqa: E402
from pipeline import Client, event, family  # noqa: E402
from programs import Program, yaml_config  # noqa: E402

BIN = os.path.abspath(os.environ.get("LATIDO_BIN") or os.path.join(ROOT, "build", "release", "bin"))
LIVE_BIN = os.path.abspath(os.environ.get("LATIDO_LIVE_BIN") or BIN)
USER, PASSWORD = "ana", "correct horse battery"
AGENT = "this-machine"

# An hour is never over: PENDING stays what it is. Five minutes ago counts as now (Prometheus's own rule).
RULES = """
groups:
  - name: browser
    interval: 500ms
    rules:
      - alert: LoadTooHigh
        expr: node_load1{instance=~"loaded.*"} > 4
        for: 1s
        labels: {severity: critical}
        annotations: {summary: "The load of {{ $labels.instance }} is {{ $value }}"}
      - alert: LoadIsHigh
        expr: node_load1{instance=~"loaded.*"} > 2
        for: 1h
        labels: {severity: warning}
        annotations: {summary: "The load of {{ $labels.instance }} could get too high"}
"""


class Stack:
    def __init__(self, folder):
        self.folder = folder
        self.broker = servers.Mosquitto(folder)
        self.redis = servers.Redis(folder)
        self.postgres = servers.Postgres(folder)
        self.programs = {}
        self.client = self.rows = None
        self.port = servers.free_port()

    def start(self):
        for server in (self.broker, self.redis, self.postgres):
            server.start()
        sections = {
            "bus": {"url": self.broker.url, "self_interval": "1s"},
            "redis": {"url": self.redis.url, "timeout": "5s"},
            "postgres": {"dsn": self.postgres.dsn, "timeout": "5s"},
            "agent": {"source": AGENT, "admin": ""},
            "store": {"admin": "127.0.0.1:0"},
            "hot": {"admin": "127.0.0.1:0"},
            "alert": {"admin": "127.0.0.1:0", "rules": [f"{self.folder}/rules.yaml"]},
            "live": {
                "admin": "", "listen": f"127.0.0.1:{self.port}", "title": "Latido", "query_timeout": "15s",
                "users_file": f"{self.folder}/users", "sessions_file": f"{self.folder}/sessions",
                "login_attempts": 1000, "alertmanager_url": "http://alertmanager.example:9093",
            },
        }
        self.config = f"{self.folder}/latido.yaml"
        with open(self.config, "w", encoding="utf-8") as f:
            f.write(yaml_config(sections))
        self.live("--add-user", USER, text=PASSWORD + "\n")
        with open(f"{self.folder}/rules.yaml", "w", encoding="utf-8") as f:
            f.write(RULES)
        for name in ("store", "hot", "alert", "agent", "live"):
            folder = LIVE_BIN if name == "live" else BIN
            self.programs[name] = Program(folder, f"latido-{name}", self.folder, self.config).start()
        self.programs["live"].wait_log("listening")
        # What is published from now on finds its subscribers.
        for name in ("store", "hot", "alert"):
            self.programs[name].wait_ready()
        self.client = Client(self.broker)
        return {"url": f"http://127.0.0.1:{self.port}", "user": USER, "password": PASSWORD, "agent": AGENT}

    def live(self, *args, text=None):
        """latido-live as a command; what it prints."""
        run = subprocess.run([f"{LIVE_BIN}/latido-live", "--config", self.config, *args],
                             input=text, capture_output=True, text=True, check=False)
        if run.returncode:
            raise servers.ServerError(f"latido-live {args}: {run.stderr}")
        return run.stdout

    def find(self, what):
        if what in self.programs:
            return self.programs[what]
        return {"redis": self.redis, "postgres": self.postgres, "broker": self.broker}[what]

    def command(self, c):
        do = c["do"]
        if do == "publish":
            payload = c["payload"]
            self.client.publish(c["topic"], payload if isinstance(payload, str) else json.dumps(payload))
            return None
        if do == "event":  # numbered and protobuf, as an agent's
            shape = b"".join(family(*f) for f in c["families"])
            self.client.publish(f"latido/v1/nodes/{c['source']}/metrics",
                                event(c["source"], c["seq"], c["values"], shape=shape, time_ns=c["time_ms"] * 1_000_000,
                                      epoch=c.get("epoch", 1_000_000), interval_ms=c.get("interval_ms", 1000)))
            return None
        if do == "redis":
            return repr(servers.RedisConnection(self.redis).call(*c["args"]))
        if do == "rows":
            self.rows = self.rows or Feeder(self.redis)
            for source in c["sources"]:
                n = self.rows.seqs.get(source, 0) + 1
                # Seldom, as far as the page knows: it does not become late by itself.
                self.rows.node(source, n, load=c["load"], interval_ms=3_600_000)
            return None
        if do == "sql":
            return self.postgres.sql(c["text"])
        if do == "simulate":
            args = ["simulate", "--sources", str(c["sources"]), "--series", "100", "--duration", "1h", "--quiet",
                    "--prefix", "node", "--ack", "broker"]
            self.programs["load"] = Program(BIN, "latido-load", self.folder, args=["-c", self.config, *args]).start()
            return None
        if do == "share":
            return self.live("--add-share", c["name"])
        if do == "log":
            return self.find(c["what"]).log_tail()
        target = self.find(c["what"])
        if do == "start":
            target.start()
            if c["what"] == "live":
                target.wait_log("listening")
        elif do == "kill":
            target.kill()
        elif do == "stop":
            if c["what"] in self.programs:
                target.terminate()
            else:
                target.stop()
        else:
            raise ValueError(f"no such command: {do}")
        return None

    def stop(self):
        """Everything; True when each program that ran to the end left with 0."""
        clean = True
        if self.client:
            self.client.close()
        for name in ("load", "agent", "live", "alert", "hot", "store"):
            program = self.programs.get(name)
            if program and program.running():
                code = program.terminate()
                if code not in (0, None):
                    clean = False
                    print(f"stack: {name} ended with {code}\n{program.log_tail()}", file=sys.stderr)
        for server in (self.broker, self.redis, self.postgres):
            server.stop()
        return clean


def main():
    with tempfile.TemporaryDirectory(prefix="latido-web-") as folder:
        if os.geteuid() == 0:
            os.chmod(folder, 0o755)  # PostgreSQL runs as somebody else
        stack = Stack(folder)
        clean = False
        try:
            print(json.dumps(stack.start()), flush=True)
            for line in sys.stdin:
                try:
                    answer = {"ok": stack.command(json.loads(line))}
                except Exception as e:  # the caller's test fails with it
                    answer = {"error": f"{type(e).__name__}: {e}"}
                print(json.dumps(answer, default=str), flush=True)
        finally:
            clean = stack.stop()
    return 0 if clean else 1


if __name__ == "__main__":
    sys.exit(main())
