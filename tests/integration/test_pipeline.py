# SPDX-License-Identifier: MIT
"""The pipeline as a whole: agent, broker, store, hot, PostgreSQL, Redis; and each part failing.

The broker's session of a consumer begins with its first connection, so an event that the agent
publishes before that is not promised to anybody: tests in which the broker comes up late expect all
events from the first stored one on.
"""

import signal
import socket

import pytest

import servers
from pipeline import (SECONDS, Client, Pipeline, event, hash_seq, highest, known_missing, metrics_topic,
                      missing, node_hash, stored)
from servers import wait_until


@pytest.fixture
def pipeline(mosquitto, redis, postgres, write_config, run_program):
    return Pipeline(mosquitto, redis, postgres, write_config, run_program)


@pytest.mark.threaded
def test_whole(pipeline):
    pipeline.start_all()
    pipeline.wait_more(20)
    last = pipeline.check_exact()
    fields = node_hash(pipeline.redis, pipeline.SOURCE)
    assert int(fields["_seq"]) == last
    rows = pipeline.postgres.sql(f"""
        SELECT name, value FROM sample WHERE source = $${pipeline.SOURCE}$$
            AND time = (SELECT max(time) FROM snapshot)
            AND name IN ('node_load1', 'node_memory_MemTotal_bytes', 'node_boot_time_seconds')""")
    assert len(rows) == 3
    for name, value in rows:
        assert float(fields[name]) == float(value), name
    assert pipeline.redis.call("ZSCORE", "latido:seen", pipeline.SOURCE) is not None
    assert pipeline.redis.call("XLEN", f"latido:window:{pipeline.SOURCE}") == last
    # They count after they have written.
    for program, name in ((pipeline.store, "latido_store_event_to_commit_seconds"),
                          (pipeline.hot, "latido_hot_event_to_redis_seconds")):
        program.wait(lambda p=program, n=name: p.metrics().count(n) >= last, SECONDS, name)
        assert 0 < program.metrics().quantile(name, 0.5) < SECONDS


# ---- servers ----


def down_at_start(pipeline, server):
    """Start everything while one server is down; then start it."""
    server.stop()
    pipeline.start("latido-store", ready=False)
    pipeline.start("latido-hot", ready=False)
    for program in (pipeline.store, pipeline.hot):
        program.admin_port()
    dependency = {"mosquitto": "mqtt", "redis": "redis", "postgres": "postgres"}[server.name]
    affected = {"mosquitto": [pipeline.store, pipeline.hot], "redis": [pipeline.hot],
                "postgres": [pipeline.store]}[server.name]
    for program in (pipeline.store, pipeline.hot):
        if program not in affected:
            program.wait_ready()
    for program in affected:
        program.wait(lambda program=program: program.get("/readyz")[0] == 503 and
                     dependency in program.get("/readyz")[1], SECONDS, f"/readyz names {dependency}")
        assert program.get("/healthz")[0] == 200
    return affected


def test_redis_down_at_start(pipeline):
    affected = down_at_start(pipeline, pipeline.redis)
    pipeline.start("latido-agent")
    pipeline.wait_stored(10)
    pipeline.redis.start()
    for program in affected:
        program.wait_ready()
    pipeline.check_exact()


def test_postgres_down_at_start(pipeline):
    affected = down_at_start(pipeline, pipeline.postgres)
    pipeline.start("latido-agent")
    pipeline.wait_hot(10)
    pipeline.postgres.start()
    for program in affected:
        program.wait_ready()
    pipeline.check_exact()


def test_mosquitto_down_at_start(pipeline):
    affected = down_at_start(pipeline, pipeline.broker)
    pipeline.start("latido-agent", ready=False)
    pipeline.agent.wait(lambda: pipeline.agent.get("/readyz")[0] == 503, SECONDS, "the agent is not ready")
    pipeline.broker.start()
    for program in (*affected, pipeline.agent):
        program.wait_ready()
    pipeline.wait_more(20)
    first = stored(pipeline.postgres, pipeline.SOURCE).popitem()[1][2]
    pipeline.check_exact(first)


def test_redis_killed_and_restarted_empty(pipeline):
    pipeline.start_all()
    pipeline.wait_more()
    fields = set(node_hash(pipeline.redis, pipeline.SOURCE))
    pipeline.redis.kill()
    pipeline.hot.wait(lambda: not pipeline.hot.ready(), SECONDS, "hot notices")
    pipeline.wait_stored(highest(pipeline.postgres, pipeline.SOURCE) + 10)
    pipeline.redis.restart(empty=True)
    pipeline.hot.wait_ready()
    pipeline.wait_more()
    assert set(node_hash(pipeline.redis, pipeline.SOURCE)) >= fields, "the hash is whole again"
    pipeline.check_exact()


def test_postgres_killed_and_restarted(pipeline):
    pipeline.start_all()
    pipeline.wait_more()
    for _ in range(3):
        pipeline.postgres.kill()
        pipeline.wait_hot(hash_seq(pipeline.redis, pipeline.SOURCE) + 5)
        pipeline.postgres.restart()
        pipeline.store.wait_ready()
        pipeline.wait_more(5)
    pipeline.check_exact()


def test_postgres_hangs_for_a_while(pipeline):
    pipeline.start_all()
    pipeline.wait_more()
    pipeline.postgres.pause()
    pipeline.wait_hot(hash_seq(pipeline.redis, pipeline.SOURCE) + 10)
    pipeline.postgres.resume()
    pipeline.wait_more()
    pipeline.check_exact()


def test_mosquitto_restarted(pipeline):
    """A regular restart loses nothing: the broker keeps its sessions, the agent sends again."""
    pipeline.start_all()
    pipeline.wait_more()
    pipeline.broker.restart()
    pipeline.wait_more()
    pipeline.check_exact()


def test_mosquitto_killed_and_restarted(pipeline):
    """A broker that is killed may lose what it had acknowledged within its last second of saving;
    nothing is stored twice, and what is lost is seen as a hole."""
    pipeline.start_all()
    pipeline.wait_more()
    pipeline.broker.kill()
    for program in (pipeline.store, pipeline.hot, pipeline.agent):
        program.wait(lambda program=program: not program.ready(), SECONDS, "it notices")
    pipeline.broker.restart()
    for program in (pipeline.store, pipeline.hot, pipeline.agent):
        program.wait_ready()
    pipeline.wait_more()
    epoch, last = pipeline.stop_agent()
    pipeline.wait_stored(last)
    rows, distinct, first, highest_seq = stored(pipeline.postgres, pipeline.SOURCE)[epoch]
    assert (rows, first, highest_seq) == (distinct, 1, last)
    assert missing(pipeline.postgres, pipeline.SOURCE, last) == known_missing(pipeline.postgres)


def test_mosquitto_forgets_everything(pipeline):
    """A broker that comes back empty knows no session: everybody subscribes again."""
    pipeline.start_all()
    pipeline.wait_more()
    pipeline.broker.restart(empty=True)
    for program in (pipeline.store, pipeline.hot, pipeline.agent):
        program.wait_ready()
    pipeline.wait_more(20)
    epoch, last = pipeline.stop_agent()
    pipeline.wait_stored(last)
    rows, distinct, first, _ = stored(pipeline.postgres, pipeline.SOURCE)[epoch]
    assert rows == distinct and first == 1


# ---- consumers ----


@pytest.mark.threaded
def test_store_restarted_alone(pipeline):
    pipeline.start_all()
    pipeline.wait_more()
    for _ in range(2):
        pipeline.store.terminate()
        pipeline.wait_hot(hash_seq(pipeline.redis, pipeline.SOURCE) + 10)
        pipeline.again("latido-store")
        pipeline.wait_more(5)
    pipeline.check_exact()


@pytest.mark.threaded
def test_hot_restarted_alone(pipeline):
    pipeline.start_all()
    pipeline.wait_more()
    pipeline.hot.terminate()
    pipeline.wait_stored(highest(pipeline.postgres, pipeline.SOURCE) + 10)
    pipeline.again("latido-hot")
    pipeline.wait_more()
    last = pipeline.check_exact()
    assert pipeline.redis.call("XLEN", f"latido:window:{pipeline.SOURCE}") == last


def test_agent_restarted_alone(pipeline):
    """A new life of the agent is a new, higher epoch that begins at 1."""
    pipeline.start_all()
    pipeline.wait_more()
    before = pipeline.stop_agent()
    pipeline.again("latido-agent")
    wait_until(lambda: len(stored(pipeline.postgres, pipeline.SOURCE)) == 2, SECONDS, "two epochs are stored")
    after = pipeline.stop_agent()
    assert after[0] > before[0]
    pipeline.wait_stored(after[1])
    wait_until(lambda: hash_seq(pipeline.redis, pipeline.SOURCE) == after[1], SECONDS, "the new epoch is in Redis")
    assert stored(pipeline.postgres, pipeline.SOURCE) == {e: (n, n, 1, n) for e, n in (before, after)}


def test_store_killed(pipeline):
    """SIGKILL: what paho had acknowledged and was not committed is gone until agents keep a spool;
    nothing is stored twice, nothing that was committed is lost, holes are seen."""
    pipeline.start_all()
    pipeline.wait_more()
    committed = highest(pipeline.postgres, pipeline.SOURCE)
    pipeline.store.signal(signal.SIGKILL)
    pipeline.store.wait_exit()
    pipeline.again("latido-store")
    pipeline.wait_more(20)
    epoch, last = pipeline.stop_agent()
    pipeline.wait_stored(last)
    rows, distinct, first, _ = stored(pipeline.postgres, pipeline.SOURCE)[epoch]
    assert (rows, first) == (distinct, 1)
    lost = missing(pipeline.postgres, pipeline.SOURCE, last)
    assert all(n > committed for n in lost)
    assert lost == known_missing(pipeline.postgres)


# ---- draining ----


@pytest.mark.threaded
def test_sigterm_drains_a_burst(pipeline):
    """SIGTERM in the middle of a burst: exit 0 within the limit; after a restart all of it is there."""
    pipeline.start_consumers()
    client = Client(pipeline.broker)
    burst = 3000
    sent = [client.send(metrics_topic("burst"), event("burst", n, [float(n), 1.0])) for n in range(1, burst + 1)]
    for program, progress in ((pipeline.store, lambda: highest(pipeline.postgres, "burst")),
                              (pipeline.hot, lambda: hash_seq(pipeline.redis, "burst"))):
        wait_until(lambda progress=progress: progress() > 0, SECONDS, "the burst arrives")
        program.terminate()
    client.wait(sent)
    pipeline.again("latido-store")
    pipeline.again("latido-hot")
    pipeline.wait_stored(burst, "burst")
    wait_until(lambda: not missing(pipeline.postgres, "burst", burst), SECONDS, "no holes")
    assert stored(pipeline.postgres, "burst") == {1_000_000: (burst, burst, 1, burst)}
    pipeline.wait_hot(burst, "burst")
    client.close()


def test_agent_drains_what_it_queued(pipeline):
    """Events queued while the broker was away are sent between its return and the agent's end."""
    pipeline.start_all()
    pipeline.wait_more()
    pipeline.broker.pause()
    before = pipeline.agent.value("latido_agent_events_total")
    pipeline.agent.wait(lambda: pipeline.agent.value("latido_agent_events_total") > before + 5, SECONDS,
                        "events are queued")
    pipeline.agent.signal(signal.SIGTERM)
    pipeline.agent.wait_log("draining")
    pipeline.broker.resume()
    assert pipeline.agent.wait_exit() == 0
    line = pipeline.agent.logged("drained")[-1]
    epoch, last = int(line["epoch"]), int(line["seq"])
    pipeline.wait_stored(last)
    assert stored(pipeline.postgres, pipeline.SOURCE) == {epoch: (last, last, 1, last)}


def test_drain_limit_ends_a_store_that_cannot_store(mosquitto, redis, postgres, write_config, run_program):
    """With PostgreSQL away a drain cannot complete: it ends at its limit, says so, and not with 0."""
    pipeline = Pipeline(mosquitto, redis, postgres, write_config, run_program, store={"drain_timeout": "1s"})
    pipeline.start_all()
    pipeline.wait_more()
    pipeline.postgres.kill()
    pipeline.store.wait(lambda: not pipeline.store.ready(), SECONDS, "the store notices")
    taken = pipeline.store.value("latido_consumer_messages_total")
    pipeline.store.wait(lambda: pipeline.store.value("latido_consumer_messages_total") > taken + 3, SECONDS,
                        "events wait in the store")
    pipeline.store.signal(signal.SIGTERM)
    assert pipeline.store.wait_exit() == 3
    assert pipeline.store.logged("drain_incomplete")


def test_second_sigterm_leaves_at_once(pipeline):
    pipeline.start_all()
    pipeline.wait_more()
    pipeline.postgres.pause()
    pipeline.wait_hot(hash_seq(pipeline.redis, pipeline.SOURCE) + 5)
    pipeline.store.signal(signal.SIGTERM)
    pipeline.store.wait_log("draining")
    pipeline.store.signal(signal.SIGTERM)
    assert pipeline.store.wait_exit() == 3
    pipeline.postgres.resume()


def test_admin_port_clash_is_said(pipeline, write_config, run_program):
    with socket.socket() as taken:
        taken.bind((servers.HOST, 0))
        taken.listen()
        address = f"{servers.HOST}:{taken.getsockname()[1]}"
        for name in ("latido-store", "latido-hot", "latido-agent"):
            section = name.removeprefix("latido-")
            program = run_program(name, config=write_config({section: {"admin": address}}))
            assert program.wait_exit() == 78
            assert address in program.logged("start_failed")[0]["err"]
