# SPDX-License-Identifier: MIT
"""docs/bounds.md: each bounded thing has a figure for its fill and one for what its bound cost."""

import os
import re

import pytest

from alerting import Webhook
from conftest import ROOT
from kafka import Kafka
from kafka_site import Site

pytestmark = pytest.mark.once

METRIC = re.compile(r'`(latido_[a-z_]+)(?:\{([^}]*)\})?`')


def table():
    """(programs, what, fill, cost) of each row."""
    with open(os.path.join(ROOT, "docs", "bounds.md"), encoding="utf-8") as f:
        rows = [[cell.strip() for cell in line.strip().strip("|").split("|")] for line in f if line.startswith("| latido")]
    return [(programs.split(", "), what, METRIC.findall(fill), METRIC.findall(cost), cost)
            for programs, what, _, fill, cost in rows]


@pytest.fixture
def webhook():
    receiver = Webhook()
    yield receiver
    receiver.close()


@pytest.fixture
def kafka(servers_folder):
    with Kafka(servers_folder) as server:
        yield server


def test_every_bounded_thing_has_its_figures(mosquitto, redis, postgres, kafka, webhook, write_config, run_program, tmp_path):
    bus = {"url": mosquitto.url}
    database = postgres.dsn
    site = Site(kafka, postgres, write_config, run_program, tmp_path)
    site.topics()
    rules = tmp_path / "rules.yaml"
    rules.write_text("groups: [{name: g, rules: [{alert: A, expr: x > 1}]}]\n")
    agent = {"source": "n1", "admin": "127.0.0.1:0", "collectors": ["loadavg"]}
    running = {
        "latido-agent": run_program("latido-agent", config=write_config(
            {"bus": bus, "agent": {**agent, "spool": {"dir": str(tmp_path / "spool")}}})),
        "latido-agent without a spool": run_program("latido-agent", config=write_config(
            {"bus": bus, "agent": {**agent, "source": "n2"}})),
        "latido-hot": run_program("latido-hot", config=write_config(
            {"bus": bus, "redis": {"url": redis.url}, "hot": {"admin": "127.0.0.1:0"}})),
        "latido-store": run_program("latido-store", config=write_config(
            {"bus": bus, "postgres": {"dsn": database},
             "store": {"admin": "127.0.0.1:0", "inbox_dir": str(tmp_path / "inbox")}})),
        "latido-store on Kafka": site.store(),
        "latido-bridge": run_program("latido-bridge", config=write_config(
            {"bus": {"url": kafka.url},
             "bridge": {"admin": "127.0.0.1:0", "mqtt_url": mosquitto.url, "inbox_dir": str(tmp_path / "bridge")}})),
        "latido-alert": run_program("latido-alert", config=write_config(
            {"bus": bus, "redis": {"url": redis.url}, "postgres": {"dsn": database},
             "alert": {"admin": "127.0.0.1:0", "rules": [str(rules)], "webhooks": [webhook.url]}})),
        "latido-live": run_program("latido-live", config=write_config(
            {"redis": {"url": redis.url}, "postgres": {"dsn": database},
             "live": {"admin": "127.0.0.1:0", "listen": "127.0.0.1:0", "auth": "none"}})),
    }
    metrics = {name: program.wait_ready().metrics() for name, program in running.items()}
    for name, scrape in metrics.items():
        keys = [(n, *sorted(labels.items())) for n, labels, _ in scrape.samples]
        assert len(keys) == len(set(keys)), f"{name} shows a metric twice"
    rows = table()
    assert len(rows) > 35
    seen = set()
    for programs, what, fill, cost, text in rows:
        assert fill, f"{what}: no figure for its fill"
        assert cost or text.startswith("nothing"), f"{what}: no figure for what it costs"
        for program in programs:
            seen.add(program)
            for name, labels in fill + cost:
                wanted = dict(re.findall(r'(\w+)="([^"]*)"', labels))
                try:
                    metrics[program].value(name, **wanted)
                except KeyError:
                    pytest.fail(f"{program} has no {name} {wanted} ({what})")
            assert all(name.endswith("_total") for name, _ in cost)
    assert seen == set(running)
