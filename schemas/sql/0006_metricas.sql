-- SPDX-License-Identifier: MIT
--
-- The table of the first users as a view: one row a snapshot, whether it came from an agent or as their
-- flat document. README.md beside this file has an example.

-- Where a shape has what the view shows: positions in vals, so that no names are read a row. Only of
-- shapes that have memory, CPU or process figures.
CREATE TABLE metricas_shape (
	shape_id int PRIMARY KEY REFERENCES shape ON DELETE CASCADE,
	api      text,
	-- an agent's
	mem_total int, mem_free int, mem_available int, pids int,
	state_r int, state_s int, state_z int, state_t int, state_traced int,
	cpu_all  int[],
	cpu_idle int[],
	-- a document's, whose names are the columns'
	total_ram int, ram_libre int, uso_ram int, porcentaje_ram int,
	porcentaje_cpu_uso int, porcentaje_cpu_libre int,
	procesos_corriendo int, total_procesos int, procesos_durmiendo int, procesos_zombie int,
	procesos_parados int
);

CREATE FUNCTION latido_metricas_shapes(wanted int[]) RETURNS void LANGUAGE sql AS $$
	INSERT INTO metricas_shape
	SELECT p.shape_id,
		max(e.labels->>'api') FILTER (WHERE e.name = 'api_info'),
		max(p.pos) FILTER (WHERE e.name = 'node_memory_MemTotal_bytes'),
		max(p.pos) FILTER (WHERE e.name = 'node_memory_MemFree_bytes'),
		max(p.pos) FILTER (WHERE e.name = 'node_memory_MemAvailable_bytes'),
		max(p.pos) FILTER (WHERE e.name = 'node_processes_pids'),
		max(p.pos) FILTER (WHERE e.name = 'node_processes_state' AND e.labels->>'state' = 'R'),
		max(p.pos) FILTER (WHERE e.name = 'node_processes_state' AND e.labels->>'state' = 'S'),
		max(p.pos) FILTER (WHERE e.name = 'node_processes_state' AND e.labels->>'state' = 'Z'),
		max(p.pos) FILTER (WHERE e.name = 'node_processes_state' AND e.labels->>'state' = 'T'),
		max(p.pos) FILTER (WHERE e.name = 'node_processes_state' AND e.labels->>'state' = 't'),
		array_agg(p.pos ORDER BY p.pos) FILTER (WHERE e.name = 'node_cpu_seconds_total'),
		array_agg(p.pos ORDER BY p.pos) FILTER (WHERE e.name = 'node_cpu_seconds_total'
			AND e.labels->>'mode' IN ('idle', 'iowait')),
		max(p.pos) FILTER (WHERE e.name = 'total_ram'),
		max(p.pos) FILTER (WHERE e.name = 'ram_libre'),
		max(p.pos) FILTER (WHERE e.name = 'uso_ram'),
		max(p.pos) FILTER (WHERE e.name = 'porcentaje_ram'),
		max(p.pos) FILTER (WHERE e.name = 'porcentaje_cpu_uso'),
		max(p.pos) FILTER (WHERE e.name = 'porcentaje_cpu_libre'),
		max(p.pos) FILTER (WHERE e.name = 'procesos_corriendo'),
		max(p.pos) FILTER (WHERE e.name = 'total_procesos'),
		max(p.pos) FILTER (WHERE e.name = 'procesos_durmiendo'),
		max(p.pos) FILTER (WHERE e.name = 'procesos_zombie'),
		max(p.pos) FILTER (WHERE e.name = 'procesos_parados')
	FROM shape_series p
	JOIN series e ON e.id = p.series_id
	WHERE p.shape_id = ANY (wanted)
	GROUP BY p.shape_id
	HAVING bool_or(e.name IN ('node_memory_MemTotal_bytes', 'node_cpu_seconds_total', 'node_processes_pids',
		'total_ram', 'ram_libre', 'uso_ram', 'porcentaje_ram', 'porcentaje_cpu_uso', 'porcentaje_cpu_libre',
		'procesos_corriendo', 'total_procesos', 'procesos_durmiendo', 'procesos_zombie', 'procesos_parados'))
	ON CONFLICT DO NOTHING;
$$;

-- A shape's series are all inserted by one statement (latido_intern_shape()).
CREATE FUNCTION latido_metricas_new_shapes() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
	PERFORM latido_metricas_shapes((SELECT array_agg(DISTINCT shape_id) FROM fresh));
	RETURN NULL;
END
$$;
CREATE TRIGGER metricas_shape AFTER INSERT ON shape_series REFERENCING NEW TABLE AS fresh
	FOR EACH STATEMENT EXECUTE FUNCTION latido_metricas_new_shapes();
SELECT latido_metricas_shapes((SELECT array_agg(id) FROM shape));

-- An element of vals as a whole number; NULL: none, or NaN. What bigint cannot hold is its limit.
CREATE FUNCTION latido_whole(value float8) RETURNS bigint LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN CASE WHEN value IS NULL OR value = 'NaN' THEN NULL
	ELSE round(greatest(-9.2e18, least(9.2e18, value)))::bigint END;

CREATE FUNCTION latido_percent(part float8, whole float8) RETURNS float8 LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN CASE WHEN whole > 0 AND whole <> 'NaN' AND part <> 'NaN'
	THEN round((100 * greatest(0, least(1, part / whole)))::numeric, 2)::float8 END;

-- MB are 1 048 576 bytes; ram_libre is in bytes, as the first users have it. What an agent calls used
-- is what cannot be had without swapping. Its CPU percentages are those since its snapshot before,
-- at most five minutes back; without one they are NULL, as is whatever a snapshot does not have.
CREATE VIEW metricas AS
SELECT ((extract(epoch FROM s.time) * 1000)::bigint << 20) | (s.source_id & 1048575) AS id,
	coalesce(latido_whole(s.vals[m.total_ram]), latido_whole(s.vals[m.mem_total] / 1048576)) AS total_ram,
	coalesce(latido_whole(s.vals[m.ram_libre]), latido_whole(s.vals[m.mem_free])) AS ram_libre,
	coalesce(latido_whole(s.vals[m.uso_ram]),
		latido_whole((s.vals[m.mem_total] - s.vals[m.mem_available]) / 1048576)) AS uso_ram,
	coalesce(nullif(s.vals[m.porcentaje_ram], 'NaN'),
		latido_percent(s.vals[m.mem_total] - s.vals[m.mem_available], s.vals[m.mem_total])) AS porcentaje_ram,
	coalesce(nullif(s.vals[m.porcentaje_cpu_uso], 'NaN'), c.uso) AS porcentaje_cpu_uso,
	coalesce(nullif(s.vals[m.porcentaje_cpu_libre], 'NaN'), 100 - c.uso) AS porcentaje_cpu_libre,
	coalesce(latido_whole(s.vals[m.procesos_corriendo]), latido_whole(s.vals[m.state_r])) AS procesos_corriendo,
	coalesce(latido_whole(s.vals[m.total_procesos]), latido_whole(s.vals[m.pids])) AS total_procesos,
	coalesce(latido_whole(s.vals[m.procesos_durmiendo]), latido_whole(s.vals[m.state_s])) AS procesos_durmiendo,
	coalesce(latido_whole(s.vals[m.procesos_zombie]), latido_whole(s.vals[m.state_z])) AS procesos_zombie,
	coalesce(latido_whole(s.vals[m.procesos_parados]),
		latido_whole(s.vals[m.state_t]) + coalesce(latido_whole(s.vals[m.state_traced]), 0)) AS procesos_parados,
	s.time AT TIME ZONE 'UTC' AS hora,
	coalesce(m.api, o.name) AS api,
	s.created_at
FROM (SELECT time, source_id, shape_id, vals, time AS created_at FROM snapshot
	UNION ALL SELECT time, source_id, shape_id, vals, arrived FROM snapshot_stray) s
JOIN metricas_shape m ON m.shape_id = s.shape_id
JOIN source o ON o.id = s.source_id
LEFT JOIN LATERAL (
	SELECT latido_percent(b.whole - a.whole - (b.idle - a.idle), b.whole - a.whole) AS uso
	FROM (SELECT q.vals, n.cpu_all, n.cpu_idle
		FROM snapshot q
		JOIN metricas_shape n ON n.shape_id = q.shape_id
		WHERE q.source_id = s.source_id AND q.time < s.time AND q.time >= s.time - interval '5 minutes'
			AND n.cpu_all IS NOT NULL
		ORDER BY q.time DESC
		LIMIT 1) p
	CROSS JOIN LATERAL (SELECT (SELECT sum(p.vals[i]) FROM unnest(p.cpu_all) i) AS whole,
		(SELECT sum(p.vals[i]) FROM unnest(p.cpu_idle) i) AS idle) a
	CROSS JOIN LATERAL (SELECT (SELECT sum(s.vals[i]) FROM unnest(m.cpu_all) i) AS whole,
		(SELECT sum(s.vals[i]) FROM unnest(m.cpu_idle) i) AS idle) b
	WHERE cardinality(p.cpu_all) = cardinality(m.cpu_all)) c ON m.cpu_all IS NOT NULL;
COMMENT ON VIEW metricas IS
	'one row a snapshot with the columns of the first users; name a span of created_at, always';
