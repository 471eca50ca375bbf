# SPDX-License-Identifier: MIT
"""latido alerts: what an operator asks it, on what stands in Redis and PostgreSQL."""

import json
import os
import re
import subprocess
import time

import pytest

pytestmark = pytest.mark.once

DAY = 86400


@pytest.fixture
def latido(bin_folder, write_config, redis, shared_postgres, database):
    """Runs latido alerts; .ok(): its output."""
    config = write_config({"redis": {"url": redis.url}, "postgres": {"dsn": database}})
    subprocess.run([os.path.join(bin_folder, "latido-store"), "--config", config, "--migrate"], check=True, timeout=60,
                   capture_output=True)

    def run(*args):
        return subprocess.run([os.path.join(bin_folder, "latido"), "alerts", "-c", config, *args], capture_output=True,
                              text=True, timeout=60, check=False)

    def ok(*args):
        done = run(*args)
        assert done.returncode == 0, done.stderr
        return done.stdout

    run.ok = ok
    run.sql = lambda query: shared_postgres.sql(query, database.split("dbname=")[1].split()[0])
    run.redis = redis
    return run


NOW = time.time()


def time_of(ago_s):
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(NOW - ago_s))


def labels(name, source, severity):
    return {"alertname": name, "instance": source, "severity": severity}


def activate(redis, fingerprint, name, source, severity, state, value):
    redis.call("HSET", "latido:alerts", fingerprint, json.dumps({
        "fingerprint": fingerprint, "state": state, "labels": labels(name, source, severity),
        "annotations": {"summary": f"{source} is not well"}, "activeAt": time_of(300), "value": value}))


def happened(latido, fingerprint, name, source, severity, state, ago_s, active_ago_s, value="0.9123456789"):
    latido.sql(f"INSERT INTO alert_event VALUES ('{fingerprint}', '{time_of(active_ago_s)}', '{state}', "
               f"'{time_of(ago_s)}', {value}, '{name}', '{source}', '{json.dumps(labels(name, source, severity))}', "
               "'{}', '{}')")


def test_active(latido):
    assert latido.ok() == "no active alerts\n"
    activate(latido.redis, "a1", "HighCpu", "web1", "warning", "pending", 0.8765432109)
    activate(latido.redis, "b2", "NodeDown", "db1", "critical", "firing", 0)
    head, first, second, total = latido.ok().splitlines()
    assert head.split() == ["state", "alert", "source", "severity", "since", "value", "summary"]
    assert re.match(r"firing +NodeDown +db1 +critical +\d+m +0  db1 is not well$", first), first
    assert re.match(r"pending +HighCpu +web1 +warning +\d+m +0\.876543  web1 is not well$", second), second
    assert total == "1 firing, 1 pending"
    for options, fingerprint in ((["--severity", "critical"], "b2"), (["-s", "web1"], "a1"), (["-a", "NodeDown"], "b2"),
                                 (["--state", "pending"], "a1")):
        assert [json.loads(line)["fingerprint"] for line in latido.ok("--json", *options).splitlines()] == [fingerprint]
    assert latido.ok("--severity", "info") == "no active alerts\n"


def test_history(latido):
    assert latido.ok("--history") == "no alerts\n"
    happened(latido, "a1", "HighCpu", "web1", "warning", "pending", 7200, 7200)
    happened(latido, "a1", "HighCpu", "web1", "warning", "firing", 7020, 7200)
    happened(latido, "a1", "HighCpu", "web1", "warning", "resolved", 3600, 7200, "NULL")
    happened(latido, "b2", "NodeDown", "db1", "critical", "firing", 3 * DAY, 3 * DAY)
    head, *rows = latido.ok("--history").splitlines()
    assert head.split() == ["at", "state", "after", "alert", "source", "value", "severity"]
    assert [row.split()[1:] for row in rows] == [
        ["pending", "-", "HighCpu", "web1", "0.912346", "warning"],
        ["firing", "3m", "HighCpu", "web1", "0.912346", "warning"],
        ["resolved", "60m", "HighCpu", "web1", "-", "warning"]]

    def states(*options):
        return [json.loads(line)["state"] for line in latido.ok("--history", "-o", "json", *options).splitlines()]

    assert states("--since", "7d") == ["firing", "pending", "firing", "resolved"]
    assert states("--hours", "100") == states("--since", "7d")
    assert states("--since", time_of(7100)) == ["firing", "resolved"]
    assert states("--until", "90m") == ["pending", "firing"]
    assert states("--since", "7d", "--until", time_of(DAY)) == ["firing"]
    assert states("--since", "7d", "--severity", "critical") == ["firing"]
    assert states("--state", "resolved") == ["resolved"]
    assert states("-s", "db1") == []
    assert states("-n", "1") == ["resolved"]


@pytest.mark.parametrize("options, reason", [
    (["--since", "1h"], "--history"), (["--history", "--since", "tomorrow"], "--since: a time"),
    (["--history", "--since", "1h", "--until", "2h"], "later than"), (["--state", "resolved"], "--history"),
    (["--history", "--state", "odd"], "cancelled"), (["--hours", "2"], "--history"), (["more"], "more")])
def test_what_cannot_be_meant(bin_folder, options, reason):
    done = subprocess.run([os.path.join(bin_folder, "latido"), "alerts", *options], capture_output=True, text=True,
                          timeout=60, check=False)
    assert done.returncode == 2 and reason in done.stderr, done.stderr
