# SPDX-License-Identifier: MIT
"""What latido-alert does with what is under way when it is told to leave, and when it is killed."""

import collections
import signal
import socket
import threading

import pytest

from alerting import SECONDS, Site, Webhook
from servers import wait_until

RULES = """
groups:
- name: temperature
  rules:
  - alert: Hot
    expr: temp > 30
"""


@pytest.fixture
def webhook():
    receiver = Webhook()
    yield receiver
    receiver.close()


@pytest.fixture
def site(mosquitto, redis, write_config, run_program, tmp_path, webhook):
    s = Site(mosquitto, redis, None, write_config, run_program, tmp_path, RULES, webhooks=[webhook.url],
             drain_timeout="120s")
    s.sections["redis"]["timeout"] = "60s"
    yield s
    s.close()


class Slow:
    """As webhook.answer: keeps the sender waiting until go_on is set."""

    def __init__(self):
        self.reached, self.go_on = threading.Event(), threading.Event()

    def __call__(self, _):
        self.reached.set()
        assert self.go_on.wait(SECONDS)
        return 200


def outboxes(site):
    return site.redis.call("KEYS", "latido:alert:outbox:*")


@pytest.mark.threaded
def test_what_is_under_way_is_told_before_leaving(site, webhook):
    # The receiver has the request, and has not answered.
    webhook.answer = slow = Slow()
    alert = site.start()
    site.send("n1", temp=40.0)
    alert.wait(slow.reached.is_set, SECONDS, "the receiver has the request")
    alert.signal(signal.SIGTERM)
    alert.wait_log("draining")
    slow.go_on.set()
    assert alert.wait_exit(SECONDS) == 0, alert.log_tail()
    assert webhook.states() == [("Hot", "n1", "firing")]
    assert outboxes(site) == []

    # Redis has not taken the transition yet: nobody was told.
    alert.start().wait_ready()
    alert.wait(lambda: alert.value("latido_alert_leader") == 1, SECONDS, "it leads")
    site.send("n1", temp=40.0)
    alert.wait(lambda: alert.value("latido_alert_alerts", state="firing") == 1, SECONDS, "it knows the alert")
    site.redis.pause()
    site.send("n2", temp=41.0)
    alert.wait(lambda: alert.value("latido_alert_alerts", state="firing") == 2, SECONDS, "it fires")
    alert.signal(signal.SIGTERM)
    alert.wait_log("draining")
    assert webhook.states() == [("Hot", "n1", "firing")]
    site.redis.resume()
    assert alert.wait_exit(SECONDS) == 0, alert.log_tail()
    assert webhook.states() == [("Hot", "n1", "firing"), ("Hot", "n2", "firing")]
    assert outboxes(site) == [] and not webhook.repeated


def test_a_kill_between_answer_and_note_repeats_with_the_same_key(site, webhook):
    """The one moment that nobody can make exactly-once: the receiver has taken it, the sender does not know."""
    webhook.answer = slow = Slow()
    alert = site.start()
    site.send("n1", temp=40.0)
    alert.wait(slow.reached.is_set, SECONDS, "the receiver has the request")
    alert.kill()  # before the answer, which the receiver gives all the same
    assert len(outboxes(site)) == 1
    slow.go_on.set()
    wait_until(lambda: len(webhook.ids()) == 1, SECONDS, "the receiver has taken it")
    alert.start()
    wait_until(lambda: webhook.repeated, SECONDS, "it is told once more")
    wait_until(lambda: outboxes(site) == [], SECONDS, "and then no more")
    alert.wait_ready()
    alert.terminate()
    # Two deliveries, one key, one body: what tells a receiver that it is the same.
    deliveries = webhook.calls + webhook.repeated
    assert [d[3]["Idempotency-Key"] for d in deliveries] == [webhook.ids()[0]] * 2
    assert collections.Counter(d[4] for d in deliveries) == {deliveries[0][4]: 2}


@pytest.mark.once
def test_a_postgresql_that_hangs_does_not_keep_it(site, webhook):
    """Its history waits for an answer for ten minutes; the lease is given back, and it ends."""
    with socket.create_server(("127.0.0.1", 0)) as hanging:
        site.sections["postgres"] = {"dsn": f"host=127.0.0.1 port={hanging.getsockname()[1]}", "timeout": "10m"}
        alert = site.start(history=True, drain_timeout="4s", lease="5m")
        site.send("n1", temp=40.0)
        hanging.settimeout(SECONDS)
        connection, _ = hanging.accept()
        with connection:
            wait_until(lambda: webhook.states() == [("Hot", "n1", "firing")], SECONDS, "it is told")
            assert site.redis.call("EXISTS", "latido:alert:leader") == 1
            alert.signal(signal.SIGTERM)
            assert alert.wait_exit(SECONDS) == 0, alert.log_tail()
            assert site.redis.call("EXISTS", "latido:alert:leader") == 0
