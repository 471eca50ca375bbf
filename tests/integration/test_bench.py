# SPDX-License-Identifier: MIT
"""tests/bench/run.py: medians, ratios within a round, and what it says of a benchmark that fails."""

import json
import os
import signal
import subprocess
import sys

import pytest

import servers
from conftest import ROOT

BENCH = os.path.join(ROOT, "tests", "bench")
sys.path.insert(0, BENCH)
import report  # noqa: E402

pytestmark = pytest.mark.once


def result(name, value, number=1, role="subject", **keys):
    return {"bench": "b", "figure": "1", "case": "c", "name": name, "role": role, "unit": "values/s", "value": value,
            "round": number, **keys}


def test_medians_and_ratios_within_a_round():
    # The machine is ten times slower in the second round: the ratio does not notice.
    rows = report.aggregate([result("ours", 80, 1), result("COPY", 100, 1, "ceiling"), result("ours", 8, 2),
                             result("COPY", 10, 2, "ceiling"), result("ours", 60, 3), result("COPY", 100, 3, "ceiling"),
                             result("theirs", 20, 3, "peer"), result("ours", 1, 1, case="another")])
    ours, copy, theirs, another = rows
    assert (ours["median"], ours["min"], ours["max"], ours["n"]) == (60, 8, 80, 3)
    assert ours["ratios"] == {"COPY": {"median": 0.8, "min": 0.6, "max": 0.8, "n": 3},
                              "theirs": {"median": 3, "min": 3, "max": 3, "n": 1}}
    assert copy["ratios"] == {} and theirs["ratios"] == {} and another["ratios"] == {}


def test_units_and_benchmarks_are_not_compared_with_each_other():
    rows = report.aggregate([result("ours", 80), result("COPY", 10, role="ceiling", unit="bytes/value"),
                             result("COPY", 10, role="ceiling", bench="other"), result("zero", 0, role="peer")])
    assert rows[0]["ratios"] == {}


@pytest.mark.parametrize("second, wrong", [
    (result("ours", 2), "two values in round 1"),
    (result("ours", 2, 2, "peer"), "is subject and peer"),
])
def test_results_that_contradict_each_other(second, wrong):
    with pytest.raises(ValueError, match=wrong):
        report.aggregate([result("ours", 1), second])


@pytest.mark.parametrize("line, wrong", [
    ("no json", "no JSON"), ("[1]", "no JSON object"), ('{"bench": "b"}', "missing or unknown"),
    (json.dumps(result("a", 1, role="winner")), "role"), (json.dumps(result("a", "1")), "value"),
    (json.dumps(result("a", float("nan"))), "value"), (json.dumps(result("a", 1, "2")), "round"),
    (json.dumps(result("a", 1, more=1)), "more"),
])
def test_a_line_that_is_no_result(line, wrong):
    with pytest.raises(ValueError, match=wrong):
        report.parse_line(line)


@pytest.mark.parametrize("value, text", [
    (0, "0"), (7, "7"), (0.1234, "0.123"), (123.4, "123"), (9999, "9999"), (12345, "12.3 k"), (999999, "1000 k"),
    (1234567, "1.23 M"), (13.1e9, "13.1 G")])
def test_numbers(value, text):
    assert report.number(value) == text


FAKE = """
import json, sys, time
name, kind = sys.argv[1:3]
options = dict(zip(sys.argv[3::2], sys.argv[4::2]))
if kind == "lacking":
    print("collectd is not installed", file=sys.stderr)
    sys.exit(77)
for number in range(1, int(options.get("--rounds", 2)) + 1):
    for who, role, value in (("ours", "subject", 3), ("COPY", "ceiling", 4)):
        print(json.dumps({"bench": name, "figure": "1", "case": "c", "name": who, "role": role,
                          "unit": "values/s", "value": value, "round": number}), flush=True)
    if kind == "fails":
        sys.exit("PostgreSQL is on fire")
    if kind == "chatters":
        print("by the way")
    if kind == "hangs":
        time.sleep(1000)
"""

RUN = """
import sys
sys.path.insert(0, sys.argv[1])
import run
fake = sys.argv[2]
run.BENCHES = {name: ([sys.executable, fake, name, name], "a test") for name in
               ("works", "fails", "chatters", "lacking", "hangs")}
sys.argv[1:] = sys.argv[3:]
sys.exit(run.main())
"""


@pytest.fixture(name="start")
def start_runner(tmp_path):
    (tmp_path / "fake.py").write_text(FAKE)
    output = str(tmp_path / "bench.json")

    def start(*args):
        return subprocess.Popen([sys.executable, "-c", RUN, BENCH, str(tmp_path / "fake.py"), "--output", output, *args],
                                stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    start.output = output
    return start


def finish(process):
    out, err = process.communicate(timeout=120)
    return process.returncode, out, err


def test_a_table_and_a_document(start):
    code, out, _ = finish(start("--rounds", "3", "works"))
    assert code == 0 and "0.75 of COPY (0.75 .. 0.75)" in out and "COPY (ceiling)" in out
    with open(start.output, encoding="utf-8") as f:
        document = json.load(f)
    assert len(document["results"]) == 6 and document["rows"][0]["ratios"]["COPY"]["n"] == 3
    assert document["machine"]["processors"] and document["versions"] and document["failed"] == {}
    assert document["arguments"] == ["--rounds", "3"]
    code, again, _ = finish(start("--show", start.output))
    assert code == 0 and "0.75 of COPY (0.75 .. 0.75)" in again
    assert finish(start("--show", start.output + ".missing"))[0] == 1


def test_the_tables_go_into_the_readme(start, tmp_path):
    assert finish(start("works"))[0] == 0
    readme = tmp_path / "README.md"
    readme.write_text("# A\n\n## The last run\n\nold\n")
    code = f"import sys; sys.path.insert(0, {BENCH!r}); import run; run.HERE = {str(tmp_path)!r}; sys.exit(run.main())"
    subprocess.run([sys.executable, "-c", code, "--keep", start.output], check=True, timeout=60)
    text = readme.read_text()
    assert text.startswith("# A\n\n## The last run\n\n- works: ") and "old" not in text
    assert "| c | ours | 3 values/s | 3 .. 3 | 0.75 of COPY (0.75 .. 0.75) |" in text and "COPY (ceiling)" in text


def test_what_fails_is_named_and_the_others_go_on(start):
    code, out, _ = finish(start("fails", "chatters", "lacking", "works"))
    assert code == 1
    assert "FAILED: fails: exit code 1" in out and "PostgreSQL is on fire" in out
    assert "FAILED: chatters: a line that is no result" in out
    assert "not run: collectd is not installed" in out and "FAILED: lacking" not in out
    assert "0.75 of COPY" in out[out.index("\nworks"):]
    with open(start.output, encoding="utf-8") as f:
        document = json.load(f)
    assert set(document["failed"]) == {"fails", "chatters"} and set(document["not_run"]) == {"lacking"}


@pytest.mark.parametrize("args", [["unknown"], ["--rounds", "0", "works"], ["--seconds", "-1", "works"]])
def test_wrong_usage(start, args):
    code, _, err = finish(start(*args))
    assert code == 2 and ("there are: works" in err or "above 0" in err)


def test_an_interrupt_ends_it_and_keeps_what_there_is(start):
    process = start("hangs", "works")
    servers.wait_until(lambda: process.stdout.readline().startswith("hangs"), 60, "it runs")
    process.send_signal(signal.SIGINT)
    code, out, err = finish(process)
    assert code == 130 and "stopped" in err and "works:" not in out
    with open(start.output, encoding="utf-8") as f:
        assert json.load(f)["rows"] is not None


def test_a_real_benchmark(tmp_path):
    """The codec's, briefly, through the runner as `make bench` calls it."""
    output = str(tmp_path / "bench.json")
    run = subprocess.run([sys.executable, os.path.join(BENCH, "run.py"), "--rounds", "2", "--seconds", "0.001",
                          "--output", output, "codec"], stdin=subprocess.DEVNULL, capture_output=True, text=True,
                         check=False, timeout=120)
    assert run.returncode == 0, run.stdout + run.stderr
    with open(output, encoding="utf-8") as f:
        rows = json.load(f)["rows"]
    known = [row for row in rows if row["name"] == "decode protobuf, known shape"]
    assert [row["case"] for row in known] == ["60 values an event", "400 values an event"]
    assert all(0 < row["min"] <= row["median"] <= row["max"] and row["n"] == 2 for row in known)
