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


PYTEST = """
tests/integration/test_x.py::test_a FAILED                               [ 50%]
tests/integration/test_x.py::test_b[one two] PASSED                      [100%]
==================================== ERRORS ====================================
_______________________ ERROR at teardown of test_a ____________________________
latido-hot ended with code 3
=================================== FAILURES ===================================
____________________________________ test_a ____________________________________

    def test_a(site):
>       check(site)

tests/integration/test_x.py:7:
_ _ _ _ _ _ _ _ _ _ _ _ _ _ _ _ _ _ _ _ _ _ _ _ _ _ _ _ _ _ _ _ _ _ _ _ _ _ _ _

>       assert 1 == 2
E       AssertionError: that is it
E       assert 1 == 2

tests/integration/site.py:9: AssertionError
=========================== short test summary info ============================
ERROR tests/integration/test_x.py::test_a - Failed: latido-hot ended with code 3
FAILED tests/integration/test_x.py::test_a - AssertionError: that is it
"""


@pytest.mark.parametrize("code, output, expected", [
    (1, PYTEST, [("test_x.py::test_a", ["Failed: latido-hot ended with code 3"]),
                 ("test_x.py::test_a", ["E       AssertionError: that is it", "E       assert 1 == 2",
                                        "tests/integration/site.py:9: AssertionError"])]),
    (1, "1..3\nok 1 - a\nnot ok 2 - b\n# 1 != 2\n# b.c:7: error: Failure!\nnot ok 3 - c # SKIP\n",
     [("b", ["1 != 2", "b.c:7: error: Failure!"])]),
    (1, "TAP version 13\n# Subtest: page\n    # Subtest: shows it\n    not ok 1 - shows it\n      ---\n"
        "      error: 'not within 60 s: a row'\n      code: 'ERR_TEST_FAILURE'\n      ...\n    1..1\n",
     [("shows it", ["error: 'not within 60 s: a row'"])]),
    (-11, "1..2\nok 1 - a\n", [("exit code -11", ["1..2"])]),
    (99, "1..1\nok 1 - a\n==7==ERROR: LeakSanitizer: detected memory leaks\n  #0 f\n",
     [("exit code 99", ["==7==ERROR: LeakSanitizer: detected memory leaks"])]),
    (-9, "begin\n\ntests/run.py: killed after 600 s\n", [("exit code -9", ["tests/run.py: killed after 600 s"])]),
    (2, "one\ntwo\nthree\nx.c:7:1: error: no such thing\n", [("exit code 2", ["two", "three",
                                                                                  "x.c:7:1: error: no such thing"])]),
])
def test_what_failed_is_named(code, output, expected):
    assert run.failures(code, output) == expected


FAILING = """
import sys
sys.path.insert(0, sys.argv[1])
import run
run.LOGS, sys.argv[1:] = sys.argv[2], []
script = "echo 1..2; echo ok 1 - fine; echo not ok 2 - sum; echo '# 1 != 2'; seq 500; exit 1"
run.SUITES = [run.Suite("fake", [], lambda: [run.Job("some_test", ["sh", "-c", script], run.count_tap)])]
sys.exit(run.main())
"""


def test_what_failed_is_said_last(tmp_path):
    result = subprocess.run([sys.executable, "-c", FAILING, os.path.join(ROOT, "tests"), str(tmp_path / "logs")], text=True,
                            stdout=subprocess.PIPE, check=False)
    assert result.returncode == 1
    assert result.stdout.splitlines()[-4:] == ["failed:", "  fake/some_test: sum", "      1 != 2", "1 passed, 1 failed"]


def test_a_hanging_job_is_killed_with_its_children(tmp_path):
    log = str(tmp_path / "log")
    code, output, _ = run.run_logged(["sh", "-c", "sleep 1000 & echo child $!; wait"], log, 1, {})
    assert code < 0 and "killed after 1 s" in output
    servers.wait_until(lambda: guard.start_time(int(output.split()[1])) is None, 60, "the child is gone")


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
    children = servers.wait_until(lambda: len(found := guard.descendants(process.pid)) == 3 and found, 60,
                                  "three jobs run")
    process.send_signal(signum)
    out, err = process.communicate(timeout=60)
    assert process.returncode == 128 + signum
    assert "stopped" in err and "passed" not in out
    assert all(guard.start_time(pid) is None for pid in children)


def test_unknown_suite_is_an_error():
    result = subprocess.run([sys.executable, os.path.join(ROOT, "tests", "run.py"), "nonsense"], text=True,
                            stdout=subprocess.PIPE, stderr=subprocess.PIPE, check=False)
    assert result.returncode == 2 and "there are: check-format" in result.stderr


HEAVY = """
import sys
sys.path.insert(0, sys.argv[1])
import run
run.LOGS, run.WORKERS, sys.argv[1:] = sys.argv[2], 3, []
def jobs():
    # A heavy one fails when another of them is at work; a light one waits until it has seen one at work.
    heavy = 'mkdir "$0/heavy" || exit 1; touch "$0/seen"; [ -e "$0/light" ] || sleep 0.1; rmdir "$0/heavy"'
    return [run.Job(f"h{i}", ["sh", "-c", heavy, run.LOGS], run.count_exit_code) for i in range(8)]
def light():
    wait = 'while ! [ -e "$0/seen" ]; do sleep 0.01; done; touch "$0/light"'
    return [run.Job(f"l{i}", ["sh", "-c", wait, run.LOGS], run.count_exit_code) for i in range(4)]
run.SUITES = [run.Suite("a", [], jobs, heavy=True), run.Suite("b", [], jobs, heavy=True), run.Suite("c", [], light)]
sys.exit(run.main())
"""


def test_of_heavy_jobs_one_runs_at_a_time(tmp_path):
    result = subprocess.run([sys.executable, "-c", HEAVY, os.path.join(ROOT, "tests"), str(tmp_path / "logs")], text=True,
                            stdout=subprocess.PIPE, check=False, timeout=60)
    assert result.returncode == 0, result.stdout
    assert result.stdout.splitlines()[-1] == "20 passed, 0 failed"


COSTLY = """
import sys
sys.path.insert(0, sys.argv[1])
import run
run.LOGS, run.COSTS, run.WORKERS, run.PROCESSORS, sys.argv[1:] = sys.argv[2], sys.argv[3], 3, 1, []
def jobs():
    # One that needs a processor fails when another of them is at work, and waits until two that need none are.
    busy = ('mkdir "$0/busy" || exit 1; until [ -e "$0/1" -a -e "$0/2" ]; do sleep 0.01; done; '
            'sleep 0.05; rmdir "$0/busy"')
    return [run.Job(f"busy{i}", ["sh", "-c", busy, run.LOGS], run.count_exit_code) for i in range(4)]
def idle():
    wait = 'touch "$0/$1"; until [ -e "$0/1" -a -e "$0/2" ]; do sleep 0.01; done'
    return [run.Job(f"idle{i}", ["sh", "-c", wait, run.LOGS, str(i)], run.count_exit_code) for i in (1, 2)]
run.SUITES = [run.Suite("a", [], jobs), run.Suite("b", [], idle)]
sys.exit(run.main())
"""


def test_so_many_run_as_the_processors_have_room_for(tmp_path):
    costs = tmp_path / "costs"
    run.write_costs(costs, {"a/busy0": (10, 10), "a/busy1": (8, 8), "a/busy2": (9, 9), "a/busy3": (9, 9), "b/idle1": (7, 0),
                            "b/idle2": (7, 0)})
    result = subprocess.run([sys.executable, "-c", COSTLY, os.path.join(ROOT, "tests"), str(tmp_path / "logs"), str(costs)],
                            text=True, stdout=subprocess.PIPE, check=False, timeout=60,
                            env={k: v for k, v in os.environ.items() if k != "JOBS"})
    assert result.returncode == 0, result.stdout
    assert result.stdout.splitlines()[-1] == "6 passed, 0 failed"
    # What they took is written down for the next time.
    assert set(run.read_costs(f"{tmp_path}/logs-costs")) == set(run.read_costs(costs))


def test_the_longest_are_begun_first():
    costs = run.Costs({"a/short": (1, 1), "a/usual": (30, 1), "a/long": (90, 1), "h/1": (20, 30), "h/2": (25, 30)})
    a, h = run.Suite("a", [], None), run.Suite("h", [], None, heavy=True)
    pairs = [(suite, run.Job(name, [], None)) for suite, name in
             ((a, "short"), (a, "new"), (a, "long"), (h, "1"), (h, "2"))]
    # The heavy ones are 45 s together, one after the other; "new" is taken for a usual one of a.
    assert [job.name for _, job in costs.order(pairs)] == ["long", "2", "1", "new", "short"]


def test_one_job_of_a_suite(tmp_path):
    script = FAKE.replace('"sleep", "1000"', '"sleep", "0"')

    def result(*names):
        out = subprocess.run([sys.executable, "-c", script, os.path.join(ROOT, "tests"), str(tmp_path / "logs"), *names],
                             text=True, stdout=subprocess.PIPE, check=False, timeout=60).stdout
        return out.splitlines()[-1]
    assert result("later/7", "fake/3", "fake/4") == "3 passed, 0 failed"
    assert result("later/70") == "0 passed, 1 failed"
    assert result("fake") == "20 passed, 0 failed"


@pytest.mark.parametrize("text, builds", [
    ("pytestmark = pytest.mark.once\n@pytest.mark.threaded\n", ["release"]),
    ("@pytest.mark.once\ndef test_a(): ...\n", ["release", "asan"]),
    ("@pytest.mark.threaded\ndef test_a(): ...\n", ["release", "asan", "tsan"]),
])
def test_no_job_where_the_marks_leave_no_test(tmp_path, text, builds):
    path = tmp_path / "test_x.py"
    path.write_text(text, encoding="utf-8")
    assert [mode for mode in run.MODES if run.has_tests(path, mode)] == builds
