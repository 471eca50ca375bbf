# SPDX-License-Identifier: MIT
"""PostgreSQL slower than what comes in: the store reads less, the broker's queue stays bounded, agents spool."""

import pytest
import servers
from pipeline import Client
from servers import wait_until

pytestmark = pytest.mark.once

SECONDS = 120
DRAIN_S = 300  # what the broker dropped is sent again when nothing has moved for a while, more than once
MIB = 1 << 20
QUEUE, SPOOLED = MIB, 3 * MIB
# Each transaction takes five seconds while there is a row in "slow".
SLOW = """
    CREATE TABLE slow (x int);
    CREATE FUNCTION slow() RETURNS trigger LANGUAGE plpgsql AS
        $$BEGIN IF EXISTS (SELECT FROM slow) THEN PERFORM pg_sleep(5); END IF; RETURN NULL; END$$;
    CREATE TRIGGER slow AFTER INSERT OR UPDATE ON progress FOR EACH STATEMENT EXECUTE FUNCTION slow();
    INSERT INTO slow VALUES (1)"""
PROGRESS = """
    SELECT s.name, count(d.seq), count(DISTINCT d.seq), coalesce(max(d.seq), 0), p.upto, p.above::text
    FROM epoch e JOIN source s ON s.id = e.source_id JOIN progress p ON p.epoch_id = e.id
    LEFT JOIN snapshot d ON d.epoch_id = e.id WHERE e.epoch > 0 GROUP BY s.name, p.upto, p.above ORDER BY 1"""


def test_a_slow_postgres(servers_folder, postgres, write_config, run_program, tmp_path):
    with servers.Mosquitto(servers_folder, queue_bytes=QUEUE, config="sys_interval 1") as broker:
        def bus(name):
            return {"url": broker.url, "backoff_base": "50ms", "backoff_cap": "500ms", "queue_bytes": "1MiB",
                    "mqtt": {"client_id": name}}

        store = run_program("latido-store", config=write_config({
            "bus": bus("store"), "postgres": {"dsn": postgres.dsn, "timeout": "1m"},
            "store": {"admin": "127.0.0.1:0", "batch": {"max_events": 40, "linger": "10ms"}}})).wait_ready()
        postgres.sql(SLOW)
        watch = Client(broker, ["$SYS/broker/store/messages/bytes"])
        sources = [f"n{i}" for i in range(12)]
        agents = {s: run_program("latido-agent", label=s, config=write_config({
            "bus": bus(s), "agent": {"source": s, "interval": "100ms", "admin": "127.0.0.1:0", "backlog_rate": 100,
                                     "spool": {"dir": str(tmp_path / s)}}})) for s in sources}

        def spooled():
            return sum(a.value("latido_spool_disk_bytes", spool="agent") for a in agents.values())

        # Much more is under way than store and broker may hold.
        wait_until(lambda: spooled() > SPOOLED, SECONDS, f"the agents spool, {spooled()} bytes")
        wait_until(lambda: store.value("latido_bus_pauses_total") > 0, SECONDS, "the store stops reading")
        waiting = [int(payload) for _, payload in watch.messages]
        assert waiting and max(waiting) < 2 * QUEUE, waiting
        assert store.value("latido_bus_held_bytes") < 2 * MIB
        before = len(watch.messages)
        wait_until(lambda: spooled() > SPOOLED * 5 // 4, SECONDS, "they spool on")
        wait_until(lambda: len(watch.messages) > before, SECONDS, "the broker's figures")
        waiting = [int(payload) for _, payload in watch.messages]
        assert max(waiting) < 2 * QUEUE, waiting
        assert store.ready() and all(a.running() for a in agents.values())

        postgres.sql("DELETE FROM slow")
        for agent in agents.values():
            wait_until(lambda a=agent: a.value("latido_spool_records", spool="agent") < 40, DRAIN_S, "a drained spool")
        for agent in agents.values():
            agent.terminate()
        last = {s: int(a.logged("drained")[-1]["seq"]) for s, a in agents.items()}
        # What is left in the spools is sent by a next life, which adds nothing.
        for s in sources:
            agents[s] = run_program("latido-agent", label=f"{s}-again", config=write_config({
                "bus": bus(s), "agent": {"source": s, "interval": "1h", "admin": "127.0.0.1:0", "backlog_rate": 100,
                                         "spool": {"dir": str(tmp_path / s)}}}))

        def whole():
            rows = {row[0]: row[1:] for row in postgres.sql(PROGRESS)}
            return all(rows.get(s, ())[:4] == (str(n),) * 4 and rows[s][4] == "{}" for s, n in last.items())
        try:
            wait_until(whole, DRAIN_S, "all stored once")
        except TimeoutError:
            pytest.fail(f"not all is stored once: {last}, {postgres.sql(PROGRESS)}")
        assert postgres.sql("SELECT count(*) FROM gap") == [("0",)]
        for agent in agents.values():
            wait_until(lambda a=agent: a.value("latido_spool_records", spool="agent") == 0, DRAIN_S, "empty spools")
        watch.close()
