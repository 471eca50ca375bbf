# SPDX-License-Identifier: MIT
"""The first users' table as a view: their own documents from a device topic, and what an agent measures."""

import datetime
import json

import psycopg2
import pytest

from pipeline import SECONDS, Client, Pipeline
from servers import wait_until

pytestmark = pytest.mark.once

COLUMNS = ["id", "total_ram", "ram_libre", "uso_ram", "porcentaje_ram", "porcentaje_cpu_uso", "porcentaje_cpu_libre",
           "procesos_corriendo", "total_procesos", "procesos_durmiendo", "procesos_zombie", "procesos_parados", "hora",
           "api", "created_at"]
# As in the design: also with percentages that do not add up, and a time that lies long ago.
DOCUMENT = (b'{"total_ram":2072,"ram_libre":1110552576,"uso_ram":442,"porcentaje_ram":22,"porcentaje_cpu_uso":22,'
            b'"porcentaje_cpu_libre":88,"procesos_corriendo":123,"total_procesos":233,"procesos_durmiendo":65,'
            b'"procesos_zombie":65,"procesos_parados":65,"hora":"2025-06-17 02:21:54","api":"Python"}')
UTC = datetime.timezone.utc


@pytest.fixture
def pipeline(mosquitto, redis, postgres, write_config, run_program):
    return Pipeline(mosquitto, redis, postgres, write_config, run_program)


@pytest.fixture
def metricas(postgres):
    """metricas(condition) -> rows as dictionaries, in the order of id."""
    connection = psycopg2.connect(postgres.dsn)
    connection.autocommit = True

    def ask(condition="true"):
        with connection.cursor() as cursor:
            cursor.execute(f"SELECT * FROM metricas WHERE {condition} ORDER BY id")
            assert [c.name for c in cursor.description] == COLUMNS
            return [dict(zip(COLUMNS, row)) for row in cursor.fetchall()]

    yield ask
    connection.close()


def publish(mosquitto, topic, payload):
    client = Client(mosquitto)
    client.publish(topic, payload)
    client.close()


def test_document(pipeline, metricas, mosquitto):
    pipeline.start("latido-store")
    for device, document in (("vm1", DOCUMENT), ("vm2", DOCUMENT.replace(b"Python", b"NodeJS"))):
        publish(mosquitto, f"latido/v1/devices/{device}/metrics", document)
    now = datetime.datetime.now(UTC)
    publish(mosquitto, "latido/v1/devices/vm3/metrics",
            DOCUMENT.replace(b"2025-06-17 02:21:54", now.strftime("%Y-%m-%d %H:%M:%S").encode()))
    # What is missing is NULL; without hora its arrival is the time, and the source stands for api.
    publish(mosquitto, "latido/v1/devices/vm4/metrics", b'{"total_ram": 7, "porcentaje_cpu_uso": 12.5, "ram_libre": null}')
    publish(mosquitto, "latido/v1/devices/vm5/metrics", b'{"temperature": 21}')
    wait_until(lambda: len(pipeline.postgres.sql("SELECT 1 FROM sample WHERE name = 'temperature'")) == 1, SECONDS, "vm5")
    wait_until(lambda: len(metricas()) == 4, SECONDS, "four rows")

    want = json.loads(DOCUMENT)
    old = metricas("created_at > now() - interval '1 hour' AND hora < '2026-01-01'")
    assert sorted(row["api"] for row in old) == ["NodeJS", "Python"]
    for row in old:
        assert {k: row[k] for k in want if k not in ("hora", "api")} == {k: want[k] for k in want
                                                                         if k not in ("hora", "api")}
        assert row["hora"] == datetime.datetime(2025, 6, 17, 2, 21, 54)
        assert abs((row["created_at"] - now).total_seconds()) < 3600
    [third] = metricas("hora > '2026-01-01' AND api = 'Python'")
    assert third["hora"] == now.replace(microsecond=0, tzinfo=None)
    [fourth] = metricas("api = 'vm4'")
    assert fourth["total_ram"] == 7 and fourth["porcentaje_cpu_uso"] == 12.5
    assert [fourth[k] for k in ("ram_libre", "uso_ram", "porcentaje_cpu_libre", "procesos_zombie")] == [None] * 4
    ids = [row["id"] for row in metricas()]
    assert len(set(ids)) == 4 and ids == [row["id"] for row in metricas()]


def test_agent(pipeline, metricas):
    """Its rows say what its series say."""
    pipeline.start_all()
    pipeline.wait_more(12)
    got = metricas()
    assert len(got) >= 12
    assert [row["hora"] for row in got] == sorted(row["hora"] for row in got)
    assert got[0]["porcentaje_cpu_uso"] is None and got[0]["porcentaje_cpu_libre"] is None
    assert {row["api"] for row in got} == {pipeline.SOURCE}
    for before, row in zip(got[1:6], got[2:7]):
        def series(name, match="{}", at=row):
            rows = pipeline.postgres.sql(f"""
                SELECT sum(value) FROM sample WHERE name = '{name}' AND labels @> '{match}'
                    AND time = timestamptz '{at["created_at"].isoformat()}'""")
            return float(rows[0][0])

        total, free, available = (series(f"node_memory_{n}_bytes") for n in ("MemTotal", "MemFree", "MemAvailable"))
        assert row["total_ram"] == round(total / 2**20) and row["ram_libre"] == free
        assert row["uso_ram"] == round((total - available) / 2**20)
        assert row["porcentaje_ram"] == pytest.approx(100 * (total - available) / total, abs=0.01)
        assert row["total_procesos"] == series("node_processes_pids")
        for column, state in (("corriendo", "R"), ("durmiendo", "S"), ("zombie", "Z"), ("parados", "T")):
            assert row[f"procesos_{column}"] == series("node_processes_state", f'{{"state": "{state}"}}')
        whole, idle = (sum(sign * series("node_cpu_seconds_total", m, at) for sign, at in ((1, row), (-1, before))
                           for m in match)
                       for match in (["{}"], ['{"mode": "idle"}', '{"mode": "iowait"}']))
        if whole > 0:
            assert row["porcentaje_cpu_uso"] == pytest.approx(100 * (whole - idle) / whole, abs=0.02)
            assert row["porcentaje_cpu_uso"] + row["porcentaje_cpu_libre"] == pytest.approx(100)
        else:
            assert row["porcentaje_cpu_uso"] is None


def test_shapes_from_before_the_migration(pipeline, metricas, mosquitto):
    """Snapshots of shapes that were there first are shown, too."""
    pipeline.start("latido-store")
    publish(mosquitto, "latido/v1/devices/vm1/metrics", DOCUMENT)
    wait_until(lambda: len(metricas()) == 1, SECONDS, "a row")
    sql = pipeline.postgres.sql
    kept = sql("SELECT * FROM metricas_shape")
    sql("DELETE FROM metricas_shape")
    assert metricas() == []
    sql("SELECT latido_metricas_shapes((SELECT array_agg(id) FROM shape))")
    assert sql("SELECT * FROM metricas_shape") == kept and len(metricas()) == 1
    # They go with their shape.
    sql("DELETE FROM shape")
    assert sql("SELECT count(*) FROM metricas_shape") == [("0",)]


def test_only_the_days_that_are_asked_for(pipeline, metricas, mosquitto):
    pipeline.start("latido-store")
    publish(mosquitto, "latido/v1/devices/vm1/metrics", DOCUMENT)
    wait_until(lambda: len(metricas()) == 1, SECONDS, "a row")
    plan = "\n".join(row[0] for row in pipeline.postgres.sql(
        "EXPLAIN SELECT * FROM metricas WHERE created_at > now() - interval '5 minutes' AND created_at <= now()"))
    partitions = {row[0] for row in pipeline.postgres.sql("SELECT name FROM latido_partition")}
    assert len(partitions) > 2
    assert "Subplans Removed" in plan, plan
