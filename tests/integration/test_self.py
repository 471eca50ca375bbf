# SPDX-License-Identifier: MIT
"""bus.self_interval: what a consumer shows on /metrics comes over the bus and raises the default rules."""

import re
import socket

import pipeline
import pytest
from alerting import SECONDS, Site
from servers import wait_until

# LatidoDeadLetters of schemas/alerts/latido.yaml, with a window that a test can wait for.
RULES = """
groups:
- name: latido-data
  rules:
  - alert: LatidoDeadLetters
    expr: increase(latido_consumer_rejected_total[1m]) > 0
"""
# As lib/consumer/self.c makes it.
HOST = re.sub("[^A-Za-z0-9._:-]", "_", socket.gethostname())


@pytest.fixture
def site(mosquitto, redis, write_config, run_program, tmp_path):
    s = Site(mosquitto, redis, None, write_config, run_program, tmp_path, RULES)
    yield s
    s.close()


def field(redis, source, name):
    return redis.call("HGET", f"latido:node:{source}", name)


def test_a_refused_message_raises_the_alert(site, redis, mosquitto):
    site.sections["bus"]["self_interval"] = "250ms"
    hot = site.start("latido-hot")
    alert = site.start()
    # Both are sources; an alert needs a value from before the increase.
    refused = 'latido_consumer_rejected_total{reason="decode"}'
    for source in (f"hot.{HOST}", f"alert.{HOST}"):
        wait_until(lambda s=source: field(redis, s, refused) is not None, SECONDS, f"{source} is in Redis")
    wait_until(lambda: hot.value("latido_consumer_self_events_total") >= 3, SECONDS, "it was published again")
    alert.wait(lambda: alert.value("latido_alert_events_total") >= 6, SECONDS, "latido-alert has seen them")
    assert site.active() == {}
    site.client.publish(pipeline.metrics_topic("n1"), b"\x0a\xffjunk")
    found = site.wait_state(f"LatidoDeadLetters/hot.{HOST}", "firing")
    assert found["labels"]["reason"] == "decode" and found["value"] > 0
    # Nobody refuses what they say of themselves.
    assert hot.value("latido_consumer_rejected_total", reason="decode") == 1
    # The connection comes back, and the figures with it.
    mosquitto.kill()
    mosquitto.start()
    before = hot.value("latido_consumer_self_events_total")
    wait_until(lambda: hot.value("latido_consumer_self_events_total") > before + 2, SECONDS, "it goes on")
    hot.terminate()
    alert.terminate()


def test_off_by_default(site, redis):
    hot = site.start("latido-hot")
    site.send("n1", temp=1.0)
    wait_until(lambda: redis.call("KEYS", "latido:node:*") == ["latido:node:n1"], SECONDS, "the one source")
    assert hot.value("latido_consumer_self_events_total") == 0
    hot.terminate()
