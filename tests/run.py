#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""Builds and runs the test suites and counts single tests.

    tests/run.py [SUITE...]     all by default; "unit" means unit-release, unit-asan and unit-tsan
    tests/run.py SUITE/JOB...   some of a suite, such as integration-asan/test_pipeline
    tests/run.py --list        (also: help)

Logs of everything go to build/test/. The last line is "N passed, N failed" (", N skipped" may
follow), and what failed is listed just before it; the exit code is 1 when anything failed.

What each job took goes to build/test-costs. tests/costs is such a file, of one run: the longest
jobs are begun first, and so many run at a time as the processors have room for. When tests come or
change much, make a new one: JOBS=1 tests/run.py, then copy build/test-costs. Environment:

    FUZZ_SECONDS      how long each fuzz target runs (default 15)
    JOBS              tests at the same time, whatever they cost (default: as the processors allow)
    SKIPS_AS_FAILS=1  a skipped test counts as a failed one; so does CI=true
    LATIDO_FULL=1     the tests with Kafka kill more often, under more load (a minute or two more)
"""

import atexit
import concurrent.futures
import functools
import glob
import math
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
import xml.etree.ElementTree
from dataclasses import dataclass, field

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
BUILD = os.path.join(ROOT, "build")
LOGS = os.path.join(BUILD, "test")
SUPPORT = os.path.join(ROOT, "tests", "support")
PROCESSORS = os.cpu_count() or 2
JOBS = int(os.environ.get("JOBS") or 0)
# Most jobs wait for servers much of their time. How many at most, each with servers of its own, is
# for memory, and so that a test has a fair part of a processor when all others happen to work.
WORKERS = JOBS or 2 * PROCESSORS
COSTS = os.path.join(ROOT, "tests", "costs")
FUZZ_SECONDS = int(os.environ.get("FUZZ_SECONDS") or 15)
SKIPS_AS_FAILS = os.environ.get("SKIPS_AS_FAILS") == "1" or os.environ.get("CI") == "true"
SHOWN_LINES = 400  # of a failed job's log; the rest is in the file
REASON_LINES = 3  # of each failed test in the list at the end
LISTED_LINES = 60

# build folder, value of SANITIZE
MODES = {"release": ("release", ""), "asan": ("address-undefined", "address,undefined"), "tsan": ("thread", "thread")}

SANITIZER_ENV = {
    "ASAN_OPTIONS": "halt_on_error=1:exitcode=99:detect_leaks=1:detect_stack_use_after_return=1:"
                    "strict_string_checks=1:check_initialization_order=1:strict_init_order=1",
    "LSAN_OPTIONS": f"exitcode=99:print_suppressions=0:suppressions={SUPPORT}/lsan.supp",
    "UBSAN_OPTIONS": "halt_on_error=1:print_stacktrace=1:exitcode=99",
    "TSAN_OPTIONS": "halt_on_error=1:exitcode=99:second_deadlock_stack=1:history_size=5:"
                    f"suppressions={SUPPORT}/tsan.supp",
}


@dataclass
class Count:
    passed: int = 0
    failed: int = 0
    skipped: int = 0

    def add(self, other):
        self.passed += other.passed
        self.failed += other.failed
        self.skipped += other.skipped

    def __str__(self):
        text = f"{self.passed} passed, {self.failed} failed"
        return text + (f", {self.skipped} skipped" if self.skipped else "")


@dataclass
class Job:
    """One command whose output tells how many tests passed."""

    name: str
    command: list
    count: object  # function(exit code, output) -> Count
    env: dict = field(default_factory=dict)
    seconds: int = 600  # a hang, not a slow machine
    folder: str = None  # where the job's own logs are; kept when it fails


@functools.cache
def temporary_folder():
    """One for the whole run, outside build/: unix sockets need short paths."""
    path = tempfile.mkdtemp(prefix="latido-test-")
    os.chmod(path, 0o711)  # the user of PostgreSQL gets through
    atexit.register(remove_folder, path)
    return path


def remove_folder(path):
    """After an interrupt, servers that are just being ended may still write there."""
    deadline = time.monotonic() + 10
    while os.path.exists(path) and time.monotonic() < deadline:
        shutil.rmtree(path, ignore_errors=True)
        time.sleep(0.05)


# ---- how results are read ----


def count_exit_code(code, _output):
    return Count(passed=1) if code == 0 else Count(failed=1)


def count_tap(code, output):
    """cmocka's TAP: what was planned and not reported (a crash) counts as failed."""
    planned = sum(int(n) for n in re.findall(r"^1\.\.(\d+)", output, re.M))
    skipped = len(re.findall(r"^(?:not )?ok \d+ .*# SKIP", output, re.M | re.I))
    passed = len(re.findall(r"^ok \d+", output, re.M)) - len(re.findall(r"^ok \d+ .*# SKIP", output, re.M | re.I))
    failed = max(planned - passed - skipped, 0)
    if code != 0 and failed == 0:
        failed = 1  # a sanitizer's report at exit, a failed group set-up
    if planned == 0 and code == 0:
        failed = 1  # a test program without tests
    return Count(passed, failed, skipped)


def count_junit(path):
    def count(code, _output):
        try:
            suites = xml.etree.ElementTree.parse(path).getroot().iter("testsuite")
        except (OSError, xml.etree.ElementTree.ParseError):
            return Count(failed=1)
        total = Count()
        for suite in suites:
            tests, skipped = int(suite.get("tests")), int(suite.get("skipped"))
            failed = int(suite.get("failures")) + int(suite.get("errors"))
            total.add(Count(max(tests - failed - skipped, 0), failed, skipped))
        if code not in (0, 5) and total.failed == 0:  # 5: every test of the file was deselected
            total.failed = 1
        return total
    return count


# ---- what is said about failures at the end ----


def pytest_failures(output):
    """[(test, [line, ...])] from pytest's report: what was wrong, and where."""
    sections = {}
    for title, text in re.findall(r"^_{3,} (.+?) _{3,}\n(.*?)(?=^_{3,} .+ _{3,}$|^={3,}|\Z)", output, re.M | re.S):
        sections.setdefault(title, text)
    found = []
    for kind, test, why in re.findall(r"^(FAILED|ERROR) (?:\S*/)?(\S+\.py.*?)(?: - (.*))?$", output, re.M):
        name = test.rpartition("::")[2]
        titles = [name] if kind == "FAILED" else [f"ERROR at {when} of {name}" for when in ("setup", "teardown")]
        text = next((sections[title] for title in titles if title in sections), "")
        reasons = re.findall(r"^E   +\S.*", text, re.M)[:REASON_LINES - 1] or ([why] if why else [])
        found.append((test, reasons + re.findall(r"^\S+\.py:\d+: .*", text, re.M)[:1]))
    return found


def tap_failures(output):
    """The same from TAP, whose diagnostics (cmocka's: "# ...", node's: indented) follow the test."""
    found = []
    for test, text in re.findall(r"^ *not ok \d+ -? ?(.*)\n((?:(?! *(?:not )?ok \d).*\n)*)", output, re.M):
        if not re.search(r"# (SKIP|TODO)", test):
            lines = [line.strip(" #") for line in text.splitlines()]
            said = [line for line in lines if re.search(r"error|expected|actual|assert|!=|\.c:|\.mjs:|not within", line)]
            found.append((test, said[:REASON_LINES]))
    return found


def failures(code, output):
    """What a job's output says about its failures; its last lines when it says nothing that is known."""
    found = pytest_failures(output) or tap_failures(output)
    reports = [line for line in output.splitlines() if re.search(r"(ERROR|WARNING|SUMMARY): \w+Sanitizer|killed after", line)]
    if not found or reports:
        last = [line for line in output.splitlines() if line.strip() and not re.match(r"ok \d", line)]
        found.append((f"exit code {code}", reports[:REASON_LINES] or last[-REASON_LINES:]))
    return found


failed = []  # lines of the list


def note_failure(name, code, output):
    for test, reasons in failures(code, output):
        failed.append(f"  {name}: {test}"[:200])
        failed.extend(f"      {line.strip()}"[:200] for line in reasons)


def show_failed():
    if failed:
        print("failed:")
        print("\n".join(failed[:LISTED_LINES]))
        if len(failed) > LISTED_LINES:
            print(f"  ... {len(failed) - LISTED_LINES} lines more; see above")


# ---- the suites ----


def make_target(*args):
    return ["make", "--no-print-directory", "-C", ROOT, f"-j{PROCESSORS}", "WERROR=1", *args]


def make_jobs(*targets):
    def jobs():
        return [Job(target, make_target(target), count_exit_code, seconds=1200) for target in targets]
    return jobs


def cmocka_jobs(folder, mode):
    def jobs():
        programs = sorted(glob.glob(os.path.join(ROOT, "tests", folder, "*_test.c")))
        names = [os.path.basename(p).removesuffix(".c") for p in programs]
        return [Job(name, [os.path.join(BUILD, MODES[mode][0], folder, name)], count_tap,
                    {"CMOCKA_MESSAGE_OUTPUT": "TAP", "LATIDO_BIN": os.path.join(BUILD, MODES[mode][0], "bin"),
                     **SANITIZER_ENV})
                for name in names]
    return jobs


def has_tests(path, mode):
    """False when the marks of a file of integration tests leave none of them for that build."""
    if mode == "release":
        return True
    with open(path, encoding="utf-8") as f:
        text = f.read()
    return not re.search(r"^pytestmark = pytest\.mark\.once", text, re.M) and (mode != "tsan" or "mark.threaded" in text)


def pytest_jobs(mode, select=None):
    def jobs():
        found = []
        for path in sorted(glob.glob(os.path.join(ROOT, "tests", "integration", "test_*.py"))):
            if not has_tests(path, mode):
                continue
            name = os.path.basename(path).removesuffix(".py")
            junit = os.path.join(LOGS, f"integration-{mode}", name + ".xml")
            base = os.path.join(temporary_folder(), f"{mode}-{name}")
            command = ["/usr/bin/python3", "-m", "pytest", "-p", "no:cacheprovider", "-v", "-ra", "--durations=5",
                       f"--junitxml={junit}", f"--basetemp={base}", *(["-m", select] if select else []), path]
            found.append(Job(name, command, count_junit(junit),
                             {"LATIDO_BIN": os.path.join(BUILD, MODES[mode][0], "bin"),
                              "PYTHONDONTWRITEBYTECODE": "1", **SANITIZER_ENV},
                             seconds=1200, folder=base))
        return found
    return jobs


def fuzz_jobs():
    found = []
    for path in sorted(glob.glob(os.path.join(ROOT, "tests", "fuzz", "*_fuzz.c"))):
        name = os.path.basename(path).removesuffix(".c")
        target = name.removesuffix("_fuzz")
        corpus = os.path.join(temporary_folder(), name)
        os.makedirs(corpus)
        committed = os.path.join(ROOT, "tests", "data", "fuzz", target)
        if os.path.isdir(committed):
            shutil.copytree(committed, corpus, dirs_exist_ok=True)
        artifacts = os.path.join(LOGS, "fuzz", target + "-")
        dictionary = os.path.join(ROOT, "tests", "data", "fuzz", target + ".dict")
        found.append(Job(name, [
            os.path.join(BUILD, "fuzz", "bin", name), f"-max_total_time={FUZZ_SECONDS}", "-timeout=20",
            "-rss_limit_mb=2048", f"-artifact_prefix={artifacts}", "-print_final_stats=1",
            *([f"-dict={dictionary}"] if os.path.exists(dictionary) else []), corpus],
            count_exit_code, SANITIZER_ENV, seconds=FUZZ_SECONDS + 300))
    return found


def fault_jobs():
    # Its seed is in the log: tests/fault/fault.py --seed N replays it.
    # On MQTT each fault once, under a hundred agents; a few with Kafka behind latido-bridge, and with Kafka alone.
    def job(bus, *args):
        command = ["/usr/bin/python3", os.path.join(ROOT, "tests", "fault", "fault.py"), "--bus", bus, *args]
        return Job(f"fault-{bus}", command, count_exit_code, {"LATIDO_BIN": os.path.join(BUILD, "release", "bin")},
                   seconds=900)
    return [job("mqtt", "--faults", "23", "--agents", "100", "--interval", "1000"),
            job("bridge", "--faults", "9", "--only", "kill_bridge,pause_bridge,kill_kafka,pause_kafka,kill_broker,cut,"
                                                     "kill_store,kill_agents,old_spool"),
            job("kafka", "--faults", "6", "--only", "kill_kafka,pause_kafka,kill_store,kill_agents,kill_hot,lost_spool")]


WEB = os.path.join(ROOT, "consumers", "live", "web")
WEB_LIMIT = 60_000  # bytes on the wire, of all files of the page together


def web_jobs():
    return [
        Job("lint-web", make_target("lint-web"), count_exit_code),
        Job("unit", ["node", os.path.join(WEB, "test", "run.mjs")], count_tap),
        Job("size", ["node", os.path.join(WEB, "size.mjs"), os.path.join(BUILD, "web"), str(WEB_LIMIT)], count_exit_code),
    ]


def kmod_jobs():
    """The kernel modules: linters, and one boot of Debian's kernel under emulation."""
    junit = os.path.join(LOGS, "kmod", "kmod.xml")
    base = os.path.join(temporary_folder(), "kmod")
    command = ["/usr/bin/python3", "-m", "pytest", "-p", "no:cacheprovider", "-v", "-ra", "--durations=3",
               f"--junitxml={junit}", f"--basetemp={base}", os.path.join(ROOT, "tests", "kmod")]
    return [Job("kmod", command, count_junit(junit), {"LATIDO_BIN": os.path.join(BUILD, "release", "bin")},
                seconds=1200, folder=base),
            Job("kmod-lint", make_target("kmod-lint"), count_exit_code)]


def browser_jobs():
    # The server as a sanitizer build: what browsers do to it is watched.
    command = ["node", "--test", "--test-reporter=tap", os.path.join(ROOT, "tests", "browser", "browser.test.mjs")]
    env = {"LATIDO_BIN": os.path.join(BUILD, "release", "bin"),
           "LATIDO_LIVE_BIN": os.path.join(BUILD, MODES["asan"][0], "bin"),
           "PYTHONDONTWRITEBYTECODE": "1", **SANITIZER_ENV}
    return [Job("browser", command, count_tap, env, seconds=1200)]


@dataclass
class Suite:
    name: str
    builds: list  # make arguments, each a list
    jobs: object  # function -> list of Job
    alone: bool = False  # its jobs use all processors themselves
    heavy: bool = False  # of the jobs of such suites one runs at a time, beside others


def binaries(mode, *targets):
    return [[f"SANITIZE={MODES[mode][1]}", *targets]]


SUITES = [
    Suite("check-format", [], make_jobs("check-format"), alone=True),
    Suite("check-headers", [], make_jobs("check-headers"), alone=True),
    Suite("lint", [], make_jobs("lint-tidy", "lint-sh", "lint-python", "lint-yaml"), alone=True),
    Suite("check-docs", binaries("release", "all"), make_jobs("check-docs"), alone=True),
    Suite("unit-release", binaries("release", "tests-bin"), cmocka_jobs("unit", "release")),
    Suite("unit-asan", binaries("asan", "tests-bin"), cmocka_jobs("unit", "asan")),
    Suite("unit-tsan", binaries("tsan", "tests-bin"), cmocka_jobs("unit", "tsan")),
    Suite("contract-release", binaries("release", "tests-bin"), cmocka_jobs("contract", "release")),
    Suite("contract-asan", binaries("asan", "tests-bin"), cmocka_jobs("contract", "asan")),
    Suite("contract-tsan", binaries("tsan", "tests-bin"), cmocka_jobs("contract", "tsan")),
    Suite("web", [["web"]], web_jobs),
    Suite("fuzz", [["fuzz-bin"]], fuzz_jobs),
    Suite("kmod", binaries("release", "all"), kmod_jobs, heavy=True),
    Suite("fault", binaries("release", "all", "kafka-jars"), fault_jobs, heavy=True),
    Suite("browser", [*binaries("release", "all"), *binaries("asan", "all")], browser_jobs, heavy=True),
    Suite("integration-release", binaries("release", "all", "tests-bin", "tools-bin", "bench-bin", "kafka-jars"),
          pytest_jobs("release")),
    Suite("integration-asan", binaries("asan", "all", "tests-bin", "tools-bin"), pytest_jobs("asan", "not once")),
    Suite("integration-tsan", binaries("tsan", "all", "tests-bin"), pytest_jobs("tsan", "threaded and not once")),
]


# ---- running them ----


def environment(extra):
    env = {k: v for k, v in os.environ.items() if k not in ("MAKEFLAGS", "MFLAGS", "MAKELEVEL")}
    env.update(extra)
    env.setdefault("LATIDO_PRISTINE", os.path.join(temporary_folder(), "postgres"))
    if SKIPS_AS_FAILS:
        env["SKIPS_AS_FAILS"] = "1"
    return env


def wait_for(process, seconds):
    """Exit code and processor seconds, those of its children in it; subprocess.TimeoutExpired."""
    deadline = time.monotonic() + seconds
    while True:
        pid, status, usage = os.wait4(process.pid, os.WNOHANG)
        if pid:
            process.returncode = os.waitstatus_to_exitcode(status)
            return process.returncode, usage.ru_utime + usage.ru_stime
        if time.monotonic() > deadline:
            raise subprocess.TimeoutExpired(process.args, seconds)
        time.sleep(0.02)


def run_logged(command, log, seconds, env):
    """Exit code, output and processor seconds; the whole process group is killed at the time limit."""
    if stopping.is_set():
        return 130, "stopped\n", 0.0
    with open(log, "wb") as f:
        process = subprocess.Popen(command, cwd=ROOT, stdin=subprocess.DEVNULL, stdout=f, stderr=subprocess.STDOUT,
                                   env=environment(env), start_new_session=True)
        running.add(process)
        if stopping.is_set():  # the signal came between the check above and here
            os.killpg(process.pid, signal.SIGTERM)
        try:
            code, used = wait_for(process, seconds)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            code, used = wait_for(process, seconds)
            f.seek(0, os.SEEK_END)
            f.write(f"\ntests/run.py: killed after {seconds} s\n".encode())
        finally:
            running.discard(process)
    with open(log, encoding="utf-8", errors="replace") as f:
        return code, f.read(), used


running = set()
stopping = threading.Event()
stopped_by = []


def stop_all(signum, _frame):
    """Ctrl-C: end what runs; jobs that have not begun do not begin.

    It does not raise: an exception in the middle of the pool's locks would block it for ever.
    """
    stopping.set()
    stopped_by.append(signum)
    for process in list(running):
        try:
            os.killpg(process.pid, signal.SIGTERM if len(stopped_by) == 1 else signal.SIGKILL)
        except ProcessLookupError:
            pass


def keep_logs(folder, target):
    """Copy logs and configurations out of a temporary folder."""
    for path, _, names in os.walk(folder):
        for name in names:
            if name.endswith((".log", ".out", ".yaml", ".conf")) or name == "log":
                place = os.path.join(target, os.path.relpath(path, folder))
                os.makedirs(place, exist_ok=True)
                shutil.copyfile(os.path.join(path, name), os.path.join(place, name))


def run_job(suite, job):
    log = os.path.join(LOGS, suite.name, job.name + ".log")
    started = time.monotonic()
    try:
        code, output, used = run_logged(job.command, log, job.seconds, job.env)
    except OSError as e:
        code, output, used = 127, f"{job.command[0]}: {e.strerror}\n", 0.0
    count = job.count(code, output)
    if count.failed and job.folder:
        keep_logs(job.folder, os.path.join(LOGS, suite.name, job.name))
    if SKIPS_AS_FAILS and count.skipped:
        count = Count(count.passed, count.failed + count.skipped, 0)
    return job, code, output, log, count, (time.monotonic() - started, used)


def show_failure(suite, job, code, output, log):
    lines = output.splitlines()
    print(f"--- {suite.name}/{job.name} failed (exit code {code}); log: {os.path.relpath(log, ROOT)}")
    if len(lines) > SHOWN_LINES:
        print(f"    ... {len(lines) - SHOWN_LINES} lines more in the log ...")
    for line in lines[-SHOWN_LINES:]:
        print("    " + line)


def build(arguments, built):
    """Run make once for each set of arguments; True when it is built."""
    key = tuple(arguments)
    if key not in built:
        log = os.path.join(LOGS, "build-" + re.sub(r"\W+", "-", " ".join(arguments)).strip("-") + ".log")
        started = time.monotonic()
        code, output, _ = run_logged(make_target(*arguments), log, 1800, {})
        if code != 0:
            print(f"--- make {' '.join(arguments)} failed; log: {os.path.relpath(log, ROOT)}")
            print("\n".join("    " + line for line in output.splitlines()[-SHOWN_LINES:]))
            note_failure(f"make {' '.join(arguments)}", code, output)
        else:
            print(f"{'make ' + ' '.join(a for a in arguments if not a.endswith('=')):<44}"
                  f"{time.monotonic() - started:7.1f} s", flush=True)
        built[key] = code == 0
    return built[key]


class Progress:
    """What came of one suite so far; it is told when its last job is done."""

    def __init__(self, suite, jobs):
        self.suite, self.left = suite, len(jobs)
        self.total, self.seconds, self.used = Count(), 0.0, 0.0
        self.costs = {}

    def add(self, result):
        job, code, output, log, count, (seconds, used) = result
        self.total.add(count)
        self.costs[f"{self.suite.name}/{job.name}"] = (seconds, used)
        self.seconds += seconds
        self.used += used
        self.left -= 1
        if count.failed and not stopping.is_set():
            show_failure(self.suite, job, code, output, log)
            note_failure(f"{self.suite.name}/{job.name}", code, output)
        if self.left == 0:
            self.say()

    def say(self):
        if not stopping.is_set():
            print(f"{self.suite.name:<22}{str(self.total):<32}{self.seconds:7.1f} s{self.used:9.1f} s of processors",
                  flush=True)


def read_costs(path):
    """{suite/job: (seconds, processor seconds)}; nothing where there is no such file."""
    costs = {}
    try:
        with open(path, encoding="ascii") as f:
            for line in f:
                name, seconds, used = line.split()
                costs[name] = (float(seconds), float(used))
    except FileNotFoundError:
        pass
    return costs


def write_costs(path, costs):
    with open(path, "w", encoding="ascii") as f:
        for name, (seconds, used) in sorted(costs.items()):
            f.write(f"{name} {seconds:.1f} {used:.1f}\n")


class Costs:
    """What jobs are expected to take, by suite and job."""

    def __init__(self, known):
        self.known = known

    def of(self, suite, job):
        """(seconds, processor seconds); a new job is taken for a usual one of its suite."""
        found = self.known.get(f"{suite.name}/{job.name}")
        if found is None:
            usual = [cost for name, cost in self.known.items() if name.startswith(suite.name + "/")]
            found = sorted(usual)[len(usual) // 2] if usual else (1.0, 0.5)
        return found

    def part(self, suite, job):
        """How many processors it keeps busy, in the mean."""
        seconds, used = self.of(suite, job)
        return used / max(seconds, 0.1)

    def order(self, pairs):
        """The longest first. One after the other, the heavy ones are as long as all of them together."""
        heavy = sum(self.of(suite, job)[0] for suite, job in pairs if suite.heavy)

        def length(pair):
            return (heavy if pair[0].heavy else 0) + self.of(*pair)[0]
        return sorted(pairs, key=length, reverse=True)


def run_jobs(pairs, workers, progress, room=math.inf, costs=Costs({})):
    """Run (suite, job) pairs, begun in this order; of the heavy ones one at a time.

    So many at a time as workers, and as keep no more processors busy than room. One in any case, and
    the heavy ones in any case: they are in nobody's way but each other's.
    """
    waiting, at_work = list(pairs), {}
    with concurrent.futures.ThreadPoolExecutor(workers) as pool:
        while waiting or at_work:
            while len(at_work) < workers:
                heavy = any(suite.heavy for suite, _ in at_work.values())
                left = room - sum(costs.part(*pair) for pair in at_work.values())
                pair = next((pair for pair in waiting if (not heavy if pair[0].heavy else
                                                          not at_work or costs.part(*pair) <= left)), None)
                if not pair:
                    break
                waiting.remove(pair)
                at_work[pool.submit(run_job, *pair)] = pair
            done, _ = concurrent.futures.wait(at_work, return_when=concurrent.futures.FIRST_COMPLETED)
            for future in done:
                progress[at_work.pop(future)[0].name].add(future.result())


def chosen(suite, names):
    """Whether a name on the command line means this suite or a part of it."""
    return not names or any(suite.name == n or suite.name.startswith(n + "-") or n.startswith(suite.name + "/")
                            for n in names)


def chosen_jobs(suite, names):
    """Its jobs, or those that are named; what is named and not there is said and counts as failed."""
    jobs = suite.jobs()
    wanted = [n.partition("/")[2] for n in names if n.startswith(suite.name + "/")]
    if not wanted:
        return jobs
    for name in set(wanted) - {job.name for job in jobs}:
        text = f"no job {name}; there are: {' '.join(job.name for job in jobs)}"
        jobs.append(Job(name, ["sh", "-c", f"echo '{text}'; exit 2"], count_exit_code))
    return [job for job in jobs if job.name in wanted]


def run_suites(suites, names=()):
    """Checks one after the other, then every build, then all other jobs in one pool.

    One pool, because most jobs wait for servers now and then, and so that no long one of one suite
    is left to run alone.
    """
    built, progress, later = {}, {}, []
    for suite in suites:
        os.makedirs(os.path.join(LOGS, suite.name), exist_ok=True)
        if stopping.is_set():
            break
        good = all([build(arguments, built) for arguments in suite.builds])
        jobs = chosen_jobs(suite, names) if good else []
        progress[suite.name] = Progress(suite, jobs)
        if not good:
            print(f"{suite.name:<22}not built", flush=True)
            progress[suite.name].total.add(Count(failed=1))
        elif suite.alone:
            run_jobs([(suite, job) for job in jobs], 1, progress)
        else:
            later += [(suite, job) for job in jobs]
    costs = Costs(read_costs(COSTS))
    run_jobs(costs.order(later), WORKERS, progress, math.inf if JOBS else PROCESSORS, costs)
    return progress


def stopped():
    print("tests/run.py: stopped", file=sys.stderr)
    return 128 + stopped_by[0]


def main():
    names = [arg for arg in sys.argv[1:] if not arg.startswith("-")]
    if "--list" in sys.argv or names == ["help"]:
        print("\n".join(suite.name for suite in SUITES))
        return 0
    unknown = [n for n in names if not any(chosen(suite, [n]) for suite in SUITES)]
    if unknown or any(arg.startswith("-") for arg in sys.argv[1:]):
        print(f"unknown suite: {' '.join(unknown)}; there are: {' '.join(s.name for s in SUITES)}", file=sys.stderr)
        return 2
    for signum in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(signum, stop_all)
    if not names:
        shutil.rmtree(LOGS, ignore_errors=True)
    os.makedirs(LOGS, exist_ok=True)
    total = Count()
    costs = read_costs(LOGS + "-costs") if names else {}
    for progress in run_suites([suite for suite in SUITES if chosen(suite, names)], names).values():
        total.add(progress.total)
        costs.update(progress.costs)
    if stopping.is_set():
        return stopped()
    write_costs(LOGS + "-costs", costs)
    show_failed()
    print(total)
    return 1 if total.failed else 0


if __name__ == "__main__":
    sys.exit(main())
