# SPDX-License-Identifier: MIT
"""Charts of weeks: roll-ups by latido-store, and that latido-live's answers from them are those of all events."""

import time

import pytest

from live import Live
from pipeline import COUNTER, SECONDS, Client, event, family, metrics_topic
from servers import wait_until

pytestmark = pytest.mark.once
BUCKET = 300_000
N = 1200  # seconds of the node, an event every second one
SECONDS_OF = range(0, N, 2)
CPU = family("node_cpu_seconds_total", ["cpu", "mode"], [(c, "idle") for c in "01"], COUNTER)
FULL = CPU + family("node_load1")
FEWER = CPU  # in the middle the node says nothing of its load


def values(n):
    """Of second n: counters that begin again, a load with spikes at the edges of five minutes."""
    since = n if n < 700 else n - 700
    return [0.75 * since, 0.5 * since] + ([] if 400 <= n < 450 else [50.0 + n if n % 300 in (0, 298) else n % 7])


class Site:
    def __init__(self, broker, redis, postgres, write_config, run_program, bin_folder, folder):
        self.postgres, self.broker = postgres, broker
        self.store = run_program("latido-store", config=write_config({
            "bus": {"url": broker.url}, "postgres": {"dsn": postgres.dsn}, "store": {"admin": "127.0.0.1:0"}}))
        self.store.wait_ready()
        self.live = Live(run_program, write_config, bin_folder, folder, redis, dsn=postgres.dsn,
                         sections={"postgres": {"timeout": "60s"}}, live={"query_timeout": "60s"})
        # Data ends two hours ago, at the edge of a day's half hour: no five minutes of it are going on.
        self.end = int(time.time() * 1000) // 1_800_000 * 1_800_000 - 7_200_000
        self.start = self.end - N * 1000
        self.client = Client(broker)

    def sql(self, query):
        return self.postgres.sql(query)

    def send(self, seq, at_ms, vals, shape):
        self.client.send(metrics_topic("r1"), event("r1", seq, vals, shape=shape, interval_ms=1000,
                                                    time_ns=at_ms * 1_000_000))

    def wait_stored(self, seq):
        wait_until(lambda: self.sql("SELECT upto FROM progress") == [(str(seq),)], SECONDS, f"event {seq} is stored")

    def marks(self):
        return int(self.sql("SELECT count(*) FROM rollup_dirty")[0][0])

    def roll_up(self):
        """As if the marks were ten minutes old; first what was there before there were any."""
        self.store.wait(lambda: self.sql("SELECT count(*) FROM rollup_past") == [("0",)], SECONDS, "the past is marked")
        self.sql("UPDATE rollup_dirty SET marked = '-infinity'")
        self.store.wait(lambda: self.marks() == 0, SECONDS, "all roll-ups are computed")

    def series(self, query, days=0, step=300):
        """{(name, labels): {time: (min, max, avg)}} and the answer."""
        begin = self.start - days * 86_400_000
        answer = self.live.json(f"/api/v1/series?source=r1&{query}&from={begin / 1000:.0f}&to={self.end / 1000:.0f}"
                                f"&step={step}")
        return {(s["name"], str(s["labels"])): dict(zip(s["time_ms"], zip(s["min"], s["max"], s["avg"])))
                for s in answer["series"]}, answer


QUERIES = ["name=node_load1", "name=node_cpu_seconds_total&name=node_load1&rate=true", "name=node_cpu_seconds_total",
           "name=node_cpu_seconds_total&rate=true&match=cpu=1", "name=node_cpu_seconds_total&rate=true&by=cpu"]


def check_same(site):
    """Ten days by roll-ups and twenty minutes by all events say the same."""
    for query in QUERIES:
        exact, answer = site.series(query)
        assert (answer["exact"], answer["sampled_ms"]) == (True, 0)
        rolled, answer = site.series(query, days=10)
        assert (answer["exact"], answer["sampled_ms"], answer["step_ms"]) == (True, 0, BUCKET)
        assert set(rolled) == set(exact) != set(), query
        for key, steps in exact.items():
            assert set(rolled[key]) == set(steps), (query, key)
            for at, want in steps.items():
                assert rolled[key][at] == pytest.approx(want, rel=1e-9), (query, key, at)


@pytest.fixture
def site(mosquitto, redis, postgres, write_config, run_program, bin_folder, tmp_path):
    s = Site(mosquitto, redis, postgres, write_config, run_program, bin_folder, str(tmp_path))
    yield s
    s.client.close()


def test_long_ranges_say_what_all_events_say(site):
    for seq, n in enumerate(SECONDS_OF, 1):
        site.send(seq, site.start + n * 1000, values(n), FEWER if 400 <= n < 450 else FULL)
    site.wait_stored(len(SECONDS_OF))
    assert site.marks() == N * 1000 // BUCKET
    check_same(site)  # before there is any
    site.roll_up()
    assert site.sql("SELECT rates, count(*) FROM rollup GROUP BY 1 ORDER BY 1") == [("f", "4"), ("t", "4")]
    check_same(site)
    site.sql("DELETE FROM rollup WHERE time = (SELECT min(time) FROM rollup) + interval '5 minutes'")
    check_same(site)  # one five minutes without, between others
    # Everything anew, as for a database from before there were any.
    site.sql("DELETE FROM rollup")
    assert site.sql("SELECT latido_rollup_all()") == [("4",)]
    site.roll_up()
    assert site.sql("SELECT count(*) FROM rollup") == [("8",)]
    # Sums have bounds where they were of several series, and their average.
    query = "name=node_cpu_seconds_total&by=mode"
    exact, _ = site.series(query)
    rolled, answer = site.series(query, days=10)
    assert answer["exact"] is False and set(rolled) == set(exact)
    for at, (low, high, avg) in exact["node_cpu_seconds_total", "{'mode': 'idle'}"].items():
        found = rolled["node_cpu_seconds_total", "{'mode': 'idle'}"][at]
        assert found[0] <= low + 1e-9 and found[1] >= high - 1e-9 and found[2] == pytest.approx(avg)
    # A step that is no multiple of five minutes becomes one.
    assert site.series("name=node_load1", days=10, step=700)[1]["step_ms"] == 3 * BUCKET


def test_the_past_is_marked_by_days(site):
    """After an update: a database with weeks of rows is not marked at once, and where rows are not stays empty."""
    for seq, n in enumerate((0, 2, 4), 1):
        site.send(seq, site.start + n * 1000, values(n), FULL)
    site.wait_stored(3)
    site.store.terminate()
    site.sql(f"SELECT latido_partition_create((to_timestamp({site.start // 1000}) AT TIME ZONE 'UTC')::date - 2)")
    site.sql("DELETE FROM rollup_dirty")
    site.sql("SELECT latido_rollup_all(); UPDATE rollup_past SET first = first - interval '25 hours'")
    assert site.marks() == 0 and site.sql("SELECT latido_rollup_more()") == [("t",)]
    assert site.marks() == 288 and site.sql("SELECT count(*) FROM rollup_past") == [("1",)]
    site.store.start()
    site.roll_up()
    assert site.sql("SELECT count(*), count(DISTINCT time) FROM rollup") == [("2", "1")]
    assert site.store.value("latido_store_rollups_total") > 250


def test_one_that_fails_holds_up_no_other(site):
    for seq, n in enumerate(SECONDS_OF, 1):
        site.send(seq, site.start + n * 1000, values(n), FEWER if 400 <= n < 450 else FULL)
    site.wait_stored(len(SECONDS_OF))
    newest = f"to_timestamp({(site.end - BUCKET) // 1000})"
    site.sql(f"ALTER TABLE rollup ADD CONSTRAINT no CHECK (time <> {newest})")
    site.sql("UPDATE rollup_dirty SET marked = '-infinity'")
    site.store.wait(lambda: site.marks() == 1, SECONDS, "all others are computed")
    assert site.sql(f"SELECT time = {newest}, marked > now() FROM rollup_dirty") == [("t", "t")]
    assert site.store.value("latido_store_rollups_failed_total") == 1
    check_same(site)
    site.sql("ALTER TABLE rollup DROP CONSTRAINT no")
    site.roll_up()
    assert site.sql("SELECT count(*) FROM rollup") == [("8",)]


def test_late_events_are_in_at_once(site):
    """In the middle, and the last one of five minutes, on which the next one's first rate depends."""
    late = (450, 598)
    for seq, n in enumerate([n for n in SECONDS_OF if n not in late], 1):
        site.send(seq, site.start + n * 1000, values(n) if n not in range(400, 450) else values(n) + [1.0], FULL)
    site.wait_stored(seq)
    site.roll_up()
    before, _ = site.series("name=node_load1", days=10)
    site.send(seq + 1, site.start + 450_000, [0.75 * 450, 0.5 * 450, 9999.0], FULL)
    site.send(seq + 2, site.start + 598_000, [0.75 * 599, 0.5 * 599, 1.0], FULL)
    site.wait_stored(seq + 2)
    assert site.marks() == 1
    check_same(site)
    after, _ = site.series("name=node_load1", days=10)
    at = site.start + BUCKET
    assert before["node_load1", "{}"][at][1] < 9999 == after["node_load1", "{}"][at][1]
    site.roll_up()
    assert site.sql("SELECT count(*) FROM rollup") == [("8",)]
    check_same(site)


def test_too_much_without_rollups_is_thinned(site):
    """210 000 events that nobody marked; and what retention has dropped has no roll-up either."""
    rows = 210_000
    for n in range(3):
        site.send(n + 1, site.start + n * 1000, values(n), FULL)
    site.wait_stored(3)
    site.sql(f"""SELECT latido_partition_create((to_timestamp({site.end // 1000}) AT TIME ZONE 'UTC')::date - d)
                 FROM generate_series(0, 4) d""")
    site.sql(f"""INSERT INTO snapshot SELECT to_timestamp({site.end / 1000} - n), 0, 1, 1, 1, ARRAY[0, 0, n % 50]::float8[]
                 FROM generate_series(1, {rows}) n""")
    answer = site.live.json(f"/api/v1/series?source=r1&name=node_load1&from={site.end / 1000 - rows:.0f}"
                            f"&to={site.end / 1000:.0f}&step=1h")
    assert answer["sampled_ms"] > 1000 and answer["exact"] is False and len(answer["series"][0]["time_ms"]) >= 58
    site.sql("INSERT INTO rollup VALUES (1, '2001-01-01', false, '{1}', '{1}', '{1}', '{1}', '{1}')")
    site.store.terminate()
    site.store.start()
    site.store.wait(lambda: site.sql("SELECT count(*) FROM rollup WHERE time < '2002-01-01'") == [("0",)], SECONDS,
                    "it is gone")
