#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""The whole pipeline on this machine, privately: what `make demo` runs.

Starts a Mosquitto (BUS=kafka: an Apache Kafka), a Redis and a PostgreSQL of its own in a temporary
folder, then latido-store, latido-hot, latido-alert (with the default rules), latido-live and
latido-agent. On a terminal it shows `latido top` until q or Ctrl-C; without one, or
with DEMO_SECONDS=N, it runs that long. Then everything is stopped in order (first the agent, and
what it published is given time to arrive), what PostgreSQL holds is compared with what the agent
says it published, a summary is printed, and no process or file is left.

Exit code 0: PostgreSQL holds exactly the agent's events, without a hole or a duplicate.

    DEMO_SECONDS=20                    run that long, without `latido top`
    BUS=kafka                          Apache Kafka instead of Mosquitto (default: mqtt)
    DEMO_MQTT_PORT, DEMO_REDIS_PORT, DEMO_LIVE_PORT
                                       fixed loopback ports, to connect other programs to
    LATIDO_BIN                         folder of the programs (build/release/bin)
"""

import json
import math
import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
sys.path.insert(0, os.path.join(ROOT, "infra", "local"))

import servers  # noqa: E402
from kafka import Kafka  # noqa: E402
from programs import Metrics, Program, yaml_config  # noqa: E402

BIN = os.path.abspath(os.environ.get("LATIDO_BIN") or os.path.join(ROOT, "build", "release", "bin"))
ARRIVE_SECONDS = 30  # after the agent has ended, for its last events to be stored
DEFAULT_SECONDS = 20

_SERIES = re.compile(r'^([a-zA-Z_:][a-zA-Z0-9_:]*)(?:\{(.*)\})?$')
_LABEL = re.compile(r'([a-zA-Z_][a-zA-Z0-9_]*)="((?:[^"\\]|\\.)*)"')


class Failed(Exception):
    """The demo cannot go on or its result is wrong; the message is for the user."""


class Interrupted(Exception):
    """A second Ctrl-C: do not wait for anything any more."""


def say(text=""):
    """Print; a terminal that is gone is no reason to leave things running."""
    try:
        print(text, flush=True)
    except OSError:
        pass


def own_foreground():
    """Take the terminal for this process and `latido top` alone.

    Ctrl-C then means "stop the demo" and does not end make and the shell's command line with it.
    Returns a function that gives the terminal back.
    """
    signal.signal(signal.SIGTTOU, signal.SIG_IGN)
    signal.signal(signal.SIGTSTP, signal.SIG_IGN)  # make would wait for a stopped demo for ever
    try:
        before = os.tcgetpgrp(0)
        if os.getpgrp() != os.getpid():
            os.setpgid(0, 0)
        os.tcsetpgrp(0, os.getpgrp())
    except OSError:
        return lambda: None

    def give_back():
        try:
            os.tcsetpgrp(0, before)
        except OSError:
            pass
    return give_back


# ---- what the two databases say ----


def parse_series(text):
    """'name{a="b"}' -> (name, {a: b}); (None, {}) for other hash fields."""
    match = _SERIES.match(text)
    if not match or text.startswith("_"):
        return None, {}
    return match[1], dict(_LABEL.findall(match[2] or ""))


class Snapshot:
    """All values of one event, from either database."""

    def __init__(self, seq, values):
        self.seq = seq
        self.values = values  # list of (name, labels, value)

    def find(self, name, **labels):
        return [v for n, have, v in self.values if n == name and labels.items() <= have.items()]

    def one(self, name, **labels):
        found = self.find(name, **labels)
        return found[0] if found else math.nan

    def cpu_seconds(self):
        """(idle, all) over all processors."""
        idle = self.find("node_cpu_seconds_total", mode="idle")
        return sum(idle), sum(self.find("node_cpu_seconds_total"))

    def disk(self):
        """(mount point, bytes available, size) of the root file system, or of the largest."""
        sizes = [(labels.get("mountpoint") == "/", value, labels) for name, labels, value in self.values
                 if name == "node_filesystem_size_bytes"]
        if not sizes:
            return None, math.nan, math.nan
        _, size, labels = max(sizes, key=lambda s: s[:2])
        return labels.get("mountpoint"), self.one("node_filesystem_avail_bytes", **labels), size


def redis_snapshot(redis, source):
    """The live hash of the source, or None while there is none."""
    flat = redis.call("HGETALL", f"latido:node:{source}")
    if not flat:
        return None
    fields = dict(zip(flat[::2], flat[1::2]))
    values = []
    for key, value in fields.items():
        name, labels = parse_series(key)
        if name:
            values.append((name, labels, float(value)))
    return Snapshot(int(fields.get("_seq", 0)), values)


def postgres_snapshot(postgres, source, seq):
    """The event with this number of the source's newest epoch, from the view for SQL users."""
    rows = postgres.sql(f"""
        SELECT name, coalesce((SELECT string_agg(key || '="' || value || '"', ',') FROM jsonb_each_text(labels)), ''),
               value
        FROM sample
        WHERE source = $${source}$$ AND time = (
            SELECT s.time FROM snapshot s JOIN source o ON o.id = s.source_id JOIN epoch e ON e.id = s.epoch_id
            WHERE o.name = $${source}$$ AND s.seq = {int(seq)} ORDER BY e.epoch DESC LIMIT 1)""")
    return Snapshot(seq, [(name, dict(_LABEL.findall(labels)), float(value)) for name, labels, value in rows])


def stored_epochs(postgres):
    """What PostgreSQL holds of each source and epoch, but figures of the consumers (unnumbered): source, epoch, rows, distinct, first, last, values."""
    rows = postgres.sql("""
        SELECT o.name, e.epoch, count(*), count(DISTINCT r.seq), min(r.seq), max(r.seq), sum(r.n)
        FROM (SELECT epoch_id, seq, cardinality(vals) AS n FROM snapshot
              UNION ALL SELECT epoch_id, seq, cardinality(vals) FROM snapshot_stray) r
        JOIN epoch e ON e.id = r.epoch_id JOIN source o ON o.id = e.source_id
        WHERE e.epoch <> 0 GROUP BY o.name, e.epoch ORDER BY o.name, e.epoch""")
    return [(name, *map(int, numbers)) for name, *numbers in rows]


def check_stored(stored, source, epoch, published):
    """Failed unless PostgreSQL holds exactly the events 1..published of this source and epoch."""
    problems = []
    if published == 0:
        problems.append("the agent published nothing")
    mine = [row for row in stored if row[:2] == (source, epoch)]
    for row in stored:
        if row not in mine:
            problems.append(f"unexpected source {row[0]}, epoch {row[1]} with {row[2]} events")
    if not mine:
        problems.append(f"no event of {source}, epoch {epoch}")
    for _, _, rows, distinct, first, last, _ in mine:
        if rows != distinct:
            problems.append(f"{rows - distinct} duplicates")
        if (first, last) != (1, published):
            problems.append(f"holds events {first} to {last} instead of 1 to {published}")
        if distinct != last - first + 1:
            problems.append(f"{last - first + 1 - distinct} holes")
    if problems:
        raise Failed("PostgreSQL does not hold exactly what the agent published: " + "; ".join(problems))


# ---- figures for people ----


def ms(seconds):
    return "-" if math.isnan(seconds) else f"{seconds * 1000:.3g} ms"


def size(count):
    if math.isnan(count):
        return "-"
    for unit in ("B", "KiB", "MiB", "GiB", "TiB"):
        if abs(count) < 1024 or unit == "TiB":
            return f"{count:.2f} {unit}" if unit != "B" else f"{count:.0f} B"
        count /= 1024
    return ""


def cpu_busy(first, last):
    if first is None or first.seq == last.seq:
        return "-"
    idle0, all0 = first.cpu_seconds()
    idle1, all1 = last.cpu_seconds()
    return f"{100 * (1 - (idle1 - idle0) / (all1 - all0)):.1f} %" if all1 > all0 else "-"


def describe(first, last):
    """Rows (what, figure) of one database."""
    mount, avail, total = last.disk()
    return [
        ("CPU busy" + (f", events {first.seq} to {last.seq}" if first else ""), cpu_busy(first, last)),
        ("memory available", f"{size(last.one('node_memory_MemAvailable_bytes'))} of "
                             f"{size(last.one('node_memory_MemTotal_bytes'))}"),
        (f"disk available {mount or ''}".rstrip(), f"{size(avail)} of {size(total)}" if mount else "none measured"),
        ("load, 1 minute", f"{last.one('node_load1'):.2f}"),
        ("event number", str(last.seq)),
    ]


# ---- the demo ----


class Demo:
    def __init__(self):
        seconds = os.environ.get("DEMO_SECONDS")
        try:
            self.seconds = float(seconds) if seconds else DEFAULT_SECONDS
        except ValueError:
            raise Failed(f"DEMO_SECONDS is a number of seconds, not {seconds!r}") from None
        self.interactive = not seconds and os.isatty(0) and os.isatty(1)
        self.stop = threading.Event()
        self.source = self.source_name()
        self.folder = servers.private_folder("latido-demo-")
        # PostgreSQL runs as another user when this is root, and must get through.
        os.chmod(self.folder, 0o711)
        self.bus = os.environ.get("BUS") or "mqtt"
        if self.bus == "mqtt":
            self.broker = servers.Mosquitto(self.folder, persistence=True, port=self.port("DEMO_MQTT_PORT"))
        elif self.bus == "kafka":
            self.broker = Kafka(self.folder)
        else:
            raise Failed(f"BUS is mqtt or kafka, not {self.bus!r}")
        self.redis = servers.Redis(self.folder, port=self.port("DEMO_REDIS_PORT"))
        self.postgres = servers.Postgres(self.folder, fsync=True)
        self.agent = self.hot = self.store = self.alert = self.live = self.top = None
        self.first = None  # first snapshot seen in Redis

    @staticmethod
    def source_name():
        return re.sub(r"[^A-Za-z0-9._:-]", "-", socket.gethostname())[:128] or "demo"

    @staticmethod
    def port(name):
        value = os.environ.get(name, "0")
        if not value.isdigit() or int(value) > 65535:
            raise Failed(f"{name} is a TCP port, not {value!r}")
        return int(value)

    def on_signal(self, signum, _frame):
        if self.stop.is_set() and signum == signal.SIGINT:
            raise Interrupted
        self.stop.set()

    def program(self, name):
        program = Program(BIN, name, self.folder, config=self.config)
        program.start()
        return program

    def start(self):
        for server, url in ((self.broker, "url"), (self.redis, "url"), (self.postgres, "dsn")):
            server.start()
            say(f"  {server.name:<14}{getattr(server, url)}")
            self.check_stop()
        if self.bus == "kafka":
            self.make_topics()
        agent = {"source": self.source, "admin": "127.0.0.1:0", "processes_stream": True}
        if self.bus == "mqtt":
            agent["spool"] = {"dir": os.path.join(self.folder, "spool")}
        self.config = os.path.join(self.folder, "latido.yaml")
        with open(self.config, "w", encoding="utf-8") as f:
            f.write(yaml_config({
                # Figures of the consumers themselves, for the page about the pipeline.
                "bus": {"url": self.broker.url, "self_interval": "10s"},
                "redis": {"url": self.redis.url},
                "postgres": {"dsn": self.postgres.dsn},
                "agent": agent,
                "hot": {"admin": "127.0.0.1:0"},
                "alert": {"admin": "127.0.0.1:0", "rules": [os.path.join(ROOT, "schemas", "alerts", "*.yaml")]},
                "store": {"admin": "127.0.0.1:0", "inbox_dir": os.path.join(self.folder, "inbox")},
                # Without a login: only this machine can connect.
                "live": {"admin": "127.0.0.1:0", "listen": f"{servers.HOST}:{self.port('DEMO_LIVE_PORT')}",
                         "auth": "none", "title": f"Latido demo on {self.source}"},
            }))
        # The consumers first: their subscriptions must be there before the first event.
        self.store = self.program("latido-store")
        self.hot = self.program("latido-hot")
        self.alert = self.program("latido-alert")
        for consumer in (self.store, self.hot, self.alert):
            self.wait_ready(consumer)
            say(f"  {consumer.name:<14}http://127.0.0.1:{consumer.admin_port()}/metrics")
        self.live = self.program("latido-live")
        self.wait_ready(self.live)
        page = f"http://{servers.HOST}:{self.live.wait_log('listening')['port']}/"
        say(f"  {'latido-live':<14}{page}   <- open this in a browser")
        self.agent = self.program("latido-agent")
        self.wait_ready(self.agent)
        say(f"  {'latido-agent':<14}http://127.0.0.1:{self.agent.admin_port()}/metrics")

    def make_topics(self):
        """What an operator does once: `latido topics create`."""
        made = subprocess.run([os.path.join(BIN, "latido"), "topics", "create", "--bus", self.broker.url],
                              capture_output=True, text=True, check=False)
        if made.returncode:
            raise Failed(f"latido topics create failed:\n{made.stdout}{made.stderr}")

    def wait_ready(self, program):
        program.wait(lambda: self.check_stop() or program.ready(), 60, "/readyz")

    def check_stop(self):
        if self.stop.is_set():
            raise Failed("stopped before everything was ready")

    def check_alive(self):
        for server in (self.broker, self.redis, self.postgres):
            if not server.running():
                raise Failed(f"{server.name} ended unexpectedly; its log ends:\n{server.log_tail()}")
        for program in (self.store, self.hot, self.alert, self.live, self.agent):
            if not program.running():
                raise Failed(f"{program.name} ended unexpectedly with code {program.process.returncode}; "
                             f"its log ends:\n{program.log_tail()}")

    def run(self):
        """Until the time is over, the user leaves `latido top`, or a signal comes."""
        self.first = self.hot.wait(lambda: self.check_stop() or redis_snapshot(self.redis, self.source), 30,
                                   "the first event is in Redis")
        deadline = time.monotonic() + self.seconds
        if self.interactive:
            try:
                self.top = subprocess.Popen([os.path.join(BIN, "latido"), "--config", self.config, "top"])
            except OSError as e:
                raise Failed(f"cannot start {BIN}/latido: {e.strerror}") from None
            servers.guard_process(self.top.pid)
        else:
            say(f"running for {self.seconds:g} s")
        while not self.stop.wait(0.1):
            self.check_alive()
            if self.top is None:
                if time.monotonic() >= deadline:
                    break
            elif self.top.poll() is not None:
                if self.top.returncode not in (0, -signal.SIGINT):
                    raise Failed(f"latido top ended with code {self.top.returncode}")
                break
        self.end_top()

    def end_top(self):
        """It gets Ctrl-C from the terminal itself; otherwise it is told."""
        if self.top is None:
            return
        if self.top.poll() is None:
            try:
                self.top.wait(1)
            except subprocess.TimeoutExpired:
                self.top.terminate()
                try:
                    self.top.wait(5)
                except subprocess.TimeoutExpired:
                    self.top.kill()
                    self.top.wait()
        self.top = None

    def finish(self):
        """Stop in order and report; Failed when PostgreSQL does not hold what it should."""
        say("stopping: agent")
        self.agent.terminate()
        drained = self.agent.logged("drained")
        if not drained:
            raise Failed(f"latido-agent did not say what it published; its log ends:\n{self.agent.log_tail()}")
        epoch, published = int(drained[-1]["epoch"]), int(drained[-1]["seq"])

        def arrived():
            self.check_consumers()
            return (self.highest_stored() >= published and
                    self.hot.value("latido_consumer_events_total") >= published)
        try:
            servers.wait_until(arrived, ARRIVE_SECONDS, "the last event is in PostgreSQL and Redis")
            late = None
        except TimeoutError as e:
            late = str(e)
        metrics = {"store": self.store.metrics(), "hot": self.hot.metrics(), "alert": self.alert.metrics()}
        alerts = self.active_alerts()
        say("stopping: consumers")
        self.live.terminate()
        self.alert.terminate()
        self.hot.terminate()
        self.store.terminate()
        stored = stored_epochs(self.postgres)
        self.summary(epoch, published, stored, metrics, alerts)
        check_stored(stored, self.source, epoch, published)
        if late:
            raise Failed(late)
        say(f"  PostgreSQL holds exactly the agent's events 1 to {published}: no hole, no duplicate.")
        say("stopping: servers")
        for server in (self.broker, self.redis, self.postgres):
            server.stop()

    def check_consumers(self):
        for program in (self.store, self.hot, self.alert):
            if not program.running():
                raise Failed(f"{program.name} ended unexpectedly; its log ends:\n{program.log_tail()}")

    def highest_stored(self):
        rows = self.postgres.sql(f"""SELECT coalesce(max(p.upto), 0) FROM progress p
            JOIN epoch e ON e.id = p.epoch_id JOIN source o ON o.id = e.source_id
            WHERE o.name = $${self.source}$$ AND e.epoch > 0""")
        return int(rows[0][0])

    def active_alerts(self):
        """What latido-alert says is pending or firing now, as text."""
        found = map(json.loads, self.redis.call("HGETALL", "latido:alerts")[1::2])
        return sorted(f"{a['labels']['alertname']} {a['state']}" for a in found)

    def summary(self, epoch, published, stored, metrics, alerts):
        say()
        say(f"Events published by the agent   {published}  (source {self.source}, epoch {epoch})")
        say(f"Events in PostgreSQL            {sum(row[2] for row in stored)}")
        say(f"Values in PostgreSQL            {sum(row[6] for row in stored)}")
        for label, part, name in (
                ("Event to commit, p50 · p99", "store", "latido_store_event_to_commit_seconds"),
                ("Event to Redis, p50 · p99", "hot", "latido_hot_event_to_redis_seconds")):
            m: Metrics = metrics[part]
            say(f"{label:<32}{ms(m.quantile(name, 0.5))} · {ms(m.quantile(name, 0.99))}")
        alert: Metrics = metrics["alert"]
        say(f"{'Alert rules, series kept':<32}{alert.value('latido_alert_rules'):.0f}, "
            f"{alert.value('latido_alert_series'):.0f}")
        say(f"{'Active alerts':<32}{', '.join(alerts) or 'none'}")
        last = redis_snapshot(self.redis, self.source)
        if last is None:
            raise Failed(f"Redis holds nothing of {self.source}")
        try:
            from_postgres = describe(postgres_snapshot(self.postgres, self.source, self.first.seq),
                                     postgres_snapshot(self.postgres, self.source, last.seq))
        except servers.ServerError as e:
            raise Failed(f"PostgreSQL: {e}") from None
        say()
        say(f"{'Read back from':<32}{'Redis':<26}PostgreSQL")
        for (what, in_redis), (_, in_postgres) in zip(describe(self.first, last), from_postgres):
            say(f"  {what:<30}{in_redis:<26}{in_postgres}")
        say()

    def close(self):
        """Whatever happened: no process, no file."""
        if self.top is not None:
            self.end_top()
        for program in (self.agent, self.alert, self.live, self.hot, self.store):
            if program is not None:
                program.kill()
        for server in (self.broker, self.redis, self.postgres):
            server.close()
        servers.remove_folder(self.folder)


def main():
    try:
        demo = Demo()
    except Failed as e:
        say(f"demo: {e}")
        return 2
    for signum in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(signum, demo.on_signal)
    give_back = own_foreground() if demo.interactive else lambda: None
    code = 1
    try:
        say("Latido's pipeline, private to this demo (q or Ctrl-C ends it):" if demo.interactive else
            "Latido's pipeline, private to this demo:")
        demo.start()
        demo.run()
        demo.finish()
        code = 0
    except (Failed, servers.ServerError, TimeoutError) as e:
        demo.end_top()
        say(f"demo: {e}")
    except Interrupted:
        say("demo: stopped at once")
        code = 130
    finally:
        demo.close()
        give_back()
    if code == 0:
        say("Nothing is left running.")
    return code


if __name__ == "__main__":
    sys.exit(main())
