# SPDX-License-Identifier: MIT
"""latido-bridge: from MQTT to Kafka and on into PostgreSQL, each numbered event once, whatever dies.

Real Mosquitto (which forgets everything when it is killed), Apache Kafka and PostgreSQL.
LATIDO_FULL=1: more deaths, more events; the same scenarios.
"""

import base64
import json
import os
import random
import re
import signal
import subprocess

import pytest
import servers
from conftest import BIN
from kafka import Kafka
from pipeline import Client, event, metrics_topic
from servers import wait_until

pytestmark = pytest.mark.once

FULL = os.environ.get("LATIDO_FULL") == "1"
TOOLS = os.path.join(os.path.dirname(BIN), "tools")
SECONDS = 120
EPOCH = 1763700000000000


class World:
    """Servers, and programs that are killed."""

    def __init__(self, broker, kafka, postgres, database, write_config, run_program, tmp_path):
        self.broker, self.kafka, self.postgres, self.database = broker, kafka, postgres, database
        self.write_config, self.run_program, self.tmp_path = write_config, run_program, tmp_path
        self.random = random.Random(7)
        kafka.used += 1
        self.topics = {"topic": f"t{kafka.used}.metrics", "deadletter_topic": f"t{kafka.used}.deadletter",
                       "alerts_topic": f"t{kafka.used}.alerts", "session_timeout": "2s"}
        self.kafka_config = write_config({"bus": {"url": kafka.url, "kafka": self.topics}}, "kafka.yaml")
        self.latido("topics", "create", "--partitions", "3", "-c", self.kafka_config)

    def latido(self, *args, code=0):
        done = subprocess.run([os.path.join(BIN, "latido"), *args], capture_output=True, text=True, check=False,
                              timeout=SECONDS)
        assert done.returncode == code, done.stdout + done.stderr
        return done

    def bridge(self, name="bridge", ready=True, bus=None, **changes):
        config = self.write_config({
            "bus": {"url": self.kafka.url, "backoff_base": "50ms", "backoff_cap": "500ms", "kafka": self.topics,
                    "mqtt": {"client_id": name, "keepalive": "2s", "connect_timeout": "2s"}, **(bus or {})},
            "limits": {"max_bytes": "4MiB"},
            "bridge": {"admin": "127.0.0.1:0", "mqtt_url": self.broker.url, "inbox_dir": str(self.tmp_path / name),
                       **changes}})
        program = self.run_program("latido-bridge", config=config, label=name)
        return program.wait_ready() if ready else program

    def store(self):
        return self.run_program("latido-store", config=self.write_config({
            "bus": {"url": self.kafka.url, "backoff_base": "50ms", "backoff_cap": "500ms", "kafka": self.topics},
            "postgres": {"dsn": self.database, "timeout": "10s"},
            "store": {"admin": "127.0.0.1:0", "batch": {"linger": "20ms"}}})).wait_ready()

    def agent(self, source="n1", interval="100ms"):
        return self.run_program("latido-agent", label=f"agent-{source}", config=self.write_config({
            "bus": {"url": self.broker.url, "backoff_base": "50ms", "backoff_cap": "500ms",
                    "mqtt": {"client_id": f"agent-{source}", "keepalive": "2s", "connect_timeout": "2s"}},
            "agent": {"source": source, "interval": interval, "admin": "127.0.0.1:0", "collectors": ["loadavg"],
                      "backlog_rate": 5000, "spool": {"dir": str(self.tmp_path / f"spool-{source}")}}})).wait_ready()

    def dump(self, which="topic"):
        done = subprocess.run([os.path.join(TOOLS, "kafka_dump"), self.kafka_config, self.topics[which]],
                              capture_output=True, text=True, check=True, timeout=SECONDS)
        messages = [json.loads(line) for line in done.stdout.splitlines()]
        for m in messages:
            m["body"] = base64.b64decode(m["body"])
        return messages

    def sql(self, query):
        try:
            return self.postgres.sql(query, re.search(r"dbname=(\w+)", self.database)[1])
        except servers.ServerError:
            return []

    def epochs(self, source):
        """(rows, distinct, highest, upto, islands) of each epoch, oldest first"""
        return [tuple(int(x) if x.isdigit() else x for x in row) for row in self.sql(f"""
            SELECT count(d.seq), count(DISTINCT d.seq), coalesce(max(d.seq), 0), p.upto, p.above
            FROM epoch e JOIN source s ON s.id = e.source_id JOIN progress p ON p.epoch_id = e.id
            LEFT JOIN snapshot d ON d.epoch_id = e.id WHERE s.name = '{source}' AND e.epoch > 0
            GROUP BY e.id, e.epoch, p.upto, p.above ORDER BY e.epoch""")]

    def highest(self, source):
        rows = self.epochs(source)
        return rows[-1][2] if rows else 0

    def more(self, source="n1", events=20):
        """So many further events are stored."""
        goal = self.highest(source) + events
        wait_until(lambda: self.highest(source) >= goal, SECONDS, f"event {goal} of {source}")

    def whole(self, *sources):
        """Each source is stored without hole or duplicate, in one epoch, and nothing was given up."""
        for source in sources:
            def check(source=source):
                rows = self.epochs(source)
                return len(rows) == 1 and rows[0][0] == rows[0][1] == rows[0][2] == rows[0][3] and rows[0][4] == "{}"
            wait_until(check, SECONDS, f"every event of {source} stored once, not {self.epochs(source)}")
        assert self.sql("SELECT count(*) FROM gap") == [("0",)]

    def finish(self, agents, *bridges):
        """The agents end, their spools drain, and all of them is stored and acknowledged."""
        for agent in agents.values():
            agent.terminate()
        last = {source: int(agent.logged("drained")[-1]["seq"]) for source, agent in agents.items()}
        # What is left in the spools is sent, or sent again.
        agents = [self.agent(source, "1h") for source in agents]
        for agent in agents:
            wait_until(lambda a=agent: held(a) == 0, SECONDS, "an empty spool")
        for program in (*agents, *bridges):
            program.terminate()
        for source, seq in last.items():
            self.acknowledged(source, seq)
            self.whole(source)

    def acknowledged(self, source, seq):
        """The retained acknowledgement names 1..seq and nothing else."""
        client = Client(self.broker, [f"latido/v1/nodes/{source}/ack"])
        try:
            wait_until(lambda: client.messages and json.loads(client.messages[-1][1])["have"] == [[1, seq]], SECONDS,
                       f"{source} acknowledged up to {seq}")
        except TimeoutError as e:
            raise TimeoutError(f"{e}, but: {client.messages}; stored: {self.epochs(source)}") from None
        client.close()


def held(program):
    return program.value("latido_spool_records", spool="agent")


def kill(program):
    program.signal(signal.SIGKILL)
    program.process.wait()


@pytest.fixture(scope="module")
def kafka(tmp_path_factory):
    """One broker for the tests of this file; each has topics of its own."""
    with Kafka(str(tmp_path_factory.mktemp("kafka"))) as server:
        server.used = 0
        yield server


@pytest.fixture
def world(kafka, servers_folder, shared_postgres, database, write_config, run_program, tmp_path):
    with servers.Mosquitto(servers_folder, persistence=False) as broker:
        yield World(broker, kafka, shared_postgres, database, write_config, run_program, tmp_path)


def test_bytes_headers_keys_and_letters(world):
    """What arrives in Kafka is what was sent; what nobody could name is a dead letter there."""
    bridge = world.bridge()
    client = Client(world.broker, ["latido/v1/nodes/+/ack", "latido/v1/devices/+/ack"])
    sent = {
        metrics_topic("n1"): event("n1", 1, [1.0, 2.0], epoch=EPOCH),
        "latido/v1/nodes/n2/backlog": event("n2", 7, [3.0], epoch=EPOCH),
        "latido/v1/devices/d1/metrics": b' {"temperature": 21.50 }\n',
        "latido/v1/devices/d2/metrics/room/humidity": b"40.5",
    }
    for topic, payload in sent.items():
        client.publish(topic, payload)
    bad = {
        metrics_topic("n3"): (b"\x0a\xffjunk", "decode"),
        metrics_topic("n4"): (event("n5", 1, [1.0], epoch=EPOCH), "source_mismatch"),
        "latido/v1/devices/d3/metrics": (b"{", "decode"),
    }
    for topic, (payload, _) in bad.items():
        client.publish(topic, payload)
    wait_until(lambda: bridge.value("latido_bridge_delivered_total") == 4, SECONDS, "all delivered")
    found = {m["headers"]["mqtt-topic"]: m for m in world.dump()}
    assert {t: m["body"] for t, m in found.items()} == sent
    assert {t: m["key"] for t, m in found.items()} == {t: t.split("/")[3] for t in sent}
    for source, seq in (("n1", 1), ("n2", 7)):
        wait_until(lambda t=f"latido/v1/nodes/{source}/ack", n=seq: client.json(t)[-1:] ==
                   [{"epoch": EPOCH, "have": [[n, n]]}], SECONDS, f"the acknowledgement of {source}")
    assert not [t for t, _ in client.messages if t.split("/")[3] not in ("n1", "n2")]
    wait_until(lambda: len(world.dump("deadletter_topic")) == 3, SECONDS, "dead letters")
    for m in world.dump("deadletter_topic"):
        payload, reason = bad[m["headers"]["latido.topic"]]
        assert m["body"] == payload and m["headers"]["latido.reason"] == reason
        assert m["headers"]["__connect.errors.connector.name"] == "bridge"
    # None of it stands in the way of what comes behind.
    client.publish(metrics_topic("n1"), event("n1", 2, [1.0], epoch=EPOCH))
    wait_until(lambda: bridge.value("latido_bridge_delivered_total") == 5, SECONDS, "the next one")
    bridge.terminate()
    client.close()


def test_a_bridge_killed_again_and_again(world):
    world.store()
    bridge = world.bridge()
    agents = {s: world.agent(s) for s in ("n1", "n2", "n3")}
    for _ in range(30 if FULL else 5):
        world.more(world.random.choice(list(agents)), world.random.randrange(1, 20))
        kill(bridge)
        bridge = world.bridge(ready=False)
    world.finish(agents, bridge.wait_ready())


def test_two_bridges_come_and_go(world):
    """Killed, stopped for a while, ended; each event is there once, and the last word is complete."""
    world.store()
    bridges = {name: world.bridge(name) for name in ("east", "west")}
    agents = {s: world.agent(s) for s in ("n1", "n2")}
    world.more()
    for i in range(12 if FULL else 3):
        name = world.random.choice(list(bridges))
        if i % 3 == 0:
            kill(bridges[name])
        elif i % 3 == 1:
            bridges[name].signal(signal.SIGSTOP)
        else:
            bridges[name].terminate()
        # The other one carries it alone.
        world.more(events=world.random.randrange(10, 40))
        if i % 3 == 1:
            bridges[name].signal(signal.SIGCONT)
        else:
            bridges[name] = world.bridge(name, ready=False)
        world.more()
    for bridge in bridges.values():
        bridge.wait_ready()
    world.finish(agents, *bridges.values())


def test_devices_while_the_bridge_is_killed(world):
    """Unnumbered messages that the broker was told we have are in Kafka, at least once."""
    bridge = world.bridge()
    client = Client(world.broker)
    sent = []
    for i in range(20 if FULL else 5):
        batch = [client.send("latido/v1/devices/d1/metrics", b'{"n":%d}' % (1000 * i + n)) for n in range(200)]
        sent += [b'{"n":%d}' % (1000 * i + n) for n in range(200)]
        if i % 2:
            client.wait(batch[:100])
        kill(bridge)
        client.wait(batch)
        bridge = world.bridge(ready=False)
    wait_until(lambda: bridge.ready() and bridge.value("latido_bridge_inflight_messages") == 0
               and bridge.value("latido_spool_records", spool="inbox") == 0, SECONDS, "all of it forwarded")
    found = [m["body"] for m in world.dump()]
    assert set(sent) <= set(found)
    assert len(found) < 2 * len(sent)
    bridge.terminate()
    client.close()


def test_two_bridges_share_the_devices(world):
    bridges = [world.bridge(name, device_group="pair") for name in ("east", "west")]
    client = Client(world.broker)
    sent = [b'{"n":%d}' % n for n in range(400)]
    client.wait([client.send("latido/v1/devices/d1/metrics", payload) for payload in sent])
    wait_until(lambda: sum(b.value("latido_bridge_delivered_total") for b in bridges) == 400, SECONDS, "delivered")
    assert sorted(m["body"] for m in world.dump()) == sorted(sent)
    assert all(b.value("latido_bridge_delivered_total") > 100 for b in bridges)
    for bridge in bridges:
        bridge.terminate()
    client.close()


def test_kafka_away(world):
    """Nothing more is read than fits; devices' messages keep the time of their arrival."""
    world.store()
    bridge = world.bridge(bus={"queue_bytes": "1MiB"}, inbox_max_bytes="8MiB")
    agents = {"n1": world.agent()}
    client = Client(world.broker)
    world.more()
    world.kafka.kill()
    sent = [b'{"n":%d,"text":"%s"}' % (n, b"x" * 4000) for n in range(1000)]
    client.wait([client.send("latido/v1/devices/d1/metrics", payload) for payload in sent])
    wait_until(lambda: bridge.value("latido_bus_pauses_total") > 0, SECONDS, "reading stops")
    assert bridge.value("latido_bridge_inflight_bytes") < 3 << 20
    kill(bridge)  # what it held of the devices is in its inbox
    bridge = world.bridge(ready=False, bus={"queue_bytes": "1MiB"}, inbox_max_bytes="8MiB")
    wait_until(lambda: held(agents["n1"]) > 30, SECONDS, "the agent keeps its events")
    assert not bridge.ready()
    world.kafka.start()
    wait_until(lambda: bridge.ready() and {m["body"] for m in world.dump() if m["key"] == "d1"} == set(sent), SECONDS,
               "all of the devices' messages")
    wait_until(lambda: bridge.value("latido_spool_records", spool="inbox") == 0, SECONDS, "the inbox is empty")
    client.close()
    world.finish(agents, bridge)


def test_the_broker_killed(world):
    """Mosquitto forgets sessions, queues and acknowledgements; the bridge tells it again."""
    world.store()
    bridge = world.bridge()
    agents = {s: world.agent(s) for s in ("n1", "n2")}
    for _ in range(10 if FULL else 3):
        world.more(events=world.random.randrange(1, 30))
        world.broker.kill()
        world.broker.start()
    world.finish(agents, bridge)


def test_a_new_bridge_knows_what_kafka_has(world):
    """It reads the acknowledgements back: nothing is sent again, and nobody waits."""
    world.store()
    bridge = world.bridge()
    agent = world.agent()
    world.more()
    bridge.terminate()
    kill(agent)
    wait_until(lambda: world.highest("n1") > 0, SECONDS, "stored")
    before = len(world.dump())
    bridge = world.bridge("another")
    client = Client(world.broker)
    # An event that Kafka has already, sent by somebody who does not know that.
    client.publish(metrics_topic("n1"), event("n1", 1, [1.0], epoch=epoch_of(world, "n1")))
    wait_until(lambda: bridge.value("latido_bridge_known_total") == 1, SECONDS, "it is known")
    assert len(world.dump()) == before and bridge.value("latido_bridge_delivered_total") == 0
    client.close()
    world.finish({"n1": world.agent()}, bridge)


def test_what_kafka_refuses(world):
    """Too large for the topic: a dead letter, cut, and its source need not send it again."""
    bridge = world.bridge()
    client = Client(world.broker, ["latido/v1/nodes/n1/ack"])
    note = base64.b64encode(os.urandom(1_400_000)).decode()  # does not get smaller by compression
    large = json.dumps({"source": "n1", "epoch": EPOCH, "seq": 1, "metrics": {"a": 1}, "note": note}).encode()
    client.publish(metrics_topic("n1"), large)
    client.publish(metrics_topic("n1"), event("n1", 2, [1.0], epoch=EPOCH))
    wait_until(lambda: client.json("latido/v1/nodes/n1/ack")[-1:] == [{"epoch": EPOCH, "have": [[1, 2]]}], SECONDS,
               "both are acknowledged")
    assert bridge.value("latido_bridge_refused_total") == 1 and len(world.dump()) == 1
    letter, = wait_until(lambda: world.dump("deadletter_topic"), SECONDS, "the dead letter")
    assert letter["body"] == large[:512 * 1024]
    assert letter["headers"]["latido.truncated"] == "1" and letter["headers"]["latido.topic"] == metrics_topic("n1")
    assert "left out" in world.latido("deadletter", "replay", "-c", world.kafka_config, "--all", code=1).stderr
    bridge.terminate()
    client.close()


def epoch_of(world, source):
    return int(world.sql(f"SELECT max(epoch) FROM epoch e JOIN source s ON s.id = source_id WHERE s.name = '{source}'")
               [0][0])
