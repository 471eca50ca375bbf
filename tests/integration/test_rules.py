# SPDX-License-Identifier: MIT
"""Rule files and rule tests beside Debian's promtool: the same verdicts, the same texts.

RULES_SEED makes other random templates, RULES_COUNT more of them.
"""

import ast
import glob
import json
import os
import random
import re
import subprocess
import textwrap

import pytest
import yaml

import servers
from conftest import BIN, ROOT

OURS = os.path.join(BIN, "latido-alert")
SEED = int(os.environ.get("RULES_SEED") or 868337913)  # the same cases each time: a failure is a change of ours
COUNT = int(os.environ.get("RULES_COUNT") or 400)
pytestmark = pytest.mark.once


def run(*command, cwd=None):
    result = subprocess.run(command, cwd=cwd, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                            timeout=120, check=False)
    return result.returncode, result.stdout


def promtool(*args, cwd=None):
    return run(servers.find_program("promtool", "prometheus"), *args, cwd=cwd)


def both_test(folder, *files):
    """(verdict, text) of promtool and of ours for test files."""
    theirs, ours = promtool("test", "rules", *files, cwd=folder), run(OURS, "--test-rules", *files, cwd=folder)
    assert ours[0] in (0, 1), ours[1]
    return (theirs[0] == 0, theirs[1]), (ours[0] == 0, ours[1])


def write(folder, name, text):
    path = os.path.join(folder, name)
    with open(path, "w", encoding="utf-8") as f:
        f.write(textwrap.dedent(text) if isinstance(text, str) else yaml.safe_dump(text, allow_unicode=True, width=1000))
    return path


# ---- verdicts: each file of tests/data/rules whose name ends in _test.yml ----

CASES = sorted(glob.glob(os.path.join(ROOT, "tests", "data", "rules", "*_test.yml")))


@pytest.mark.parametrize("path", CASES, ids=[os.path.basename(p) for p in CASES])
def test_verdicts(path):
    """Files named fail_* fail in both, all others pass in both."""
    name = os.path.basename(path)
    theirs, ours = both_test(os.path.dirname(path), name)
    assert theirs[0] == (not name.startswith("fail_")), theirs[1]
    assert ours[0] == theirs[0], ours[1]
    if name == "missing_test.yml":
        for missing in ("nowhere.yml", "none_*.yml"):
            assert f"missing_test.yml:2:13: warning: no file matches {missing}" in ours[1]
            assert f"no file match pattern {missing}" in theirs[1]


CHECKS = sorted(p for p in glob.glob(os.path.join(ROOT, "tests", "data", "rules", "*.yml"))
                if not p.endswith("_test.yml"))


@pytest.mark.parametrize("path", CHECKS, ids=[os.path.basename(p) for p in CHECKS])
def test_check(path):
    """Files named bad_* are refused by both, all others are taken by both."""
    name = os.path.basename(path)
    theirs, ours = promtool("check", "rules", path), run(OURS, "--check-rules", path)
    assert (theirs[0] == 0) == (not name.startswith("bad_")), theirs[1]
    assert (ours[0] == 0) == (theirs[0] == 0), ours[1]


def test_shipped_rules(tmp_path):
    """schemas/alerts: every file is taken and has tests that pass, under both."""
    folder = os.path.join(ROOT, "schemas", "alerts")
    rules = sorted(glob.glob(os.path.join(folder, "*.yaml")))
    tests = sorted(glob.glob(os.path.join(folder, "tests", "*_test.yaml")))
    assert {os.path.basename(t).replace("_test", "") for t in tests} == {os.path.basename(r) for r in rules}
    code, text = promtool("check", "rules", "--lint-fatal", *rules)
    assert code == 0, text
    code, text = run(OURS, "--check-rules", *rules)
    assert code == 0 and "warning" not in text, text
    theirs, ours = both_test(folder, *tests)
    assert theirs[0], theirs[1]
    assert ours[0], ours[1]
    # each alert fires in some test, and in some test does not
    tested = {}
    for test in tests:
        with open(test, encoding="utf-8") as f:
            for group in yaml.safe_load(f)["tests"]:
                for case in group.get("alert_rule_test", []):
                    tested.setdefault(case["alertname"], set()).add(bool(case.get("exp_alerts")))
    alerts = set()
    for path in rules:
        with open(path, encoding="utf-8") as f:
            for group in yaml.safe_load(f)["groups"]:
                for rule in group["rules"]:
                    if "alert" not in rule:
                        continue
                    alerts.add(rule["alert"])
                    assert {"summary", "description"} <= set(rule["annotations"]), rule
                    assert rule["labels"]["severity"] in ("critical", "warning", "info"), rule
    assert {name for name, seen in tested.items() if seen == {True, False}} == alerts


# ---- positions ----


def test_positions(tmp_path):
    """Every mistake of every file at once, each where it stands, also inside block scalars."""
    write(tmp_path, "a.yml", """\
        groups:
        - name: g
          intervall: 5s
          rules:
          - alert: A
            expr: |
              sum(rate(x[5m]))
                by (foo) >
                  foo(3)
            for: 5
            labels:
              bad-name: x
              a: "{{ $foo }}"
            annotations:
              d: >
                some text {{ $value }}
                folded {{ nofunc $value }}
        """)
    write(tmp_path, "b.yml", """\
        groups:
        - name: g
          rules:
          - record: a-b
            expr: 'up{a=''b''} + up{c='
            for: 5m
          - foo: 1
        - name: g
          rules:
          - {alert: B, expr: "1 +\\n \\u00e4 + * 5"}
          - {record: x, alert: y, expr: up}
          - alert: C
            expr: >-
              up

              == ) 0
          - alert: D
            expr: up{a="b"}
              + on() {
        """)
    code, text = run(OURS, "--check-rules", "a.yml", "b.yml", "missing.yml", "none*.yml", cwd=tmp_path)
    assert code == 1
    lines = [line for line in text.splitlines() if re.match(r"[ab]\.yml:|missing|error|warning", line)]
    places = [re.match(r"(\S+?): (?:error|warning):", line)[1] for line in lines if not line.startswith("warning")]
    assert places == [
        "a.yml:3:3", "a.yml:9:11", "a.yml:10:10", "a.yml:12:7", "a.yml:13:14", "a.yml:17:19",
        "b.yml:4:13", "b.yml:5:31", "b.yml:6:5", "b.yml:7:5", "b.yml:7:5", "b.yml:7:5",
        "b.yml:8:9", "b.yml:10:29", "b.yml:11:6", "b.yml:16:10", "b.yml:19:15", "missing.yml"], text
    assert "FAILED: 18 errors" in text
    # a caret stands under the place
    shown = text.splitlines()
    at = next(i for i, line in enumerate(shown) if line.startswith("a.yml:9:11"))
    assert shown[at + 1].lstrip() == "foo(3)" and shown[at + 2].index("^") == shown[at + 1].index("foo")
    # a mistyped pattern does not pass
    code, text = run(OURS, "--check-rules", "none*.yml", cwd=tmp_path)
    assert code == 1 and "no file matches none*.yml" in text and "FAILED: no rule file" in text


# ---- templates ----


def quoted_pairs(text):
    """{a="x", b="y"} of Go's label sets as a dict."""
    return {name: ast.literal_eval('"' + value.replace("'", "\\'") + '"')
            for name, value in re.findall(r'([a-zA-Z_]\w*)="((?:[^"\\]|\\.)*)"', text)}


def expand_by_promtool(folder, templates, series, external=None):
    """What promtool makes of each template: a list of (labels, {annotation: text})."""
    rules = {"groups": [{"name": "g", "rules": [{
        "alert": "A", "expr": "x",
        "annotations": {f"t{i}": t for i, t in enumerate(templates)}}]}]}
    test = {"rule_files": ["rules.yml"], "tests": [{
        "interval": "1m", "external_labels": external or {}, "external_url": "http://latido.example/x",
        "input_series": [{"series": s, "values": v} for s, v in series],
        "alert_rule_test": [{"eval_time": "0m", "alertname": "A", "exp_alerts": []}]}]}
    write(folder, "rules.yml", rules)
    write(folder, "first.yml", test)
    _, text = promtool("test", "rules", "first.yml", cwd=folder)
    found = re.findall(r"Labels:(\{.*\})\n\s*Annotations:(\{.*\})", text)
    assert found, text
    expected = [(quoted_pairs(a), quoted_pairs(b)) for a, b in found]
    assert all(len(b) == len(templates) for _, b in expected), text
    return test, expected


def check_templates(folder, templates, series, external=None):
    """Ours gives the same texts: a test that expects what promtool gave passes."""
    test, expected = expand_by_promtool(folder, templates, series, external)
    test["tests"][0]["alert_rule_test"][0]["exp_alerts"] = [
        {"exp_labels": {k: v for k, v in labels.items() if k != "alertname"}, "exp_annotations": annotations}
        for labels, annotations in expected]
    write(folder, "second.yml", test)
    code, text = promtool("test", "rules", "second.yml", cwd=folder)
    assert code == 0, text  # what was read from its output is what it gives
    code, text = run(OURS, "--test-rules", "second.yml", cwd=folder)
    if code:
        numbers = {int(n) for n in re.findall(r"annotation t(\d+):", text)}
        shown = "\n".join(f"t{n}: {templates[n]!r}" for n in sorted(numbers)[:20])
        pytest.fail(f"seed {SEED}\n{shown}\n{text[:20000]}")


SERIES = [
    ('x{a="b",instance="host.example.com:9100",n="12"}', "123456789.5"),
    ('x{a="c \\"d\\" é",instance="10.0.0.1:80"}', "0.00001"),
    ('x{a="<&>",instance="plain"}', "1e21"),
    ('x{a="",instance="[::1]:9"}', "-100000"),
    ('x{a="nan"}', "NaN"),
    ('x{a="inf"}', "+Inf"),
    ('x{a="zero"}', "0"),
    ('x{a="days",job="j"}', "123456.789"),
    ('y{k="b",v="2"}', "2"),
    ('y{k="a",v="1"}', "1"),
    ('y{k="c"}', "-3"),
]

TEMPLATES = [
    "{{ humanize \"0x10\" }}", "{{ humanize \"0x1p4\" }}", "{{ humanize \"-nan\" }}", "{{ humanize \"+Inf\" }}", "{{ humanize \"-\" }}",
    "{{ printf `%q %+q %#q|` 0 0 0 }}", "{{ printf `%#x %#X %+#X %#x` 1e6 1e6 -0.1 `ab` }}",
    "{{ stripDomain `a.b:[9100]` }} {{ stripDomain `[a.b]:1:2` }} {{ stripDomain `a.b:9100` }}",
    "", "plain", "{{ $value }}", "{{$value}}", "{{ .Value }}", "{{ $labels.a }}|{{ .Labels.a }}|{{ $labels.nope }}",
    "{{ $labels }}", "{{ . }}", "{{ $ }}", "{{ $externalLabels.zone }} {{ .ExternalLabels }} {{ $externalURL }}",
    "a {{- $value -}} b", "a\n  {{- $value }}\n  {{ $value -}}\n  b", "{{/* comment */}}x{{- /* two */ -}} y",
    "{{ \"a\\tb\\u00e9\\x41\" }} {{ `raw \\n` }} {{ 'a' }} {{ '\\n' }}",
    "{{ 1 }} {{ -1 }} {{ 1.0 }} {{ 1.5e3 }} {{ 0x10 }} {{ 0b11 }} {{ 0o17 }} {{ 1_000 }} {{ true }} {{ .5 }} {{ 1e100 }}",
    "{{ if $value }}yes{{ else }}no{{ end }}", "{{ if gt $value 5.0 }}big{{ else if lt $value 0.0 }}neg{{ else }}small{{ end }}",
    "{{ if eq $labels.a \"b\" \"<&>\" }}b{{ else if ne $labels.a \"zero\" }}not zero{{ end }}",
    "{{ gt $value 5 }}", "{{ eq 1 1.0 }}", "{{ eq 1 }}", "{{ lt \"a\" \"b\" }} {{ le 2 2 }} {{ ge 1 2 }} {{ ne 1.5 1.5 }}",
    "{{ eq true true }} {{ lt true false }}", "{{ eq $labels $labels }}",
    "{{ and 1 0 2 }} {{ or 0 \"\" 3 }} {{ not 0 }} {{ and true $labels.a }} {{ or $labels.nope \"default\" }}",
    "{{ $x := 5 }}{{ $x }}{{ if true }}{{ $x = 6 }}{{ end }}{{ $x }}{{ if true }}{{ $x := 7 }}{{ $x }}{{ end }}{{ $x }}",
    "{{ with $labels.a }}[{{ . }}]{{ else }}none{{ end }}", "{{ with $x := $value }}{{ $x }}{{ end }}",
    "{{ range $k, $v := $labels }}{{ $k }}={{ $v }},{{ end }}", "{{ range $labels }}{{ . }};{{ else }}empty{{ end }}",
    "{{ range $i, $s := query \"y\" | sortByLabel \"k\" }}{{ $i }}:{{ $s.Labels.k }}={{ $s.Value }}{{ if eq $i 1 }}{{ break }}{{ end }},{{ end }}",
    "{{ range query \"y\" | sortByLabel \"k\" }}{{ if eq (label \"k\" .) \"b\" }}{{ continue }}{{ end }}{{ label \"k\" . }} {{ . | value }} {{ end }}",
    "{{ query \"sort(y)\" | first | value }} {{ query \"sort_desc(y)\" | first | label \"k\" }} {{ len (query \"y\") }}",
    "{{ query \"nothing\" | first | value }}", "{{ (query \"sort(y)\" | first).Value }} {{ (index (query \"sort(y)\") 1).Labels.k }}",
    "{{ with query \"nothing\" }}some{{ else }}none{{ end }}", "{{ query (printf \"y{k='%s'}\" $labels.a) | len }}",
    "{{ printf \"y{k=%q}\" $labels.a | query | len }}", "{{ query \"1 + 1\" | first | value }}", "{{ query \"up{\" }}",
    "{{ query \"y\" | sortByLabel \"k\" | first | strvalue }}|", "{{ first 1 }}", "{{ query 5 }}", "{{ value $labels }}",
    "{{ $value | humanize }} {{ $value | humanize1024 }} {{ $value | humanizeDuration }} {{ $value | humanizePercentage }}",
    "{{ $value | humanizeTimestamp }}", "{{ toTime 1700000000.123 }} {{ humanizeTimestamp 0 }} {{ humanizeTimestamp -1.5 }}",
    "{{ toTime $value }}", "{{ humanize \"1234\" }} {{ humanize 1234567 }} {{ humanize 0.0001234 }} {{ humanize -5 }}", "{{ humanize \"x\" }}",
    "{{ humanize \"\" }}", "{{ humanize \"1e400\" }}", "{{ humanize true }}", "{{ humanize $labels }}", "{{ humanize nil }}",
    "{{ humanize \"0x1p4\" }} {{ humanize \"inf\" }} {{ humanize \" 1\" }}", "{{ humanizeDuration 59.99 }} {{ humanizeDuration 60 }} {{ humanizeDuration 3599.9 }}",
    "{{ humanizeDuration 86400 }} {{ humanizeDuration -90061.5 }} {{ humanizeDuration 0.001 }} {{ humanizeDuration 0.5 }}",
    "{{ humanize1024 1024 }} {{ humanize1024 1023.999 }} {{ humanize1024 1048576 }} {{ humanize1024 0.5 }} {{ humanize1024 1e30 }}",
    "{{ humanizePercentage 0.12345 }} {{ humanizePercentage 1 }} {{ humanizePercentage \"0.5\" }}", "{{ parseDuration \"1h30m\" }} {{ parseDuration \"5ms\" }}",
    "{{ parseDuration \"x\" }}", "{{ parseDuration \"\" }}", "{{ title \"hello wORLD foo_bar éa a-b\" }} {{ toUpper \"straße é\" }} {{ toLower \"ÀB\" }}",
    "{{ title $value }}", "{{ $value | title }}", "{{ match \"^1[0-9]+$\" \"123\" }} {{ match \"a.c\" \"xabcx\" }} {{ \"foo\" | match \"o+$\" }}",
    "{{ reReplaceAll \"(\\\\w+)@(?P<d>\\\\w+)\" \"$2 at ${1} $d $$ $x\" \"me@home you@work\" }}", "{{ reReplaceAll \"a*\" \"-\" \"baac\" }}",
    "{{ reReplaceAll \"\" \"-\" \"aé\" }}", "{{ reReplaceAll \"^x\" \"y\" \"xx\" }} {{ reReplaceAll \"(a)(b)?\" \"[$2$1]\" \"aab\" }}",
    "{{ $labels.instance | stripPort }} {{ $labels.instance | stripDomain }}", "{{ stripPort \"a:b:c\" }} {{ stripDomain \"a.b.c\" }} {{ stripDomain \"1.2.3.4\" }}",
    "{{ safeHtml \"<b>\" }} {{ html $labels.a \"'\" 1 }} {{ urlquery $labels.a \" &é\" }}", "{{ graphLink \"up == 0\" }} {{ tableLink \"a{b=\\\"c\\\"}\" }}",
    "{{ print 1 2 \"a\" 3 \"b\" \"c\" 4.5 true nil }} {{ println 1 \"b\" }}", "{{ args 1 \"a\" 2.5 }} {{ (args 1 \"x\").arg1 }} {{ (args).arg0 }}",
    "{{ len \"abc\" }} {{ len $labels }} {{ len 5 }}", "{{ index $labels \"a\" }} {{ index \"abc\" 1 }} {{ index (query \"y\") 99 }}", "{{ index $labels 1 }}",
    "{{ index $labels \"nope\" }}| {{ index $labels }}", "{{ slice \"abcdef\" 1 3 }} {{ slice \"abc\" 1 }} {{ slice \"abc\" }}", "{{ slice \"abc\" 3 1 }}",
    "{{ .Foo }}", "{{ .Foo.bar }}", "x\ny {{ $labels.a.b }}", "{{ $value.x }}", "{{ $labels.a 1 }}", "{{ 1 | printf \"%d\" }}", "{{ $value \"x\" }}",
    "{{ \"x\" | $labels.a }}", "{{ humanize }}", "{{ humanize 1 2 }}", "{{ printf }}", "{{ printf 1 }}", "{{ range $value }}{{ end }}", "{{ range 5 }}{{ end }}",
    "{{ range nil }}x{{ else }}e{{ end }}", "{{ (printf \"%d\" 5) | len }} {{ (1) }}", "{{ nil | print }}", "{{ true | print }}",
    "{{ printf \"%v %v %v %v\" $labels (args 1) nil true }}", "{{ printf \"%s|%d|%q|%x|%t|%f|%e|%g|%c|%U|%b|%o|%X\" $value $value $value $value $value $value $value $value $value $value $value $value $value }}",
    "{{ printf \"%s|%d|%q|%x|%t|%f|%v|%10s|%-10s|%.1s|%+q|%# x|%T\" $labels.a $labels.a $labels.a $labels.a $labels.a $labels.a $labels.a $labels.a $labels.a $labels.a $labels.n $labels.n $labels.n }}",
    "{{ printf \"%d|%5d|%-5d|%05d|%+d|%x|%X|%o|%b|%c|%q|%U|%#x|%s|%f|% d|%.3d|%08.3d\" 42 42 42 42 42 42 42 42 42 42 42 42 42 42 42 42 42 42 }}",
    "{{ printf \"%5t|%v|%-8v|%d\" true false true true }}", "{{ printf \"%d %d\" 1 }} {{ printf \"%d\" 1 2 3.5 \"x\" }} {{ printf \"%\" }} {{ printf \"%z\" 1 }} {{ printf \"100%%\" }}",
    "{{ printf \"%[2]d %[1]d\" 1 2 }} {{ printf \"%*d|%-*d|%.*f\" 5 42 5 42 2 3.14159 }} {{ printf \"%[3]d\" 1 }} {{ printf \"%!\" }}",
    "{{ printf \"%6.2f|%-8.1f|%+.3e|%g|%G|%.3g|%010.4f|% f\" $value $value $value $value $value $value $value $value }}",
    "{{ printf \"%v %v\" (query \"nothing\") (toTime 0) }} {{ printf \"%s\" (toTime 5.5) }} {{ printf \"%d\" nil }}",
    "{{ if }}x{{ end }}" if False else "{{ if and $value (gt 1.0 0.5) }}t{{ end }}", "{{ $a := 1 }}{{ $b := 2 }}{{ if lt $a $b }}{{ $a }}<{{ $b }}{{ end }}",
    "{{ with $x := 3 }}{{ with $y := 4 }}{{ $x }}{{ $y }}{{ $ }}{{ end }}{{ end }}", "{{ externalURL }}" if False else "x", "{{ printf \"%v\" .Labels.a | printf \"%s-%s\" \"p\" }}",
]


def test_templates(tmp_path):
    check_templates(tmp_path, TEMPLATES, SERIES, {"zone": "eu", "site": "a b"})


class Maker:
    """Random templates that parse; whether they execute is for both to find out alike."""

    def __init__(self, rng):
        self.rng = rng

    def number(self):
        r = self.rng
        return r.choice([
            str(r.randrange(-5, 100)), f"{r.uniform(-10, 10):.{r.randrange(1, 6)}f}",
            f"{r.uniform(1, 10):.3f}e{r.randrange(-20, 22)}", "$value", ".Value", "0", "1e6", "1e21", "0.1"])

    def text(self):
        r = self.rng
        return r.choice(["$labels.a", "$labels.instance", ".Labels.nope", '"abc"', '"é<\\"x"', "`a b`", "$labels.n",
                         f'"{r.randrange(1000)}"'])

    def any(self, depth):
        r = self.rng
        if depth <= 0 or r.random() < 0.4:
            return self.number() if r.random() < 0.5 else self.text()
        return "(" + self.call(depth - 1) + ")"

    def verb(self):
        r = self.rng
        flags = "".join(f for f in "+-# 0" if r.random() < 0.15)
        width = str(r.randrange(1, 15)) if r.random() < 0.3 else ""
        precision = f".{r.randrange(0, 8)}" if r.random() < 0.3 else ""
        return "%" + flags + width + precision + r.choice("vvddffggssqexXEGt")

    def call(self, depth):
        r = self.rng
        kind = r.randrange(9)
        if kind == 0:
            n = r.randrange(1, 4)
            verbs = " ".join(self.verb() for _ in range(n))
            return f'printf "{verbs}" ' + " ".join(self.any(depth) for _ in range(n + r.choice([0, 0, 0, -1, 1])))
        if kind <= 3:
            return r.choice(["humanize", "humanize1024", "humanizeDuration", "humanizePercentage"]) + " " + self.any(depth)
        if kind == 4:
            return r.choice(["title", "toUpper", "toLower", "stripPort", "stripDomain", "urlquery", "html", "len"]) + " " + self.any(depth)
        if kind == 5:
            return r.choice(["eq", "ne", "lt", "le", "gt", "ge"]) + f" {self.any(depth)} {self.any(depth)}"
        if kind == 6:
            return r.choice(["and", "or", "print", "println"]) + "".join(" " + self.any(depth) for _ in range(r.randrange(1, 4)))
        if kind == 7:
            return f"{self.any(depth)} | {r.choice(['humanize', 'toUpper', 'len', 'print', 'not', 'title'])}"
        return f'reReplaceAll "{r.choice(["a", "[0-9]+", "(.)b", ".*", "x?"])}" "{r.choice(["", "z", "$1", "[$0]"])}" {self.text()}'

    def template(self):
        r = self.rng
        body = "{{" + r.choice(["", " ", "- "]) + self.call(2) + r.choice(["", " ", " -"]) + "}}"
        if r.random() < 0.2:
            body = f"{{{{ if {self.call(1)} }}}}yes{{{{ else }}}}{body}{{{{ end }}}}"
        return r.choice(["", "a ", " "]) + body + r.choice(["", " b", "\n"])


def test_random_templates(tmp_path):
    maker = Maker(random.Random(SEED))
    check_templates(tmp_path, [maker.template() for _ in range(COUNT)], SERIES)


BAD_TEMPLATES = [
    "{{", "{{ }}", "{{ $x }}", "{{ nofunc }}", "{{ if }}{{ end }}", "{{ if true }}", "{{ end }}", "{{ else }}", "{{ if true }}{{ else }}{{ else }}{{ end }}",
    "{{ 1 | 2 }}", "{{ \"a }}", "{{ (1 }}", "{{ 1) }}", "{{ $x := }}", "{{ break }}", "{{ range }}{{ end }}", "{{ .a b",
    "{{/* x }}", "{{/* x */ }}", "{{ 1.2.3 }}", "{{ 'ab' }}", "{{ $a, $b := 1 }}", "{{ ! }}", "{{ \"\\q\" }}", "{{ 0x }}", "{{ a.b }}", "{{ true.x }}",
    "{{ | humanize }}", "{{ with 1 }}{{ else }}", "{{ 1 2 }}{{ end }}", "{{ #x }}", "{{ .. }}", "{{ $labels. }}",
]


@pytest.mark.parametrize("text", BAD_TEMPLATES)
def test_bad_templates(tmp_path, text):
    """What Go's parser refuses is refused here, at load, with its place."""
    path = write(tmp_path, "r.yml", {"groups": [{"name": "g", "rules": [
        {"alert": "A", "expr": "up", "annotations": {"a": text}}]}]})
    theirs, ours = promtool("check", "rules", path), run(OURS, "--check-rules", path)
    assert theirs[0] != 0, theirs[1]
    assert ours[0] == 1 and re.search(r'r\.yml:\d+:\d+: error: group "g", rule 1, "A": annotation "a": ', ours[1]), ours[1]


@pytest.mark.parametrize("text, why", [
    ('{{ define "x" }}{{ end }}', "define is not supported"), ('{{ call $value }}', '"call" is not supported'),
    ('{{ js "x" }}', '"js" is not supported'), ("{{ 1i }}", "complex numbers"), ("{{ (toTime 5).Year }}", "methods of times"),
    ("{{ query $labels.q }}", "constant text"), ('{{ query (printf "%s" $labels.q) }}', "must be known when loading"),
    ('{{ query "foo(" }}', "query(): "),
])
def test_refused_templates(tmp_path, text, why):
    """What Prometheus knows and this does not is named at load."""
    path = write(tmp_path, "r.yml", {"groups": [{"name": "g", "rules": [
        {"alert": "A", "expr": "up", "annotations": {"a": text}}]}]})
    code, out = run(OURS, "--check-rules", path)
    assert code == 1 and why in out, out


def test_template_bombs(tmp_path):
    """Templates that would run for ever or fill the memory end with an error in their text."""
    bombs = ["{{ range query \"y\" }}{{ range query \"y\" }}{{ range query \"y\" }}{{ range query \"y\" }}{{ range query \"y\" }}"
             "{{ range query \"y\" }}{{ range query \"y\" }}{{ printf \"%9999d\" 1 }}{{ end }}{{ end }}{{ end }}{{ end }}{{ end }}{{ end }}{{ end }}",
             "{{ reReplaceAll \"(a+)+$\" \"\" \"" + "a" * 40 + "b\" }}"]
    rules = {"groups": [{"name": "g", "rules": [{"alert": "A", "expr": "x", "annotations": {
        f"t{i}": b for i, b in enumerate(bombs)}}]}]}
    write(tmp_path, "rules.yml", rules)
    write(tmp_path, "t.yml", {"rule_files": ["rules.yml"], "tests": [{
        "interval": "1m", "input_series": [{"series": f'y{{k="{i}"}}', "values": "1"} for i in range(10)] + [{"series": "x", "values": "1"}],
        "alert_rule_test": [{"eval_time": "0m", "alertname": "A", "exp_alerts": []}]}]})
    code, text = run(OURS, "--test-rules", "t.yml", cwd=tmp_path)
    assert code == 1
    assert "more than 262144 bytes of output" in text or "more than 1000000 steps" in text, text[:2000]
    assert "too many steps for one text" in text, text[-2000:]
    assert json.dumps(bombs)  # they are what is named above
