# SPDX-License-Identifier: MIT
"""Bad configuration: every program names file, line and remedy, and exits with 78 (EX_CONFIG)."""

import os
import subprocess

import pytest

DAEMONS = ["latido-agent", "latido-hot", "latido-store"]
GOOD = """\
bus:
  url: mqtt://127.0.0.1:1
agent:
  interval: 1s
hot:
  max_rate_hz: 2
store:
  retention: 7d
"""

# name: text to replace, replacement, line of the error, what the message must say
CASES = {
    "unknown key": ("interval: 1s", "intervall: 1s", 4, ["agent.intervall", "interval"]),
    "unknown section": ("agent:", "agnet:", 3, ["agnet", "agent"]),
    "wrong type": ("interval: 1s", "interval: [1, 2]", 4, ["agent.interval"]),
    "no unit": ("interval: 1s", "interval: 10", 4, ["agent.interval", "30s"]),
    "out of bounds": ("interval: 1s", "interval: 1ms", 4, ["agent.interval", "100ms"]),
    "not a number": ("max_rate_hz: 2", "max_rate_hz: often", 6, ["hot.max_rate_hz", "often"]),
    "bad url": ("mqtt://127.0.0.1:1", "http://127.0.0.1:1", 2, ["bus.url", "mqtt://"]),
    "duplicate key": ("  interval: 1s", "  interval: 1s\n  interval: 2s", 5, ["interval"]),
    "broken yaml": ("store:\n", "store: {\n", None, []),
}


def run(bin_folder, name, *args, env=None):
    return subprocess.run([os.path.join(bin_folder, name), *args], text=True, stdout=subprocess.PIPE,
                          stderr=subprocess.PIPE, check=False, timeout=60, env={**os.environ, **(env or {})})


@pytest.mark.parametrize("daemon", DAEMONS)
@pytest.mark.parametrize("case", CASES)
def test_errors_name_file_line_and_remedy(bin_folder, write_config, daemon, case):
    old, new, line, words = CASES[case]
    path = write_config(GOOD.replace(old, new))
    for arguments in (["--config", path], ["--config", path, "--check-config"]):
        result = run(bin_folder, daemon, *arguments)
        assert result.returncode == 78, result.stderr
        place = f"{path}:{line}:" if line else f"{path}:"
        assert place in result.stderr and "error:" in result.stderr
        for word in words:
            assert word in result.stderr
        assert "Sanitizer" not in result.stderr


@pytest.mark.parametrize("daemon", DAEMONS)
def test_all_errors_are_reported_at_once(bin_folder, write_config, daemon):
    path = write_config(GOOD.replace("interval: 1s", "intervall: 1s").replace("7d", "7 days")
                        .replace("max_rate_hz", "max_rate"))
    result = run(bin_folder, daemon, "--config", path)
    assert result.returncode == 78
    for line in (4, 6, 8):
        assert f"{path}:{line}:" in result.stderr


@pytest.mark.parametrize("daemon", DAEMONS)
def test_unreadable_files(bin_folder, tmp_path, daemon):
    missing = str(tmp_path / "missing.yaml")
    folder = str(tmp_path)
    unreadable = tmp_path / "unreadable.yaml"
    unreadable.write_text(GOOD)
    unreadable.chmod(0)
    paths = [missing, folder] + ([str(unreadable)] if os.geteuid() else [])  # root reads everything
    for path in paths:
        result = run(bin_folder, daemon, "--config", path)
        assert result.returncode == 78, result.stderr
        assert path in result.stderr


@pytest.mark.parametrize("daemon", DAEMONS)
def test_errors_in_the_environment_name_the_variable(bin_folder, write_config, daemon):
    result = run(bin_folder, daemon, "--config", write_config(GOOD), env={"LATIDO_AGENT_INTERVAL": "soon"})
    assert result.returncode == 78
    assert "LATIDO_AGENT_INTERVAL" in result.stderr


@pytest.mark.parametrize("daemon", DAEMONS)
def test_a_good_file_is_said_to_be_good(bin_folder, write_config, daemon):
    result = run(bin_folder, daemon, "--config", write_config(GOOD), "--check-config")
    assert result.returncode == 0, result.stderr
    assert result.stderr == ""


@pytest.mark.parametrize("daemon", DAEMONS)
def test_wrong_usage(bin_folder, daemon):
    result = run(bin_folder, daemon, "--no-such-option")
    assert result.returncode == 2
    assert "no-such-option" in result.stderr
