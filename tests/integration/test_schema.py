# SPDX-License-Identifier: MIT
"""The event schema and our codec, against Python's protobuf runtime, jsonschema and the golden files."""

import glob
import importlib.util
import json
import os
import random
import re
import struct
import subprocess

import jsonschema
import pytest
from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.message import DecodeError

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
V1 = os.path.join(ROOT, "schemas", "latido", "v1")
GOLDEN = os.path.join(ROOT, "tests", "data", "golden")
SEED = int(os.environ.get("LATIDO_TEST_SEED") or random.randrange(2**32))


def load(path, name):
    spec = importlib.util.spec_from_file_location(name, path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


make = load(os.path.join(GOLDEN, "make.py"), "golden_make")


def read(path):
    with open(path, encoding="utf-8") as f:
        return f.read()


@pytest.fixture(scope="module")
def pb(tmp_path_factory):
    return make.load_schema(str(tmp_path_factory.mktemp("protoc")))


@pytest.fixture(scope="module")
def json_schema():
    schema = json.loads(read(os.path.join(V1, "event.schema.json")))
    jsonschema.Draft202012Validator.check_schema(schema)
    return jsonschema.Draft202012Validator(schema, format_checker=jsonschema.FormatChecker())


@pytest.fixture
def codec(bin_folder):
    """codec(topic, payload) -> the answer of tests/tools/codec_tool.c."""
    path = os.path.join(os.path.dirname(bin_folder), "tools", "codec_tool")
    process = subprocess.Popen([path], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE)

    def ask(topic, payload):
        payload = payload.encode() if isinstance(payload, str) else payload
        process.stdin.write(f"t/{topic} {payload.hex()}\n".encode())
        process.stdin.flush()
        line = process.stdout.readline()
        assert line, process.stderr.read().decode(errors="replace")
        return json.loads(line)

    try:
        yield ask
        _, errors = process.communicate(timeout=60)
        assert process.returncode == 0, errors.decode(errors="replace")
    finally:
        process.kill()
        process.wait()


def one(answer):
    assert answer["code"] == "LT_OK", answer
    assert len(answer["events"]) == 1
    return answer["events"][0]


def bits(v):
    return struct.pack(">d", v).hex()


def check_fields(pb, got, event):
    """What the codec says it decoded is what Python sees in the message."""
    for field in ("source", "stream", "epoch", "seq", "oldest_seq", "interval_ms", "partial"):
        assert got[field] == getattr(event, field), field
    assert got["has_time"] == bool(event.time_unix_nano)
    assert not got["has_time"] or got["time_ns"] == event.time_unix_nano
    known = {pb.KIND_GAUGE, pb.KIND_COUNTER}
    assert got["series"] == [
        [make.series_text(name, labels), kind if kind in known else 0, bits(v)]
        for (name, labels, kind, _), v in zip(make.series_of(pb, event), event.values)]
    assert len(got["series"]) == len(event.values)


def golden_names():
    return sorted(os.path.basename(p).removesuffix(".json") for p in glob.glob(os.path.join(GOLDEN, "*.json")))


# ---- golden files ----


@pytest.mark.once
def test_golden_files_are_what_protobuf_and_python_write(pb):
    events = make.goldens(pb)
    assert sorted(events) == golden_names()
    for name, event in events.items():
        assert read(os.path.join(GOLDEN, name + ".pb.hex")) == event.SerializeToString().hex() + "\n", name
        assert read(os.path.join(GOLDEN, name + ".json")) == make.json_form(pb, event) + "\n", name


@pytest.mark.parametrize("name", golden_names())
def test_both_encodings_of_a_golden_event_are_the_same_event(name, pb, codec):
    data = bytes.fromhex(read(os.path.join(GOLDEN, name + ".pb.hex")))
    text = read(os.path.join(GOLDEN, name + ".json")).strip()
    event = pb.Event.FromString(data)
    topic = f"nodes/{event.source}/metrics"
    by_pb, by_json = one(codec(topic, data)), one(codec(topic, text))
    assert by_pb == by_json
    check_fields(pb, by_pb, event)
    assert by_pb["pb"] == data.hex()
    assert by_pb["json"] == text
    # and without the shape, now that the source has announced it
    event.shape = b""
    assert by_pb["pb_hash"] == event.SerializeToString().hex()
    assert one(codec(topic, bytes.fromhex(by_pb["pb_hash"]))) == by_pb


@pytest.mark.once
@pytest.mark.parametrize("name", golden_names())
def test_golden_json_follows_the_json_schema(name, json_schema):
    json_schema.validate(json.loads(read(os.path.join(GOLDEN, name + ".json"))))


@pytest.mark.once
@pytest.mark.parametrize("text", [
    '{}', '[]', '{"metrics":{}}', '{"metrics":{"a b":1}}', '{"metrics":{"a":[1]}}', '{"metrics":{"a":"x"}}',
    '{"source":"a/b","metrics":{"a":1}}', '{"source":"","metrics":{"a":1}}',
    '{"epoch":1,"metrics":{"a":1}}', '{"seq":1,"metrics":{"a":1}}', '{"epoch":1,"seq":-1,"metrics":{"a":1}}',
    '{"epoch":1,"seq":9007199254740993,"metrics":{"a":1}}', '{"partial":1,"metrics":{"a":1}}',
    '{"interval_ms":4294967296,"metrics":{"a":1}}', '{"types":{"a":1},"metrics":{"a":1}}',
    '{"stream":"a b","metrics":{"a":1}}', '{"time":[],"metrics":{"a":1}}'])
def test_json_schema_refuses(text, json_schema):
    assert not json_schema.is_valid(json.loads(text))


@pytest.mark.once
def test_json_schema_lets_unknown_keys_pass(json_schema):
    json_schema.validate({"metrics": {"a": 1}, "new": {"x": []}})


# ---- random events ----


def random_text(rng, longest):
    alphabet = "abcXYZ019 _-/.:,{}=\"'\\\n\t\x01\x7fñ€😀"
    return "".join(rng.choice(alphabet) for _ in range(rng.randrange(longest + 1)))


def random_name(rng, first="abcXYZ_", rest="abcXYZ_019"):
    return rng.choice(first) + "".join(rng.choice(rest) for _ in range(rng.choice((0, 3, 12))))


def random_value(rng):
    kind = rng.randrange(8)
    if kind == 0:
        return rng.choice([0.0, -0.0, float("nan"), float("inf"), float("-inf"), 5e-324, 1.7976931348623157e308])
    if kind == 1:
        return float(rng.randrange(-2**60, 2**60))
    if kind == 2:
        while True:
            v = struct.unpack("<d", rng.randbytes(8))[0]
            if v == v:  # NaN payloads do not survive JSON
                return v
    return round(rng.uniform(-1e6, 1e6), rng.randrange(6))


def random_event(pb, rng):
    families, names = [], set()
    for _ in range(rng.randrange(1, 8)):
        name = random_name(rng, "abcXYZ_:")
        if name in names:
            continue
        names.add(name)
        kind, unit = rng.randrange(3), rng.choice(["", "", "By", "Cel", "ñ"])
        # several families of one name have different labels, or they would be one
        for keys in {tuple(sorted({random_name(rng) for _ in range(rng.randrange(5))})) for _ in range(2)}:
            rows = {tuple(random_text(rng, 12) for _ in keys) for _ in range(rng.randrange(1, 9))} if keys else [()]
            families.append((name, kind, keys, sorted(rows), unit))
    n = sum(len(f[3]) for f in families)
    numbered = rng.random() < 0.7
    seq = rng.choice([1, rng.randrange(1, 2**53 + 1)])
    event = make.make_event(
        pb, families, [random_value(rng) for _ in range(n)], source=random_name(rng, "aZ9.", "aZ9._:-"),
        stream=rng.choice(["", "", "slow", "a.b"]), partial=rng.random() < 0.5,
        interval_ms=rng.choice([0, 1000, rng.randrange(2**32)]),
        time_unix_nano=rng.choice([0, rng.randrange(1, 2**63 - 10**9), 1763700000 * 10**9]))
    if numbered:
        event.epoch, event.seq = rng.randrange(1, 2**53 + 1), seq
        event.oldest_seq = rng.choice([0, rng.randrange(seq + 1)])
    return event


def test_random_events_round_trip_through_both_codecs(pb, codec, json_schema):
    rng = random.Random(SEED)
    for i in range(400):
        event = random_event(pb, rng)
        where = f"LATIDO_TEST_SEED={SEED}, event {i}"
        topic = f"nodes/{event.source}/metrics"
        data = event.SerializeToString()
        got = one(codec(topic, data))
        check_fields(pb, got, event)
        assert got["pb"] == data.hex(), where
        # its JSON says the same to Python, to the schema and to us
        assert json.loads(got["json"]) == json.loads(make.json_form(pb, event)), where
        json_schema.validate(json.loads(got["json"]))
        assert one(codec(topic, got["json"])) == got, where
        assert one(codec(topic, make.json_form(pb, event))) == got, where
        # as a list, and indented as people write it
        again = json.loads(got["json"], parse_int=lambda digits: -0.0 if digits == "-0" else int(digits))
        twice = codec(topic, f"[{got['json']},\n{json.dumps(again, indent=1)}]")
        assert twice["events"] == [got, got], where


def without_default_encoding(pb, rng, event):
    """The same event as another encoder might write it."""
    fields = []
    for field, value in event.ListFields():
        only = pb.Event()
        if field.name == "values":
            at = rng.randrange(len(value) + 1)
            for part in (value[:at], value[at:]):
                if rng.random() < 0.5:
                    only.values[:] = part
                    fields.append(only.SerializeToString())
                else:  # unpacked
                    fields.append(b"".join(b"\x39" + struct.pack("<d", v) for v in part))
            continue
        setattr(only, field.name, value)
        fields.append(only.SerializeToString())
    # a value that the later one replaces, and a field of tomorrow
    others = [pb.Event(seq=5, stream="old").SerializeToString(), b"\xa2\x06\x03abc"]
    order = sorted(range(len(fields)), key=lambda i: (fields[i][:1] in (b":", b"9"), 0 if fields[i][:1] in (b":", b"9")
                                                      else rng.random()))
    shuffled = b"".join(fields[i] for i in order)
    return b"".join(others) + shuffled if event.seq and event.stream else others[1] + shuffled


def test_other_ways_to_encode_an_event(pb, codec):
    rng = random.Random(SEED)
    for i in range(300):
        event = random_event(pb, rng)
        data = without_default_encoding(pb, rng, event)
        assert pb.Event.FromString(data).values[:] == event.values[:] or any(v != v for v in event.values)
        # first byte is not source: only the content type could tell
        data = pb.Event(source=event.source).SerializeToString() + data
        got = one(codec(f"nodes/{event.source}/metrics", data))
        check_fields(pb, got, event)
        assert got["pb"] == event.SerializeToString().hex(), f"LATIDO_TEST_SEED={SEED}, event {i}"


def test_damaged_messages_are_refused_or_mean_the_same_to_both(pb, codec):
    rng = random.Random(SEED)
    accepted = refused = 0
    for i in range(3000):
        event = random_event(pb, rng)
        if rng.random() < 0.7:
            event.shape_hash = 0
        data = bytearray(event.SerializeToString())
        for _ in range(rng.randrange(1, 4)):
            what, at = rng.randrange(4), rng.randrange(len(data))
            if what == 0:
                data[at] ^= 1 << rng.randrange(8)
            elif what == 1:
                data[at] = rng.randrange(256)
            elif what == 2 and len(data) > 1:
                del data[at]
            else:
                data.insert(at, rng.randrange(256))
        data = bytes(data)
        where = f"LATIDO_TEST_SEED={SEED}, event {i}: {data.hex()}"
        answer = codec(f"nodes/{event.source}/metrics", data)
        if answer["code"] != "LT_OK":
            assert answer["error"] and answer["events"] == [], where
            refused += 1
            continue
        try:
            seen = pb.Event.FromString(data)
            shape = pb.Shape.FromString(seen.shape)
        except DecodeError:
            pytest.fail(f"accepted what protobuf refuses: {where}")
        got = one(answer)
        if seen.shape and all(f.label_value or not f.label_key for f in shape.family):
            check_fields(pb, got, seen)
        accepted += 1
    assert accepted > 30 and refused > 1000, (accepted, refused)


# ---- documentation, schema and decoder name the same fields ----

SCALARS = {getattr(FieldDescriptor, "TYPE_" + t.upper()): t
           for t in ("double", "fixed64", "uint64", "uint32", "bool", "string", "bytes")}


def declared(pb, message):
    """{name: (number, type)} of a message, from the compiled schema."""
    fields = {}
    for f in pb.DESCRIPTOR.message_types_by_name[message].fields:
        t = SCALARS.get(f.type) or (f.message_type or f.enum_type).name
        fields[f.name] = (f.number, ("repeated " if f.label == f.LABEL_REPEATED else "") + t)
    return fields


def documented(section):
    """Rows of the table under that heading of the schema's README."""
    text = read(os.path.join(V1, "README.md"))
    body = re.search(rf"^### {section}\n(.*?)(?=^##|\Z)", text, re.M | re.S).group(1)
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in body.splitlines() if line.startswith("|")]
    return rows[2:]


@pytest.mark.once
@pytest.mark.parametrize("message", ["Event", "Shape", "Family"])
def test_documentation_schema_and_decoder_agree(message, pb):
    fields = declared(pb, message)
    assert {row[0].strip("`"): (int(row[1]), row[2]) for row in documented(message)} == fields
    header = read(os.path.join(ROOT, "lib", "event", "event_int.h"))
    in_c = re.findall(rf"\b{message.upper()}_([A-Z_]+) = (\d+)[, ]", header)
    assert {name.lower(): int(number) for name, number in in_c} == {name: n for name, (n, _) in fields.items()}


@pytest.mark.once
def test_the_decoder_knows_the_wire_types_of_the_schema(pb):
    source = read(os.path.join(ROOT, "lib", "event", "decode_protobuf.c"))
    table = source[source.index("types[] = {"):]
    in_c = dict(re.findall(r"\[EVENT_([A-Z_]+)\] = WIRE_(\w+)", table[:table.index("};")]))
    wire = {"string": "LEN", "bytes": "LEN", "repeated double": "LEN", "fixed64": "I64",
            "uint64": "VARINT", "uint32": "VARINT", "bool": "VARINT"}
    assert {k.lower(): v for k, v in in_c.items()} == {name: wire[t] for name, (_, t) in declared(pb, "Event").items()}


@pytest.mark.once
def test_kinds_agree(pb):
    kinds = {v.name: v.number for v in pb.Kind.DESCRIPTOR.values}
    assert {row[0].strip("`"): int(row[1]) for row in documented("Kind")} == kinds
    header = read(os.path.join(ROOT, "lib", "include", "latido", "event.h"))
    assert {"KIND_" + k: int(v) for k, v in re.findall(r"LT_KIND_([A-Z]+) = (\d)", header)} == kinds


@pytest.mark.once
def test_json_keys_agree(json_schema):
    source = read(os.path.join(ROOT, "lib", "event", "json_event.c"))
    table = source[source.index("key_names[KEY_N] = {"):]
    known = set(re.findall(r'\] = "([^"_][^"]*)"', table[:table.index("};")]))
    assert known == set(json_schema.schema["properties"])
    documentation = " ".join(row[3] for section in ("Event", "Shape", "Family") for row in documented(section))
    for key in known:
        assert f'"{key}"' in documentation, key


@pytest.mark.once
def test_the_reasons_in_the_documentation_exist(pb):
    names = set(re.findall(r'\[LT_REASON_\w+\] = "(\w+)"', read(os.path.join(ROOT, "lib", "event", "names.c"))))
    for section in ("Event", "Shape", "Family"):
        for row in documented(section):
            assert set(re.findall(r"`(\w+)`", row[6])) <= names, row


# ---- the documentation's examples ----


def test_examples_in_the_documentation_decode(codec):
    text = read(os.path.join(V1, "README.md"))
    example = re.search(r"```json\n(.*?)```", text, re.S).group(1)
    got = one(codec("nodes/worker1/metrics", example))
    assert got["seq"] == 17 and got["series"][0][:2] == ["node_load1", 1]
    rows = re.search(r"## What devices may send\n(.*?)\nRules:", text, re.S).group(1)
    checked = 0
    for line in rows.splitlines():
        cells = [c.strip() for c in line.strip("|").split("|")]
        if len(cells) != 3 or not cells[0].startswith("`"):
            continue
        metric = cells[1].strip("`").removeprefix("…")
        for payload in re.findall(r"`([^`]+)`", cells[0]):
            if "…" in payload:
                continue
            answer = codec("devices/d1" + metric, payload)
            assert answer["code"] == "LT_OK", (payload, answer)
            names = [s[0] for s in answer["events"][0]["series"]]
            wanted = [n for n in re.findall(r"`([^`]+)`", cells[2]) if "=" not in n or "{" in n]
            assert not wanted or names == wanted, (payload, names)
            checked += 1
    assert checked >= 10
