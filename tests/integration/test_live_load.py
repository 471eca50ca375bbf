# SPDX-License-Identifier: MIT
"""A thousand browsers: everybody gets every event, or is told how many are missing (tests/tools/live_clients.c)."""

import json
import os
import subprocess

import pytest

from live import Live

pytestmark = pytest.mark.once
SECONDS = 6


def clients_tool(bin_folder):
    return os.path.join(os.path.dirname(bin_folder), "tools", "live_clients")


def run_clients(live, redis, bin_folder, *args):
    run = subprocess.run([clients_tool(bin_folder), str(live.port), redis.url, *map(str, args)],
                         capture_output=True, text=True, timeout=240, check=False)
    result = json.loads(run.stdout)
    assert run.returncode == 0 and result["wrong"] == 0 and result["complete"], (result, run.stderr)
    assert result["ended"] == 0 and live.program.value("latido_live_lost_events_total") == 0
    return result


def test_thousand_clients_of_which_twenty_stop_reading(run_program, write_config, bin_folder, tmp_path, redis):
    live = Live(run_program, write_config, bin_folder, str(tmp_path), redis,
                live={"client_queue": "256KiB", "flush": "100ms", "stall": "1h"})
    result = run_clients(live, redis, bin_folder, 1000, 20, 100, SECONDS, 20)
    assert result["sent"] == 100 * SECONDS
    # What the other 980 got is all there was, each event once; only when the machine is too busy are there skips.
    assert result["received"] + result["skipped"] >= 980 * 100 * SECONDS


def test_nobody_notices_who_stops_reading(run_program, write_config, bin_folder, tmp_path, redis):
    """The queues of twenty overflow. The others, who take a second's events before the next ones come, miss nothing."""
    rounds = 40
    live = Live(run_program, write_config, bin_folder, str(tmp_path), redis,
                live={"client_queue": "32KiB", "flush": "20ms", "stall": "1h"})
    result = run_clients(live, redis, bin_folder, 1000, 20, 100, rounds, 20, "paced")
    # Who came early has got the first event of each node, too.
    assert result["received"] >= 980 * 100 * rounds
    assert (result["skipped"], result["holes"], result["repeated"]) == (0, 0, 0)
    # At least the last second's events were kept from each of the twenty, and nobody else had a full queue.
    assert live.program.value("latido_live_skipped_events_total") >= 20 * 100
    assert live.program.value("latido_live_cut_clients_total") == 0
