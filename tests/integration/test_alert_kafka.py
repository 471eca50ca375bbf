# SPDX-License-Identifier: MIT
"""latido-alert with Kafka as bus: every instance reads everything, and on start from a time on."""

import base64
import json
import os
import subprocess

import pytest
from alerting import SECONDS
from conftest import BIN
from kafka import Kafka
from servers import wait_until

pytestmark = pytest.mark.once

TOOLS = os.path.join(os.path.dirname(BIN), "tools")
RULES = """
groups:
- name: g
  rules:
  - alert: Seen
    expr: count_over_time(node_load1[2m]) >= 5
  - alert: NodeDown
    expr: up == 0
"""


def test_windows_from_kafka_and_two_instances(servers_folder, redis, write_config, run_program, tmp_path):
    with Kafka(servers_folder) as kafka:
        (tmp_path / "rules.yaml").write_text(RULES, encoding="utf-8")
        create = [os.path.join(BIN, "latido"), "topics", "create", "--bus", kafka.url]
        # A broker on a busy machine may take its time to be let in.
        wait_until(lambda: subprocess.run(create, check=False, capture_output=True).returncode == 0, SECONDS,
                   "the topics are there")

        def config(name):
            return write_config({
                "bus": {"url": kafka.url}, "redis": {"url": redis.url},
                "agent": {"source": "node1", "interval": "500ms", "admin": "127.0.0.1:0", "collectors": ["loadavg"]},
                "alert": {"admin": "127.0.0.1:0", "rules": [str(tmp_path / "rules.yaml")], "history": False,
                          "lease": "1s", "interval": "500ms", "instance": name}}, f"{name}.yaml")

        def active():
            return {json.loads(v)["labels"]["alertname"]: json.loads(v)["state"]
                    for v in redis.call("HGETALL", "latido:alerts")[1::2]}

        agent = run_program("latido-agent", config=config("agent")).wait_ready()
        agent.wait(lambda: agent.value("latido_agent_events_total") >= 6, SECONDS, "six events")
        agent.terminate()
        # Nobody sends any more: what fires now was in Kafka before.
        first = run_program("latido-alert", config=config("first"), label="first").wait_ready()
        wait_until(lambda: active() == {"Seen": "firing", "NodeDown": "firing"}, SECONDS, "windows came from Kafka")
        second = run_program("latido-alert", config=config("second"), label="second").wait_ready()
        second.wait(lambda: second.value("latido_alert_alerts", state="firing") == 2, SECONDS, "the second, too")
        first.kill()
        wait_until(lambda: second.value("latido_alert_leader") == 1, SECONDS, "it takes over")
        agent.start()
        wait_until(lambda: active() == {"Seen": "firing"}, SECONDS, "the node is back")
        dump_config = config("dump")

        def told():
            dump = subprocess.run([os.path.join(TOOLS, "kafka_dump"), dump_config, "latido.alerts"], check=True,
                                  capture_output=True, text=True)
            found = {}
            for r in (json.loads(line) for line in dump.stdout.splitlines()):
                body = base64.b64decode(r["body"])
                event = json.loads(body)["data"] if body else None
                found.setdefault(r["key"], []).append(event and (event["labels"]["alertname"], event["state"]))
            return [e for events in found.values() if events[0][0] == "NodeDown" for e in dedupe(events)]

        # In order for each fingerprint, and a tombstone behind what ended.
        whole = [("NodeDown", "firing"), ("NodeDown", "resolved"), None]
        wait_until(lambda: len(told()) >= len(whole), SECONDS, "published")
        assert told()[:len(whole)] == whole  # an agent that was held up for long is down once more
        agent.terminate()
        second.terminate()


def dedupe(events):
    """A new leader publishes what is active once more."""
    return [e for i, e in enumerate(events) if i == 0 or e != events[i - 1]]
