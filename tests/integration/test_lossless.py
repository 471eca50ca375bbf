# SPDX-License-Identifier: MIT
"""Nothing lost on plain MQTT: spool, acknowledgements, resends, gaps, the inbox of devices.

The fault suite (tests/fault) breaks everything at random; here each promise is shown alone.
"""

import json
import os
import signal
import subprocess
import time

import pytest

import servers
from servers import wait_until

SECONDS = 60


def bus(broker, client_id=""):
    return {"url": broker.url, "backoff_base": "50ms", "backoff_cap": "500ms",
            "mqtt": {"client_id": client_id, "keepalive": "2s", "connect_timeout": "2s"}}


@pytest.fixture
def world(servers_folder, database, write_config, run_program, tmp_path, shared_postgres, bin_folder):
    """A broker that forgets everything when it is killed, a store, an agent with a spool."""
    class World:
        broker = servers.Mosquitto(servers_folder, persistence=False)
        spool = str(tmp_path / "spool")
        inbox = str(tmp_path / "inbox")

        def agent(self, client_id="agent-n1", **changes):
            config = {"source": "n1", "interval": "100ms", "admin": "127.0.0.1:0", "collectors": ["loadavg"],
                      "spool": {"dir": self.spool}, **changes}
            return run_program("latido-agent", config=write_config({"bus": bus(self.broker, client_id),
                                                                    "agent": config}))

        def store(self, **changes):
            return run_program("latido-store", config=write_config({
                "bus": bus(self.broker, "store"), "postgres": {"dsn": database},
                "store": {"admin": "127.0.0.1:0", "inbox_dir": self.inbox, **changes}}))

        def sql(self, query):
            name = [part[7:] for part in database.split() if part.startswith("dbname=")][0]
            return shared_postgres.sql(query, name)

        def epochs(self):
            """(epoch, rows, distinct, highest, upto, islands) of n1, oldest first"""
            return [tuple(int(x) if x.isdigit() else x for x in row) for row in self.sql("""
                SELECT e.epoch, count(d.seq), count(DISTINCT d.seq), coalesce(max(d.seq), 0), p.upto, p.above
                FROM epoch e JOIN source s ON s.id = e.source_id JOIN progress p ON p.epoch_id = e.id
                LEFT JOIN snapshot d ON d.epoch_id = e.id WHERE s.name = 'n1'
                GROUP BY e.id, e.epoch, p.upto, p.above ORDER BY 1""")]

        def latido(self, *args):
            return subprocess.run([os.path.join(bin_folder, "latido"), *args], capture_output=True, text=True,
                                  check=False, timeout=60)

        def whole(self, at_least, epochs=1):
            """Wait until each epoch is stored without hole or duplicate, the last one up to at_least."""
            def check():
                rows = self.epochs()
                return (len(rows) == epochs and rows[-1][3] >= at_least
                        and all(n == u == hi == upto and above == "{}" for _, n, u, hi, upto, above in rows)) and rows
            return wait_until(check, SECONDS, "every event stored once")

    with World.broker:
        yield World()


def kill(program):
    program.signal(signal.SIGKILL)
    program.process.wait()


def held(program):
    return program.value("latido_spool_records", spool="agent")


def test_acknowledged_events_leave_the_spool(world):
    store, agent = world.store().wait_ready(), world.agent()
    world.whole(80)
    wait_until(lambda: held(agent) < 40, SECONDS, "the spool trimmed")
    # Less than a tenth of the messages, apart from the first few that a start may send.
    answers = store.value("latido_consumer_answers_total")
    assert answers <= store.value("latido_consumer_messages_total") / 10 + 20


@pytest.mark.once
def test_restart_goes_on_with_epoch_and_number(world):
    world.store().wait_ready()
    agent = world.agent()
    world.whole(10)
    kill(agent)
    agent = world.agent()
    world.whole(20)
    agent.terminate()
    assert agent.wait_exit() == 0
    agent = world.agent()
    assert agent.wait_log("spool_open")["doubt"] == "none"
    world.whole(30)


@pytest.mark.once
def test_store_away_and_live_stays_fresh(world):
    """While the backlog of an outage drains slowly, new events are stored as they come."""
    store = world.store().wait_ready()
    agent = world.agent(backlog_rate=20)
    world.whole(10)
    kill(store)
    world.broker.kill()  # it has forgotten the store and what was queued
    wait_until(lambda: held(agent) > 100, SECONDS, "a backlog")
    world.broker.start()
    store = world.store().wait_ready()
    newest = """SELECT extract(epoch FROM now() - max(time)) FROM snapshot"""
    wait_until(lambda: float(world.sql(newest)[0][0]) < 2 and world.epochs()[0][5] != "{}", SECONDS,
               "live events above a hole")
    world.whole(130)
    assert agent.value("latido_agent_events_sent_total", topic="backlog") >= 10  # not the newest


@pytest.mark.once
def test_broker_that_forgot(world):
    world.store().wait_ready()
    agent = world.agent()
    for i in range(2):
        world.whole(20 * (i + 1))
        world.broker.kill()
        time.sleep(0.5)
        world.broker.start()
    world.whole(int(agent.value("latido_agent_last_seq")))


@pytest.mark.once
@pytest.mark.parametrize("how", ["copy", "in place", "lost", "other machine"])
def test_spool_put_back(world, tmp_path, how):
    """An older state of the spool: what comes now is new, and is never dropped as a duplicate."""
    world.store().wait_ready()
    agent = world.agent()
    world.whole(10)
    kill(agent)
    old = tmp_path / "old"
    subprocess.run(["cp", "-a", world.spool, old], check=True)
    agent = world.agent()
    world.whole(40)
    wait_until(lambda: held(agent) < 40, SECONDS, "acknowledged")
    agent.terminate()
    agent.wait_exit()
    first = world.epochs()[0]
    if how == "copy":
        subprocess.run(["rm", "-r", world.spool], check=True)
        subprocess.run(["cp", "-a", old, world.spool], check=True)
    elif how == "in place":
        for name in os.listdir(world.spool):
            if not (old / name).exists():
                os.unlink(os.path.join(world.spool, name))
        for name in os.listdir(old):
            with open(os.path.join(world.spool, name), "ab") as f:
                f.truncate(0)
                f.write((old / name).read_bytes())
    elif how == "lost":
        subprocess.run(["rm", "-r", world.spool], check=True)
    else:
        with open(os.path.join(world.spool, "head"), "r+b") as f:
            f.write(b"\0" * 64)
    world.agent()
    rows = world.whole(20, epochs=2)
    assert rows[1][0] > rows[0][0]
    assert rows[0][:2] == first[:2] or rows[0][1] >= first[1]


def test_gap_is_recorded(world, write_config, database):
    """A spool that is too small for an outage: what it dropped stands in table gap."""
    world.broker.kill()
    agent = world.agent(interval="100ms", collectors=[], spool={"dir": world.spool, "max_bytes": "1MiB"},
                        encoding="json")
    wait_until(lambda: agent.value("latido_spool_dropped_total", reason="disk_full") > 0, SECONDS, "a full spool")
    world.broker.start()
    store = world.store().wait_ready()

    def whole():
        rows = world.epochs()
        missing = int(world.sql("SELECT coalesce(sum(hi - lo + 1), 0) FROM gap")[0][0])
        return rows and rows[0][5] == "{}" and missing > 0 and rows[0][1] + missing == rows[0][4] and missing
    missing = wait_until(whole, SECONDS, "everything stored or in table gap")
    assert store.value("latido_store_gap_events_total") == missing
    config = write_config({"postgres": {"dsn": database}})
    result = world.latido("gaps", "-c", config, "--json")
    assert result.returncode == 0, result.stderr
    rows = [json.loads(line) for line in result.stdout.splitlines()]
    assert {r["source"] for r in rows} == {"n1"} and sum(r["hi"] - r["lo"] + 1 for r in rows) >= missing
    assert "lost" in world.latido("gaps", "-c", config, "--source", "n1").stdout
    assert world.latido("gaps", "-c", config, "--source", "n2").stdout == "no gaps\n"
    verify = world.latido("spool", "verify", world.spool)
    assert verify.returncode == 0, verify.stdout


def test_spool_of_another_process(world):
    agent = world.agent()
    agent.wait_log("spool_open")
    result = subprocess.run([agent.binary, *agent.argv[1:]], capture_output=True, text=True, check=False, timeout=60)
    assert result.returncode == 78 and "in use by another process" in result.stderr


def test_devices_survive_a_killed_store(world):
    """What the broker handed over is stored although store and broker died before PostgreSQL had it."""
    store = world.store(batch={"linger": "30s", "max_events": 100000})
    store.wait_ready()
    for i in range(40):
        subprocess.run(["mosquitto_pub", "-h", servers.HOST, "-p", str(world.broker.port), "-q", "1",
                        "-t", "latido/v1/devices/d1/metrics", "-m", json.dumps({"temperature": i})], check=True)
    wait_until(lambda: store.value("latido_consumer_messages_total") >= 40, SECONDS, "all received")
    assert world.sql("SELECT count(*) FROM snapshot") == [("0",)]
    kill(store)
    world.broker.kill()
    world.broker.start()
    store = world.store().wait_ready()
    wait_until(lambda: int(world.sql("SELECT count(DISTINCT vals) FROM snapshot")[0][0]) == 40, SECONDS,
               "all 40 stored")
    wait_until(lambda: store.value("latido_spool_records", spool="inbox") == 0, SECONDS, "the inbox is empty")


def test_store_asks_for_names(world):
    """A shape that was announced before the store came: it asks, and need not wait for the next announcement."""
    agent = world.agent(shape="announced", announce_interval="1h")
    wait_until(lambda: agent.value("latido_agent_events_delivered_total") > 10, SECONDS, "events that nobody takes")
    store = world.store().wait_ready()
    wait_until(lambda: agent.value("latido_agent_shape_requests_total") > 0, SECONDS, "a request")
    assert store.value("latido_consumer_shape_requests_total") > 0
    world.whole(20)


@pytest.mark.once
@pytest.mark.parametrize("client_id", ["agent-n1", "agent-other"])
def test_two_agents_with_one_source(world, tmp_path, client_id):
    """They say so, begin epochs of their own, and whatever either of them sampled is stored."""
    world.store().wait_ready()

    def first():
        return world.agent()

    def second():
        return world.agent(client_id, collectors=["stat"], spool={"dir": str(tmp_path / "spool2")})

    running = [first(), second()]
    for agent in running:
        agent.wait_log("source_used_twice")
    wait_until(lambda: all(a.value("latido_agent_events_total") > 40 for a in running), SECONDS, "some time of it")
    made = [int(a.value("latido_agent_events_total")) for a in running]
    for agent in running:
        agent.terminate()
        assert len(agent.logged("source_used_twice")) <= 5
    # Each alone again: what is still in its spool.
    for start in first, second:
        agent = start()
        wait_until(lambda agent=agent: agent.value("latido_agent_acks_total") > 5 and held(agent) < 20, SECONDS,
                   "its spool drained")
        agent.terminate()
    for name, n in zip(("node_load1", "node_forks_total"), made):
        wait_until(lambda name=name, n=n: int(world.sql(
            f"SELECT count(DISTINCT time) FROM sample WHERE name = '{name}'")[0][0]) >= n, SECONDS, f"{n} {name}")


def test_clone_in_the_same_epoch(world):
    """A clone of a running machine goes on in the same epoch: seeing its birth is reason for a new one."""
    world.store().wait_ready()
    agent = world.agent()
    epoch = world.whole(10)[0][0]
    wait_until(lambda: held(agent) < 10, SECONDS, "acknowledged")
    birth = {"state": "online", "epoch": epoch, "conn": epoch + 10 ** 9, "run": "0123456789abcdef", "interval_ms": 100}
    subprocess.run(["mosquitto_pub", "-h", servers.HOST, "-p", str(world.broker.port), "-q", "1", "-r",
                    "-t", "latido/v1/nodes/n1/status", "-m", json.dumps(birth)], check=True)
    assert agent.wait_log("epoch_new")["reason"] == "another agent runs under this source"
    assert agent.wait_log("source_used_twice")["other_epoch"] == str(epoch)
    rows = wait_until(lambda: len(world.epochs()) == 2 and world.epochs()[1][1] > 10 and world.epochs(), SECONDS,
                      "the new epoch stored")
    assert rows[1][0] > epoch


@pytest.mark.once
def test_restart_is_no_twin(world):
    """What an earlier life left retained, online and all, is no reason for alarm."""
    world.store().wait_ready()
    agent = world.agent()
    world.whole(5)
    kill(agent)
    agent = world.agent()
    world.whole(20)
    for _ in range(2):  # and not after the broker forgot it either
        world.broker.kill()
        world.broker.start()
        world.whole(int(agent.value("latido_agent_last_seq")) + 5)
    assert agent.value("latido_agent_twins_total") == 0 and not agent.logged("source_used_twice")
