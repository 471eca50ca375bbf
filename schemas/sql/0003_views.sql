-- SPDX-License-Identifier: MIT
--
-- What SQL users read: this file is the stable interface, the tables are not. README.md beside it
-- has an example of each.

CREATE VIEW sample AS
SELECT s.time, o.name AS source, e.name, e.labels, s.vals[p.pos] AS value
FROM snapshot s
JOIN source o ON o.id = s.source_id
JOIN shape_series p ON p.shape_id = s.shape_id
JOIN series e ON e.id = p.series_id
WHERE s.vals[p.pos] <> 'NaN';
COMMENT ON VIEW sample IS
	'one row a value; name a source and a span of time, always; whole snapshots: latido_values()';

-- Sequence numbers between stored ones that have not come yet.
CREATE VIEW latido_hole AS
SELECT o.name AS source, e.epoch, lower(hole) AS lo, upper(hole) - 1 AS hi, p.changed
FROM progress p
JOIN epoch e ON e.id = p.epoch_id
JOIN source o ON o.id = e.source_id
CROSS JOIN LATERAL unnest(int8multirange(int8range(p.upto + 1, upper(p.above))) - p.above) AS hole
WHERE NOT isempty(p.above);

-- One metric of one source: all its series whose labels contain @match.
CREATE FUNCTION latido_series(source text, name text, match jsonb DEFAULT '{}',
	since timestamptz DEFAULT now() - interval '1 hour', until timestamptz DEFAULT now())
RETURNS TABLE ("time" timestamptz, labels jsonb, value float8)
LANGUAGE sql STABLE PARALLEL SAFE
BEGIN ATOMIC
	SELECT s.time, e.labels, s.vals[p.pos]
	FROM snapshot s
	JOIN shape_series p ON p.shape_id = s.shape_id
	JOIN series e ON e.id = p.series_id
	WHERE s.source_id = (SELECT o.id FROM source o WHERE o.name = latido_series.source COLLATE "C")
		AND s.time >= since AND s.time < until
		AND e.name = latido_series.name COLLATE "C" AND e.labels @> match
		AND s.vals[p.pos] <> 'NaN';
END;

-- All that one source said. sample gives the same, but takes each value out of its array alone:
-- quick for a few names, slow for whole snapshots that are too large for a page (1 000 values).
CREATE FUNCTION latido_values(source text, since timestamptz DEFAULT now() - interval '1 minute',
	until timestamptz DEFAULT now())
RETURNS TABLE ("time" timestamptz, name text, labels jsonb, value float8)
LANGUAGE sql STABLE PARALLEL SAFE
BEGIN ATOMIC
	SELECT s.time, e.name, e.labels, v.value
	FROM snapshot s
	CROSS JOIN LATERAL unnest(s.vals) WITH ORDINALITY AS v (value, pos)
	JOIN shape_series p ON p.shape_id = s.shape_id AND p.pos = v.pos
	JOIN series e ON e.id = p.series_id
	WHERE s.source_id = (SELECT o.id FROM source o WHERE o.name = latido_values.source COLLATE "C")
		AND s.time >= since AND s.time < until
		AND v.value <> 'NaN';
END;

-- latido_series() in steps of the clock (UTC): what a chart needs.
CREATE FUNCTION latido_steps(source text, name text, match jsonb DEFAULT '{}',
	since timestamptz DEFAULT now() - interval '1 hour', until timestamptz DEFAULT now(),
	step interval DEFAULT '1 minute')
RETURNS TABLE ("time" timestamptz, labels jsonb, min float8, max float8, avg float8, last float8, n bigint)
LANGUAGE sql STABLE PARALLEL SAFE
BEGIN ATOMIC
	SELECT date_bin(step, v.time, 'epoch'), v.labels, min(v.value), max(v.value), avg(v.value),
		(array_agg(v.value ORDER BY v.time DESC))[1], count(*)
	FROM latido_series(source, name, match, since, until) v
	GROUP BY 1, 2
	ORDER BY 1, 2;
END;

-- Increase a second of counters, in steps of the clock. A value below the one before it means that
-- the counter began again at 0.
CREATE FUNCTION latido_rate(source text, name text, match jsonb DEFAULT '{}',
	since timestamptz DEFAULT now() - interval '1 hour', until timestamptz DEFAULT now(),
	step interval DEFAULT '1 minute')
RETURNS TABLE ("time" timestamptz, labels jsonb, rate float8)
LANGUAGE sql STABLE PARALLEL SAFE
BEGIN ATOMIC
	SELECT date_bin(step, d.time, 'epoch'), d.labels,
		sum(CASE WHEN d.value >= d.before THEN d.value - d.before ELSE d.value END)
			/ extract(epoch FROM sum(d.time - d.since_before))
	FROM (SELECT v.time, v.labels, v.value,
			lag(v.value) OVER w AS before, lag(v.time) OVER w AS since_before
		FROM latido_series(source, name, match, since, until) v
		WINDOW w AS (PARTITION BY v.labels ORDER BY v.time)) d
	WHERE d.before IS NOT NULL AND d.time > d.since_before
	GROUP BY 1, 2
	ORDER BY 1, 2;
END;

-- The newest value of each matching series of every source, at most @max_age old. One short walk
-- down the index a source and series, instead of sorting everything.
CREATE FUNCTION latido_latest(name text, match jsonb DEFAULT '{}',
	max_age interval DEFAULT '5 minutes')
RETURNS TABLE (source text, labels jsonb, "time" timestamptz, value float8)
LANGUAGE sql STABLE PARALLEL SAFE
BEGIN ATOMIC
	SELECT o.name, e.labels, v.time, v.value
	FROM source o
	CROSS JOIN series e
	CROSS JOIN LATERAL (
		SELECT s.time, s.vals[p.pos] AS value
		FROM snapshot s
		JOIN shape_series p ON p.shape_id = s.shape_id AND p.series_id = e.id
		WHERE s.source_id = o.id AND s.time >= now() - max_age
		ORDER BY s.time DESC
		LIMIT 1) v
	WHERE e.name = latido_latest.name COLLATE "C" AND e.labels @> match
		AND v.value <> 'NaN'
	ORDER BY 1, 2;
END;
