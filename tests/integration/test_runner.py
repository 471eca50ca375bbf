# SPDX-License-Identifier: MIT
"""tests/run.py: what it counts is what `make test` says."""

import os
import signal
import subprocess
import sys

import pytest

import guard
import servers
from conftest import ROOT

sys.path.insert(0, os.path.join(ROOT, "tests"))
import run  # noqa: E402

pytestmark = pytest.mark.once

PASSED = "1..2\nok 1 - a\nok 2 - b\n# ok - x\n"


@pytest.mark.parametrize("code, output, expected", [
    (0, PASSED, (2, 0, 0)),
    (0, "1..2\nok 1 - a\nnot ok 2 - b\n# b.c:7: error\n", (1, 1, 0)),
    (1, "1..2\nok 1 - a\nok 2 # SKIP b\n", (1, 1, 1)),
    (0, "1..2\nok 1 - a\nok 2 - b # skip\n", (1, 0, 1)),
    (-11, "1..3\nok 1 - a\n", (1, 2, 0)),
    (99, PASSED + "==1==ERROR: LeakSanitizer\n", (2, 1, 0)),
    (0, "", (0, 1, 0)),
    (127, "no such file\n", (0, 1, 0)),
    (0, PASSED + PASSED, (4, 0, 0)),
])
def test_tap(code, output, expected):
    count = run.count_tap(code, output)
    assert (count.passed, count.failed, count.skipped) == expected


@pytest.mark.parametrize("text, code, expected", [
    ('<testsuites><testsuite tests="5" failures="1" errors="1" skipped="1"/></testsuites>', 1, (2, 2, 1)),
    ('<testsuites><testsuite tests="5" failures="0" errors="0" skipped="0"/></testsuites>', 0, (5, 0, 0)),
    ('<testsuites><testsuite tests="0" failures="0" errors="0" skipped="0"/></testsuites>', 5, (0, 0, 0)),
    ('<testsuites><testsuite tests="0" failures="0" errors="0" skipped="0"/></testsuites>', 4, (0, 1, 0)),
    ("<testsui", -9, (0, 1, 0)),
])
def test_junit(tmp_path, text, code, expected):
    path = tmp_path / "junit.xml"
    path.write_text(text)
    count = run.count_junit(str(path))(code, "")
    assert (count.passed, count.failed, count.skipped) == expected


def test_a_hanging_job_is_killed_with_its_children(tmp_path):
    log = str(tmp_path / "log")
    code, output = run.run_logged(["sh", "-c", "sleep 1000 & echo child $!; wait"], log, 1, {})
    assert code < 0 and "killed after 1 s" in output
    servers.wait_until(lambda: guard.start_time(int(output.split()[1])) is None, 10, "the child is gone")


FAKE = """
import sys
sys.path.insert(0, sys.argv[1])
import run
run.LOGS, sys.argv[1:] = sys.argv[2], sys.argv[3:]
def jobs():
    return [run.Job(str(i), ["sleep", "1000"], run.count_exit_code) for i in range(20)]
run.SUITES = [run.Suite("fake", [], jobs), run.Suite("later", [], jobs)]
sys.exit(run.main())
"""


@pytest.mark.parametrize("signum", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupt_ends_everything(tmp_path, signum):
    process = subprocess.Popen([sys.executable, "-c", FAKE, os.path.join(ROOT, "tests"), str(tmp_path / "logs"), "fake",
                                "later"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
                               env={**os.environ, "JOBS": "3"})
    children = servers.wait_until(lambda: len(found := guard.descendants(process.pid)) == 3 and found, 30,
                                  "three jobs run")
    process.send_signal(signum)
    out, err = process.communicate(timeout=30)
    assert process.returncode == 128 + signum
    assert "stopped" in err and "passed" not in out
    assert all(guard.start_time(pid) is None for pid in children)


def test_unknown_suite_is_an_error():
    result = subprocess.run([sys.executable, os.path.join(ROOT, "tests", "run.py"), "nonsense"], text=True,
                            stdout=subprocess.PIPE, stderr=subprocess.PIPE, check=False)
    assert result.returncode == 2 and "there are: check-format" in result.stderr
