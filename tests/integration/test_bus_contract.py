# SPDX-License-Identifier: MIT
"""Runs the transports' contract suite (tests/contract/bus_test.c) with a real broker.

The suite breaks connections with a relay of its own; for the broker's life it asks us.
"""

import os
import socket
import subprocess
import threading

import pytest
import servers
from conftest import BIN, sanitizer_reports

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


def run_suite(name, broker, env, tmp_path):
    path = os.path.join(CONTRACT, name)
    if not os.path.exists(path):
        pytest.fail(f"{path} is not built: make tests-bin (for this build's SANITIZE)")
    control = Control(broker)
    log = tmp_path / f"{name}.log"
    try:
        env = {**os.environ, **env, "LT_TEST_BUS": "mqtt", "LT_TEST_MQTT_URL": broker.url,
               "LT_TEST_MQTT_CTL": str(control.theirs.fileno())}
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


def test_contract_on_mosquitto(servers_folder, tmp_path):
    with servers.Mosquitto(servers_folder, persistence=True) as broker:
        text = run_suite("bus_test", broker, {}, tmp_path)
    assert "[ RUN      ] back_pressure" in text
