# SPDX-License-Identifier: MIT
"""schemas/openapi.yaml against the running latido-live: every path, parameter and answer that it describes."""

import json
import os
import re
import subprocess

import jsonschema
import pytest
import yaml

from live import PASSWORD, USER, Feeder, Live
from pipeline import COUNTER, SECONDS, family
from servers import wait_until

pytestmark = pytest.mark.once
ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
FINGERPRINT = "00000000000000aa"
# One stored event, as latido-store would write it.
STORED = """
SELECT latido_partition_create((now() AT TIME ZONE 'UTC' - interval '1 minute')::date);
SELECT latido_intern_sources('{n1}', '{node}');
SELECT latido_intern_epochs('{1}', '{7}');
SELECT latido_intern_shape('x', 1, '{node_load1,odd}', ARRAY['{}', '{"a":"b"}'], '{1,2}');
INSERT INTO snapshot VALUES (now() - interval '1 minute', 3, 1, 1, 1, '{0.5,Infinity}');
"""
FIGURES = (family("latido_consumer_self_events_total", kind=COUNTER)
           + family("latido_consumer_messages_total", kind=COUNTER) + family("latido_bus_lag_messages")
           + family("latido_consumer_lag_seconds") + family("latido_broker_queued_messages")
           + family("latido_broker_dropped_messages_total", kind=COUNTER))
BRIDGE = (family("latido_bridge_self_events_total", kind=COUNTER) + family("latido_bridge_lag_seconds")
          + family("latido_broker_queued_messages") + family("latido_broker_dropped_messages_total", kind=COUNTER))


def to_json_schema(node):
    """OpenAPI 3.0's dialect as JSON Schema: nullable, and no further keys in objects that list theirs."""
    if isinstance(node, list):
        return [to_json_schema(item) for item in node]
    if not isinstance(node, dict):
        return node
    node = {key: to_json_schema(value) for key, value in node.items() if key not in ("description", "example")}
    if node.pop("nullable", False):
        node = {"anyOf": [node, {"type": "null"}]}
    return node


def closed(node):
    """Refuse keys that the description does not name, except inside allOf, whose parts know a half each."""
    if isinstance(node, list):
        return [closed(item) for item in node]
    if not isinstance(node, dict):
        return node
    out = {}
    for key, value in node.items():
        out[key] = value if key == "allOf" else closed(value)
    if out.get("type") == "object" and "properties" in out and "additionalProperties" not in out:
        out["additionalProperties"] = False
    return out


@pytest.fixture(scope="module")
def api():
    with open(os.path.join(ROOT, "schemas", "openapi.yaml"), encoding="utf-8") as file:
        return yaml.safe_load(file)


@pytest.fixture
def live(run_program, write_config, bin_folder, tmp_path, redis, shared_postgres, database):
    store = write_config({"postgres": {"dsn": database}})
    subprocess.run([f"{bin_folder}/latido-store", "--config", store, "--migrate"], check=True, timeout=SECONDS,
                   capture_output=True)
    shared_postgres.sql(STORED, database.rsplit("dbname=", 1)[1].split()[0])
    server = Live(run_program, write_config, bin_folder, str(tmp_path), redis, dsn=database, auth="password",
                  live={"login_attempts": 1, "login_window": "1h"})
    feeder = Feeder(redis)
    for n in range(3):
        feeder.node("n1", n + 1)
    feeder.send("d1", [21.5], family("temp"), seq=0, interval_ms=0)
    for n in range(2):
        feeder.send("hot.h1", [n, 5 * n, 7, 1.5, 30, 4 * n], FIGURES, seq=0, interval_ms=60_000)
        feeder.send("bridge.h1", [n, 2.5, 31, 3], BRIDGE, seq=0, interval_ms=60_000)
    feeder.alert(FINGERPRINT, state="firing", value=1.5)
    return server


def check(api, path, method, status, content_type, body):
    answers = api["paths"][path][method]["responses"]
    assert str(status) in answers, f"{method} {path}: {status} is not described"
    answer = answers[str(status)]
    if "$ref" in answer:
        answer = api["components"]["responses"][answer["$ref"].rsplit("/", 1)[1]]
    kind = content_type.split(";")[0]
    assert kind in answer["content"], f"{path}: {kind} is not described"
    if kind == "application/json":
        schema = closed(to_json_schema(answer["content"][kind]["schema"]))
        components = closed(to_json_schema(api["components"]))
        for name in ("Node",):  # a part of NodeDetail
            components["schemas"][name].pop("additionalProperties", None)
        jsonschema.Draft7Validator({**schema, "components": components}).validate(body)


def test_the_file_is_well_formed(api):
    assert api["openapi"].startswith("3.0.")
    text = yaml.dump(api)
    for kind, name in re.findall(r"#/components/(\w+)/(\w+)", text):
        assert name in api["components"][kind], name
    for path, methods in api["paths"].items():
        for method, operation in methods.items():
            assert operation["summary"] and operation["responses"], (path, method)
            names = {p.get("name") or api["components"]["parameters"][p["$ref"].rsplit("/", 1)[1]]["name"]
                     for p in operation.get("parameters", [])}
            assert set(re.findall(r"{(\w+)}", path)) <= names, path


def test_every_path_answers_as_described(api, live):
    cookie = {}
    done = set()

    def ask(path, url=None, status=200, method="get", body=None, **headers):
        answer = live.request(method.upper(), url or path, body, {**cookie, **headers})
        assert answer.status == status, (url or path, answer.status, answer.body)
        content = answer.headers["Content-Type"]
        check(api, path, method, status, content, answer.json if "json" in content else None)
        done.add((path, method, status))
        return answer

    as_json = {"Content-Type": "application/json"}
    ask("/api/v1/session")
    for path, methods in api["paths"].items():
        if "get" in methods and methods["get"].get("security") != []:
            ask(path, re.sub(r"{\w+}", "x", path), 401)
    answer = ask("/api/v1/login", method="post", body=json.dumps({"user": USER, "password": PASSWORD}), **as_json)
    cookie["Cookie"] = answer.headers["Set-Cookie"].split(";")[0]
    ask("/api/v1/login", None, 400, "post", "{}", **as_json)
    ask("/api/v1/login", None, 403, "post", "{}", Origin="https://evil.example", **as_json)
    ask("/api/v1/session")
    wait_until(lambda: len(live.get("/api/v1/nodes", **cookie).json["nodes"]) == 4, SECONDS, "the fleet is there")
    ask("/api/v1/config")
    ask("/api/v1/nodes")
    ask("/api/v1/nodes", "/api/v1/nodes?spark=all")
    ask("/api/v1/nodes", "/api/v1/nodes?spark=x", 400)
    for source in ("n1", "d1"):
        node = ask("/api/v1/nodes/{source}", f"/api/v1/nodes/{source}").json
        ask("/api/v1/nodes/{source}/window", f"/api/v1/nodes/{source}/window")
        ask("/api/v1/shapes/{shape}", f"/api/v1/shapes/{node['streams'][0]['shape']}")
    ask("/api/v1/nodes/{source}", "/api/v1/nodes/none", 404)
    ask("/api/v1/nodes/{source}/window", "/api/v1/nodes/none/window", 404)
    ask("/api/v1/nodes/{source}/window", "/api/v1/nodes/n1/window?since=x", 400)
    ask("/api/v1/shapes/{shape}", "/api/v1/shapes/" + "0" * 32, 404)
    ask("/api/v1/series", "/api/v1/series?source=n1&name=node_load1")
    ask("/api/v1/series", "/api/v1/series?source=n1", 400)
    ask("/api/v1/nodes/{source}/at", "/api/v1/nodes/n1/at?time=4000000000")
    ask("/api/v1/nodes/{source}/at", "/api/v1/nodes/none/at?time=1", 404)
    ask("/api/v1/nodes/{source}/at", "/api/v1/nodes/n1/at", 400)
    wait_until(lambda: len(live.get("/api/v1/pipeline", **cookie).json["parts"]) == 2, SECONDS, "the figures of two parts")
    bridge, part = ask("/api/v1/pipeline").json["parts"]
    assert (part["part"], part["host"], part["lag_messages"], len(part["figures"])) == ("hot", "h1", 7, 6)
    assert (bridge["part"], bridge["lag_seconds"], part["lag_seconds"]) == ("bridge", 2.5, 1.5)
    broker = ask("/api/v1/pipeline").json["broker"]
    assert (broker["queued_messages"], broker["dropped_total"]) == (31, 4)  # what most is said
    wait_until(lambda: live.get("/api/v1/alerts", **cookie).json["active"], SECONDS, "the alert")
    ask("/api/v1/alerts")
    ask("/api/v1/alerts", "/api/v1/alerts?history=5")
    ask("/api/v1/alerts", "/api/v1/alerts?history=x", 400)
    ask("/api/v1/status")
    ask("/metrics")
    ask("/api/v1/stream", "/api/v1/stream?node=a%20b", 400)
    with live.stream(**cookie) as stream:
        stream.wait_event("alerts")
    ask("/api/v1/logout", method="post", body=b"")
    token = live.command("--add-share", "wall").strip().split("#share=")[1]
    ask("/api/v1/share", method="post", body=json.dumps({"token": token}), **as_json)
    ask("/api/v1/share", None, 400, "post", "{}", **as_json)
    ask("/api/v1/share", None, 401, "post", '{"token":"x"}', **as_json)
    ask("/api/v1/share", None, 403, "post", "{}", Origin="https://evil.example", **as_json)
    ask("/api/v1/share", None, 415, "post", "{}")
    ask("/api/v1/logout", None, 403, "post", b"", Origin="https://evil.example")
    wrong = json.dumps({"user": USER, "password": "wrong-wrong"})
    ask("/api/v1/login", None, 401, "post", wrong, **as_json)
    ask("/api/v1/login", None, 429, "post", wrong, **as_json)
    missing = {(path, method) for path, methods in api["paths"].items() for method in methods} - \
        {(path, method) for path, method, _ in done}
    assert missing <= {("/api/v1/stream", "get")}, missing


def test_every_route_is_described(api):
    with open(os.path.join(ROOT, "consumers", "live", "routes.c"), encoding="utf-8") as file:
        routes = re.findall(r'^\t\{"(/[^"]*)", (EXACT|PREFIX)', file.read(), re.M)
    for route, how in routes:
        if not route.startswith("/prometheus/"):
            assert route in api["paths"] if how == "EXACT" else any(p.startswith(route) for p in api["paths"]), route
