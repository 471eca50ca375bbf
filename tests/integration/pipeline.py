# SPDX-License-Identifier: MIT
"""Helpers of the tests that run the pipeline: events made by hand, a publisher, what is stored."""

import json
import struct
import threading

import paho.mqtt.client as mqtt

import servers
from servers import wait_until

SECONDS = 60  # deadline of every wait; sanitizer builds on a busy machine are slow
GAUGE, COUNTER = 1, 2


# ---- events on the wire (schemas/latido/v1/event.proto), written apart from the C encoder ----


def varint(n):
    out = b""
    while n >= 0x80:
        out += bytes([n & 0x7F | 0x80])
        n >>= 7
    return out + bytes([n])


def _bytes(number, data):
    data = data.encode() if isinstance(data, str) else data
    return varint(number << 3 | 2) + varint(len(data)) + data


def _uint(number, value):
    return varint(number << 3) + varint(value) if value else b""


def _fixed64(number, value):
    return varint(number << 3 | 1) + struct.pack("<Q", value) if value else b""


def family(name, keys=(), rows=((),), kind=GAUGE):
    return _bytes(1, _bytes(1, name) + _uint(2, kind) + b"".join(_bytes(3, k) for k in keys)
                  + b"".join(_bytes(4, v) for row in rows for v in row))


def event(source, seq, values, epoch=1_000_000, shape=None, time_ns=0, shape_hash=0, stream="", oldest=0,
          interval_ms=0):
    """A protobuf Event; shape: joined family() bytes, by default one gauge family for all values."""
    if shape is None:
        shape = family("test_value", ["i"], [(str(i),) for i in range(len(values))])
    return (_bytes(1, source) + _fixed64(2, epoch if seq else 0) + _uint(3, seq) + _fixed64(4, time_ns)
            + _uint(5, oldest) + (_bytes(6, shape) if shape else b"")
            + _bytes(7, struct.pack(f"<{len(values)}d", *values)) + _fixed64(8, shape_hash)
            + (_bytes(9, stream) if stream else b"") + _uint(11, interval_ms))


def metrics_topic(source):
    return f"latido/v1/nodes/{source}/metrics"


# ---- talking to the broker ----


class Client:
    """An MQTT client of the test: publishes with QoS 1 and collects what it subscribed to."""

    def __init__(self, broker, topics=()):
        self.messages = []  # (topic, payload)
        self._ready = threading.Event()
        self._topics = [(topic, 1) for topic in topics]
        self.client = mqtt.Client(client_id="", clean_session=True)
        self.client.max_inflight_messages_set(1000)
        self.client.on_connect = self._on_connect
        self.client.on_subscribe = lambda *_: self._ready.set()
        self.client.on_message = lambda _c, _u, m: self.messages.append((m.topic, m.payload))
        self.client.reconnect_delay_set(1, 1)
        self.client.connect(servers.HOST, broker.port)
        self.client.loop_start()
        assert self._ready.wait(SECONDS), "the test's own MQTT client did not connect"

    def _on_connect(self, client, _userdata, _flags, code):
        assert code == 0
        if self._topics:
            client.subscribe(self._topics)
        else:
            self._ready.set()

    def publish(self, topic, payload):
        """Returns when the broker has acknowledged it."""
        self.wait([self.send(topic, payload)])

    def send(self, topic, payload):
        return self.client.publish(topic, payload, qos=1)

    @staticmethod
    def wait(sent):
        for info in sent:
            info.wait_for_publish(SECONDS)
            assert info.is_published()

    def json(self, topic):
        return [json.loads(payload) for t, payload in list(self.messages) if t == topic]

    def close(self):
        self.client.disconnect()
        self.client.loop_stop()


# ---- what the databases hold ----


def stored(postgres, source):
    """{epoch: (rows, distinct, first, last)} of the numbered events of a source."""
    rows = postgres.sql(f"""
        SELECT e.epoch, count(*), count(DISTINCT r.seq), min(r.seq), max(r.seq)
        FROM (SELECT epoch_id, seq FROM snapshot UNION ALL SELECT epoch_id, seq FROM snapshot_stray) r
        JOIN epoch e ON e.id = r.epoch_id JOIN source o ON o.id = e.source_id
        WHERE o.name = $${source}$$ AND e.epoch > 0 GROUP BY 1 ORDER BY 1""")
    return {int(epoch): tuple(map(int, rest)) for epoch, *rest in rows}


def missing(postgres, source, last):
    """Which of 1..last of the source's newest epoch are not there."""
    rows = postgres.sql(f"""
        SELECT g FROM generate_series(1, {last}) g
        EXCEPT SELECT r.seq
        FROM (SELECT epoch_id, seq FROM snapshot UNION ALL SELECT epoch_id, seq FROM snapshot_stray) r
        JOIN epoch e ON e.id = r.epoch_id JOIN source o ON o.id = e.source_id
        WHERE o.name = $${source}$$ AND e.epoch = (
            SELECT max(e2.epoch) FROM epoch e2 WHERE e2.source_id = o.id)
        ORDER BY 1""")
    return [int(row[0]) for row in rows]


def known_missing(postgres):
    """What the store itself says is not there: holes that may still be filled, and gaps that cannot."""
    rows = postgres.sql("SELECT lo, hi FROM latido_hole UNION ALL SELECT lo, hi FROM gap")
    return sorted(n for lo, hi in rows for n in range(int(lo), int(hi) + 1))


def highest(postgres, source):
    """Newest stored event of the source's newest epoch; 0 while there is none or no answer."""
    try:
        found = stored(postgres, source)
    except servers.ServerError:
        return 0
    return found[max(found)][3] if found else 0


def node_hash(redis, source):
    """The live hash as a dict, {} while there is none or no answer."""
    try:
        flat = redis.call("HGETALL", f"latido:node:{source}")
    except (OSError, EOFError, servers.ServerError):
        return {}
    return dict(zip(flat[::2], flat[1::2]))


def hash_seq(redis, source):
    return int(node_hash(redis, source).get("_seq", 0))


class Pipeline:
    """Programs on the servers of the test, all with one configuration."""

    SOURCE = "node1"

    def __init__(self, broker, redis, postgres, write_config, run_program, /, **sections):
        self.broker, self.redis, self.postgres = broker, redis, postgres
        config = {
            "log": {"level": "debug"},
            "bus": {"url": broker.url, "backoff_base": "50ms", "backoff_cap": "500ms"},
            "redis": {"url": redis.url, "timeout": "5s"},
            "postgres": {"dsn": postgres.dsn, "timeout": "10s"},
            "agent": {"source": self.SOURCE, "interval": "100ms", "admin": "127.0.0.1:0",
                      # series of mounts and interfaces come and go with what else runs on the machine
                      "collectors": ["time", "cpu", "stat", "loadavg", "meminfo", "vmstat", "processes"]},
            "hot": {"admin": "127.0.0.1:0", "max_rate_hz": 50},
            "store": {"admin": "127.0.0.1:0"},
        }
        for name, section in sections.items():
            config.setdefault(name, {}).update(section)
        self.config = write_config(config)
        self.run_program = run_program
        self.store = self.hot = self.agent = None

    def start(self, name, ready=True):
        program = self.run_program(name, config=self.config)
        setattr(self, name.removeprefix("latido-"), program)
        if ready:
            program.wait_ready()
        return program

    def start_consumers(self):
        self.start("latido-store", ready=False)
        self.start("latido-hot", ready=False)
        self.store.wait_ready()
        self.hot.wait_ready()

    def start_all(self):
        self.start_consumers()
        self.start("latido-agent")

    def again(self, name):
        """Start a program once more; its log goes on."""
        program = getattr(self, name.removeprefix("latido-"))
        program.start()
        program.wait_ready()

    def wait_stored(self, seq, source=SOURCE):
        wait_until(lambda: highest(self.postgres, source) >= seq, SECONDS, f"event {seq} of {source} in PostgreSQL")

    def wait_hot(self, seq, source=SOURCE):
        wait_until(lambda: hash_seq(self.redis, source) >= seq, SECONDS, f"event {seq} of {source} in Redis")

    def wait_more(self, events=10):
        """So many further events of the agent go all the way."""
        self.wait_stored(highest(self.postgres, self.SOURCE) + events)
        self.wait_hot(hash_seq(self.redis, self.SOURCE) + events)

    def stop_agent(self):
        """Drain it; returns (epoch, number of its last event) as it says."""
        self.agent.terminate()
        line = self.agent.logged("drained")[-1]
        return int(line["epoch"]), int(line["seq"])

    def check_exact(self, first=1):
        """Stop the agent: PostgreSQL holds exactly first..N of it, Redis the last one."""
        epoch, last = self.stop_agent()
        self.wait_stored(last)
        self.wait_hot(last)
        wait_until(lambda: not missing(self.postgres, self.SOURCE, last)[first - 1:], SECONDS, "no holes")
        assert stored(self.postgres, self.SOURCE) == {epoch: (last - first + 1, last - first + 1, first, last)}
        return last
