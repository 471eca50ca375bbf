# SPDX-License-Identifier: MIT
"""The rules of schemas/alerts on what the programs really publish.

Where waiting would take too long, the shipped files are shortened (shortened()): every `for` and
`keep_firing_for` is one second, and where it says so every window five, and what of the pipeline's
own would have to wait for a minute or ten thousand messages is smaller (SMALLER). Nothing else is changed.
"""

import json
import os
import re
import shutil
import socket
import subprocess
import threading
import time

import psycopg2
import pytest
import yaml

import pipeline
import servers
from alerting import SECONDS, Site, Webhook
from conftest import BIN, ROOT
from kafka import Kafka
from server_alertmanager import Alertmanager
from servers import wait_until

ALERTS = os.path.join(ROOT, "schemas", "alerts")
MACHINE = os.path.join(ROOT, "tests", "data", "proc", "server")  # one that has everything
TOOLS = os.path.join(os.path.dirname(BIN), "tools")
# As lib/consumer/self.c makes it.
HOST = re.sub("[^A-Za-z0-9._:-]", "_", socket.gethostname())

# Selectors whose series no program publishes.
MADE_BY_LATIDO_ALERT = {'up{job="node"}'}


SMALLER = {
    "max by (job) (latido_broker_queued_messages) > 10000": "max by (job) (latido_broker_queued_messages) > 100",
    "latido_consumer_lag_seconds > 60": "latido_consumer_lag_seconds > 2",
    "latido_bridge_lag_seconds > 60": "latido_bridge_lag_seconds > 1",
}


def shortened(file, windows):
    with open(os.path.join(ALERTS, file), encoding="utf-8") as f:
        text = f.read()
    for shipped, smaller in SMALLER.items():
        assert text.count(shipped) == (file == "latido.yaml"), shipped
        text = text.replace(shipped, smaller)
    text = re.sub(r"(?m)^( +(?:for|keep_firing_for): )\d+[smh]$", r"\g<1>1s", text)
    return re.sub(r"\[\d+[smh]\]", "[5s]", text) if windows else text


def shipped_selectors():
    """{selector without window: [alerts]} of all shipped rules."""
    found = {}
    for file in ("node.yaml", "latido.yaml"):
        with open(os.path.join(ALERTS, file), encoding="utf-8") as f:
            rules = [r for g in yaml.safe_load(f)["groups"] for r in g["rules"]]
        for rule in rules:
            text = re.sub(r"\b(by|without|on|ignoring|group_left|group_right)\s*\([^)]*\)", "", rule["expr"])
            names = re.findall(r"\b([A-Za-z_:][A-Za-z0-9_:]*)(\{[^}]*\})?(?![A-Za-z0-9_:]*\s*\()", text)
            for name, matchers in names:
                if name not in ("and", "or", "unless") and not name.isdigit():
                    found.setdefault(name + matchers, []).append(rule["alert"])
    return found


def stored_series(redis):
    """name{labels} of everything that latido-hot has of every source, as rules see it."""
    for key in redis.call("KEYS", "latido:node:*"):
        source = key.split(":", 2)[2]
        flat = redis.call("HGETALL", key)
        for field in flat[::2]:
            if not field.startswith("_"):
                name, _, labels = field.replace("\t", "\\t").partition("{")
                yield f'{name}{{instance="{source}",job="node"' + ("," + labels if labels else "}")


def unmatched(redis, selectors):
    """Those of the selectors that select nothing of what is stored; our own evaluator says so."""
    lines = [f"series\t{s}\t0 1" for s in stored_series(redis)]
    lines += [f"eval\t0\tcount({s})" for s in selectors]
    done = subprocess.run([os.path.join(TOOLS, "promql_tool")], input="\n".join(lines) + "\n", capture_output=True,
                          text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    answers = [json.loads(line) for line in done.stdout.splitlines()]
    assert len(answers) == len(selectors) and not [a for a in answers if "error" in a], answers
    return [s for s, a in zip(selectors, answers) if not a["result"]]


def start_agent(site, **keys):
    """One of several agents on this host: each with a client id of its own."""
    agent = {**site.sections["agent"], **keys}
    bus = {**site.sections["bus"], "mqtt": {"client_id": f"agent-{agent['source']}"}}
    config = site.write_config({**site.sections, "bus": bus, "agent": agent})
    return site.run_program("latido-agent", config=config, label=agent["source"]).wait_ready()


@pytest.fixture
def webhook():
    receiver = Webhook()
    yield receiver
    receiver.close()


@pytest.mark.once
def test_every_selector_finds_what_the_programs_publish(servers_folder, mosquitto, redis, shared_postgres, database,
                                                        write_config, run_program, tmp_path, webhook):
    """Names and labels: agent, bridge, Kafka, and behind it all consumers; each selector matches something.

    Then what only Kafka can do to them: a bridge that is held up, and messages deleted before they were read.
    """
    selectors = shipped_selectors()
    # What the expression above takes out of the rules is what is meant.
    assert {"latido_bus_lag_messages", 'latido_spool_disk_bytes{spool!="deadletters"}', "node_boot_time_seconds",
            'node_cpu_seconds_total{mode="idle"}', "latido_bridge_lag_seconds", "latido_broker_queued_messages",
            "latido_broker_dropped_messages_total", "latido_consumer_lag_seconds"} | MADE_BY_LATIDO_ALERT <= set(selectors)
    wanted = sorted(set(selectors) - MADE_BY_LATIDO_ALERT)
    tree = tmp_path / "machine"
    shutil.copytree(MACHINE, tree, symlinks=True)
    with Kafka(servers_folder) as kafka:
        bus = {"url": kafka.url, "self_interval": "250ms", "backoff_base": "50ms", "backoff_cap": "500ms"}
        behind = {"bus": bus, "redis": {"url": redis.url, "timeout": "10s"},
                  "postgres": {"dsn": database, "timeout": "10s"},
                  "hot": {"admin": "127.0.0.1:0", "max_rate_hz": 50}, "store": {"admin": "127.0.0.1:0"},
                  "bridge": {"admin": "127.0.0.1:0", "mqtt_url": mosquitto.url, "inbox_dir": str(tmp_path / "inbox")},
                  "alert": {"admin": "127.0.0.1:0", "rules": [str(tmp_path / "rules" / "*.yaml")],
                            "webhooks": [webhook.url]}}
        (tmp_path / "rules").mkdir()
        for file in ("node.yaml", "latido.yaml"):
            (tmp_path / "rules" / file).write_text(shortened(file, windows=False), encoding="utf-8")
        config = write_config(behind)
        create = [os.path.join(BIN, "latido"), "topics", "create", "--partitions", "1", "-c", config]
        subprocess.run(create, check=True, capture_output=True, timeout=SECONDS)
        programs = [run_program(name, config=config).wait_ready() for name in ("latido-hot", "latido-store", "latido-alert")]
        # Its figures will be held up like the rest; who is silent for three intervals would be taken for dead.
        behind["bus"] = {**bus, "self_interval": "2s", "kafka": {"max_inflight": 20}}
        programs.append(run_program("latido-bridge", config=write_config(behind)).wait_ready())
        programs.append(run_program("latido-agent", config=write_config({
            "bus": {"url": mosquitto.url},
            "agent": {"source": "node1", "interval": "250ms", "admin": "127.0.0.1:0", "procfs": f"{tree}/proc",
                      "sysfs": f"{tree}/sys", "rootfs": f"{tree}/root", "spool": {"dir": str(tmp_path / "spool")}}})))
        sources = {"node1", *(f"{comp}.{HOST}" for comp in ("hot", "store", "alert", "bridge"))}
        wait_until(lambda: {f"latido:node:{s}" for s in sources} <= set(redis.call("KEYS", "latido:node:*")), SECONDS,
                   f"Redis has {sources}")
        assert unmatched(redis, ["no_such_metric", 'latido_spool_records{spool="none"}'])[1:]
        try:
            wait_until(lambda: not unmatched(redis, wanted), SECONDS, "each selector matches something")
        except TimeoutError:
            pytest.fail("nothing that is published matches\n" + "\n".join(
                f"{s} of {selectors[s]}" for s in unmatched(redis, wanted)))
        else:
            held_up_bridge(kafka, mosquitto, redis, programs[3])
            deleted_messages(kafka, redis, programs[1])
        finally:
            for program in reversed(programs):
                program.kill()


def firing(redis, alert, instance):
    flat = redis.call("HGETALL", "latido:alerts")
    return any(a["labels"]["alertname"] == alert and a["labels"].get("instance") == instance
               and a["state"] == "firing" for a in map(json.loads, flat[1::2]))


def held_up_bridge(kafka, mosquitto, redis, bridge):
    """A quota: Kafka takes what the bridge reads, figures included, but late."""
    instance = f"bridge.{HOST}"
    kafka.quota("latido-bridge", "producer_byte_rate", 50_000)
    client = pipeline.Client(mosquitto)

    def late():
        if bridge.value("latido_bridge_inflight_messages") == 0:  # random bytes do not get smaller on the way
            client.wait([client.send("latido/v1/devices/d1/metrics",
                                     b'{"n":1,"text":"%s"}' % os.urandom(2000).hex().encode()) for _ in range(300)])
        return firing(redis, "LatidoBridgeLag", instance)
    wait_until(late, SECONDS, "LatidoBridgeLag fires")
    kafka.quota("latido-bridge", "producer_byte_rate", None)
    client.close()
    wait_until(lambda: not firing(redis, "LatidoBridgeLag", instance), SECONDS, "LatidoBridgeLag is resolved")


def deleted_messages(kafka, redis, store):
    """What retention does while the store is away."""
    store.terminate()
    end = kafka.ends("latido.metrics")[0]
    wait_until(lambda: kafka.ends("latido.metrics")[0] > end + 10, SECONDS, "messages that it has not read")
    subprocess.run([os.path.join(TOOLS, "kafka_delete"), kafka.servers(), "latido.metrics", "0", str(end + 10)],
                   check=True, timeout=SECONDS)
    store.start()
    wait_until(lambda: firing(redis, "LatidoBusGap", f"store.{HOST}"), SECONDS, "LatidoBusGap fires")


def filled_spool(folder, source, room):
    """A spool of more than a thousand events; its bound leaves this share of room."""
    subprocess.run([os.path.join(TOOLS, "spool_fill"), str(folder), source, "6000", "30"], check=True, timeout=SECONDS)
    size = sum(os.path.getsize(os.path.join(folder, name)) for name in os.listdir(folder))
    assert size > 1 << 20
    return {"dir": str(folder), "max_bytes": f"{int(size * (1 + room))}B"}


@pytest.mark.once
def test_the_pipelines_own_rules_fire(servers_folder, redis, shared_postgres, database, write_config, run_program,
                                      tmp_path, webhook):
    """Gaps, lag, drops, dead letters, backlog, spools, failing rules and notifications: the real cause."""
    with servers.Mosquitto(servers_folder, persistence=True, config="sys_interval 1\nmax_queued_messages 200") as broker:
        pipelines_own_rules(broker, redis, database, write_config, run_program, tmp_path, webhook)


def pipelines_own_rules(mosquitto, redis, database, write_config, run_program, tmp_path, webhook):
    broken = """
  - name: broken
    rules:
      - alert: Broken
        expr: temp * on (job) temp
      - alert: Seen  # an increase needs a value from before it
        expr: latido_agent_events_dropped_total{instance="poor"} >= 0 or latido_spool_errors_total{instance="diskless"} >= 0
"""
    site = Site(mosquitto, redis, database, write_config, run_program, tmp_path,
                shortened("latido.yaml", windows=False) + broken, webhooks=[webhook.url])
    site.sections["bus"]["self_interval"] = "250ms"
    try:
        hot, store, alert = site.start("latido-hot"), site.start("latido-store"), site.start()
        poor, diskless = agents_in_trouble(site, tmp_path / "disk")
        # An increase needs a value from before it. What has come to latido-hot by now and was published
        # after latido-alert was ready has come to that one, too: the broker keeps the order.
        said = "latido_consumer_self_events_total"
        for program, source in ((hot, f"hot.{HOST}"), (store, f"store.{HOST}"), (alert, f"alert.{HOST}")):
            before = program.value(said)
            wait_until(lambda s=source, n=before: int(redis.call("HGET", f"latido:node:{s}", said) or 0) > n, SECONDS,
                       f"{source} has spoken again")

        webhook.answer = 503
        site.client.publish(pipeline.metrics_topic("n1"), b"\x0a\xffjunk")
        for seq in (1, 10):  # 2 to 9 can never come
            site.client.publish(pipeline.metrics_topic("n2"), pipeline.event(
                "n2", seq, [1.0], epoch=7_000_000, shape=pipeline.family("temp"), time_ns=time.time_ns(), oldest=seq,
                interval_ms=60_000))
        site.send("n3", temp=1.0)
        for name in (f"LatidoDeadLetters/hot.{HOST}", f"LatidoDeadLetters/store.{HOST}",
                     f"LatidoEventsLost/store.{HOST}", f"LatidoRulesFailing/alert.{HOST}",
                     f"LatidoNotificationsFailing/alert.{HOST}"):
            site.wait_state(name, "firing")
        assert site.active()[f"LatidoEventsLost/store.{HOST}"]["value"] > 0

        slow_sink(site, database)
        site.wait_state("LatidoSpoolErrors/diskless", "firing")
        diskless.kill()  # it would not leave before its spool is written
        # No spool, no broker: its queue is full, and when the broker is back it says what that has cost.
        mosquitto.kill()
        poor.wait(lambda: poor.value("latido_agent_events_dropped_total", reason="queue_full") > 0, SECONDS, "drops")
        mosquitto.start()
        site.wait_state("LatidoAgentDropping/poor", "firing")
        poor.kill()

        # Nobody takes events out of spools any more, nor out of the broker.
        store.terminate()
        site.client.wait([site.client.send("latido/v1/devices/d1/metrics", b'{"t":1}') for _ in range(300)])
        agents = []
        for source, room, interval in (("full", 0.10, "1s"), ("overfull", 0.01, "100ms")):
            agents.append(start_agent(site, source=source, interval=interval, collectors=["latido", "loadavg"],
                                      spool=filled_spool(tmp_path / source, source, room)))
        for name in ("LatidoSpoolFilling/full", "LatidoBacklog/full", "LatidoSpoolDropping/overfull",
                     "LatidoLag/", "LatidoBrokerDropping/"):
            site.wait_state(name, "firing")
        found = site.active()["LatidoSpoolFilling/full"]
        assert found["labels"]["spool"] == "agent" and 0.8 < found["value"] <= 1
        assert site.active()["LatidoSpoolDropping/overfull"]["labels"]["reason"] == "disk_full"
        assert hot.value("latido_broker_queued_messages") > 100
        assert hot.value("latido_broker_dropped_messages_total") > 0
        for agent in agents:
            agent.kill()
        store.start()
        wait_until(lambda: site.state("LatidoLag/") is None, SECONDS, "LatidoLag is resolved")
        assert hot.value("latido_broker_queued_messages") <= 100
    finally:
        site.close()


def agents_in_trouble(site, disk):
    """Without a spool and with little memory; with a spool whose folder goes away."""
    keys = {"interval": "100ms", "collectors": ["latido", "cpu", "meminfo", "vmstat"]}
    poor = start_agent(site, source="poor", queue_max_bytes="64KiB", encoding="json", **keys)
    diskless = start_agent(site, source="diskless", spool={"dir": str(disk), "max_bytes": "32MiB"}, **keys)
    site.wait_state("Seen/poor", "firing")
    site.wait_state("Seen/diskless", "firing")
    shutil.rmtree(disk)  # files that are open go on; the next one cannot be made
    return poor, diskless


def slow_sink(site, database):
    """What the store writes to holds it up: it says so, and it is over with the reason."""
    with psycopg2.connect(database) as other:
        other.cursor().execute("LOCK TABLE snapshot IN ACCESS EXCLUSIVE MODE")
        assert site.wait_state(f"LatidoDelay/store.{HOST}", "firing")["value"] > 2
        other.rollback()
    other.close()
    wait_until(lambda: site.state(f"LatidoDelay/store.{HOST}") is None, SECONDS, "LatidoDelay is resolved")


class Processor:
    """/proc/stat of a machine with one CPU that is busy or not."""

    def __init__(self, path):
        self.fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_TRUNC, 0o644)
        self.busy, self.ended = False, threading.Event()
        self.user = self.idle = 0.0
        self.last = time.monotonic()
        self.write()
        self.thread = threading.Thread(target=self.run, daemon=True)
        self.thread.start()

    def write(self):
        now = time.monotonic()
        if self.busy:
            self.user += 100 * (now - self.last)
        else:
            self.idle += 100 * (now - self.last)
        self.last = now
        times = f"{int(self.user):08d} 0 0 {int(self.idle):08d} 0 0 0 0 0 0"
        os.pwrite(self.fd, f"cpu  {times}\ncpu0 {times}\nintr 0\nctxt 0\nbtime 1763700000\nprocesses 1\n".encode(), 0)

    def run(self):
        while not self.ended.wait(0.05):
            self.write()

    def close(self):
        self.ended.set()
        self.thread.join()
        os.close(self.fd)


def alerts_of(manager):
    """{(name, instance)} of what the Alertmanager has and was not told to be resolved."""
    status, body = manager.get("/api/v2/alerts")
    assert status == 200, body
    return {(a["labels"]["alertname"], a["labels"].get("instance")) for a in json.loads(body)}


def not_ours():
    """Why busy loops of ours cannot load all CPUs that /proc/stat counts; "" where they can."""
    try:
        with open("/sys/fs/cgroup/cpu.max", encoding="ascii") as f:
            quota = f.read().split()[0]
    except OSError:
        quota = "max"
    if len(os.sched_getaffinity(0)) < os.cpu_count():
        return f"only {len(os.sched_getaffinity(0))} of {os.cpu_count()} CPUs may be used"
    return "" if quota == "max" else "a quota of CPU time is set"


@pytest.mark.threaded
def test_load_and_a_stopped_agent_reach_the_alertmanager(mosquitto, redis, servers_folder, write_config, run_program,
                                                         tmp_path):
    """HighCpu and NodeDown as they are shipped, but for their times; load, and a stopped agent."""
    tree = tmp_path / "machine"
    (tree / "proc").mkdir(parents=True)
    processor = Processor(tree / "proc/stat")
    load = []
    with Alertmanager(servers_folder) as manager:
        # An alert that is not resolved stays with the Alertmanager for four times that.
        site = Site(mosquitto, redis, None, write_config, run_program, tmp_path, shortened("node.yaml", windows=True),
                    alertmanagers=[manager.url], resend="10m")
        try:
            site.start("latido-hot")
            site.start()
            agent = start_agent(site)
            start_agent(site, source="node2", procfs=str(tree / "proc"), collectors=["cpu"])
            if not not_ours():
                for _ in range(os.cpu_count() + 2):
                    load.append(subprocess.Popen(["sh", "-c", "while :; do :; done"]))
                    servers.guard_process(load[-1].pid)
                wait_until(lambda: ("HighCpu", "node1") in alerts_of(manager), SECONDS, "the machine's load is known")
                for process in load:
                    process.kill()
                    process.wait()
            # When a real machine is idle again is not ours to say.
            processor.busy = True
            wait_until(lambda: ("HighCpu", "node2") in alerts_of(manager), SECONDS, "the Alertmanager has HighCpu")
            processor.busy = False
            wait_until(lambda: ("HighCpu", "node2") not in alerts_of(manager), SECONDS, "HighCpu is resolved there")
            agent.terminate()
            wait_until(lambda: ("NodeDown", "node1") in alerts_of(manager), SECONDS, "the Alertmanager has NodeDown")
            agent.start()
            wait_until(lambda: ("NodeDown", "node1") not in alerts_of(manager), SECONDS, "NodeDown is resolved there")
        finally:
            for process in load:
                process.kill()
                process.wait()
            processor.close()
            site.close()
    if not_ours():
        pytest.skip(f"HighCpu by real load was left out, all else was fine: {not_ours()}")
