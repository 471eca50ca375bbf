# SPDX-License-Identifier: MIT
"""docs/bounds.md: each bounded thing has a figure for its fill and one for what its bound cost."""

import os
import re

import pytest

from conftest import ROOT

pytestmark = pytest.mark.once

METRIC = re.compile(r'`(latido_[a-z_]+)(?:\{([^}]*)\})?`')


def table():
    """(programs, what, fill, cost) of each row."""
    with open(os.path.join(ROOT, "docs", "bounds.md"), encoding="utf-8") as f:
        rows = [[cell.strip() for cell in line.strip().strip("|").split("|")] for line in f if line.startswith("| latido")]
    return [(programs.split(", "), what, METRIC.findall(fill), METRIC.findall(cost), cost)
            for programs, what, _, fill, cost in rows]


def test_every_bounded_thing_has_its_figures(mosquitto, redis, database, write_config, run_program, tmp_path):
    bus = {"url": mosquitto.url}
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
    }
    metrics = {name: program.wait_ready().metrics() for name, program in running.items()}
    for name, scrape in metrics.items():
        keys = [(n, *sorted(labels.items())) for n, labels, _ in scrape.samples]
        assert len(keys) == len(set(keys)), f"{name} shows a metric twice"
    rows = table()
    assert len(rows) > 15
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
