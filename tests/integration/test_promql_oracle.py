# SPDX-License-Identifier: MIT
"""Our evaluator against Prometheus: the same series, expressions and times; the same answers.

PROMQL_SEED makes other series and random expressions, PROMQL_COUNT sets how many random
expressions there are. A disagreement is made smaller as long as it stays one, then shown.
"""

import json
import math
import os
import random
import re
import subprocess
import sys

import pytest
from promql_series import MINUTES, T0, Maker, make_series, pattern, subject, tool_lines, write_to, written

from servers import Prometheus

SEED = int(os.environ.get("PROMQL_SEED") or 868337913)  # the same cases each time: a failure is a change of ours
COUNT = int(os.environ.get("PROMQL_COUNT") or 300)
# On samples, between them, where series begin and end, before and after all.
TIMES = [T0 + s for s in (-60_000, 0, 299_999, 300_000, 612_345, 1_500_000, 1_799_001, 2_400_000)] + \
    [T0 + MINUTES * 60_000 + 200_000]
pytestmark = pytest.mark.once


class Tool:
    """tests/tools/promql_tool.c: one line in, one line of JSON out."""

    def __init__(self, path, series):
        self.process = subprocess.Popen([path], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        for line in tool_lines(series):
            self.process.stdin.write(line + "\n")

    def ask(self, *fields):
        *head, text = fields
        text = text.replace("%", "%25").replace("\n", "%0A").replace("\t", "%09")
        self.process.stdin.write("\t".join([str(f) for f in head] + [text]) + "\n")
        self.process.stdin.flush()
        line = self.process.stdout.readline()
        assert line, f"promql_tool ended with {self.process.wait()} at {fields}"
        return json.loads(line)

    def close(self):
        self.process.stdin.close()
        assert self.process.wait(60) == 0


class Oracle:
    def __init__(self, prometheus, tool):
        self.prometheus, self.tool = prometheus, tool
        self.exact = self.near = self.errors = 0

    def instant(self, text, t_ms):
        """What is different at this time, or None."""
        return self.compare(self.prometheus.query(text, t_ms), self.tool.ask("eval", t_ms, text), t_ms)

    def range(self, text, start, end, step):
        return self.compare(self.prometheus.query_range(text, start, end, step),
                            self.tool.ask("range", start, end, step, text), None)

    def compare(self, theirs, ours, t_ms):
        if theirs["status"] != "success" or "error" in ours:
            return self.compare_errors(theirs, ours)
        theirs = theirs["data"]
        if theirs["resultType"] != ours["type"]:
            return f"types: {theirs['resultType']}, ours {ours['type']}"
        result, kind = theirs["result"], ours["type"]
        if kind == "string":
            return None if result[1] == ours["result"] else f"strings: {result[1]!r}, ours {ours['result']!r}"
        if kind == "scalar":
            return self.compare_values("scalar", result[1], ours["result"])
        left = {key(e["metric"]): [e["value"]] if kind == "vector" else e["values"] for e in result}
        right = {key(labels): [[t_ms / 1000, v]] if kind == "vector" else [[t / 1000, x] for t, x in v]
                 for labels, v in ours["result"]}
        if len(left) != len(result) or len(right) != len(ours["result"]):
            return "the same labels twice"
        if set(left) != set(right):
            return f"only Prometheus has {sorted(set(left) - set(right))}, only we have {sorted(set(right) - set(left))}"
        for labels, points in left.items():
            if [p[0] for p in points] != [p[0] for p in right[labels]]:
                return f"times of {labels}: {[p[0] for p in points]}, ours {[p[0] for p in right[labels]]}"
            for (_, a), (_, b) in zip(points, right[labels]):
                different = self.compare_values(labels, a, b)
                if different:
                    return different
        return None

    def compare_values(self, where, a, b):
        x, y = float(a), float(b)
        if x == y or (math.isnan(x) and math.isnan(y)):
            self.exact += 1
            return None
        if math.isclose(x, y, rel_tol=1e-12, abs_tol=0):
            self.near += 1
            return None
        return f"value of {where}: {a}, ours {b}"

    def compare_errors(self, theirs, ours):
        if theirs.get("error") == "unexpected number of samples":  # its own fault: "(x[5m] @ 0)", but not "x[5m] @ 0"
            return None
        if theirs["status"] == "success" or "error" not in ours:
            return f"Prometheus says {theirs.get('error') or 'yes'}, we {ours.get('error') or 'yes'}"
        self.errors += 1
        if os.environ.get("PROMQL_TEXTS"):
            print("TEXT", theirs["error"], "|", ours["error"])
        text = re.sub(r'^invalid parameter "query": ', "", theirs["error"])
        match = re.match(r"(\d+):(\d+): parse error: ", text)
        # There, our places are nearer to the fault.
        nearer = re.search("unknown escape sequence|unexpected right parenthesis", text)
        if match and (int(match[1]), int(match[2])) != tuple(ours["at"][1:]) and not nearer:
            return f"place: {text}, ours {ours}"
        return None


def key(labels):
    return tuple(sorted(labels.items()))


@pytest.fixture(scope="module")
def oracle(tmp_path_factory, bin_folder):
    series = make_series(SEED)
    with Prometheus(str(tmp_path_factory.mktemp("oracle"))) as prometheus:
        write_to(prometheus, series)
        tool = Tool(os.path.join(os.path.dirname(bin_folder), "tools", "promql_tool"), series)
        yield Oracle(prometheus, tool)
        tool.close()


@pytest.fixture(autouse=True)
def shown_seed():
    print(f"PROMQL_SEED={SEED}")


def test_every_operator_and_function(oracle):
    wrong = []
    for text in written():
        for t_ms in random.Random(f"{SEED}/{text}").sample(TIMES, 5):
            different = oracle.instant(text, t_ms)
            if different:
                wrong.append(f"{text!r} at {t_ms}: {different}")
                break
    print(f"{oracle.exact} values exact, {oracle.near} within 1e-12, {oracle.errors} errors")
    assert not wrong, "\n".join(wrong)


def shrink(node, differs):
    """The smallest expression that still differs."""
    for less in node.smaller():
        if differs(less):
            return shrink(less, differs)
    return node


def test_random_expressions(oracle):
    wrong = []
    for i in range(COUNT):
        rng = random.Random(f"{SEED}/{i}")
        node = Maker(rng).expression()
        for t_ms in rng.sample(TIMES, 2) + [T0 + rng.randrange(MINUTES * 60_000)]:
            if oracle.instant(str(node), t_ms):
                small = shrink(node, lambda n, t=t_ms: oracle.instant(str(n), t))
                wrong.append(f"#{i} {str(node)!r}\n  smallest: {str(small)!r} at {t_ms}: {oracle.instant(str(small), t_ms)}")
                break
    assert not wrong, f"PROMQL_SEED={SEED}\n" + "\n".join(wrong)


TOKEN = re.compile(r'"(?:[^"\\]|\\.)*"|[\w.:]+|\s+|[=!<>]=|[=!]~|.')


def split(rng, text):
    """Into tokens, or now and then into characters."""
    return TOKEN.findall(text) if rng.random() < 0.7 else list(text)


def mutated(rng, texts):
    """An expression with tokens left out, twice, exchanged, or from another one."""
    tokens = split(rng, rng.choice(texts))
    for _ in range(rng.randrange(1, 4)):
        at = rng.randrange(len(tokens) + 1)
        match rng.randrange(4):
            case 0:
                del tokens[at:at + 1]
            case 1:
                tokens[at:at] = tokens[at:at + 1]
            case 2:
                tokens[at:at] = [rng.choice(split(rng, rng.choice(texts)))]
            case 3:
                tokens[at:at + 1] = [rng.choice(split(rng, rng.choice(texts)))]
    return "".join(tokens)


def test_mutated_texts(oracle):
    """What one parser refuses, the other refuses; what both take means the same."""
    texts = [t for t in written() if t.strip()]
    wrong = []
    for i in range(COUNT * 2):
        rng = random.Random(f"{SEED}/text/{i}")
        text = mutated(rng, texts)
        different = oracle.instant(text, TIMES[5])
        # Of several faults, we name the first.
        if different and not different.startswith("place"):
            wrong.append(f"#{i} {text!r}: {different}")
    assert not wrong, f"PROMQL_SEED={SEED}\n" + "\n".join(wrong)


def test_random_patterns(oracle):
    """RE2 and what we make of PCRE2: the same patterns are refused, and match the same with the same groups."""
    wrong, matched = [], 0
    for i in range(COUNT * 2):
        rng = random.Random(f"{SEED}/pattern/{i}")
        text = json.dumps(subject(rng), ensure_ascii=False)
        regex = json.dumps(pattern(rng), ensure_ascii=False)
        # What a group holds that matched several times, also nothing, is not the same everywhere.
        groups = "" if re.search(r"\)[*+?{]", regex) else "$1|$2"
        query = f'label_replace(label_replace(vector(1), "a", {text}, "", ""), "m", "<{groups}>", "a", {regex})'
        different = oracle.instant(query, T0)
        if different and not different.startswith("place"):
            wrong.append(f"#{i} {query}: {different}")
        matched += "<" in json.dumps(oracle.tool.ask("eval", T0, query).get("result"))
    assert not wrong, f"PROMQL_SEED={SEED}\n" + "\n".join(wrong)
    print(f"{matched} of {COUNT * 2} matched")
    assert matched


def test_ranges(oracle):
    wrong = []
    texts = [t for t in written() if "@" not in t][::5]
    for text in texts:
        different = oracle.range(text, T0 + 100_000, T0 + 1_000_000, 45_000)
        if different and "bytes" not in different:
            wrong.append(f"{text!r}: {different}")
    assert not wrong, "\n".join(wrong)


def test_canonical_text_means_the_same(oracle):
    for text in written():
        first = oracle.tool.ask("parse", text)
        if "error" in first:
            continue
        assert first["text"] == first["again"], text
        theirs = oracle.prometheus.query(text, TIMES[5])
        assert not oracle.compare(theirs, oracle.tool.ask("eval", TIMES[5], first["text"]), TIMES[5]), text
        # Prometheus reads it, too.
        assert oracle.prometheus.query(first["text"], TIMES[5])["status"] == theirs["status"], text


if __name__ == "__main__":
    sys.exit(pytest.main([__file__]))
