-- SPDX-License-Identifier: MIT
--
-- What long charts are drawn from: minimum, maximum, sum and number of each series of a source in
-- five minutes. Computed by latido-store from the rows of snapshot, again when later ones come.
-- Nothing of it is a source of truth: both tables may be emptied, latido_rollup_all() then asks for
-- everything anew.

CREATE TABLE rollup (
	source_id int NOT NULL,
	time      timestamptz NOT NULL,
	rates     boolean NOT NULL,
	series    int[] NOT NULL,
	n         int[] NOT NULL,
	lo        float8[] NOT NULL,
	hi        float8[] NOT NULL,
	total     float8[] NOT NULL,
	PRIMARY KEY (source_id, rates, time)
);
COMMENT ON COLUMN rollup.time IS 'start of the five minutes, by the clock (UTC)';
COMMENT ON COLUMN rollup.rates IS
	'false: values of all series; true: increase a second of counters, between two values, corrected for resets';
COMMENT ON COLUMN rollup.series IS 'ids, ascending; the other arrays are in their order';
CREATE INDEX rollup_time ON rollup USING brin (time timestamptz_minmax_multi_ops) WITH (autosummarize = on);

-- What is not computed, or not of all rows: marked in the transaction that stores the rows.
CREATE TABLE rollup_dirty (
	time      timestamptz NOT NULL,
	source_id int NOT NULL,
	marked    timestamptz NOT NULL DEFAULT now(),
	next      boolean NOT NULL DEFAULT true,
	PRIMARY KEY (time, source_id)
);
COMMENT ON COLUMN rollup_dirty.marked IS 'it is computed ten minutes later: marks are renewed every five while rows come';
COMMENT ON COLUMN rollup_dirty.next IS 'whether the first rates of the following five minutes depend on it';

DO $$
BEGIN
	ALTER TABLE rollup ALTER COLUMN series SET COMPRESSION lz4, ALTER COLUMN n SET COMPRESSION lz4,
		ALTER COLUMN lo SET COMPRESSION lz4, ALTER COLUMN hi SET COMPRESSION lz4,
		ALTER COLUMN total SET COMPRESSION lz4;
EXCEPTION WHEN feature_not_supported THEN
	NULL;
END
$$;

-- Five minutes of a source, computed from what was there when the mark was read. A mark that was
-- renewed meanwhile stays, and they are computed again.
CREATE FUNCTION latido_rollup_store(source int, bucket timestamptz, mark timestamptz,
	series int[], n int[], lo float8[], hi float8[], total float8[],
	rate_series int[], rate_n int[], rate_lo float8[], rate_hi float8[], rate_total float8[])
RETURNS void LANGUAGE plpgsql AS $$
#variable_conflict use_variable
DECLARE
	chain boolean;
BEGIN
	DELETE FROM rollup r WHERE r.source_id = source AND r.time = bucket
		AND r.rates IN (false, true) AND cardinality(CASE WHEN r.rates THEN rate_series ELSE series END) = 0;
	INSERT INTO rollup AS r (source_id, time, rates, series, n, lo, hi, total)
	SELECT source, bucket, v.*
	FROM (VALUES (false, series, n, lo, hi, total),
		(true, rate_series, rate_n, rate_lo, rate_hi, rate_total)) AS v (rates, series, n, lo, hi, total)
	WHERE cardinality(v.series) > 0
	ON CONFLICT (source_id, rates, time) DO UPDATE SET series = excluded.series, n = excluded.n,
		lo = excluded.lo, hi = excluded.hi, total = excluded.total;
	DELETE FROM rollup_dirty d WHERE d.time = bucket AND d.source_id = source AND d.marked = mark
	RETURNING d.next INTO chain;
	IF chain THEN
		INSERT INTO rollup_dirty (time, source_id, marked, next)
		SELECT r.time, r.source_id, '-infinity', false FROM rollup r
		WHERE r.source_id = source AND NOT r.rates AND r.time = bucket + interval '5 minutes'
		ON CONFLICT DO NOTHING;
	END IF;
END
$$;

-- What of a source is not even marked: from first until before upto. latido-store marks it when nothing
-- else waits, a day at a time, newest first.
CREATE TABLE rollup_past (
	source_id int PRIMARY KEY,
	first     timestamptz NOT NULL,
	upto      timestamptz NOT NULL
);

-- Everything that is in the partitions, to be computed. Returns how many five minutes these are.
CREATE FUNCTION latido_rollup_all() RETURNS bigint LANGUAGE sql AS $$
	WITH past AS (
		INSERT INTO rollup_past AS p (source_id, first, upto)
		SELECT o.id, date_bin('5 minutes', f.time, 'epoch'),
			date_bin('5 minutes', l.time, 'epoch') + interval '5 minutes'
		FROM source o
		CROSS JOIN LATERAL (SELECT x.time FROM snapshot x WHERE x.source_id = o.id
			ORDER BY x.time LIMIT 1) f
		CROSS JOIN LATERAL (SELECT x.time FROM snapshot x WHERE x.source_id = o.id
			ORDER BY x.time DESC LIMIT 1) l
		ON CONFLICT (source_id) DO UPDATE SET first = excluded.first, upto = excluded.upto
		RETURNING first, upto
	)
	SELECT coalesce(sum(extract(epoch FROM upto - first) / 300), 0)::bigint FROM past
$$;

-- Marks the newest day of one source. Returns whether there was any.
CREATE FUNCTION latido_rollup_more() RETURNS boolean LANGUAGE plpgsql AS $$
DECLARE
	past  rollup_past;
	since timestamptz;
BEGIN
	SELECT * INTO past FROM rollup_past ORDER BY upto DESC, source_id LIMIT 1 FOR UPDATE;
	IF NOT FOUND THEN
		RETURN false;
	END IF;
	-- What retention has dropped meanwhile is not marked.
	since := greatest(past.first, (SELECT min(lo) FROM latido_partition));
	since := greatest(since, past.upto - interval '1 day');
	INSERT INTO rollup_dirty (time, source_id, marked)
	SELECT b, past.source_id, '-infinity'
	FROM generate_series(since, past.upto - interval '5 minutes', interval '5 minutes') b
	ON CONFLICT DO NOTHING;
	IF since <= past.first OR since > past.upto - interval '1 day' THEN
		DELETE FROM rollup_past WHERE source_id = past.source_id;
	ELSE
		UPDATE rollup_past SET upto = since WHERE source_id = past.source_id;
	END IF;
	RETURN true;
END
$$;

-- What is there already, unless retention has it gone before.
SELECT latido_rollup_all();
