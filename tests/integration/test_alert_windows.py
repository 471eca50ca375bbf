# SPDX-License-Identifier: MIT
"""latido-alert's windows after a restart or a lost bus: what Redis keeps, what PostgreSQL has, and what is held meanwhile."""

import time

import pytest
from alerting import SECONDS, Site, Webhook
from kafka_site import Relay
from servers import free_port, wait_until

RULES = """
groups:
- name: long
  rules:
  - alert: WasHot
    expr: max_over_time(temp[1h]) > 50
  - alert: WasVeryHot
    expr: max_over_time(temp[1h]) > 500
  - record: temp:most
    expr: max_over_time(temp[30m])
  - alert: Recorded
    expr: temp:most > 50
- name: made_here
  rules:
  - alert: Long
    expr: max_over_time(temp:most[20m]) > 50
"""
ALERTS = {"WasHot/n1", "Recorded/n1", "Long/n1"}


@pytest.fixture
def webhook():
    receiver = Webhook()
    yield receiver
    receiver.close()


def evaluate(alert, n):
    """Wait until the rules were evaluated n times more."""
    before = alert.value("latido_alert_evaluations_total")
    alert.wait(lambda: alert.value("latido_alert_evaluations_total") >= before + 5 * n, SECONDS, f"{n} evaluations")


@pytest.mark.threaded
def test_long_windows_are_filled_from_postgres(mosquitto, redis, postgres, write_config, run_program, tmp_path, webhook):
    """Without latido-hot Redis has no windows: all that a restart finds is in PostgreSQL, which is away at first."""
    site = Site(mosquitto, redis, postgres.dsn, write_config, run_program, tmp_path, RULES, webhooks=[webhook.url],
                grace="500ms")
    store = site.start("latido-store")
    alert = site.start()
    site.send("n1", temp=100.0)
    site.send("n1", temp=10.0)
    wait_until(lambda: set(site.active()) == ALERTS, SECONDS, "they fire")
    before = site.active()
    wait_until(lambda: len(webhook.states()) == 3, SECONDS, "they were told")
    store.wait(lambda: postgres.sql("SELECT count(*) FROM snapshot") == [("2",)], SECONDS, "both events are stored")
    store.terminate()
    alert.kill()
    postgres.stop()
    alert.start().wait_ready()
    alert.wait(lambda: alert.value("latido_alert_backfill_failures_total") >= 1, SECONDS, "PostgreSQL is asked")
    assert alert.logged("windows_cold")
    assert alert.value("latido_alert_rules_cold") == 5
    evaluate(alert, 10)  # of 250 ms: far more than alert.grace
    assert set(site.active()) == ALERTS  # held
    postgres.start()
    alert.wait(lambda: alert.value("latido_alert_rules_cold") == 1, SECONDS, "all is there but what no database has")
    assert alert.value("latido_alert_backfill_samples_total") >= 1  # of each step of the window one
    evaluate(alert, 4)
    after = site.active()
    assert set(after) == ALERTS
    assert [after[a]["activeAt"] for a in sorted(ALERTS)] == [before[a]["activeAt"] for a in sorted(ALERTS)]
    alert.terminate()
    assert len(webhook.states()) == 3 and not webhook.repeated
    site.close()


@pytest.mark.once
def test_a_source_that_cannot_be_read_keeps_nothing_from_the_others(mosquitto, redis, postgres, write_config, run_program,
                                                                    tmp_path):
    """It is left out after a few tries; what was active is held, since the windows are not whole."""
    site = Site(mosquitto, redis, postgres.dsn, write_config, run_program, tmp_path, RULES, grace="500ms")
    store = site.start("latido-store")
    alert = site.start()
    for source in ("n1", "n2"):
        site.send(source, temp=100.0)
    active = {f"{name}/{source}" for name in ("WasHot", "Recorded", "Long") for source in ("n1", "n2")}
    wait_until(lambda: set(site.active()) == active, SECONDS, "they fire")
    store.wait(lambda: postgres.sql("SELECT count(*) FROM snapshot") == [("2",)], SECONDS, "both events are stored")
    store.terminate()
    alert.kill()
    broken = postgres.sql("SELECT id FROM source WHERE name = 'n1'")[0][0]
    postgres.sql("ALTER TABLE snapshot RENAME TO sound")
    postgres.sql(f"CREATE VIEW snapshot AS SELECT * FROM sound WHERE CASE source_id WHEN {broken} "
                 f"THEN 1 / (source_id - {broken}) = 0 ELSE true END")
    alert.start().wait_ready()
    assert alert.wait_log("windows_source_skipped")["source"] == "n1"
    alert.wait_log("windows_filled")
    assert alert.value("latido_alert_backfill_skipped_total") == 1
    assert alert.value("latido_alert_backfill_samples_total") >= 1  # of n2
    assert alert.value("latido_alert_rules_cold") == 5
    evaluate(alert, 4)
    assert set(site.active()) == active
    alert.terminate()
    site.close()


@pytest.mark.once
def test_without_a_database_what_was_active_is_held(mosquitto, redis, write_config, run_program, tmp_path, webhook):
    """It ends when its expression says so, or when its window is full again, never by the restart."""
    rules = RULES.replace("[1h]) > 50\n", "[1h]) > 50 and on () vector(1) == 1\n") + """
- name: short
  rules:
  - alert: Short
    expr: temp > 5
"""
    site = Site(mosquitto, redis, None, write_config, run_program, tmp_path, rules, webhooks=[webhook.url],
                grace="500ms", backfill=False)
    alert = site.start()
    site.send("n1", temp=100.0)
    site.send("n1", temp=10.0)
    wait_until(lambda: set(site.active()) == ALERTS | {"Short/n1"}, SECONDS, "they fire")
    alert.kill()
    alert.start().wait_ready()
    assert alert.value("latido_alert_rules_cold") == 5
    wait_until(lambda: set(site.active()) == ALERTS, SECONDS, "without its sample the short one ends after alert.grace")
    evaluate(alert, 4)
    assert set(site.active()) == ALERTS
    site.rules.write_text("groups: []\n", encoding="utf-8")
    alert.signal(1)
    wait_until(lambda: site.active() == {}, SECONDS, "a rule that is taken out takes its alerts along")
    alert.terminate()
    site.close()


def test_what_was_kept_during_an_outage_comes_from_postgres(mosquitto, redis, postgres, write_config, run_program, tmp_path):
    """The bus and everything behind it was away for 40 minutes. What the agent kept comes to the store when it is back,
    as backlog: until all of it is there the rules are cold, then their windows have no hole."""
    rules = """
groups:
- name: g
  rules:
  - {alert: WasHot, expr: 'max_over_time(temp[1h]) > 50'}
  - {alert: Whole, expr: 'count_over_time(temp[2h]) == 12'}
  - {alert: Heard, expr: 'temp == 10'}
"""
    site = Site(mosquitto, redis, postgres.dsn, write_config, run_program, tmp_path, rules, grace="500ms")
    hot, store = site.start("latido-hot"), site.start("latido-store")
    now = time.time_ns()
    site.send("n1", temp=1.0, time_ns=now - 40 * 60 * 10**9)
    site.wait_hot("n1")
    hot.terminate()  # Redis has what was before
    alert = site.start()
    alert.wait_log("windows_hole")
    site.seq["n1"] = 11
    site.send("n1", temp=10.0)
    site.wait_state("Heard/n1", "firing")
    alert.wait(lambda: alert.value("latido_alert_backfill_waiting") == 1, SECONDS, "the store lacks what was before")
    assert alert.value("latido_alert_rules_cold") == 2
    assert set(site.active()) == {"Heard/n1"}
    site.seq["n1"] = 1
    for i in range(1, 11):
        site.send("n1", temp=60.0 if i == 5 else 2.0, time_ns=now - (40 - i) * 60 * 10**9, topic="backlog")
    site.wait_state("WasHot/n1", "firing")
    site.wait_state("Whole/n1", "firing")
    alert.wait(lambda: alert.value("latido_alert_rules_cold") == 0, SECONDS, "nothing is missing any more")
    assert alert.value("latido_alert_backfill_waiting") == 0 and alert.value("latido_alert_backfill_samples_total") == 10
    assert not alert.logged("windows_not_awaited")
    alert.terminate()
    store.terminate()
    site.close()


def test_what_a_cut_kept_from_us_comes_from_redis(mosquitto, redis, write_config, run_program, tmp_path):
    """Events published while latido-alert was cut off join the windows, also behind newer ones."""
    rules = """
groups:
- name: g
  rules:
  - alert: Many
    expr: count_over_time(temp[1h]) >= 43
"""
    with Relay(free_port(), mosquitto.port) as relay:
        site = Site(mosquitto, redis, None, write_config, run_program, tmp_path, rules, backfill=False)
        hot = site.start("latido-hot")
        site.sections["bus"]["url"] = mosquitto.url.replace(str(mosquitto.port), str(relay.port))
        alert = site.start()
        begin = time.time_ns() - 10 * 10**9
        site.send("n1", temp=1.0, time_ns=begin)
        site.send("n2", temp=1.0, time_ns=begin)
        alert.wait(lambda: alert.value("latido_alert_events_total") >= 2, SECONDS, "they were seen")
        relay.hold(True)
        relay.cut()
        alert.wait(lambda: not alert.ready(), SECONDS, "it is cut off")
        for i in range(41):
            for source in ("n1", "n2"):
                site.send(source, temp=2.0 + i, time_ns=begin + (i + 1) * 10**8)
        wait_until(lambda: redis.call("XLEN", "latido:window:n1") == redis.call("XLEN", "latido:window:n2") == 42, SECONDS,
                   "Redis has them")
        relay.hold(False)
        alert.wait_ready()
        assert site.active() == {}
        site.send("n1", temp=50.0)
        site.wait_state("Many/n1", "firing")
        assert site.active()["Many/n1"]["value"] == 43
        site.send("n2", temp=50.0)
        site.wait_state("Many/n2", "firing")
        hot.terminate()
        alert.terminate()
        site.close()
