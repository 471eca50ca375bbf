# SPDX-License-Identifier: MIT
"""latido deadletter on MQTT: latido-store keeps what every consumer refused, over restarts and bounded."""

import base64
import json
import os
import signal
import subprocess

import pytest
import servers
from conftest import BIN
from pipeline import Client, event, metrics_topic
from servers import wait_until

SECONDS = 60


@pytest.fixture
def site(servers_folder, database, write_config, run_program, tmp_path):
    class Site:
        folder = str(tmp_path / "letters")
        broker = servers.Mosquitto(servers_folder, persistence=False)

        def config(self, **store):
            return write_config({
                "bus": {"url": self.broker.url, "backoff_base": "50ms", "backoff_cap": "500ms"},
                "postgres": {"dsn": database},
                "store": {"admin": "127.0.0.1:0", "deadletter_dir": self.folder, **store}}, "site.yaml")

        def store(self, **changes):
            return run_program("latido-store", config=self.config(**changes)).wait_ready()

        def latido(self, *args, code=0):
            done = subprocess.run([os.path.join(BIN, "latido"), "deadletter", *args], capture_output=True, text=True,
                                  check=False, timeout=SECONDS)
            assert done.returncode == code, done.stdout + done.stderr
            return done

        def list(self, *args):
            done = self.latido("list", "-c", self.config(), *args)
            return [line.split("\t") for line in done.stdout.splitlines()]

    with Site.broker:
        yield Site()


def kept(store):
    return store.value("latido_spool_records", spool="deadletters")


def test_list_show_replay(site):
    store = site.store()
    client = Client(site.broker)
    wrong = event("n2", 1, [1.0])
    client.publish(metrics_topic("n1"), b"\x0a\xffjunk")
    client.publish(metrics_topic("n1"), wrong)
    # Of another consumer, and one that is none.
    client.publish("latido/v1/deadletter/hot", json.dumps({
        "consumer": "hot", "reason": "decode", "error": "bad \x1b[31m thing", "time": "2026-11-21T05:00:00.250Z",
        "topic": "latido/v1/devices/d1/metrics", "content_type": "application/json", "size": 12,
        "body": base64.b64encode(b'{"value":12}').decode()}).encode())
    client.publish("latido/v1/deadletter/other", b"no document")
    wait_until(lambda: kept(store) == 4, SECONDS, "four letters kept")
    store.signal(signal.SIGKILL)
    store.process.wait()
    rows = site.list()
    assert [row[2:6] for row in sorted(rows, key=lambda row: row[2:])] == [
        ["-", "-", "-", "11 B"],
        ["hot", "decode", "latido/v1/devices/d1/metrics", "12 B"],
        ["store", "decode", metrics_topic("n1"), "6 B"],
        ["store", "source_mismatch", metrics_topic("n1"), f"{len(wrong)} B"]]
    by = {row[3] if row[2] == "store" else row[2]: row for row in rows}
    assert by["hot"][1] == "2026-11-21T05:00:00.250Z" and "\x1b" not in by["hot"][6]
    assert site.list("--consumer", "hot") == [by["hot"]]
    # Without the configuration, by the folder.
    shown = site.latido("show", "--dir", site.folder, by["source_mismatch"][0]).stdout
    assert "latido.reason: source_mismatch\n" in shown
    assert base64.b64decode(shown.splitlines()[-1]) == wrong
    site.latido("show", "-c", site.config(), "0:99", code=1)

    # A restart keeps them and goes on behind them; what is sent again comes as it came first.
    store = site.store()
    seen = Client(site.broker, ["latido/v1/devices/+/metrics", "latido/v1/nodes/+/metrics"])
    assert "1 message sent again" in site.latido("replay", "-c", site.config(), by["hot"][0]).stderr
    wait_until(lambda: seen.messages == [("latido/v1/devices/d1/metrics", b'{"value":12}')], SECONDS, "it is back")
    # All of them: two are refused again and become letters, one does not say where it belongs.
    assert "does not say where it came from" in site.latido("replay", "-c", site.config(), "--all", code=1).stderr
    wait_until(lambda: kept(store) == 6, SECONDS, "two letters more")
    assert [row[0] for row in site.list()] == [f"0:{n}" for n in range(1, 7)]
    wait_until(lambda: len(seen.messages) >= 4, SECONDS, "all three were sent")
    assert sorted(payload for _, payload in seen.messages[1:]) == sorted([b'{"value":12}', b"\x0a\xffjunk", wrong])
    store.terminate()
    seen.close()
    client.close()


def test_bounded_and_nothing_lost_while_the_store_is_away(site):
    store = site.store(deadletter_max_bytes="1MiB")
    client = Client(site.broker)
    store.signal(signal.SIGKILL)
    store.process.wait()
    for n in range(300):
        client.send("latido/v1/deadletter/hot", json.dumps({
            "consumer": "hot", "topic": "t", "body": base64.b64encode(b"%04d" % n + b"x" * 9000).decode()}).encode())
    client.publish("latido/v1/deadletter/hot", b"last")
    store = site.store(deadletter_max_bytes="1MiB")
    wait_until(lambda: store.value("latido_spool_dropped_total", spool="deadletters") + kept(store) == 301, SECONDS,
               "all came")
    rows = site.list()
    assert rows[-1][0] == "0:301" and 50 < len(rows) < 120
    assert store.value("latido_spool_disk_bytes", spool="deadletters") <= 1 << 20
    store.terminate()
    client.close()


def test_without_a_folder(site):
    done = site.latido("list", "--bus", "mqtt://127.0.0.1:1", code=78)
    assert "store.deadletter_dir" in done.stderr
    assert "no-such-folder" in site.latido("list", "--dir", "/no-such-folder", code=78).stderr
