#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""The golden events, encoded by Python's protobuf runtime and by the JSON writer below: independent of lib/event.

    tests/data/golden/make.py        writes <name>.pb.hex and <name>.json beside itself

Golden files of a released version are never changed: what was written once is decoded for ever. New
events are added. tests/integration/test_schema.py compares the files with what this makes today, and
the C code with the files.
"""

import ctypes
import importlib
import json
import math
import os
import subprocess
import sys
import tempfile

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.dirname(os.path.dirname(os.path.dirname(HERE)))

_xxhash = ctypes.CDLL("libxxhash.so.0")
_xxhash.XXH3_64bits.restype = ctypes.c_uint64
_xxhash.XXH3_64bits.argtypes = [ctypes.c_char_p, ctypes.c_size_t]


def xxh3(data):
    return _xxhash.XXH3_64bits(data, len(data))


def load_schema(folder):
    """The module that protoc makes of event.proto."""
    subprocess.run(["protoc", f"--proto_path={ROOT}/schemas/latido/v1", f"--python_out={folder}", "event.proto"],
                   check=True)
    sys.path.insert(0, folder)
    try:
        return importlib.import_module("event_pb2")
    finally:
        sys.path.remove(folder)


def make_event(pb, families, values, **fields):
    """families: [(name, kind, [label names], [rows of label values], unit)]"""
    shape = pb.Shape()
    for name, kind, keys, rows, unit in families:
        shape.family.add(name=name, kind=kind, label_key=keys, label_value=[v for row in rows for v in row], unit=unit)
    data = shape.SerializeToString()
    return pb.Event(shape=data, shape_hash=xxh3(data), values=values, **fields)


def series_of(pb, event):
    """[(name, [(label, value)], kind, unit)] in the order of the values."""
    out = []
    for f in pb.Shape.FromString(event.shape).family:
        n = len(f.label_key)
        rows = [f.label_value[i:i + n] for i in range(0, len(f.label_value), n)] if n else [[]]
        out += [(f.name, list(zip(f.label_key, row)), f.kind, f.unit) for row in rows]
    return out


def series_text(name, labels):
    def escape(value):
        return value.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
    return name + ("{" + ",".join(f'{k}="{escape(v)}"' for k, v in labels) + "}" if labels else "")


def json_number(v):
    if math.isnan(v):
        return "null"
    if math.isinf(v):
        return '"+Inf"' if v > 0 else '"-Inf"'
    if v == 0:
        return "-0" if math.copysign(1, v) < 0 else "0"
    return repr(float(v)).removesuffix(".0")


def json_time(ns):
    days, rest = divmod(ns // 10**9, 86400)
    z = days + 719468  # civil from days, proleptic Gregorian
    era, doe = divmod(z, 146097)
    yoe = (doe - doe // 1460 + doe // 36524 - doe // 146096) // 365
    doy = doe - (365 * yoe + yoe // 4 - yoe // 100)
    mp = (5 * doy + 2) // 153
    day, month = doy - (153 * mp + 2) // 5 + 1, mp + 3 if mp < 10 else mp - 9
    year = yoe + era * 400 + (month <= 2)
    fraction = f"{ns % 10**9:09d}"
    digits = 3 if fraction.endswith("000000") else 6 if fraction.endswith("000") else 9
    return (f"{year:04d}-{month:02d}-{day:02d}T{rest // 3600:02d}:{rest // 60 % 60:02d}:{rest % 60:02d}"
            f".{fraction[:digits]}Z")


def json_form(pb, event):
    """The JSON form of an event of a node."""
    def text(s):
        return json.dumps(s, ensure_ascii=False)
    series = series_of(pb, event)
    parts = [f'"source":{text(event.source)}']
    parts += [f'"{key}":{value}' for key, value in (("epoch", event.epoch), ("seq", event.seq)) if value]
    if event.time_unix_nano:
        parts.append(f'"time":"{json_time(event.time_unix_nano)}"')
    if event.oldest_seq:
        parts.append(f'"oldest":{event.oldest_seq}')
    if event.stream:
        parts.append(f'"stream":{text(event.stream)}')
    if event.partial:
        parts.append('"partial":true')
    if event.interval_ms:
        parts.append(f'"interval_ms":{event.interval_ms}')
    parts.append('"metrics":{' + ",".join(
        f"{text(series_text(name, labels))}:{json_number(v)}"
        for (name, labels, _, _), v in zip(series, event.values)) + "}")
    types = {name: pb.Kind.Name(kind).removeprefix("KIND_").lower() for name, _, kind, _ in series if kind}
    units = {name: unit for name, _, _, unit in series if unit}
    for key, table in (("types", types), ("units", units)):
        if table:
            parts.append(f'"{key}":{{' + ",".join(f"{text(k)}:{text(v)}" for k, v in table.items()) + "}")
    return "{" + ",".join(parts) + "}"


def goldens(pb):
    """{name: Event}"""
    gauge, counter, unknown = pb.KIND_GAUGE, pb.KIND_COUNTER, pb.KIND_UNKNOWN
    numbered = {"source": "worker1", "epoch": 1763700000000000, "seq": 17, "time_unix_nano": 1763700000250000000}
    modes = ["idle", "iowait", "irq", "nice", "softirq", "steal", "system", "user"]
    node = [
        ("node_cpu_seconds_total", counter, ["cpu", "mode"], [[str(c), m] for c in range(4) for m in modes], ""),
        ("node_load1", gauge, [], [], ""),
        ("node_load5", gauge, [], [], ""),
        ("node_load15", gauge, [], [], ""),
        ("node_memory_MemTotal_bytes", gauge, [], [], ""),
        ("node_memory_MemAvailable_bytes", gauge, [], [], ""),
        ("node_filesystem_avail_bytes", gauge, ["device", "fstype", "mountpoint"],
         [["/dev/sda1", "ext4", "/"], ["/dev/sda2", "vfat", "/boot/efi"]], ""),
        ("node_network_receive_bytes_total", counter, ["device"], [["eth0"], ["lo"]], ""),
        ("node_vmstat_pgfault", unknown, [], [], ""),
    ]
    return {
        "minimal": make_event(pb, [("temperature", unknown, [], [], "")], [21.5], source="a"),
        "all_fields": make_event(
            pb, [("temperature", gauge, ["room"], [["kitchen"], ["hall"]], "Cel"), ("starts", counter, [], [], "1")],
            [21.5, -3.25, 12], oldest_seq=12, stream="slow", partial=True, interval_ms=60000, **numbered),
        "node": make_event(pb, node, [i * 1234.25 for i in range(42)], interval_ms=1000, oldest_seq=1, **numbered),
        "numbers": make_event(
            pb, [("v", unknown, ["n"], [[f"{i:02d}"] for i in range(14)], "")],
            [0.0, -0.0, math.nan, math.inf, -math.inf, 0.1, 1 / 3, 1e300, -1e-300, 2.0**53, 999999999999999.0,
             1.5e15 + 0.5, 1.7976931348623157e308, 2.2250738585072014e-308], **numbered),
        "labels": make_event(
            pb, [("odd", gauge, ["a", "b"], [["", 'q"uo"te'], ["back\\slash", "new\nline"], ["ñandú €", "\U0001f493"],
                                             ["{x=\"y\"}", ",}"], ["tab\tin", "\\n"]], ""),
                 ("a:b:c", gauge, ["_"], [["1"]], ""), (":x", gauge, [], [], "")], list(range(7)), **numbered),
        "one_name_many_families": make_event(
            pb, [("up", gauge, [], [], ""), ("up", gauge, ["job"], [["node"]], ""),
                 ("down", counter, ["job"], [["node"]], "s"), ("up", gauge, ["job", "zone"], [["node", "b"]], ""),
                 ("up", gauge, ["zone"], [["b"], ["c"]], "")], [1, 1, 0, 1, 1, 0.5], **numbered),
        "largest_numbers": make_event(
            pb, [("v", unknown, [], [], "")], [1], source="A.b_c:d-9" + "x" * 119, epoch=2**53, seq=2**53,
            oldest_seq=2**53, time_unix_nano=2**63 - 1000000000, stream="s" * 64, interval_ms=2**32 - 1),
        "unnumbered_with_time": make_event(pb, [("v", unknown, [], [], "")], [1], source="worker1",
                                           time_unix_nano=1763700000123456789),
    }


def write():
    with tempfile.TemporaryDirectory() as folder:
        pb = load_schema(folder)
    for name, event in goldens(pb).items():
        with open(os.path.join(HERE, name + ".pb.hex"), "w", encoding="ascii") as f:
            f.write(event.SerializeToString().hex() + "\n")
        with open(os.path.join(HERE, name + ".json"), "w", encoding="utf-8") as f:
            f.write(json_form(pb, event) + "\n")


if __name__ == "__main__":
    write()
