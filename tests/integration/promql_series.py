# SPDX-License-Identifier: MIT
"""Series and expressions for the comparison of our evaluator with Prometheus (test_promql_oracle.py).

Everything comes from a seeded random generator: the same seed, the same series and expressions.
"""

import math
import random
import struct

T0 = 1_700_000_400_000  # ms; a whole multiple of 20 minutes
MINUTES = 50
STALE = 0x7FF0000000000002
NAN = 0x7FF8000000000001  # what Go calls NaN


def bits(value):
    return NAN if isinstance(value, float) and math.isnan(value) else struct.unpack("<Q", struct.pack("<d", value))[0]


def scrape(rng, step_s, jitter_ms=0):
    """Times of samples: all series have one in the first seconds, so that they exist in one order."""
    t = T0
    while t < T0 + MINUTES * 60_000:
        yield t + (rng.randrange(jitter_ms) if jitter_ms and t > T0 else 0)
        t += step_s * 1000


def counter(rng, step_s=15, resets=0.02, jitter_ms=0, whole=True):
    value, out = 0.0, []
    for t in scrape(rng, step_s, jitter_ms):
        value = 0.0 if rng.random() < resets else value
        value += rng.randrange(50) if whole else rng.random() * 3
        out.append((t, bits(value)))
    return out


def gauge(rng, step_s=15, low=-20, high=20, nan=0.0, inf=0.0, jitter_ms=0):
    out = []
    for t in scrape(rng, step_s, jitter_ms):
        dice = rng.random()
        value = rng.uniform(low, high)
        if dice < nan:
            value = math.nan
        elif dice < nan + inf:
            value = rng.choice((math.inf, -math.inf))
        out.append((t, bits(round(value, 3))) if math.isfinite(value) else (t, bits(value)))
    return out


def holes(rng, points, gaps=3, longest_s=900, stale=True):
    """Without some stretches; each begins with a staleness marker, or does not."""
    out = list(points)
    for _ in range(gaps):
        begin = rng.randrange(T0 + 20_000, T0 + MINUTES * 60_000)
        end = begin + rng.randrange(20, longest_s) * 1000
        cut = [p for p in out if begin <= p[0] < end]
        out = [p for p in out if not begin <= p[0] < end]
        if stale and cut and rng.random() < 0.7:
            out.append((cut[0][0], STALE))
        out.sort()
    return out


def make_series(seed):
    """[({label: value}, [(t_ms, bits), ...]), ...], sorted by labels as Prometheus sorts them."""
    rng = random.Random(seed)
    out = []

    def add(name, points, **labels):
        out.append(({"__name__": name, **labels}, points))

    for job, instance in (("api", "a"), ("api", "b"), ("web", "a"), ("web", "c")):
        for code in ("200", "404", "500"):
            add("req_total", holes(rng, counter(rng, jitter_ms=900), gaps=rng.randrange(3)),
                job=job, instance=instance, code=code)
        add("errors_total", counter(rng, 30, whole=False), job=job, instance=instance)
        add("up", [(t, bits(float(rng.random() > 0.2))) for t in scrape(rng, 15)], job=job, instance=instance)
    for instance in "abcde":
        add("temp", holes(rng, gauge(rng, nan=0.03), gaps=2), instance=instance, site=rng.choice("xy"))
        add("info", holes(rng, [(t, bits(1.0)) for t in scrape(rng, 60)], gaps=1),
            instance=instance, version=rng.choice(("1.0", "1.1", "2.0")))
    add("wild", gauge(rng, nan=0.2, inf=0.2), instance="a")
    add("wild", holes(rng, gauge(rng, 5, -1e300, 1e300), stale=False), instance="b")
    add("wild", gauge(rng, low=-1e-9, high=1e-9), instance="c")
    add("sparse", gauge(rng, 240), instance="a")
    add("sparse", [(T0, bits(3.0)), (T0 + 1_500_000, bits(5.0))], instance="b")
    add("dense", gauge(rng, 1, 0, 1), instance="a")
    add("constant", [(t, bits(7.0)) for t in scrape(rng, 15)])
    add("slope", [(t, bits((t - T0) / 1000)) for t in scrape(rng, 15)])
    add("dates", [(t, bits(float(rng.randrange(-10**10, 10**11)))) for t in scrape(rng, 60)])
    for instance in "ab":
        totals = [0.0] * 6
        points = [[] for _ in totals]
        for t in scrape(rng, 15):
            more = 0
            for i, _ in enumerate(totals):
                more += rng.randrange(5)
                totals[i] += more
                points[i].append((t, bits(totals[i])))
        for le, p in zip(("0.1", "0.5", "1", "2.5", "10", "+Inf"), points):
            add("lat_bucket", p, instance=instance, le=le)
    add("lat_bucket", gauge(rng, low=0, high=5), instance="b", le="nonsense")
    out.sort(key=lambda s: sorted(s[0].items()))
    return out


def write_to(prometheus, series):
    """By slices of time, since Prometheus takes nothing much older than its newest sample."""
    edges = [T0, T0 + 1] + [T0 + m * 60_000 for m in range(10, MINUTES + 10, 10)]
    for begin, end in zip(edges, edges[1:]):
        prometheus.remote_write([(labels, [p for p in points if begin <= p[0] < end]) for labels, points in series])


def tool_lines(series):
    """The same for tests/tools/promql_tool.c."""
    for labels, points in series:
        name = ",".join(f'{k}="{v}"' for k, v in labels.items())
        values = " ".join(f"{t} {'stale' if b == STALE else repr(struct.unpack('<d', struct.pack('<Q', b))[0])}"
                          for t, b in points)
        yield f"series\t{{{name}}}\t{values}"


# ---- expressions, written out ----

EXACT = "abs ceil deg floor rad sgn sqrt".split()
MATH = ("abs acos acosh asin asinh atan atanh ceil cos cosh deg exp floor ln log10 log2 rad sgn sin sinh sqrt tan "
        "tanh").split()
DATES = "day_of_month day_of_week day_of_year days_in_month hour minute month year".split()
RANGES = ("absent_over_time avg_over_time changes count_over_time delta deriv idelta increase irate last_over_time "
          "max_over_time min_over_time present_over_time rate resets stddev_over_time stdvar_over_time "
          "sum_over_time").split()
AGGREGATIONS = "sum avg count min max group stddev stdvar".split()
ARITHMETIC = ("+", "-", "*", "/", "%", "^", "atan2")
COMPARISONS = ("==", "!=", "<", "<=", ">", ">=")


def written():
    """Every operator and function, and the corners of their rules."""
    out = []
    for f in MATH:
        out += [f"{f}(temp)", f"{f}(wild)", f"{f}(constant / 10)"]
    for f in DATES:
        out += [f"{f}()", f"{f}(dates)", f"{f}(slope)", f"{f}(wild)"]
    for f in RANGES:
        out += [f"{f}(req_total[5m])", f"{f}(temp[2m])", f"{f}(wild[3m30s] offset 1m)", f"{f}(sparse[10m])",
                f"{f}(dense[17s])", f"{f}(nothing[5m])", f"{f}((temp)[10m:30s])", f"{f}(slope[5m] @ 1700001000)",
                f"{f}(constant[1m])", f"{f}(rate(req_total[1m])[5m:])"]
    for op in AGGREGATIONS:
        out += [f"{op}(temp)", f"{op} by (job) (req_total)", f"{op} without (code) (req_total)",
                f"{op} by (site, nothing) (temp)", f"{op}(wild)", f"{op} by () (up)", f"{op} without () (up)",
                f"{op}(req_total) by (instance, code)", f"{op} by (__name__) ({{instance=\"a\"}})", f"{op}(nothing)"]
    for op in ("topk", "bottomk"):
        out += [f"{op}(3, req_total)", f"{op} by (job) (1, req_total)", f"{op}(2, wild)", f"{op}(0, temp)",
                f"{op}(-1, temp)", f"{op}(100, temp)", f"{op} without (instance, code) (2, req_total)", f"{op}(1, up)",
                f"{op}(scalar(nothing), temp)", f"{op}(1e30, temp)", f"{op}(2.9, temp)"]
    for q in ("0", "0.25", "0.5", "0.9", "1", "-1", "2", "NaN", "scalar(constant) / 10"):
        out += [f"quantile({q}, req_total)", f"quantile by (job) ({q}, req_total)", f"quantile({q}, wild)",
                f"quantile_over_time({q}, temp[5m])", f"quantile_over_time({q}, wild[5m])",
                f"histogram_quantile({q}, lat_bucket)", f"histogram_quantile({q}, rate(lat_bucket[5m]))",
                f"histogram_quantile({q}, sum by (le) (rate(lat_bucket[5m])))"]
    out += ['count_values("value", up)', 'count_values by (job) ("value", up)', 'count_values("v", info)',
            'count_values without (instance) ("x", up)', 'count_values("instance", round(temp))',
            'count_values("v", wild)', 'count_values by (instance) ("instance", up)', 'count_values("__name__", up)']
    for op in ARITHMETIC + COMPARISONS:
        out += [f"temp {op} 3", f"3 {op} temp", f"req_total {op} ignoring (code) group_left errors_total",
                f"errors_total {op} ignoring (code) group_right req_total", f"up {op} errors_total",
                f"up {op} on (job, instance) errors_total", f"wild {op} wild", f"temp {op} wild",
                f"req_total {op} on (instance) group_left (version) info", f"up {op} on (job) up", f"temp {op} NaN",
                f"info {op} on (instance) group_right (site) up", f"scalar(constant) {op} temp"]
    for op in ARITHMETIC:
        out += [f"2 {op} 3", f"-7.5 {op} 2", f"scalar(constant) {op} time()", f"1 {op} 0", f"-8 {op} (1 / 3)",
                f"Inf {op} -Inf", f"0 {op} 0"]
    for op in COMPARISONS:
        out += [f"2 {op} bool 3", f"temp {op} bool 0", f"0 {op} bool wild", f"up {op} bool errors_total",
                f"req_total {op} bool on (instance, job) group_left () up", f"NaN {op} bool NaN", f"2 {op} 3",
                f"time() {op} bool 1700001000", f"temp {op} bool on (instance) group_right (site) up"]
    for op in ("and", "or", "unless"):
        out += [f"up {op} errors_total", f"req_total {op} on (job) up", f"temp {op} on (instance) wild > 0",
                f"req_total {op} ignoring (code, job) info", f"nothing {op} up", f"up {op} nothing",
                f"up {op} on () nothing", f"temp {op} on () vector(1)", f"up == 1 {op} up == 0",
                f"sum(up) {op} vector(1)", f"{{__name__=~\"up|temp\"}} {op} on (instance) info"]
    out += [
        "1 + 2 * 3 - 4 / 5 % 6 ^ 7", "2 ^ 3 ^ 2", "-2 ^ 2", "(-2) ^ 2", "- temp ^ 2", "-temp * 2", "+temp", "-(-temp)",
        "1 + -2", "1 - - 1", "2 ^ -1 * 3", "1 < bool 2 < bool 3", "1 == bool 1 == bool 1", "3 - 2 - 1", "8 / 4 / 2",
        "temp > 0 and temp < 10 or temp > 15", "temp unless temp > 0 or temp > 10", "1 atan2 2 * 3",
        "0x1F", "017", "1e3", "1E-2", ".5", "5.", "Inf", "-inf", "nan", "+Inf", "0x1p-2", "1_000", "08", "1e400",
        '"a string"', "'it\\'s'", "`raw \\n`", '"\\u00e9\\x41\\101\\t"', '"\\q"', '"open', "time()", "pi()", "vector(3)",
        "vector(time())", "scalar(constant)", "scalar(temp)", "scalar(nothing)", "scalar(vector(1) + vector(2))",
        "timestamp(temp)", "timestamp(temp offset 3m)", "timestamp(temp * 1)", "timestamp((temp))", "timestamp(sparse)",
        "timestamp(temp @ 1700001003)", "timestamp(timestamp(temp))", "temp offset 5m", "temp offset -5m",
        "temp @ 1700001000", "temp @ 1700001000.5 offset 1m", "temp offset 1m @ 1700001000", "temp @ start()",
        "temp @ end()", "rate(req_total[2m] @ end())", "sum_over_time(temp[2m] offset -1m)", "temp @ -1", "temp @ 0",
        "temp[2m]", "temp[90s] offset 7m", "wild[1m] @ 1700001500", "temp[2m:20s]", "temp[5m:] offset 1m",
        "sum by (instance) (req_total)[3m:1m]", "(temp > 0)[4m:30s]", "temp[10m:3m] @ 1700002000",
        "max_over_time(sum_over_time(dense[10s])[2m:10s])", "rate(req_total[1m])[5m:30s] @ 1700001000 offset 1m",
        "min_over_time(rate(req_total[1m] offset 30s)[5m:15s] offset 2m)", "sum_over_time((temp @ 1700001000)[2m:30s])",
        "sum_over_time(time()[2m:30s])", "sum_over_time(vector(time())[2m:30s])", "count_over_time(up[1m:1s])",
        "avg_over_time(max_over_time(min_over_time(dense[5s])[20s:5s])[2m:20s])", "last_over_time(temp[1h])",
        "last_over_time({__name__=~\"up|temp\"}[5m])", "rate({__name__=~\"req_total|errors_total\"}[5m])",
        "rate({__name__=~\"up|errors_total\"}[5m])", "-{__name__=~\"up|errors_total\"}",
        "abs({__name__=~\"up|errors_total\"})", "{__name__=~\"up|errors_total\"} + 1", "{__name__=~\"up|errors_total\"}",
        "{__name__=~\"up|errors_total\"} > 0", "{__name__=~\"up|errors_total\"} > bool 0",
        "sum_over_time((-{__name__=~\"temp|wild\"})[5m:1m])", "sum_over_time(abs({__name__=~\"sparse|wild\"})[9m:1m])",
        "sum_over_time(rate({__name__=~\"sparse|wild\"}[9m])[9m:1m])", "{__name__=~\".+\", instance=\"a\"}",
        'req_total{code=~"2..|404"}', 'req_total{code!~"2..|404"}', 'req_total{code=~"2"}', 'req_total{code!="200"}',
        'req_total{code=~""}', 'req_total{nothing=""}', 'req_total{nothing=~".*"}', 'req_total{nothing!~".+"}',
        'req_total{code=~"(?i)2[0-9]{2}", job!="web", instance=~"a|b"}', 'req_total{code=~"[^45].*"}',
        '{__name__="temp"}', '{__name__="temp", __name__!="up"}', '{job=~"a.*"}', '{job=~".*"}', '{}', '{x=""}',
        'temp{__name__="up"}', 'temp{instance="a",instance="b"}', 'temp{instance=~"\\\\w"}', 'temp{site=~"x|",}',
        "absent(temp)", "absent(nothing)", 'absent(nothing{a="b",c!="d",e=~"f"})', 'absent(nothing{a="b",a="c",d="e"})',
        'absent((nothing{a="b"}))', "absent(sum(nothing))", 'absent(sum(nothing{a="b"}))', 'absent(nothing{a="b"} > 1)',
        'absent_over_time(nothing{a="b"}[5m])', 'absent_over_time(nothing{a="b"}[5m:1m])',
        'absent_over_time(sparse{instance="b"}[4m])', 'absent(nothing{a="b",a="c",a="d"})', 'absent(nothing{a!="b",a="c"})',
        "clamp(temp, -5, 5)", "clamp(wild, -1, 1)", "clamp(temp, 5, -5)", "clamp(temp, NaN, 1)", "clamp(wild, -Inf, Inf)",
        "clamp_min(wild, 0)", "clamp_max(wild, 0)", "clamp_min(temp, NaN)", "clamp_max(wild, scalar(constant))",
        "round(temp)", "round(temp, 5)", "round(temp, 0.1)", "round(wild, 3)", "round(temp, 0)", "round(temp, -2)",
        "sort(temp)", "sort_desc(temp)", "sort(wild)", "sort_desc(wild)", "sort(topk(3, req_total))",
        "predict_linear(temp[5m], 3600)", "predict_linear(slope[5m], 60)", "predict_linear(slope[5m] offset 5m, 60)",
        "predict_linear(constant[5m], -60)", "predict_linear(wild[5m], 1)", "predict_linear(temp[10s], 1)",
        "predict_linear(slope[5m] @ 1700001000, 100)", "deriv(slope[1m])", "predict_linear(temp[4m:20s], time() - 1.7e9)",
        "holt_winters(temp[5m], 0.5, 0.5)", "holt_winters(slope[5m], 0.1, 0.9)", "holt_winters(temp[5m], 0, 0.5)",
        "holt_winters(temp[5m], 0.5, 1)", "holt_winters(wild[5m], 0.3, 0.3)", "holt_winters(temp[10s], 0.3, 0.3)",
        'label_replace(up, "new", "$1-x", "instance", "(.*)")', 'label_replace(up, "job", "", "job", ".*")',
        'label_replace(up, "new", "${1}${2}$3$$", "instance", "(a)|(b)")', 'label_replace(up, "instance", "z", "job", ".*")',
        'label_replace(up, "new", "$name!", "job", "(?P<name>..).*")', 'label_replace(up, "__name__", "n", "job", "web")',
        'label_replace(up, "new", "$1x", "job", "(.)")', 'label_replace(up, "bad name", "", "job", "")',
        'label_replace(up, "new", "x", "nothing", "")', 'label_replace(up, "new", "x", "job", "(")',
        'label_join(up, "new", "-", "job", "instance")', 'label_join(up, "new", "", "job")', 'label_join(up, "x", ",")',
        'label_join(up, "job", "-", "nothing", "gone")', 'label_join(up, "new", "-", "bad name")',
        'label_join(up, "__name__", "_", "job", "instance")', 'label_join(up, "job", "", "nothing")',
        "histogram_quantile(0.5, req_total)", "histogram_quantile(0.9, {__name__=~\"lat_.*|req_.*\"})",
        'histogram_quantile(0.5, label_replace(lat_bucket, "le", "5", "le", "10"))',
        'histogram_quantile(0.5, label_replace(lat_bucket, "le", "Inf", "le", "\\\\+Inf"))',
        'histogram_quantile(0.5, lat_bucket{le!="+Inf"})', 'histogram_quantile(0.5, lat_bucket{le=~"1|.Inf"})',
        'histogram_quantile(0.5, lat_bucket{le="+Inf"})', "histogram_quantile(0.5, -lat_bucket)",
        "sum(rate(req_total{code=\"500\"}[5m])) by (job) / sum(rate(req_total[5m])) by (job) > 0.1",
        "100 - avg by (instance) (rate(req_total[2m])) * 100", "(temp - temp offset 5m) / temp",
        "avg without (code) (increase(req_total[10m])) unless on (instance) up == 0",
        "sum", "sum(temp", "temp)", "temp[5m", "temp[5]", "temp[5m][5m]", "temp{", "temp{a}", "temp{a=}", "temp{a=b}",
        "temp{a=~\"(\"}", "temp{a=~\"a**\"}", "sum by (temp)", "sum(temp) by", "rate(temp)", "rate(5)", "abs()", "abs(temp, 1)",
        "nofunction(temp)", "temp offset", "temp offset 5", "temp offset 5m offset 5m", "sum(temp) offset 5m", "temp @ x",
        "temp @ 1 @ 2", "temp[0s]", "temp[5m:0s]", "temp[-5m]", "(temp)[5m]", "temp + on (a) group_left (a) up",
        "temp and on (a) group_left up", "temp and 1", "1 and 2", "1 + on (a) temp", "temp == bool", "temp + bool 1", "1 > 2",
        "\"a\" + 1", "sum(\"a\")", "count_values(1, temp)", "topk(\"a\", temp)", "sum(temp[5m])", "-\"a\"", "-temp[5m]",
        "temp[5m] + 1", "(1)[5m:1m]", "temp +", "+ +", "", " ", "# only a comment", "temp # with a comment", "temp\n# more\n> 0",
        "sum by (a,) (temp)", "abs(temp,)", "sum(temp,)", "sum(temp, temp)", "topk(temp)", "time(1)", "scalar(1)", "vector(temp)",
        "label_replace(up, \"a\")", "label_join(up, \"a\")", "round()", "clamp(temp, temp, 1)", "sum by (1) (temp)", "sum by (Inf) (temp)", "sum without (nan) (temp)", "min", "max",
        "on", "bool", "by", "start", "offset offset 5m", "sum(sum)", "avg(by)", "unless unless unless", "AND", "temp AND up",
        "SUM(temp)", "temp OFFSET 5m", "temp[1h30m]", "temp[30m1h]", "temp[1y2w3d4h5m6s7ms]", "temp[5ms]", "temp[1.5m]",
        "temp!", "temp =~ 1", "temp = 1", "1 = 1", "a:b:c", ":a", "a:", "temp @ start", "temp @ start(", "{a=\"b\"} {c=\"d\"}",
    ]
    return out


# ---- random expressions ----

SELECTORS = ("req_total", "errors_total", "up", "temp", "info", "wild", "sparse", "dense", "constant", "slope", "nothing",
             "lat_bucket", '{instance="a"}', 'req_total{code="200"}', 'req_total{job="api"}', 'up{job=~"a.*"}',
             'temp{instance!="a"}', '{__name__=~"up|temp"}')
LABELS = ("job", "instance", "code", "site", "version", "le", "nothing")
DURATIONS = ("15s", "1m", "90s", "2m", "5m", "7m30s", "10m")


class Node:
    """A random expression: its text is made of the texts of its parts."""

    def __init__(self, kind, form, parts=()):
        self.kind, self.form, self.parts = kind, form, list(parts)

    def __str__(self):
        return self.form.format(*self.parts)

    def smaller(self):
        """Expressions with one thing less, the smallest first."""
        for part in self.parts:
            if part.kind == self.kind:
                yield part
        for i, part in enumerate(self.parts):
            if part.kind == "scalar" and str(part) not in ("1", "2"):
                yield Node(self.kind, self.form, self.parts[:i] + [Node("scalar", "1")] + self.parts[i + 1:])
            if part.kind == "vector" and part.parts:
                for name in ("up", "temp", "wild"):
                    yield Node(self.kind, self.form, self.parts[:i] + [Node("vector", name)] + self.parts[i + 1:])
            for less in part.smaller():
                yield Node(self.kind, self.form, self.parts[:i] + [less] + self.parts[i + 1:])


def leaf(kind, text):
    return Node(kind, text.replace("{", "{{").replace("}", "}}"))


class Maker:
    """Random expressions.

    What may differ in the last digit or in the order of equals (logarithms, histograms, sort) is only
    outermost: inside, a comparison or a topk would make a large difference of it. Prometheus 2.42
    moves the window of predict_linear(x[5m] @ 1) with the steps of a subquery: none of these.
    """

    def __init__(self, rng):
        self.rng = rng

    def expression(self):
        r = self.rng
        inner = self.vector(r.randrange(1, 5))
        match r.randrange(8):
            case 0:
                return Node("vector", r.choice(MATH) + "({})", [inner])
            case 1:
                return Node("vector", "histogram_quantile({}, {})", [self.scalar(1), inner])
            case 2:
                return Node("vector", r.choice(("sort({})", "sort_desc({})", "({} ^ 1.5)", "({} atan2 {})")).replace(
                    "{} atan2 {}", "{} atan2 2"), [inner])
        return inner

    def labels(self):
        return ", ".join(self.rng.sample(LABELS, self.rng.randrange(0, 3)))

    def times(self, at=True):
        dice = self.rng.random()
        if dice < 0.75:
            return ""
        if dice < 0.9 or not at:
            return " offset " + self.rng.choice(("", "-")) + self.rng.choice(DURATIONS)
        at = self.rng.choice((f"{(T0 + self.rng.randrange(MINUTES * 60_000)) / 1000:.3f}", "start()", "end()"))
        return f" @ {at}"

    def selector(self):
        return leaf("vector", self.rng.choice(SELECTORS) + self.times())

    def scalar(self, depth):
        dice = self.rng.random()
        if depth <= 0 or dice < 0.6:
            return leaf("scalar", self.rng.choice(("0", "1", "2", "-1", "0.5", "10", "100", "NaN", "Inf", "time()", "pi()")))
        if dice < 0.8:
            return Node("scalar", "scalar({})", [self.vector(depth - 1)])
        return Node("scalar", "({} " + self.rng.choice("+-*/%") + " {})", [self.scalar(depth - 1), self.scalar(depth - 1)])

    def matrix(self, depth, at=True):
        if depth <= 0 or self.rng.random() < 0.7:
            return leaf("matrix", f"{self.rng.choice(SELECTORS)}[{self.rng.choice(DURATIONS)}]{self.times(at)}")
        step = self.rng.choice(("", "15s", "20s", "1m", "37s"))
        return Node("matrix", "({})" + f"[{self.rng.choice(DURATIONS)}:{step}]{self.times(at)}", [self.vector(depth - 1)])

    def matching(self, group):
        if self.rng.random() < 0.4:
            return ""
        text = f" {self.rng.choice(('on', 'ignoring'))} ({self.labels()})"
        if group and self.rng.random() < 0.4:
            text += f" {self.rng.choice(('group_left', 'group_right'))} ({self.labels()})"
        return text

    def operator(self):
        op = self.rng.choice(("+", "-", "*", "/", "%") + COMPARISONS)
        return op + (" bool" if op in COMPARISONS and self.rng.random() < 0.4 else "")

    def grouping(self):
        return self.rng.choice(("", f" by ({self.labels()})", f" without ({self.labels()})"))

    def vector(self, depth):
        r, d = self.rng, depth - 1
        if depth <= 0:
            return self.selector()
        match r.randrange(11):
            case 0:
                return self.selector()
            case 1:
                return Node("vector", r.choice(EXACT + DATES) + "({})", [self.vector(d)])
            case 2 | 3:
                return Node("vector", r.choice(RANGES) + "({})", [self.matrix(d)])
            case 4 if r.random() < 0.5:
                return Node("vector", "quantile_over_time({1}, {0})", [self.matrix(d), self.scalar(d)])
            case 4:
                return Node("vector", "predict_linear({0}, {1})", [self.matrix(d, at=False), self.scalar(d)])
            case 5:
                return Node("vector", r.choice(AGGREGATIONS) + self.grouping() + " ({})", [self.vector(d)])
            case 6 if r.random() < 0.3:
                return Node("vector", "quantile" + self.grouping() + " ({}, {})", [self.scalar(d), self.vector(d)])
            case 6:
                return Node("vector", r.choice(("topk", "bottomk")) + self.grouping() + f" ({r.randrange(12)}, {{}})",
                            [self.vector(d)])
            case 7 if r.random() < 0.5:
                return Node("vector", "({} " + self.operator() + " {})", [self.vector(d), self.scalar(d)])
            case 7:
                return Node("vector", "({} " + self.operator() + " {})", [self.scalar(d), self.vector(d)])
            case 8:
                return Node("vector", "({} " + self.operator() + self.matching(True) + " {})",
                            [self.vector(d), self.vector(d)])
            case 9:
                op = r.choice(("and", "or", "unless"))
                return Node("vector", "({} " + op + self.matching(False) + " {})", [self.vector(d), self.vector(d)])
            case _:
                form = r.choice(("-{}", "absent({})", "timestamp({})", "round({})", "clamp_min({}, 0)", "vector(scalar({}))",
                                 'label_replace({}, "new", "$1", "instance", "(a|b).*")',
                                 'label_join({}, "both", "/", "job", "instance")', 'count_values("v", {})'))
                return Node("vector", form, [self.vector(d)])


# ---- random patterns ----

ATOMS = ("a b c x ab . \\. \\d \\D \\w \\W \\s \\S \\b \\B \\A \\z ^ $ [ab] [^a] [a-c1-3] [[:alpha:]] [[:^digit:]x] [^\\d] [\\W_] \\pL "
         "\\PL \\p{Greek} \\p{^Nd} \\x61 \\x{3b1} \\141 \\Qa.b\\E \\n \\t \\v \\f é α (?i) (?s) (?m) (?U) (?-i) (?i:A) (?s:.) []a] [a-] "
         "{ } , - # [-a] \\_ \\- [\\]] \\/ (?P<n>a) (?:) () [[:word:]] 1 2 \\1 \\Z \\h (?=a) (?>a) \\e a{,2} [b-a] [] (?<n>a) \\C "
         "\\pX \\p{Foo} [[:foo:]] (?x) (?i \\ [a \\x{110000} x{2,1} x{1001} \\8 \\G \\R \\K (*F) \\cA").split(" ")
REPEATS = ("", "", "", "", "", "*", "+", "?", "*?", "+?", "??", "{2}", "{1,2}", "{0,}", "{2}?", "**", "*+", "{2}{2}")


def pattern(rng, depth=2):
    """A pattern of RE2's syntax, or almost.

    Without classes of one case, which (?i) makes something else of in PCRE2.
    """
    parts = []
    for _ in range(rng.randrange(1, 5)):
        if depth and rng.random() < 0.3:
            opening = rng.choice(("(", "(", "(?:", "(?i:", "(?P<g%d>" % rng.randrange(10**9)))
            part = f"{opening}{pattern(rng, depth - 1)})"
        else:
            part = rng.choice(ATOMS[:50] if rng.random() < 0.9 else ATOMS)
        # Go repeats what stands before "(?i)" then; we refuse that.
        flags = part.startswith("(?") and part.endswith(")") and len(part) <= 5
        parts.append(part if flags else part + rng.choice(REPEATS[:-3] if rng.random() < 0.97 else REPEATS))
        if rng.random() < 0.15:
            parts.append("|")
    return "".join(parts)


def subject(rng):
    return "".join(rng.choice(("a", "b", "c", "ab", "A", "x", "1", "2", ".", " ", "_", "-", "é", "α", "\n", "\v", "\t"))
                   for _ in range(rng.randrange(7)))
