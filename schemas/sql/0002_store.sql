-- SPDX-License-Identifier: MIT
--
-- Functions that latido-store itself calls. They take arrays, so that a batch costs one round trip
-- a kind of thing, and may be called by several stores at once. Not an interface for others.
--
-- Interning: what is missing is inserted in a fixed order (no deadlock between two stores), with
-- ON CONFLICT DO NOTHING (the other one was faster), and is read afterwards by a new statement,
-- which sees what the other one committed meanwhile. What is known already is not inserted at all:
-- an insert that conflicts would burn an id.

CREATE FUNCTION latido_intern_sources(names text[], kinds text[])
RETURNS TABLE (ord bigint, source_id int) LANGUAGE plpgsql AS $$
BEGIN
	INSERT INTO source (name, kind)
	SELECT DISTINCT ON (n.name COLLATE "C") n.name, n.kind
	FROM unnest(names, kinds) AS n (name, kind)
	WHERE NOT EXISTS (SELECT FROM source s WHERE s.name = n.name COLLATE "C")
	ORDER BY n.name COLLATE "C"
	ON CONFLICT DO NOTHING;
	RETURN QUERY
	SELECT n.ord, s.id
	FROM unnest(names) WITH ORDINALITY AS n (name, ord)
	JOIN source s ON s.name = n.name COLLATE "C";
END
$$;

CREATE FUNCTION latido_intern_epochs(sources int[], epochs bigint[])
RETURNS TABLE (ord bigint, epoch_id int) LANGUAGE plpgsql AS $$
BEGIN
	WITH fresh AS (
		INSERT INTO epoch (source_id, epoch)
		SELECT DISTINCT n.source_id, n.epoch
		FROM unnest(sources, epochs) AS n (source_id, epoch)
		WHERE NOT EXISTS (SELECT FROM epoch e WHERE e.source_id = n.source_id AND e.epoch = n.epoch)
		ORDER BY 1, 2
		ON CONFLICT DO NOTHING
		RETURNING id
	)
	INSERT INTO progress (epoch_id) SELECT id FROM fresh;
	RETURN QUERY
	SELECT n.ord, e.id
	FROM unnest(sources, epochs) WITH ORDINALITY AS n (source_id, epoch, ord)
	JOIN epoch e ON e.source_id = n.source_id AND e.epoch = n.epoch;
END
$$;

-- Ids of the shapes that are known, marked as used today.
CREATE FUNCTION latido_known_shapes(shapes bytea[])
RETURNS TABLE (ord bigint, shape_id int) LANGUAGE plpgsql AS $$
BEGIN
	-- FOR UPDATE in id order first: the update itself would lock in any order.
	PERFORM FROM shape s
	WHERE s.sha256 = ANY (SELECT sha256(b) FROM unnest(shapes) b) AND s.last_used < current_date
	ORDER BY s.id FOR UPDATE;
	UPDATE shape s SET last_used = current_date
	WHERE s.sha256 = ANY (SELECT sha256(b) FROM unnest(shapes) b) AND s.last_used < current_date;
	RETURN QUERY
	SELECT n.ord, s.id
	FROM unnest(shapes) WITH ORDINALITY AS n (bytes, ord)
	JOIN shape s ON s.sha256 = sha256(n.bytes);
END
$$;

CREATE FUNCTION latido_intern_series(names text[], labels text[], kinds int[])
RETURNS TABLE (ord bigint, series_id int) LANGUAGE plpgsql AS $$
DECLARE
	parsed jsonb[] := ARRAY(SELECT l::jsonb FROM unnest(labels) WITH ORDINALITY AS u (l, o) ORDER BY o);
	keys bytea[] := ARRAY(
		SELECT sha256(convert_to(n.kind || ' ' || n.name || ' ' || n.labels::text, 'UTF8'))
		FROM unnest(names, parsed, kinds) WITH ORDINALITY AS n (name, labels, kind, ord)
		ORDER BY n.ord);
BEGIN
	INSERT INTO series (key, name, labels, kind)
	SELECT DISTINCT ON (n.key) n.key, n.name, n.labels, n.kind
	FROM unnest(keys, names, parsed, kinds) AS n (key, name, labels, kind)
	WHERE NOT EXISTS (SELECT FROM series s WHERE s.key = n.key)
	ORDER BY n.key
	ON CONFLICT DO NOTHING;
	RETURN QUERY
	SELECT n.ord, s.id
	FROM unnest(keys) WITH ORDINALITY AS n (key, ord)
	JOIN series s ON s.key = n.key;
END
$$;

-- One shape with its series in order.
CREATE FUNCTION latido_intern_shape(shape_bytes bytea, shape_hash bigint, names text[], labels text[],
	kinds int[])
RETURNS int LANGUAGE plpgsql AS $$
DECLARE
	fresh int;
BEGIN
	INSERT INTO shape (sha256, hash, n, bytes)
	SELECT sha256(shape_bytes), shape_hash, cardinality(names), shape_bytes
	WHERE NOT EXISTS (SELECT FROM shape s WHERE s.sha256 = sha256(shape_bytes))
	ON CONFLICT DO NOTHING
	RETURNING id INTO fresh;
	IF fresh IS NOT NULL THEN
		INSERT INTO shape_series (shape_id, pos, series_id)
		SELECT fresh, i.ord, i.series_id FROM latido_intern_series(names, labels, kinds) i;
		RETURN fresh;
	END IF;
	RETURN (SELECT k.shape_id FROM latido_known_shapes(ARRAY[shape_bytes]) k);
END
$$;

-- Which of these unnumbered events are there already: the same source, shape and time, stored
-- before or earlier in the arrays. LIMIT inside LATERAL makes each a probe of the index.
CREATE FUNCTION latido_known_events(sources int[], shapes int[], times timestamptz[])
RETURNS TABLE (ord bigint) LANGUAGE plpgsql STABLE AS $$
BEGIN
	RETURN QUERY
	SELECT n.ord
	FROM (SELECT u.*, row_number() OVER (PARTITION BY u.source_id, u.shape_id, u.time ORDER BY u.ord) AS nth
		FROM unnest(sources, shapes, times) WITH ORDINALITY AS u (source_id, shape_id, time, ord)) n
	LEFT JOIN LATERAL (SELECT true AS hit FROM snapshot s
		WHERE s.source_id = n.source_id AND s.time = n.time AND s.shape_id = n.shape_id LIMIT 1) a ON true
	LEFT JOIN LATERAL (SELECT true AS hit FROM snapshot_stray s
		WHERE s.source_id = n.source_id AND s.time = n.time AND s.shape_id = n.shape_id LIMIT 1) b ON true
	WHERE n.nth > 1 OR a.hit OR b.hit;
END
$$;

-- Partitions of snapshot with their bounds and size on disk.
CREATE VIEW latido_partition AS
SELECT c.relname AS name, c.oid::regclass AS partition,
	(b.bound)[1]::timestamptz AS lo, (b.bound)[2]::timestamptz AS hi,
	i.inhdetachpending AS detaching, pg_total_relation_size(c.oid) AS bytes
FROM pg_inherits i
JOIN pg_class c ON c.oid = i.inhrelid
CROSS JOIN LATERAL regexp_match(pg_get_expr(c.relpartbound, c.oid),
	'FROM \(''(.*)''\) TO \(''(.*)''\)') AS b (bound)
WHERE i.inhparent = 'snapshot'::regclass;

-- Makes sure that a UTC day has its partition. True when it was made now.
CREATE FUNCTION latido_partition_create(day date) RETURNS boolean LANGUAGE plpgsql AS $$
DECLARE
	day_lo timestamptz := day::timestamp AT TIME ZONE 'UTC';
	day_hi timestamptz := (day + 1)::timestamp AT TIME ZONE 'UTC';
	ns name := (SELECT n.nspname FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
		WHERE c.oid = 'snapshot'::regclass);
	base text := 'snapshot_' || to_char(day, 'YYYYMMDD');
	part text := base;
	i int := 1;
BEGIN
	-- Two stores: the second waits here and then finds it done.
	PERFORM pg_advisory_xact_lock(7809634510551053617);
	IF EXISTS (SELECT FROM latido_partition p WHERE p.lo <= day_lo AND p.hi >= day_hi
			AND NOT p.detaching) THEN
		RETURN false;
	END IF;
	-- Somebody detached that day to keep it: leave that table alone.
	WHILE to_regclass(format('%I.%I', ns, part)) IS NOT NULL LOOP
		i := i + 1;
		part := base || '_' || i;
	END LOOP;
	-- Made apart and then attached: that blocks no reader and no writer of the others.
	-- A page holds rows up to 8 160 bytes, so they stay whole and uncompressed.
	EXECUTE format('CREATE TABLE %I.%I (LIKE snapshot INCLUDING DEFAULTS INCLUDING CONSTRAINTS
		INCLUDING STORAGE INCLUDING COMPRESSION) WITH (toast_tuple_target = 8160)', ns, part);
	EXECUTE format('ALTER TABLE snapshot ATTACH PARTITION %I.%I FOR VALUES FROM (%L) TO (%L)',
		ns, part, day_lo, day_hi);
	RETURN true;
END
$$;

-- Epochs that were replaced and where nothing came for that long: their holes are final.
CREATE FUNCTION latido_close_epochs(age interval) RETURNS bigint LANGUAGE sql AS $$
	WITH done AS (
		SELECT p.epoch_id, p.upto, p.above
		FROM progress p
		JOIN epoch e ON e.id = p.epoch_id
		WHERE NOT isempty(p.above) AND p.changed < now() - age
			AND EXISTS (SELECT FROM epoch later
				WHERE later.source_id = e.source_id AND later.epoch > e.epoch AND e.epoch <> 0)
		ORDER BY p.epoch_id
		FOR UPDATE OF p
	), closed AS (
		UPDATE progress p SET upto = upper(d.above) - 1, above = '{}', changed = now()
		FROM done d WHERE p.epoch_id = d.epoch_id
	), noted AS (
		INSERT INTO gap (epoch_id, kind, lo, hi)
		SELECT d.epoch_id, 'replaced', lower(hole), upper(hole) - 1
		FROM done d
		CROSS JOIN LATERAL unnest(
			int8multirange(int8range(d.upto + 1, upper(d.above))) - d.above) AS hole
		RETURNING hi - lo + 1 AS missing
	)
	SELECT coalesce(sum(missing), 0)::bigint FROM noted
$$;

-- Shapes that no row can refer to any more: not used for longer than rows are kept.
CREATE FUNCTION latido_drop_shapes(unused interval) RETURNS bigint LANGUAGE sql AS $$
	WITH gone AS (
		DELETE FROM shape WHERE last_used < (now() - unused)::date RETURNING id
	)
	SELECT count(*) FROM gone
$$;
