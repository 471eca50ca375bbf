# SPDX-License-Identifier: MIT
"""Ten thousand sources come back at once after an outage: served fairly, in bounded memory.

tests/tools/comeback.c plays the sources; a hundred of them have several times as much as the others.
"""

import os
import re
import subprocess

import pytest

import servers
from conftest import BIN

pytestmark = pytest.mark.once

SOURCES, BACKLOG, VALUES, LIVE_MS = 10000, 6, 10, 2000
GREEDY_EVERY, GREEDY_TIMES = 100, 50 if os.environ.get("LATIDO_FULL") == "1" else 5
BACKLOG_OF = f"CASE WHEN substr(s.name, 2)::int % {GREEDY_EVERY} = 0 THEN {BACKLOG * GREEDY_TIMES} ELSE {BACKLOG} END"
MIB = 1 << 20
# What the configuration below lets the store hold, and what a program and its libraries take.
QUEUE, BATCH, SHAPES, BASE = 8 * MIB, 4 * MIB, 8 * MIB, 16 * MIB
PER_SOURCE = 2048  # names, progress, the acknowledgement that is remembered


def peak_rss(pid):
    with open(f"/proc/{pid}/status", encoding="ascii") as f:
        return int(re.search(r"VmHWM:\s+(\d+) kB", f.read())[1]) * 1024


def test_ten_thousand_come_back(servers_folder, shared_postgres, database, write_config, run_program, tmp_path):
    name = [part[7:] for part in database.split() if part.startswith("dbname=")][0]
    with servers.Mosquitto(servers_folder) as broker:
        store = run_program("latido-store", config=write_config({
            "bus": {"url": broker.url, "queue_bytes": f"{QUEUE}B"},
            "limits": {"shape_cache_bytes": f"{SHAPES}B"},
            "postgres": {"dsn": database},
            "store": {"admin": "127.0.0.1:0", "batch": {"max_bytes": f"{BATCH}B"}}})).wait_ready()
        config = write_config({"bus": {"url": broker.url}})
        tool = os.path.join(os.path.dirname(BIN), "tools", "comeback")
        tool = subprocess.Popen(
            [tool, config, *map(str, (SOURCES, BACKLOG, VALUES, LIVE_MS, GREEDY_EVERY, GREEDY_TIMES))],
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        servers.guard_process(tool.pid)
        # Fairness: while those with much have not even half of it stored, everybody has something.
        total = SOURCES * BACKLOG + SOURCES // GREEDY_EVERY * BACKLOG * (GREEDY_TIMES - 1)

        def half():
            rows = shared_postgres.sql(f"""
                SELECT count(*), count(DISTINCT source_id) FROM snapshot d JOIN source s ON s.id = d.source_id
                WHERE d.seq <= {BACKLOG_OF}""", name)
            return int(rows[0][0]) >= total / 2 and rows[0]
        stored, served = servers.wait_until(half, 600, "half of the backlog stored")
        assert int(served) == SOURCES, f"{stored} of {total} are stored"
        out, err = tool.communicate(timeout=600)
        assert tool.returncode == 0, err
        print(out)
        # Memory, at its highest.
        bound = QUEUE + 2 * BATCH + SHAPES + SOURCES * PER_SOURCE + BASE
        peak = peak_rss(store.pid)
        print(f"peak RSS of the store {peak / MIB:.1f} MiB, bound {bound / MIB:.1f} MiB")
        assert peak <= bound
        # Acknowledgements: below a tenth of what the broker carried for them.
        answers = store.value("latido_consumer_answers_total")
        assert 0 < answers <= store.value("latido_consumer_messages_total") / 10
        # And nothing is missing or twice.
        low = shared_postgres.sql(query(), name)
        assert low == [(str(SOURCES), str(SOURCES))]
        assert shared_postgres.sql("SELECT count(*) FROM gap", name) == [("0",)]


def query():
    return f"""
        SELECT count(*), count(*) FILTER (WHERE n = u AND n = want AND lo = 1) FROM (
            SELECT count(*) n, count(DISTINCT d.seq) u, min(d.seq) lo, max({BACKLOG_OF}) want
            FROM snapshot d JOIN source s ON s.id = d.source_id WHERE d.seq <= {BACKLOG_OF} GROUP BY s.name) x"""
