# SPDX-License-Identifier: MIT
"""Runs the transports' contract suite (tests/contract/bus_*_test.c) with a real broker.

The suite breaks connections with a relay of its own; for the broker's life it asks us.
"""

import os
import socket
import subprocess
import threading

import pytest
import servers
from conftest import BIN, sanitizer_reports
from kafka import Kafka

pytestmark = pytest.mark.threaded

CONTRACT = os.path.join(os.path.dirname(BIN), "contract")
SUITE_SECONDS = 1200


class Control:
    """Answers "stop", "kill", "start" and "start-empty" on a socket, one line at a time."""

    def __init__(self, broker):
        self.broker = broker
        self.ours, self.theirs = socket.socketpair()
        self.thread = threading.Thread(target=self.serve)
        self.thread.start()

    def serve(self):
        do = {"stop": self.broker.stop, "kill": self.broker.kill, "start": self.broker.start,
              "start-empty": self.start_empty}
        with self.ours.makefile("r") as lines:
            for line in lines:
                try:
                    do[line.strip()]()
                    answer = "ok"
                except Exception as e:  # pylint: disable=broad-except
                    answer = f"{type(e).__name__}: {e}".replace("\n", " ")[:200]
                self.ours.sendall((answer + "\n").encode())

    def start_empty(self):
        self.broker.forget()
        self.broker.start()

    def close(self):
        """All copies of the other end are closed: the thread reads the end of it."""
        self.theirs.close()
        self.ours.shutdown(socket.SHUT_RDWR)
        self.thread.join()
        self.ours.close()


def run_suite(name, broker, env, tmp_path, kind="mqtt"):
    path = os.path.join(CONTRACT, name)
    if not os.path.exists(path):
        pytest.fail(f"{path} is not built: make tests-bin (for this build's SANITIZE)")
    control = Control(broker)
    log = tmp_path / f"{name}.log"
    try:
        env = {**os.environ, **env, "LT_TEST_BUS": kind, f"LT_TEST_{kind.upper()}_URL": broker.url,
               f"LT_TEST_{kind.upper()}_CTL": str(control.theirs.fileno())}
        with open(log, "wb") as out:
            result = subprocess.run([path], env=env, stdin=subprocess.DEVNULL, stdout=out, stderr=out,
                                    pass_fds=[control.theirs.fileno()], timeout=SUITE_SECONDS, check=False)
    finally:
        control.close()
    text = log.read_text(errors="replace")
    failed = [line for line in text.splitlines() if "FAILED" in line or "ERROR" in line or "LINE" in line]
    assert not sanitizer_reports(text)
    assert result.returncode == 0, "\n".join(failed) + f"\nall of it: {log}\n{broker.log_tail()}"
    return text


@pytest.mark.parametrize("name", ["bus_test", "bus_flow_test"])
def test_contract_on_mosquitto(name, servers_folder, tmp_path):
    with servers.Mosquitto(servers_folder, persistence=True) as broker:
        text = run_suite(name, broker, {}, tmp_path)
    assert "[       OK ]" in text  # not skipped


@pytest.mark.once  # on the other builds the mock cluster of tests/contract/bus_kafka_mock_test.c
@pytest.mark.parametrize("name", ["bus_test", "bus_flow_test"])
def test_contract_on_kafka(name, servers_folder, tmp_path):
    with Kafka(servers_folder, relay=True) as kafka:
        broker = kafka.brokers[0]
        text = run_suite(name, kafka, {"LT_TEST_KAFKA_RELAY": f"{broker.relay_port},{broker.behind_relay_port}"},
                         tmp_path, "kafka")
    assert "[       OK ]" in text


def test_mqtt_alone(tmp_path):
    """Credentials, TLS, limits and failures: more brokers, one for each."""

    def folder(name):
        path = tmp_path / name
        path.mkdir()
        return str(path)

    acl = "user user\ntopic readwrite open/#\n"
    with (servers.Mosquitto(folder("main"), tls=True, persistence=True) as main,
          servers.Mosquitto(folder("auth"), users={"user": "secret"}, acl=acl) as auth,
          servers.Mosquitto(folder("strict"), tls="require") as strict,
          servers.Mosquitto(folder("small"), config="max_packet_size 100000\nmax_inflight_messages 3") as small):
        text = run_suite("bus_mqtt_test", main, {
            "LT_TEST_MQTT_TLS_URL": main.tls_url, "LT_TEST_TLS_CERTS": os.path.dirname(main.certificates["ca"]),
            "LT_TEST_MQTT_STRICT_URL": strict.tls_url,
            "LT_TEST_STRICT_CERTS": os.path.dirname(strict.certificates["ca"]),
            "LT_TEST_MQTT_AUTH_URL": auth.url, "LT_TEST_MQTT_SMALL_URL": small.url}, tmp_path)
    assert "[       OK ] client_certificate" in text
