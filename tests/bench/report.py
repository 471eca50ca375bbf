# SPDX-License-Identifier: MIT
"""From the lines that benchmarks print to medians, spreads and ratios. Nothing here runs anything.

A line is a JSON object with these keys and no others; tests/bench/README.md says what they mean:
bench, figure, case, name, role, unit, value, round.
"""

import json
import math
import statistics

KEYS = {"bench": str, "figure": str, "case": str, "name": str, "role": str, "unit": str, "value": (int, float),
        "round": int}
ROLES = ("subject", "ceiling", "peer")


def parse_line(line):
    """One result; ValueError says what is wrong with it."""
    try:
        result = json.loads(line)
    except ValueError:
        raise ValueError(f"no JSON: {line.strip()[:80]!r}") from None
    if not isinstance(result, dict):
        raise ValueError(f"no JSON object: {line.strip()[:80]!r}")
    if set(result) != set(KEYS):
        raise ValueError(f"keys that are missing or unknown: {', '.join(sorted(set(result) ^ set(KEYS)))}")
    for key, kind in KEYS.items():
        if not isinstance(result[key], kind) or isinstance(result[key], bool):
            raise ValueError(f"{key}: {result[key]!r}")
    if result["role"] not in ROLES:
        raise ValueError(f"role: {result['role']!r}, must be one of {', '.join(ROLES)}")
    if not math.isfinite(result["value"]):
        raise ValueError(f"value: {result['value']!r} of {result['name']}")
    return result


def spread(values):
    return {"median": statistics.median(values), "min": min(values), "max": max(values), "n": len(values)}


def aggregate(results):
    """Rows in the order of their first results, one for each (bench, figure, case, name, unit).

    ratios: name of each ceiling or peer of the same case and unit -> spread of the ratios, each within
    one round; rounds in which one of the two is missing do not count.
    """
    rows, cases = {}, {}
    for r in results:
        case = (r["bench"], r["figure"], r["case"], r["unit"])
        row = rows.setdefault((*case, r["name"]), {
            **{k: r[k] for k in ("bench", "figure", "case", "name", "role", "unit")}, "rounds": {}})
        if row["role"] != r["role"]:
            raise ValueError(f"{r['bench']}: {r['name']} is {row['role']} and {r['role']} in one case")
        if r["round"] in row["rounds"]:
            raise ValueError(f"{r['bench']}: {r['name']} has two values in round {r['round']} of: {r['case']}")
        row["rounds"][r["round"]] = r["value"]
        cases.setdefault(case, {})[r["name"]] = row
    for (*case, name), row in rows.items():
        row.update(spread(list(row["rounds"].values())), ratios={})
        if row["role"] != "subject":
            continue
        for other in cases[tuple(case)].values():
            both = [n for n in row["rounds"] if other["rounds"].get(n)]
            if other["role"] != "subject" and both:
                row["ratios"][other["name"]] = spread([row["rounds"][n] / other["rounds"][n] for n in both])
    # What belongs together stands together.
    order = {case: i for i, case in reversed(list(enumerate(key[:3] for key in rows)))}
    return [row for _, row in sorted(rows.items(), key=lambda item: order[item[0][:3]])]


def number(value):
    """Three figures that count, large ones with k, M, G."""
    for factor, least, letter in ((1e9, 1e9, " G"), (1e6, 1e6, " M"), (1e3, 1e4, " k")):
        if abs(value) >= least:
            return number(value / factor) + letter
    if value == int(value):
        return str(int(value))
    return f"{value:.0f}" if abs(value) >= 100 else f"{value:.3g}"


def table(rows):
    """The rows of one or more benchmarks as text, a block for each case."""
    lines, last = [], None
    for row in rows:
        if row["case"] != last:
            lines.append(f"  {row['case']}  [figure {row['figure']}]")
            last = row["case"]
        name = row["name"] + ("" if row["role"] == "subject" else f" ({row['role']})")
        text = f"    {name:<46} {number(row['median']):>7} {row['unit']:<14}"
        if row["n"] > 1:
            text += f" {number(row['min'])} .. {number(row['max'])}"
        if row["ratios"]:
            text = f"{text:<90}"
        for other, ratio in row["ratios"].items():
            text += f"  {number(ratio['median'])} of {other}"
            if ratio["n"] > 1:
                text += f" ({number(ratio['min'])} .. {number(ratio['max'])})"
        lines.append(text.rstrip())
    return "\n".join(lines)


def markdown(rows):
    """The same as Markdown: a table for each benchmark."""
    lines, last = [], None
    for row in rows:
        if row["bench"] != last:
            lines += ["", f"### {row['bench']}", "", "| conditions | what | median | range | beside it |",
                      "| --- | --- | --- | --- | --- |"]
            last = row["bench"]
        ratios = "; ".join(f"{number(ratio['median'])} of {other}"
                           + (f" ({number(ratio['min'])} .. {number(ratio['max'])})" if ratio["n"] > 1 else "")
                           for other, ratio in row["ratios"].items())
        cells = [row["case"], row["name"] + ("" if row["role"] == "subject" else f" ({row['role']})"),
                 f"{number(row['median'])} {row['unit']}",
                 f"{number(row['min'])} .. {number(row['max'])}" if row["n"] > 1 else "", ratios]
        lines.append("| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |")
    return "\n".join(lines) + "\n"
