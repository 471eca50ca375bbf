# SPDX-License-Identifier: MIT
"""latido-alert on real servers: from an event to every output, restarts, several instances."""

import datetime
import hashlib
import hmac
import json
import os
import re
import signal
import subprocess
import time

import pytest

import pipeline
import servers
from alerting import EPOCH, SECONDS, Site, Webhook
from conftest import ROOT
from server_alertmanager import Alertmanager
from servers import wait_until

RULES = """
groups:
- name: temperature
  rules:
  - alert: Hot
    expr: temp > 30
    labels: {severity: warning}
    annotations: {summary: "{{ $labels.instance }} has {{ $value }} degrees"}
  - alert: HotForLong
    expr: temp > 50
    for: 4s
- name: availability
  rules:
  - alert: NodeDown
    expr: up == 0
    labels: {severity: critical}
"""

SLOW = """
- name: slow
  interval: 5s
  rules: [{alert: Jumped, expr: jump > 0}]
"""


@pytest.fixture
def webhook():
    receiver = Webhook()
    yield receiver
    receiver.close()


@pytest.fixture
def site(mosquitto, redis, write_config, run_program, tmp_path):
    made = []

    def make(rules=RULES, dsn=None, **alert):
        made.append(Site(mosquitto, redis, dsn, write_config, run_program, tmp_path, rules, **alert))
        return made[-1]

    yield make
    for s in made:
        s.close()


def latido(bin_folder, config, *args):
    run = subprocess.run([os.path.join(bin_folder, "latido"), "--config", config, *args], capture_output=True, text=True,
                         timeout=60, check=False)
    assert run.returncode == 0, run.stderr
    return run.stdout


@pytest.mark.threaded
def test_an_event_becomes_an_alert_everywhere(site, webhook, shared_postgres, database, bin_folder, mosquitto):
    secret = "ein Geheimnis"
    s = site(RULES + SLOW, dsn=database, webhooks=[webhook.url], webhook_secret=secret)
    migrate = subprocess.run([os.path.join(bin_folder, "latido-store"), "--config", s.config(), "--migrate"],
                             capture_output=True, timeout=60, check=True)
    assert migrate.returncode == 0
    role = "latido-alert"  # and it may do what README says
    with open(os.path.join(ROOT, "README.md"), encoding="utf-8") as f:
        grants = re.findall(r"-c '(GRANT .*)'", f.read())
    assert len(grants) == 2
    name = re.search(r"dbname=(\S+)", database)[1]
    shared_postgres.sql(f'CREATE ROLE "{role}" LOGIN; CREATE ROLE "latido-live"; {"; ".join(grants)}', name)
    s.sections["postgres"]["dsn"] = re.sub(r"user=\S+", f"user={role}", database)
    listener = pipeline.Client(mosquitto, ["latido/v1/alerts/#"])
    alert = s.start()
    s.send("n1", temp=20.0)
    alert.wait(lambda: alert.value("latido_alert_events_total") == 1, SECONDS, "the event was seen")
    assert s.active() == {}
    s.send("n1", temp=42.5)
    found = s.wait_state("Hot/n1", "firing")
    assert found["value"] == 42.5
    assert found["labels"] == {"alertname": "Hot", "instance": "n1", "job": "node", "severity": "warning"}
    assert found["annotations"] == {"summary": "n1 has 42.5 degrees"}
    fingerprint = found["fingerprint"]
    topic = f"latido/v1/alerts/{fingerprint}"
    wait_until(lambda: listener.json(topic), SECONDS, "it is on the bus")
    retained = pipeline.Client(mosquitto, [topic])
    wait_until(lambda: retained.messages, SECONDS, "it is retained")
    retained.close()
    wait_until(lambda: webhook.states() == [("Hot", "n1", "firing")], SECONDS, "the webhook has it")
    table = latido(bin_folder, s.config(), "alerts")
    assert "firing" in table and "Hot" in table and "1 firing, 0 pending" in table
    assert json.loads(latido(bin_folder, s.config(), "alerts", "--json", "-a", "Hot"))["fingerprint"] == fingerprint

    s.send("n1", temp=25.0)
    wait_until(lambda: s.active() == {}, SECONDS, "it is resolved")
    wait_until(lambda: listener.messages[-1] == (topic, b""), SECONDS, "the retained message is cleared")
    wait_until(lambda: webhook.states() == [("Hot", "n1", "firing"), ("Hot", "n1", "resolved")], SECONDS,
               "the webhook has both")
    for _, _, body, headers, raw in webhook.calls:
        assert headers["Idempotency-Key"] == body["id"]
        parts = dict(p.split("=", 1) for p in headers["Latido-Signature"].split(","))
        want = hmac.new(secret.encode(), f"{parts['t']}.".encode() + raw, hashlib.sha256).hexdigest()
        assert parts["v1"] == want
    wait_until(lambda: alert.value("latido_alert_history_rows_total") >= 2, SECONDS, "PostgreSQL has both")
    rows = [json.loads(line) for line in latido(bin_folder, s.config(), "alerts", "--history", "--json").splitlines()]
    assert not alert.logged("alert_history_away")
    assert [(r["state"], r["value"], r["fingerprint"]) for r in rows] == [
        ("firing", 42.5, fingerprint), ("resolved", 42.5, fingerprint)]
    assert "resolved" in latido(bin_folder, s.config(), "alerts", "--history", "-s", "n1")
    assert latido(bin_folder, s.config(), "alerts") == "no active alerts\n"
    listener.close()
    # Nor does it wait for an instant of the grid, unless one is just due.
    for n in range(20):
        s.send(f"j{n}", jump=1.0)
        if not s.wait_state(f"Jumped/j{n}", "firing")["startsAt"].endswith(".100Z"):
            break
    else:
        pytest.fail("all of them fired on the grid")


@pytest.mark.once
def test_each_transition_once_although_killed(site, webhook):
    s = site(webhooks=[webhook.url], lease="1s")
    s.start("latido-hot")
    alert = s.start()
    expected = []
    for i in range(6):
        source = f"n{i}"
        s.send(source, temp=40.0 + i)
        expected.append(("Hot", source, "firing"))
        s.wait_hot(source)
        if i % 2:
            wait_until(lambda: s.state(f"Hot/{source}") == "firing", SECONDS, "it fires")
        alert.kill()
        alert.start()
        wait_until(lambda: len(webhook.states("Hot")) >= len(expected), SECONDS, f"message {i}")
        assert sorted(webhook.states("Hot")) == sorted(expected)
    for i in range(6):
        s.send(f"n{i}", temp=10.0)
        expected.append(("Hot", f"n{i}", "resolved"))
        if i == 2:
            s.wait_hot(f"n{i}")
            alert.kill()
            alert.start()
    wait_until(lambda: len(webhook.states("Hot")) >= len(expected), SECONDS, "all are resolved")
    alert.wait_ready()
    alert.terminate()
    assert sorted(webhook.states("Hot")) == sorted(expected)
    # What came twice, one for each kill at most, came with a key that was there: 12 transitions, 12 keys.
    assert len(webhook.ids()) == len(set(webhook.ids())) == 12
    assert len(webhook.repeated) <= 7 and {call[0] for call in webhook.repeated} <= set(webhook.ids())


@pytest.mark.once
def test_a_webhook_that_is_down_gets_everything_later_and_delays_nobody(site, webhook, shared_postgres, database):
    other = Webhook()
    try:
        webhook.answer = 503
        s = site(webhooks=[webhook.url, other.url])
        alert = s.start()
        for i in range(3):
            s.send(f"n{i}", temp=40.0)
        wait_until(lambda: len(other.states()) == 3, SECONDS, "the other one has all")
        alert.terminate()
        outbox = [key for key in s.redis.call("KEYS", "latido:alert:outbox:*")]
        assert len(outbox) == 1 and s.redis.call("HLEN", outbox[0]) == 3
        webhook.answer = 200
        alert.start()
        wait_until(lambda: len(webhook.states()) == 3, SECONDS, "it has them, too")
        wait_until(lambda: not s.redis.call("EXISTS", outbox[0]), SECONDS, "the outbox is empty")
        assert len(other.states()) == 3
    finally:
        other.close()


def test_a_restart_keeps_for_and_repeats_nothing(site, webhook):
    s = site(RULES + """
  - {alert: Kept, expr: load > 1, keep_firing_for: 1h}
""", webhooks=[webhook.url], grace="500ms")
    s.start("latido-hot")
    alert = s.start()
    s.send("n1", temp=60.0, load=2.0)
    before = s.wait_state("HotForLong/n1", "pending")
    assert (before["expr"], before["for"]) == ("temp > 50", 4)  # what the live view's page shows
    s.wait_state("Hot/n1", "firing")
    s.wait_state("Kept/n1", "firing")
    wait_until(lambda: len(webhook.states()) == 2, SECONDS, "Hot and Kept were told")
    s.send("n1", temp=60.0, load=0.0)
    s.wait_hot("n1")
    kept = wait_until(lambda: s.active()["Kept/n1"].get("keptSince"), SECONDS, "Kept is only kept now")
    alert.kill()
    alert.start().wait_ready()
    after = s.wait_state("HotForLong/n1", "firing")
    assert after["activeAt"] == before["activeAt"]
    assert (after["expr"], after["for"]) == (before["expr"], before["for"])
    assert s.active()["Kept/n1"]["state"] == "firing" and s.active()["Kept/n1"]["keptSince"] == kept
    alert.terminate()
    assert sorted(webhook.states()) == [("Hot", "n1", "firing"), ("HotForLong", "n1", "firing"), ("Kept", "n1", "firing")]


@pytest.mark.threaded
def test_of_two_one_notifies_and_the_other_takes_over(site, webhook):
    """Within the lease and a fifth of it: whoever follows asks five times in a lease, which the counter shows."""
    # Long enough that the first one, on a busy machine, does not lose it while it lives.
    s = site(webhooks=[webhook.url], lease="6s")
    s.start("latido-hot")
    first = s.start(label="first", instance="first")
    wait_until(lambda: first.value("latido_alert_leader") == 1, SECONDS, "the first leads")
    second = s.start(label="second", instance="second")
    s.send("n1", temp=60.0)
    s.wait_state("HotForLong/n1", "firing")
    wait_until(lambda: second.value("latido_alert_alerts", state="firing") == 2, SECONDS, "the second evaluates, too")
    wait_until(lambda: len(webhook.states()) == 2, SECONDS, "both were told")
    assert second.value("latido_alert_leader") == 0
    assert second.logged("following") and not second.logged("leading")
    s.rules.write_text("groups: [", encoding="utf-8")  # half an edit: who takes over reads no files
    first.kill()
    asked = second.value("latido_alert_lease_requests_total")
    assert s.redis.call("PTTL", "latido:alert:leader") <= 6000
    s.send("n2", temp=40.0)
    leading = second.wait_log("leading")
    # Requests are at least a fifth of the lease apart, and nobody renews it: a slow machine asks fewer times, never more.
    assert int(leading["asked"]) - asked <= 6
    assert second.value("latido_alert_takeovers_total") == 1
    assert not second.logged("rules_reload_failed")
    wait_until(lambda: ("Hot", "n2", "firing") in webhook.states(), SECONDS, "it notifies")
    s.send("n1", temp=10.0)
    wait_until(lambda: webhook.states().count(("Hot", "n1", "resolved")) == 1, SECONDS, "and resolves")
    second.terminate()
    assert sorted(webhook.states()) == sorted([
        ("Hot", "n1", "firing"), ("HotForLong", "n1", "firing"), ("Hot", "n2", "firing"), ("Hot", "n1", "resolved"),
        ("HotForLong", "n1", "resolved")])


@pytest.mark.once
def test_more_at_once_than_the_queue_holds(site, redis):
    """What was left out of Redis, since it hung, is made up for."""
    s = site("""
groups:
- name: g
  rules:
  - {alert: Wide, expr: wide > 0}
""", queue=10, lease="5m", resend="1h", drain_timeout="1s")
    alert = s.start()
    wait_until(lambda: alert.value("latido_alert_leader") == 1, SECONDS, "it leads")
    redis.call("CLIENT", "PAUSE", "600000", "WRITE")
    s.client.publish("latido/v1/nodes/n1/metrics", json.dumps({
        "source": "n1", "epoch": EPOCH, "seq": 1, "metrics": {f'wide{{i="{i}"}}': 1 for i in range(40)}}).encode())
    alert.wait(lambda: alert.value("latido_alert_output_dropped_total", output="redis") > 0, SECONDS, "the queue is full")
    redis.call("CLIENT", "UNPAUSE")
    wait_until(lambda: redis.call("HLEN", "latido:alerts") == 40, SECONDS, "Redis has all that is active")


def test_redis_away_and_empty(site, webhook):
    s = site(webhooks=[webhook.url])
    alert = s.start()
    s.send("n1", temp=40.0)
    s.wait_state("Hot/n1", "firing")
    s.redis.stop()
    s.send("n2", temp=41.0)
    wait_until(lambda: ("Hot", "n2", "firing") in webhook.states(), SECONDS, "it is told without Redis")
    s.redis.restart(empty=True)
    wait_until(lambda: set(s.active()) == {"Hot/n1", "Hot/n2"}, SECONDS, "Redis has everything again")
    alert.terminate()
    assert sorted(webhook.states()) == [("Hot", "n1", "firing"), ("Hot", "n2", "firing")]


@pytest.mark.once
def test_without_redis_at_the_start(mosquitto, servers_folder, write_config, run_program, tmp_path, webhook):
    with servers.Redis(servers_folder) as redis:
        s = Site(mosquitto, redis, None, write_config, run_program, tmp_path, RULES, webhooks=[webhook.url],
                 restore_timeout="2s")
        redis.stop()
        alert = s.start()
        alert.wait_log("leading_without_redis")
        s.send("n1", temp=40.0)
        wait_until(lambda: webhook.states() == [("Hot", "n1", "firing")], SECONDS, "it notifies all the same")
        redis.start()
        s.wait_state("Hot/n1", "firing")
        s.close()


@pytest.mark.once
def test_the_bus_away_is_nobodys_silence(site, mosquitto):
    s = site()
    alert = s.start()
    s.send("n1", temp=20.0, interval_ms=300)
    s.wait_state("NodeDown/n1", "firing")
    heard = alert.value("latido_alert_events_total")
    s.send("n2", temp=20.0, interval_ms=2_000)
    alert.wait(lambda: alert.value("latido_alert_events_total") > heard, SECONDS, "it has heard n2")
    mosquitto.stop()
    alert.wait(lambda: not alert.ready(), SECONDS, "it knows")
    back = datetime.datetime.now(datetime.timezone.utc)
    mosquitto.start()
    down = s.wait_state("NodeDown/n2", "firing")
    # Three of its intervals after the bus came back, not after its last event.
    assert datetime.datetime.fromisoformat(down["activeAt"]) >= back + datetime.timedelta(seconds=6)
    assert s.state("NodeDown/n1") == "firing"


def test_reload(site):
    s = site()
    alert = s.start()
    s.send("n1", temp=40.0)
    before = s.wait_state("Hot/n1", "firing")
    s.rules.write_text(RULES.replace("temp > 30", "temp >> 30"), encoding="utf-8")
    alert.signal(signal.SIGHUP)
    alert.wait_log("rules_reload_failed")
    refused = alert.logged("rules_refused")
    assert refused and f"{s.rules}:6:" in refused[0]["err"]
    assert alert.value("latido_alert_reload_successful") == 0
    s.send("n2", temp=40.0)
    s.wait_state("Hot/n2", "firing")  # the old rules go on
    s.rules.write_text(RULES.replace("temp > 50", "temp > 35").replace("HotForLong", "Warm"), encoding="utf-8")
    alert.signal(signal.SIGHUP)
    s.wait_state("Warm/n1", "pending")
    assert alert.value("latido_alert_reload_successful") == 1
    assert s.state("Hot/n1") == "firing"
    assert s.active()["Hot/n1"]["activeAt"] == before["activeAt"]
    s.rules.write_text("groups: []\n", encoding="utf-8")
    alert.signal(signal.SIGHUP)
    wait_until(lambda: s.active() == {}, SECONDS, "what has no rule any more is resolved")


@pytest.mark.once
def test_two_rules_with_the_same_labels_are_one_alert(site, webhook, servers_folder):
    """It fires with the first and ends with the last, at the Alertmanager, too; within one rule it is an error."""
    rules = """
groups:
- name: one
  rules:
  - {alert: Bad, expr: temp > 30}
  - {alert: Same, expr: 'label_replace(temp, "instance", "all", "", "") > 30'}
- name: two
  rules:
  - {alert: Bad, expr: load > 30}
  - {alert: Bad, expr: load > 20, for: 1h}
"""
    with Alertmanager(servers_folder) as manager:
        s = site(rules, webhooks=[webhook.url], alertmanagers=[manager.url])
        alert = s.start()
        s.send("n1", temp=40.0, load=10.0)
        s.wait_state("Bad/n1", "firing")
        s.send("n1", temp=40.0, load=41.0)
        wait_until(lambda: alert.value("latido_alert_alerts", state="firing") == 3, SECONDS, "both rules fire, and Same")
        assert alert.value("latido_alert_alerts", state="pending") == 1
        s.send("n1", temp=10.0, load=42.0)
        wait_until(lambda: alert.value("latido_alert_alerts", state="firing") == 1, SECONDS, "only the second does")
        assert s.active()["Bad/n1"]["state"] == "firing" and s.active()["Bad/n1"]["expr"] == "load > 30"
        wait_until(lambda: "Bad" in manager.alerts(), SECONDS, "the Alertmanager has it")
        s.send("n1", temp=10.0, load=25.0)
        s.wait_state("Bad/n1", "pending")  # what is left
        wait_until(lambda: "Bad" not in manager.alerts(), SECONDS, "it is resolved there")
        s.send("n1", temp=10.0, load=10.0)
        wait_until(lambda: s.active() == {}, SECONDS, "nothing is left")
        s.send("n1", temp=40.0, load=40.0)
        s.wait_state("Bad/n1", "firing")
        s.rules.write_text(rules.replace("{alert: Bad, expr: temp > 30}", "{record: x, expr: vector(1)}"), encoding="utf-8")
        alert.signal(signal.SIGHUP)
        wait_until(lambda: alert.value("latido_alert_reloads_total") == 1, SECONDS, "the first rule is gone")
        wait_until(lambda: s.active()["Bad/n1"]["expr"] == "load > 30", SECONDS, "the second holds it")
        s.send("n2", temp=40.0, load=1.0)
        failing = alert.wait_log("rule_failed")
        assert failing["rule"] == "Same" and "same labelset" in failing["err"]
        alert.terminate()
    assert webhook.states("Bad") == [("Bad", "n1", state) for state in ("firing", "resolved", "firing")]


@pytest.mark.once
def test_rule_files_on_the_command_line(bin_folder, tmp_path):
    good, bad = tmp_path / "good.yaml", tmp_path / "bad.yaml"
    good.write_text(RULES, encoding="utf-8")
    bad.write_text(RULES.replace("temp > 50", "rate(temp[30d]) > 1"), encoding="utf-8")

    def run(*args):
        return subprocess.run([os.path.join(bin_folder, "latido-alert"), *args], capture_output=True, text=True,
                              timeout=60, check=False)

    assert run("--check-rules", str(good)).returncode == 0
    refused = run("--check-rules", str(good), str(bad))
    assert refused.returncode == 1
    assert f"{bad}:" in refused.stdout and "alert.max_window" in refused.stdout
    several = tmp_path / "several.yaml"
    several.write_text("""groups:
- name: g
  rules:
  - alert: Fixed
    expr: 1 + (x @ 100) > 0
  - alert: Long
    expr: |
      sum(x) >
        rate(x[30d])
  - alert: Broken
    expr: x >> 1
  - alert: Asks
    expr: x > 1
    annotations: {summary: '{{ query "y @ 5" }}'}
""", encoding="utf-8")
    refused = run("--check-rules", str(several)).stdout
    at = [line.split(" error: ")[0] for line in refused.splitlines() if " error: " in line]
    assert at == [f"{several}:{place}:" for place in ("5:16", "9:14", "11:14", "14:32")], refused
    assert "SUCCESS" not in refused and "FAILED: 4 errors" in refused
    assert run("--check-rules", str(tmp_path / "none.yaml")).returncode == 1
    test = tmp_path / "test.yaml"
    test.write_text(f"""
rule_files: [{good}]
evaluation_interval: 1s
tests:
- interval: 1s
  input_series: [{{series: 'temp{{instance="a"}}', values: '20 40 60x10'}}]
  alert_rule_test:
  - {{eval_time: 1s, alertname: Hot, exp_alerts: [{{exp_labels: {{severity: warning, instance: a}},
      exp_annotations: {{summary: a has 40 degrees}}}}]}}
""", encoding="utf-8")
    assert run("--test-rules", str(test)).returncode == 0
    test.write_text(test.read_text(encoding="utf-8").replace("has 40", "has 41"), encoding="utf-8")
    assert run("--test-rules", str(test)).returncode == 1


@pytest.mark.once
def test_hostile_sources(site, mosquitto):
    """Nonsense, far clocks, changing shapes and far too many series leave the others alone."""
    s = site(RULES + """
- name: wide
  rules:
  - alert: Wide
    expr: count(wide) > 0
  - record: wide:sum
    expr: sum(wide)
""", max_series=3000, max_source_series=1200, max_rule_series=1000)
    alert = s.start()
    topic = "latido/v1/nodes/evil/metrics"
    for payload in (b"", b"{", b"\x0a\xff\xff", b"\x00" * 2000, b'{"source":"other","metrics":{"temp":99}}',
                    b'{"source":"evil","metrics":{"temp":1e999}}'):
        s.client.publish(topic, payload)
    s.send("ahead", temp=40.0, time_ns=time.time_ns() + 400 * 10**9)
    s.send("behind", temp=40.0, time_ns=time.time_ns() - 86400 * 10**9)
    for i in range(50):
        s.client.publish(topic, json.dumps({"source": "evil", "epoch": 5, "seq": i + 1,
                                            "metrics": {f'wide{{i="{i}",n="{n}"}}': n for n in range(100)}}).encode())
    for i in range(25):  # partial: nothing of it ends
        s.client.publish("latido/v1/nodes/evil2/metrics", json.dumps({
            "source": "evil2", "epoch": 5, "seq": i + 1, "partial": True,
            "metrics": {f'wide{{k="{i}",n="{n}"}}': n for n in range(100)}}).encode())
    s.send("n1", temp=40.0)
    s.wait_state("Hot/n1", "firing")
    s.wait_state("Hot/ahead", "firing")
    failing = alert.wait_log("rule_failed")
    assert "1000" in failing["err"]
    assert alert.value("latido_alert_series") <= 3000
    assert s.state("Hot/behind") is None and s.state("Hot/other") is None
    assert alert.logged("source_series_limit")
    s.send("n1", temp=20.0)
    wait_until(lambda: s.state("Hot/n1") is None, SECONDS, "the others go on")
