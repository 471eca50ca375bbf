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


@pytest.mark.parametrize("queue", ["256KiB", "16KiB"])
def test_thousand_clients_of_which_twenty_stop_reading(run_program, write_config, bin_folder, tmp_path, redis, queue):
    live = Live(run_program, write_config, bin_folder, str(tmp_path), redis,
                live={"client_queue": queue, "flush": "100ms", "stall": "1h"})
    run = subprocess.run([clients_tool(bin_folder), str(live.port), redis.url, "1000", "20", "100", str(SECONDS), "20"],
                         capture_output=True, text=True, timeout=240, check=False)
    result = json.loads(run.stdout)
    assert run.returncode == 0 and result["wrong"] == 0 and result["complete"], (result, run.stderr)
    assert result["sent"] == 100 * SECONDS and result["ended"] == 0
    # What the other 980 got is all there was, each event once; only when the machine is too busy are there skips.
    assert result["received"] + result["skipped"] >= 980 * 100 * SECONDS
    assert live.program.value("latido_live_lost_events_total") == 0
