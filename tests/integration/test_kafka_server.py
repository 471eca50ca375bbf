# SPDX-License-Identifier: MIT
"""infra/local/kafka.py: the brokers that other tests rely on."""

import os
import signal
import subprocess
import sys

import pytest

import guard
import servers
from conftest import ROOT
from kafka import Kafka, metadata, tls_answers

pytestmark = pytest.mark.once


def wait_members(ports, members):
    """Each of these brokers knows these, and no others."""
    def all_know():
        try:
            return all(set(metadata(port)[0]) == members for port in ports)
        except (OSError, EOFError):
            return False
    servers.wait_until(all_know, 120, f"the brokers are {members}")


def test_three_brokers_survive_one(servers_folder):
    with Kafka(servers_folder, brokers=3) as kafka:
        ports = [broker.port for broker in kafka.brokers]
        wait_members(ports, {1, 2, 3})
        kafka.brokers[1].kill()
        wait_members([ports[0], ports[2]], {1, 3})
        kafka.start()
        wait_members(ports, {1, 2, 3})


def test_one_broker_with_tls_stops_regularly_and_keeps_its_data(servers_folder):
    with Kafka(servers_folder, tls="require", users={"node": "secret"}) as kafka:
        broker = kafka.brokers[0]
        assert tls_answers(broker.tls_port, kafka.certificates)
        ports = (broker.port, broker.tls_port, broker.sasl_port, broker.sasl_tls_port)
        assert len(set(ports)) == 4
        kafka.restart()
        assert ports == (broker.port, broker.tls_port, broker.sasl_port, broker.sasl_tls_port)
        assert metadata(broker.port)[0] == {1: broker.port}
        broker.pause()
        with pytest.raises(OSError):
            metadata(broker.port)
        broker.resume()
        assert metadata(broker.port)[0] == {1: broker.port}


def test_start_failure_shows_the_log(servers_folder):
    with pytest.raises(servers.ServerError, match="log.segment.bytes"):
        Kafka(servers_folder, config={"log.segment.bytes": "nonsense"}).start()


@pytest.mark.parametrize("signum", [signal.SIGTERM, signal.SIGKILL])
def test_one_command_starts_three_and_leaves_nothing(signum):
    child = subprocess.Popen([sys.executable, os.path.join(ROOT, "infra", "kafka", "start.py"), "--brokers", "3"],
                             stdout=subprocess.PIPE, text=True)
    line = child.stdout.readline()
    assert line.startswith("bus.url: kafka://127.0.0.1:") and line.count(",") == 2
    port = int(line.strip().rsplit(":", 1)[1])
    wait_members([port], {1, 2, 3})
    java = [pid for pid in guard.descendants(child.pid) if "java" in os.readlink(f"/proc/{pid}/exe")]
    assert len(java) == 3
    child.send_signal(signum)
    child.wait(60)
    servers.wait_until(lambda: all(guard.start_time(pid) is None for pid in java), 60, "all brokers gone")
