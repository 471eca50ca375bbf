# SPDX-License-Identifier: MIT
"""What SQL users see: the view, the functions, their plans, roles; and latido-store --migrate."""

import glob
import json
import os
import subprocess

import psycopg2
import psycopg2.errors
import pytest

from conftest import ROOT

NOW = "timestamptz '2026-11-21 12:00:00Z'"


def migrate(bin_folder, config, **env):
    return subprocess.run([os.path.join(bin_folder, "latido-store"), "--config", config, "--migrate"],
                          capture_output=True, text=True, check=False, timeout=120, env={**os.environ, **env})


def connect(dsn):
    connection = psycopg2.connect(dsn)
    connection.autocommit = True
    return connection.cursor()


def rows(cursor, query, *args):
    cursor.execute(query, args)
    return cursor.fetchall()


@pytest.fixture
def db(database, bin_folder, write_config):
    """A cursor in a database with the schema."""
    result = migrate(bin_folder, write_config({"postgres": {"dsn": database}}))
    assert result.returncode == 0, result.stderr
    cursor = connect(database)
    yield cursor
    cursor.connection.close()


SERIES = [("load", {}, 1), ("requests_total", {"code": "200", "path": "/"}, 2), ("requests_total", {"code": "500"}, 2)]


def shape(db, series=None, salt=""):
    """Interns a shape; returns its id."""
    series = SERIES if series is None else series
    names, labels, kinds = zip(*[(n, json.dumps(lb), k) for n, lb, k in series])
    return rows(db, "SELECT latido_intern_shape(%s::text::bytea, 1, %s::text[], %s::text[], %s::int[])",
                repr(series).replace("\\", "/") + salt, list(names), list(labels), list(kinds))[0][0]


def source(db, name):
    source_id = rows(db, "SELECT source_id FROM latido_intern_sources(ARRAY[%s], ARRAY['node'])", name)[0][0]
    epoch_id = rows(db, "SELECT epoch_id FROM latido_intern_epochs(ARRAY[%s], ARRAY[1::bigint])", source_id)[0][0]
    return source_id, epoch_id


def fill(db, name, query, shape_id):
    """Snapshots from a query that gives time, seq and vals."""
    source_id, epoch_id = source(db, name)
    db.execute(f"""
        INSERT INTO snapshot (time, seq, source_id, epoch_id, shape_id, vals)
        SELECT t, n, {source_id}, {epoch_id}, {shape_id}, v FROM ({query}) q (t, n, v)""")


@pytest.fixture
def filled(db):
    """Two minutes of two sources, one second apart; load = n, requests by 10 a second with a restart."""
    db.execute("SELECT latido_partition_create(d::date) FROM generate_series(date '2026-11-15', '2026-11-25', '1 day') d")
    counter = "CASE WHEN n < 90 THEN 10 * n ELSE 10 * (n - 90) END"
    for name in ("a", "b"):
        fill(db, name, f"""
            SELECT {NOW} - interval '120 s' + n * interval '1 s', n,
                ARRAY[CASE WHEN n % 10 = 5 THEN float8 'NaN' ELSE n END, {counter}, 0]::float8[]
            FROM generate_series(0, 119) n""", shape(db))
    return db


def test_sample(filled):
    assert rows(filled, f"""
        SELECT name, labels, value FROM sample
        WHERE source = 'a' AND time = {NOW} - interval '117 s' ORDER BY name, labels""") == [
            ("load", {}, 3.0), ("requests_total", {"code": "500"}, 0.0),
            ("requests_total", {"code": "200", "path": "/"}, 30.0)]
    # NaN is "no value".
    assert rows(filled, "SELECT count(*) FROM sample WHERE name = 'load'") == [(216,)]


def test_values(filled):
    """All that one source said: as the view has it."""
    got = rows(filled, f"SELECT * FROM latido_values('a', {NOW} - interval '8 s', {NOW} - interval '3 s') ORDER BY 1, 2, 3")
    assert len(got) == 14  # one NaN
    assert got == rows(filled, f"""
        SELECT time, name, labels, value FROM sample
        WHERE source = 'a' AND time >= {NOW} - interval '8 s' AND time < {NOW} - interval '3 s' ORDER BY 1, 2, 3""")


def test_series(filled):
    got = rows(filled, f"""
        SELECT extract(epoch FROM {NOW} - time)::int, value
        FROM latido_series('a', 'load', '{{}}', {NOW} - interval '8 s', {NOW} - interval '3 s') ORDER BY time""")
    assert got == [(8, 112.0), (7, 113.0), (6, 114.0), (4, 116.0)]
    by_label = "SELECT count(*), count(DISTINCT labels) FROM latido_series('a', 'requests_total', %s, '2026-01-01', '2027-01-01')"
    assert rows(filled, by_label, '{}') == [(240, 2)]
    assert rows(filled, by_label, '{"code": "200"}') == [(120, 1)]
    assert rows(filled, by_label, '{"code": "404"}') == [(0, 0)]
    assert rows(filled, "SELECT * FROM latido_series('nobody', 'load')") == []


def test_series_across_shapes(filled):
    """The same series at another place of another shape is the same series."""
    other = shape(filled, [("first", {}, 1), ("load", {}, 1)])
    fill(filled, "a", f"SELECT {NOW} + n * interval '1 s', 200 + n, ARRAY[-1, 1000 + n]::float8[] FROM generate_series(0, 4) n",
         other)
    assert rows(filled, f"""
        SELECT value FROM latido_series('a', 'load', since => {NOW} - interval '2 s', until => {NOW} + interval '1 h')
        ORDER BY time""") == [(v,) for v in (118.0, 119.0, 1000.0, 1001.0, 1002.0, 1003.0, 1004.0)]
    assert rows(filled, "SELECT count(*) FROM series WHERE name = 'load'") == [(1,)]


def test_steps(filled):
    got = rows(filled, f"""
        SELECT to_char(time AT TIME ZONE 'UTC', 'HH24:MI:SS'), min, max, avg, last, n
        FROM latido_steps('a', 'load', '{{}}', {NOW} - interval '2 min', {NOW}, '1 min')""")
    assert got == [("11:58:00", 0.0, 59.0, pytest.approx(sum(v for v in range(60) if v % 10 != 5) / 54), 59.0, 54),
                   ("11:59:00", 60.0, 119.0, pytest.approx(sum(v for v in range(60, 120) if v % 10 != 5) / 54), 119.0, 54)]


def test_rate(filled):
    """10 a second; at n = 90 the counter begins again at 0, which is not a rate below 0."""
    got = rows(filled, f"""
        SELECT to_char(time AT TIME ZONE 'UTC', 'MI:SS'), round(rate::numeric, 3)
        FROM latido_rate('a', 'requests_total', '{{"code": "200"}}', {NOW} - interval '2 min', {NOW}, '30 s')""")
    assert [(t, float(v)) for t, v in got] == [("58:00", 10.0), ("58:30", 10.0), ("59:00", 10.0),
                                               ("59:30", pytest.approx(290 / 30, abs=0.001))]


def test_latest(db):
    db.execute("SELECT latido_partition_create(d::date) FROM generate_series(current_date - 2, current_date + 1, '1 day') d")
    for name, age in (("fresh", 0), ("slow", 60), ("dead", 3600)):
        fill(db, name, f"""
            SELECT now() - interval '{age} s' - n * interval '1 s', 100 - n, ARRAY[{age} + n, n, n]::float8[]
            FROM generate_series(0, 9) n""", shape(db))
    # Another stream of the same source is newer and does not have the metric.
    fill(db, "fresh", "SELECT now() + interval '1 s', 200, ARRAY[7]::float8[]", shape(db, [("other", {}, 1)]))
    assert rows(db, "SELECT source, value FROM latido_latest('load')") == [("fresh", 0.0), ("slow", 60.0)]
    assert rows(db, "SELECT source FROM latido_latest('load', max_age => '2 hours')") == [("dead",), ("fresh",), ("slow",)]
    assert rows(db, "SELECT source, labels FROM latido_latest('requests_total', '{\"code\": \"500\"}')") == [
        ("fresh", {"code": "500"}), ("slow", {"code": "500"})]


def plan_of(db, query):
    """EXPLAIN (ANALYZE): nodes that were executed, as (node type, relation or index, condition)."""
    found = []

    def walk(node):
        if node.get("Actual Loops", 0):
            found.append((node["Node Type"], node.get("Index Name") or node.get("Relation Name") or "",
                          node.get("Index Cond", "")))
            for child in node.get("Plans", []):
                walk(child)

    walk(rows(db, f"EXPLAIN (ANALYZE, FORMAT JSON) {query}")[0][0][0]["Plan"])
    return found


@pytest.fixture
def large(db):
    """Enough rows that reading a table from end to end never pays."""
    db.execute("SELECT latido_partition_create(d::date) FROM generate_series(date '2026-11-15', '2026-11-25', '1 day') d")
    for i in range(40):
        own = SERIES + [("device_bytes", {"device": f"eth{i}"}, 2)]
        fill(db, f"n{i}", f"""
            SELECT {NOW} - n * interval '10 min', 1000 - n, ARRAY[n, 10 * n, 0, 0]::float8[]
            FROM generate_series(0, 700) n""", shape(db, own))
    db.execute("ANALYZE source, epoch, series, shape, shape_series, snapshot")
    return db


QUERIES = {
    "series": f"SELECT * FROM latido_series('n7', 'load', '{{}}', {NOW} - interval '3 hours', {NOW})",
    "steps": f"SELECT * FROM latido_steps('n7', 'load', '{{}}', {NOW} - interval '3 hours', {NOW}, '1 hour')",
    "rate": f"SELECT * FROM latido_rate('n7', 'requests_total', '{{}}', {NOW} - interval '3 hours', {NOW}, '1 hour')",
    "sample": f"SELECT * FROM sample WHERE source = 'n7' AND name = 'load' AND time >= {NOW} - interval '3 hours' "
              f"AND time < {NOW}",
    "values": f"SELECT * FROM latido_values('n7', {NOW} - interval '1 hour', {NOW})",
    "sample of all names": f"SELECT * FROM sample WHERE source = 'n7' AND time >= {NOW} - interval '1 hour' AND time < {NOW}",
    "all sources": f"SELECT o.name, v.* FROM source o CROSS JOIN LATERAL (SELECT max(value), count(*) FROM "
                   f"latido_series(o.name, 'load', '{{}}', {NOW} - interval '1 hour', {NOW})) v",
}


@pytest.mark.once
@pytest.mark.parametrize("name", QUERIES)
def test_plan(large, name):
    """The index (source_id, time) of the one day concerned, and no other partition."""
    plan = plan_of(large, QUERIES[name])
    snapshots = [node for node in plan if node[1].startswith("snapshot")]
    assert snapshots, plan
    for kind, relation, condition in snapshots:
        assert relation in ("snapshot_20261121", "snapshot_20261121_source_id_time_idx"), plan
        assert kind in ("Index Scan", "Bitmap Index Scan", "Bitmap Heap Scan"), plan
        if relation.endswith("_idx"):
            assert "source_id" in condition and "time" in condition, plan


@pytest.mark.once
def test_plan_latest(large):
    large.execute("SELECT latido_partition_create(d::date) FROM generate_series(current_date, current_date + 1, '1 day') d")
    fill(large, "n7", "SELECT now() - n * interval '1 s', 2000 - n, ARRAY[n, 0, 0]::float8[] FROM generate_series(0, 100) n",
         shape(large))
    plan = plan_of(large, "SELECT * FROM latido_latest('load')")
    used = {relation for _, relation, _ in plan if relation.startswith("snapshot")}
    # A partition that is known to be empty may be read as a whole.
    whole = {relation for relation in used if not relation.endswith("_source_id_time_idx")}
    assert used - whole and all(rows(large, f"SELECT count(*) FROM {name}") == [(0,)] for name in whole), plan
    days = {row[0] for row in rows(large, "SELECT name FROM latido_partition WHERE hi > now() - interval '5 minutes'")}
    assert {relation.removesuffix("_source_id_time_idx") for relation in used} <= days


def test_reader_role(db, database):
    """README.md's recipe: may read everything, also tomorrow's partition; may change nothing."""
    owner = rows(db, "SELECT current_user")[0][0]
    db.execute("CREATE ROLE reader LOGIN; GRANT SELECT ON ALL TABLES IN SCHEMA public TO reader;"
               f"ALTER DEFAULT PRIVILEGES FOR ROLE {owner} IN SCHEMA public GRANT SELECT ON TABLES TO reader")
    db.execute("SELECT latido_partition_create(current_date)")
    fill(db, "a", "SELECT now(), 1, ARRAY[1, 2, 3]::float8[]", shape(db))
    reader = connect(database.replace("user=latido", "user=reader"))
    try:
        assert rows(reader, "SELECT count(*) FROM sample") == [(3,)]
        assert rows(reader, "SELECT value FROM latido_latest('load')") == [(1.0,)]
        assert rows(reader, "SELECT value FROM latido_series('a', 'load', until => now() + interval '1 s')") == [(1.0,)]
        assert rows(reader, "SELECT count(*) FROM latido_partition") == [(1,)]
        for statement in ("DELETE FROM snapshot", "INSERT INTO source (name, kind) VALUES ('x', 'node')",
                          "SELECT latido_intern_sources(ARRAY['x'], ARRAY['node'])",
                          "SELECT latido_partition_create(current_date + 9)", "SELECT latido_drop_shapes('0')",
                          "CREATE TABLE x (a int)"):
            with pytest.raises(psycopg2.errors.InsufficientPrivilege):
                reader.execute(statement)
    finally:
        reader.connection.close()
        db.execute("DROP OWNED BY reader; DROP ROLE reader")


def test_readme_examples(filled):
    """Every statement of the section "Asking" runs."""
    with open(os.path.join(ROOT, "schemas", "sql", "README.md"), encoding="utf-8") as f:
        text = f.read()
    blocks = text.split("```sql\n")[1:]
    asked = [s for block in blocks[:2] for s in block.split("```")[0].split(";\n") if s.strip()]
    assert len(asked) == 8
    for statement in asked:
        filled.execute(statement)


# ---- migrations ----


def test_migrate_is_idempotent(database, bin_folder, write_config):
    config = write_config({"postgres": {"dsn": database}})
    files = sorted(os.path.basename(p) for p in glob.glob(os.path.join(ROOT, "schemas", "sql", "*.sql")))
    first, second = migrate(bin_folder, config), migrate(bin_folder, config)
    assert (first.returncode, second.returncode) == (0, 0), first.stderr + second.stderr
    assert first.stdout == f"schema version {len(files)}, {len(files)} migrations applied now\n"
    assert second.stdout == f"schema version {len(files)}, 0 migrations applied now\n"
    db = connect(database)
    assert [name for name, in rows(db, "SELECT name FROM schema_migration ORDER BY version")] == files
    assert rows(db, "SELECT count(*) FROM schema_migration WHERE length(sha256) = 32") == [(len(files),)]
    db.connection.close()


def test_migrate_refuses_a_changed_file(db, database, bin_folder, write_config):
    db.execute("UPDATE schema_migration SET sha256 = sha256('else') WHERE version = 2")
    result = migrate(bin_folder, write_config({"postgres": {"dsn": database}}))
    assert result.returncode == 78
    assert "0002_store.sql was changed after it had been applied" in result.stderr


def test_migrate_refuses_a_newer_database(db, database, bin_folder, write_config):
    db.execute("INSERT INTO schema_migration (version, name, sha256) VALUES (99, '0099_future.sql', 'x')")
    result = migrate(bin_folder, write_config({"postgres": {"dsn": database}}))
    assert result.returncode == 78
    assert "0099_future.sql" in result.stderr and "newer latido-store" in result.stderr


def test_migrate_without_a_server(bin_folder, write_config, tmp_path):
    result = migrate(bin_folder, write_config({"postgres": {"dsn": f"host={tmp_path} dbname=latido"}}))
    assert result.returncode == 1
    assert str(tmp_path) in result.stderr
    result = migrate(bin_folder, write_config({"postgres": {"dsn": "hots=localhost"}}))
    assert result.returncode == 78
    assert "hots" in result.stderr and "postgres.dsn" in result.stderr
