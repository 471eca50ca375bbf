# SPDX-License-Identifier: MIT
"""infra/local/servers.py: other tests rely on what it says."""

import os
import signal
import socket
import subprocess
import sys
import time

import psycopg2
import pytest

import guard
import server_base
import servers
from conftest import ROOT

pytestmark = pytest.mark.once


def gone(pids):
    return all(guard.start_time(pid) is None for pid in pids)


def test_mosquitto_keeps_a_session_over_sigkill(mosquitto):
    subscribe = ["mosquitto_sub", "-p", str(mosquitto.port), "-t", "t", "-q", "1", "-i", "sub", "-c"]
    subprocess.run([*subscribe, "-E"], check=True, timeout=60)
    publish = ["mosquitto_pub", "-p", str(mosquitto.port), "-t", "t", "-q", "1", "-m"]
    subprocess.run([*publish, "kept"], check=True, timeout=60)
    data = os.path.join(mosquitto.data, "mosquitto.db")
    servers.wait_until(lambda: os.path.exists(data) and b"kept" in open(data, "rb").read(), 60, "autosave")
    port = mosquitto.port
    mosquitto.kill()
    mosquitto.restart()
    assert mosquitto.port == port
    out = subprocess.run([*subscribe, "-C", "1", "-W", "30"], check=True, timeout=60, stdout=subprocess.PIPE)
    assert out.stdout == b"kept\n"
    mosquitto.restart(empty=True)
    subprocess.run([*publish, "new"], check=True, timeout=60)
    out = subprocess.run([*subscribe, "-C", "1", "-W", "1"], check=False, timeout=60, stdout=subprocess.PIPE)
    assert out.stdout == b"", "an empty restart forgets the session"


def test_mosquitto_tls_and_passwords(servers_folder):
    with servers.Mosquitto(servers_folder, tls="require", users={"node": "secret"}) as broker:
        c = broker.certificates

        def publish(cert, key, password):
            return subprocess.run(
                ["mosquitto_pub", "-h", "localhost", "-p", str(broker.tls_port), "-u", "node", "-P", password,
                 "--cafile", c["ca"], "--cert", c[cert], "--key", c[key], "-t", "t", "-m", "x", "-q", "1"],
                check=False, timeout=60, stderr=subprocess.DEVNULL).returncode

        assert publish("client_cert", "client_key", "secret") == 0
        assert publish("client_cert", "client_key", "wrong") != 0
        assert publish("other_cert", "other_key", "secret") != 0


def test_redis_forgets_unless_it_persists(servers_folder):
    with servers.Redis(servers_folder) as redis:
        redis.call("SET", "k", "v")
        redis.kill()
        redis.restart()
        assert redis.call("GET", "k") is None
        assert redis.call("CONFIG", "GET", "hash-max-listpack-entries")[1] == "32"
    with servers.Redis(servers_folder, persistence=True, password="secret") as redis:
        redis.call("SET", "k", "v")
        redis.kill()
        redis.restart()
        assert redis.call("GET", "k") == "v"


def test_postgres_survives_sigkill(postgres):
    postgres.sql("CREATE TABLE t AS SELECT generate_series(1, 10) AS n")
    connection = psycopg2.connect(postgres.dsn)
    postgres.kill(children=False)
    postgres.start()
    assert postgres.sql("SELECT count(*) FROM t") == [("10",)]
    with pytest.raises(psycopg2.Error):
        connection.cursor().execute("SELECT 1")
    postgres.kill()
    postgres.restart(empty=True)
    assert postgres.sql("SELECT count(*) FROM pg_class WHERE relname = $$t$$") == [("0",)]
    with pytest.raises(servers.ServerError, match="does not exist"):
        postgres.sql("SELECT * FROM t")


def test_postgres_password_and_tls(servers_folder):
    with servers.Postgres(servers_folder, tls=True, password="secret") as postgres:
        psycopg2.connect(postgres.tcp_dsn + " sslmode=verify-full host=localhost password=secret sslrootcert="
                         + postgres.certificates["ca"]).close()
        with pytest.raises(psycopg2.OperationalError, match="authentication failed"):
            psycopg2.connect(postgres.tcp_dsn + " password=wrong")


def test_paused_server_does_not_answer(redis):
    redis.pause()
    with pytest.raises(OSError):
        servers.RedisConnection(redis, timeout=0.2).call("PING")
    redis.resume()
    assert redis.call("PING") == "PONG"


def test_port_clash_is_said(redis, servers_folder):
    other = servers.Redis(os.path.join(servers_folder, "other"), port=redis.port)
    with pytest.raises(servers.ServerError, match=f"port {redis.port} on 127.0.0.1 is in use"):
        other.start()


def test_a_chosen_port_that_was_taken_is_replaced(servers_folder, monkeypatch):
    with socket.socket() as taken:
        taken.bind((servers.HOST, 0))
        taken.listen()
        port = taken.getsockname()[1]
        really_free = servers.free_port
        answers = [port, really_free(), really_free(), port]
        monkeypatch.setattr(server_base, "free_port", lambda: answers.pop() if answers else really_free())
        with servers.Mosquitto(servers_folder, tls=True) as broker:
            assert port not in (broker.port, broker.tls_port)
            assert len(answers) == 0


CHOOSER = """
import random, sys
sys.path.insert(0, sys.argv[1])
import server_base
first, really = [int(port) for port in sys.argv[2:]], random.randrange
random.randrange = lambda *args: first.pop(0) if first else really(*args)
print(server_base.free_port(), flush=True)
sys.stdin.read()
"""


def test_a_port_of_one_process_is_not_chosen_by_another():
    """Not even while nothing is bound to it, as long as its process lives."""
    def chooser(*first):
        child = subprocess.Popen([sys.executable, "-c", CHOOSER, os.path.join(ROOT, "infra", "local"), *map(str, first)],
                                 stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        return child, int(child.stdout.readline())

    ours = servers.free_port()
    one, its = chooser(ours)
    two, another = chooser(ours, its)
    assert len({ours, its, another}) == 3
    one.kill()
    one.communicate()
    three, again = chooser(ours, another, its)
    assert again == its
    for child in (two, three):
        child.communicate()
        assert child.returncode == 0


def test_the_last_one_removes_the_file_of_ports(tmp_path):
    def chooser():
        child = subprocess.Popen([sys.executable, "-c", CHOOSER, os.path.join(ROOT, "infra", "local")], text=True,
                                 stdin=subprocess.PIPE, stdout=subprocess.PIPE, env={**os.environ, "TMPDIR": str(tmp_path)})
        return child, int(child.stdout.readline())

    path = tmp_path / f"latido-ports-{os.geteuid()}"
    (one, _), (two, port) = chooser(), chooser()
    one.communicate()
    ours = server_base.Ports(str(path))
    assert not ours.take(port)
    two.kill()
    two.communicate()
    servers.wait_until(lambda: not path.exists(), 60, "nobody has a lock in it, so it goes")
    # Nobody knew of us, for we had none: the next lock is in the file that the others will open.
    assert ours.take(port) and os.path.samestat(os.fstat(ours.fd), os.stat(path))
    ours.close()


def test_start_failure_shows_the_log(servers_folder):
    with pytest.raises(servers.ServerError, match="no_such_option"):
        servers.Mosquitto(servers_folder, config="no_such_option true").start()


CHILD = """
import os, signal, sys
sys.path.insert(0, sys.argv[1])
import servers
folder = servers.private_folder()
started = [servers.Mosquitto(folder), servers.Redis(folder), servers.Postgres(folder)]
for s in started:
    s.start()
print(folder, started[2].data, *[pid for s in started for pid, _ in s.tree()], flush=True)
signal.pause()
"""


@pytest.mark.parametrize("signum", ["KILL", "TERM", "INT"])
def test_nothing_outlives_its_starter(signum):
    child = subprocess.Popen([sys.executable, "-c", CHILD, os.path.join(ROOT, "infra", "local")],
                             stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    folder, data, *pids = child.stdout.readline().split()
    pids = [int(pid) for pid in pids]
    assert len(pids) > 5 and not gone(pids)
    segment = guard.segment_of(os.path.join(data, "postmaster.pid"))
    assert segment is not None
    child.send_signal(getattr(signal, "SIG" + signum))
    child.wait(60)
    servers.wait_until(lambda: gone(pids) and not os.path.exists(folder) and not os.path.exists(data), 60,
                       "processes and folders gone")
    with open("/proc/sysvipc/shm", encoding="ascii") as f:
        assert all(int(line.split()[1]) != segment for line in f.readlines()[1:])


def test_wait_until_has_a_deadline():
    begin = time.monotonic()
    with pytest.raises(TimeoutError, match="never"):
        servers.wait_until(lambda: False, 0.05, "never")
    assert time.monotonic() >= begin + 0.05
