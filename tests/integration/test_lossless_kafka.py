# SPDX-License-Identifier: MIT
"""An agent that publishes to Kafka itself: Kafka's delivery report takes an event out of the spool."""

import os
import signal
import subprocess

import pytest

from conftest import BIN
from kafka import Kafka
from servers import wait_until

pytestmark = pytest.mark.once

SECONDS = 120


def held(agent):
    return agent.value("latido_spool_records", spool="agent")


def test_kafka_away_then_drained(servers_folder, shared_postgres, database, write_config, run_program, tmp_path):
    name = [part[7:] for part in database.split() if part.startswith("dbname=")][0]

    def agent():
        # A small window, so that the outage shows in the spool and not in librdkafka's memory.
        return run_program("latido-agent", config=write_config({
            "bus": {"url": kafka.url, "backoff_base": "50ms", "backoff_cap": "500ms"},
            "agent": {"source": "n1", "interval": "100ms", "admin": "127.0.0.1:0", "collectors": ["loadavg"],
                      "spool": {"dir": str(tmp_path / "spool")}}}))

    def whole(at_least):
        """n1 has one epoch, stored from 1 on without hole, duplicate or gap, up to at_least."""
        rows = shared_postgres.sql("""
            SELECT count(*), count(DISTINCT seq), max(seq), max(p.upto), max(p.above::text), count(DISTINCT epoch_id),
                (SELECT count(*) FROM gap)
            FROM snapshot d JOIN progress p USING (epoch_id)""", name)[0]
        return rows[0] == rows[1] == rows[2] == rows[3] and rows[4:] == ("{}", "1", "0") and int(rows[0]) >= at_least

    with Kafka(servers_folder) as kafka:
        subprocess.run([os.path.join(BIN, "latido"), "topics", "create", "--partitions", "3", "--bus", kafka.url],
                       check=True, capture_output=True, timeout=60)
        store = run_program("latido-store", config=write_config({
            "bus": {"url": kafka.url, "kafka": {"session_timeout": "2s"}, "backoff_base": "50ms",
                    "backoff_cap": "500ms"},
            "postgres": {"dsn": database}, "store": {"admin": "127.0.0.1:0"}}))
        store.wait_ready()
        first = agent()
        wait_until(lambda: whole(10), SECONDS, "the first events")
        wait_until(lambda: held(first) < 10, SECONDS, "what Kafka has out of the spool")
        kafka.kill()
        wait_until(lambda: held(first) > 40, SECONDS, "a backlog")
        # Also over the death of the agent, with what librdkafka had in its memory.
        first.signal(signal.SIGKILL)
        first.process.wait()
        second = agent()
        assert second.wait_log("spool_open")["doubt"] == "none"
        wait_until(lambda: held(second) > 80, SECONDS, "more of it")
        kafka.start()
        last = int(second.value("latido_agent_last_seq"))
        wait_until(lambda: whole(last), SECONDS, "everything stored once")
        wait_until(lambda: held(second) < 10, SECONDS, "the spool drained")
        assert second.value("latido_agent_events_sent_total", topic="backlog") > 0
        # An older copy of the spool, put back: a new epoch, without anybody's acknowledgement.
        second.terminate()
        spool = tmp_path / "spool"
        subprocess.run(["cp", "-a", spool, tmp_path / "copy"], check=True)
        subprocess.run(["rm", "-r", spool], check=True)
        subprocess.run(["mv", tmp_path / "copy", spool], check=True)
        third = agent()
        assert third.wait_log("epoch_new")["reason"] == "an older copy was put back"
        wait_until(lambda: len(shared_postgres.sql("SELECT epoch FROM epoch", name)) == 2, SECONDS, "the new epoch stored")
        assert not third.logged("status_refused")
        store.terminate()
