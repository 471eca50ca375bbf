# SPDX-License-Identifier: MIT
"""What every integration test can use.

mosquitto, redis, postgres   running private servers of this one test (infra/local/servers.py)
servers_folder               where more of them can be started: Mosquitto(servers_folder, tls=True)
database                     an empty database in a PostgreSQL that all tests of the run share:
                             quicker than `postgres`, not to be stopped
write_config                 write_config({"bus": {...}}) -> path of a configuration file
run_program                  run_program("latido-hot", config=path) -> started programs.Program

Programs come from the folder LATIDO_BIN (default build/release/bin), so that the same tests run on
sanitizer builds. A program that is still running at the end of its test gets SIGTERM and must
exit 0; a sanitizer's report fails the test in which it appeared.
"""

import itertools
import os
import re
import sys

import pytest

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
sys.path.insert(0, os.path.join(ROOT, "infra", "local"))

import servers  # noqa: E402
from programs import Program, yaml_config  # noqa: E402

servers.Postgres.keep_pristine()

BIN = os.path.abspath(os.environ.get("LATIDO_BIN") or os.path.join(ROOT, "build", "release", "bin"))
SANITIZER_REPORT = re.compile(r"ERROR: (Address|Leak|Thread)Sanitizer|WARNING: ThreadSanitizer|runtime error:|"
                              r"(Undefined|Memory)BehaviorSanitizer|SUMMARY: \w+Sanitizer")


@pytest.fixture(scope="session")
def bin_folder():
    return BIN


@pytest.fixture
def servers_folder(tmp_path):
    folder = tmp_path / "servers"
    folder.mkdir()
    return str(folder)


@pytest.fixture
def mosquitto(servers_folder):
    with servers.Mosquitto(servers_folder, persistence=True) as server:
        yield server


@pytest.fixture
def redis(servers_folder):
    with servers.Redis(servers_folder) as server:
        yield server


@pytest.fixture
def postgres(servers_folder):
    with servers.Postgres(servers_folder) as server:
        yield server


@pytest.fixture(scope="session")
def shared_postgres(tmp_path_factory):
    with servers.Postgres(str(tmp_path_factory.mktemp("shared"))) as server:
        server.numbers = itertools.count(1)
        yield server


@pytest.fixture
def database(shared_postgres):
    """Connection string of an empty database."""
    name = f"test{next(shared_postgres.numbers)}"
    yield shared_postgres.create_database(name)
    shared_postgres.sql(f'DROP DATABASE "{name}" WITH (FORCE)', "postgres")


@pytest.fixture
def write_config(tmp_path):
    numbers = itertools.count(1)

    def write(sections, name=None):
        path = tmp_path / (name or f"latido{next(numbers)}.yaml")
        path.write_text(sections if isinstance(sections, str) else yaml_config(sections), encoding="utf-8")
        return str(path)

    return write


def sanitizer_reports(text):
    """The lines from the first report of a sanitizer on, or ''."""
    match = SANITIZER_REPORT.search(text)
    return text[text.rfind("\n", 0, match.start()) + 1:][:20000] if match else ""


@pytest.fixture
def run_program(tmp_path):
    started = []
    numbers = itertools.count(1)

    def run(name, config=None, args=(), env=None, label=None):
        label = label or name
        if any(p.label == label for p in started):
            label = f"{label}-{next(numbers)}"
        program = Program(BIN, name, str(tmp_path), config=config, args=args, env=env, label=label)
        started.append(program)
        return program.start()

    yield run

    problems = []
    for program in started:
        try:
            if program.running():
                program.terminate()
        except servers.ServerError as e:
            problems.append(str(e))
        finally:
            program.kill()
        with open(program.log, encoding="utf-8", errors="replace") as f:
            report = sanitizer_reports(f.read())
        if report:
            problems.append(f"{program.label}: a sanitizer reported:\n{report}")
    if problems:
        pytest.fail("\n\n".join(problems), pytrace=False)
