# SPDX-License-Identifier: MIT
"""A Kafka with what reads it, for the tests that break things: Site, its loads, and a relay."""

import os
import socket
import subprocess
import threading
import time

import servers
from conftest import BIN

TOOLS = os.path.join(os.path.dirname(BIN), "tools")
VALUES = 20
EPOCH = 1763700000000000


class Relay:
    """A TCP relay of one port to another; hold() passes nothing any more, cut() resets."""

    def __init__(self, port, target):
        self.port, self.target, self.held, self.ended = port, target, threading.Event(), False
        self.pairs, self.threads = [], []

    def __enter__(self):
        self.listener = socket.create_server((servers.HOST, self.port))
        self.start(self.accept)
        return self

    def start(self, *what):
        thread = threading.Thread(target=what[0], args=what[1:], daemon=True)
        thread.start()
        self.threads.append(thread)

    def accept(self):
        while not self.ended:
            try:
                client = self.listener.accept()[0]
                server = socket.create_connection((servers.HOST, self.target), 10)
            except OSError:
                continue
            server.settimeout(None)  # it may be quiet for longer
            self.pairs.append((client, server))
            self.start(self.move, client, server)
            self.start(self.move, server, client)

    def move(self, source, to):
        try:
            while data := source.recv(65536):
                while self.held.is_set() and not self.ended:
                    time.sleep(0.01)
                to.sendall(data)
        except OSError:
            pass
        for end in (source, to):
            try:
                end.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass

    def hold(self, on):
        if on:
            self.held.set()
        else:
            self.held.clear()

    def cut(self):
        pairs, self.pairs = self.pairs, []
        for pair in pairs:
            for end in pair:
                try:
                    end.shutdown(socket.SHUT_RDWR)
                except OSError:
                    pass

    def __exit__(self, *_):
        self.ended = True
        self.held.clear()
        self.cut()
        self.listener.shutdown(socket.SHUT_RDWR)
        self.listener.close()
        for thread in self.threads:
            thread.join(10)


class Site:
    """A Kafka, a PostgreSQL, and stores that are started and killed."""

    def __init__(self, kafka, postgres, write_config, run_program, tmp_path):
        self.kafka, self.postgres = kafka, postgres
        self.write_config, self.run_program, self.tmp_path = write_config, run_program, tmp_path
        self.rebalance, self.session, self.url = "cooperative", "2s", kafka.url
        self.properties, self.sql_timeout = {}, "10s"
        self.loads = []

    def config(self, name="store"):
        return self.write_config({
            "bus": {"url": self.url, "kafka": {"rebalance": self.rebalance, "session_timeout": self.session,
                                               **({"properties": self.properties} if self.properties else {})},
                    "backoff_base": "50ms", "backoff_cap": "500ms"},
            "postgres": {"dsn": self.postgres.dsn, "timeout": self.sql_timeout},
            "store": {"admin": f"127.0.0.1:{servers.free_port()}",
                      "batch": {"max_events": 300, "linger": "20ms"}}}, f"{name}.yaml")

    def topics(self, partitions=6, *more):
        result = subprocess.run([os.path.join(BIN, "latido"), "topics", "create", "--partitions", str(partitions),
                                 "--bus", self.kafka.url, *more], text=True, capture_output=True, check=False)
        assert result.returncode == 0, result.stdout + result.stderr

    def store(self, label="store", args=()):
        return self.run_program("latido-store", config=self.config(label), label=label, args=args)

    def load(self, sources, events, junk=0, epoch=EPOCH, first=1, **keys):
        """events of each source from the number first on. keys: further ones of bus.kafka."""
        path = self.write_config({"bus": {"url": self.kafka.url, **({"kafka": keys} if keys else {})}},
                                 f"load{len(self.loads)}.yaml")
        return self.start_load(path, sources, events, junk, epoch, first)

    def start_load(self, path, sources, events, junk, epoch, first=1):
        process = subprocess.Popen([os.path.join(TOOLS, "bus_load"), path, str(sources), str(events), str(VALUES),
                                    str(epoch), str(junk), str(first)], stdout=subprocess.PIPE, text=True)
        servers.guard_process(process.pid)
        self.loads.append(process)
        return process

    def stored(self):
        if not self.postgres.running():
            return -1
        try:
            return int(self.postgres.sql("SELECT count(*) FROM snapshot")[0][0])
        except servers.ServerError:
            return -1

    def wait_stored(self, n, seconds=240):
        servers.wait_until(lambda: self.stored() >= n, seconds, f"{n} events stored, {self.stored()} are")

    def check(self, sources, events):
        """Each (source, epoch, seq) is there once, and nothing else."""
        rows = self.postgres.sql(
            "SELECT count(*), count(DISTINCT (source_id, epoch_id, seq)), min(seq), max(seq),"
            " count(DISTINCT source_id) FROM snapshot")
        assert rows == [(str(sources * events), str(sources * events), "1", str(events), str(sources))]
        assert self.postgres.sql("SELECT count(*) FROM snapshot_stray") == [("0",)]
        # No source's sequence has a hole, and nothing was given up.
        assert self.postgres.sql("SELECT DISTINCT upto, above::text FROM progress") == [(str(events), "{}")]
        assert self.postgres.sql("SELECT count(*) FROM gap") == [("0",)]

    def check_rows(self, n):
        """So many rows, each (source, epoch, seq) once."""
        assert self.postgres.sql("SELECT count(*), count(DISTINCT (source_id, epoch_id, seq)) FROM snapshot") == [
            (str(n), str(n))]

    def positions(self):
        return sum(int(row[0]) for row in self.postgres.sql("SELECT next_offset FROM kafka_progress"))


def finish(load):
    out, _ = load.communicate(timeout=120)
    assert load.returncode == 0, out
