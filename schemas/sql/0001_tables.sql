-- SPDX-License-Identifier: MIT
--
-- Sources, series, snapshots and what of each source's sequence is stored.
-- Applied by latido-store in one transaction; see README.md beside this file.

-- A node or device. Names are ASCII: the C collation keeps the index safe from locale updates.
CREATE TABLE source (
	id         int GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
	name       text COLLATE "C" NOT NULL UNIQUE,
	kind       text NOT NULL,
	labels     jsonb NOT NULL DEFAULT '{}',
	first_seen timestamptz NOT NULL DEFAULT now(),
	last_seen  timestamptz
);
COMMENT ON COLUMN source.kind IS 'node or device';
COMMENT ON COLUMN source.last_seen IS 'arrival of its last event, about a minute behind';

-- One life of a source's sequence numbers. 0 stands for all its unnumbered events.
CREATE TABLE epoch (
	id        int GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
	source_id int NOT NULL REFERENCES source,
	epoch     bigint NOT NULL,
	began     timestamptz NOT NULL DEFAULT now(),
	UNIQUE (source_id, epoch)
);
COMMENT ON COLUMN epoch.epoch IS 'microseconds since 1970 by the source''s clock; 0 = unnumbered events';

-- What is stored of an epoch: 1..upto and the islands above. Changed only by compare-and-set, in
-- the transaction that stores the rows. Half of each page stays free for HOT updates.
CREATE TABLE progress (
	epoch_id int PRIMARY KEY REFERENCES epoch,
	upto     bigint NOT NULL DEFAULT 0,
	above    int8multirange NOT NULL DEFAULT '{}',
	changed  timestamptz NOT NULL DEFAULT now()
) WITH (fillfactor = 50);

-- What can never come any more: the source itself said so, or it was replaced long ago.
CREATE TABLE gap (
	id       bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
	epoch_id int REFERENCES epoch,
	kind     text NOT NULL,
	lo       bigint NOT NULL,
	hi       bigint NOT NULL,
	noticed  timestamptz NOT NULL DEFAULT now(),
	detail   jsonb
);
CREATE INDEX gap_epoch ON gap (epoch_id);
COMMENT ON COLUMN gap.kind IS
	'lost: below oldest_seq of a later event; replaced: the epoch ended with holes; islands: too many holes at once';
COMMENT ON COLUMN gap.hi IS 'last missing sequence number, inclusive';

-- Name and labels of one value, shared by all sources. Never deleted: ids are never reused.
-- Uniqueness is by digest, because labels may be longer than an index entry can be.
CREATE TABLE series (
	id     int GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
	key    bytea NOT NULL UNIQUE,
	name   text COLLATE "C" NOT NULL,
	labels jsonb NOT NULL,
	kind   smallint NOT NULL
);
COMMENT ON COLUMN series.key IS 'SHA-256 of "<kind> <name> <labels as text>"';
COMMENT ON COLUMN series.kind IS '0 unknown, 1 gauge, 2 counter';
CREATE INDEX series_name ON series (name);
CREATE INDEX series_labels ON series USING gin (labels jsonb_path_ops);

-- What the values of a snapshot are, in order. Shared by all sources that send the same names.
CREATE TABLE shape (
	id        int GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
	sha256    bytea NOT NULL UNIQUE,
	hash      bigint NOT NULL,
	n         int NOT NULL,
	bytes     bytea NOT NULL,
	last_used date NOT NULL DEFAULT current_date
);
CREATE INDEX shape_hash ON shape (hash);
COMMENT ON COLUMN shape.hash IS 'XXH3-64 of bytes; not unique, since it is no defence against forgery';
COMMENT ON COLUMN shape.bytes IS 'serialized latido.v1.Shape, as it was on the wire';
COMMENT ON COLUMN shape.last_used IS 'renewed at least daily while in use; rows may refer to it for one retention longer';

-- Where a shape has a series: vals[pos]. Rows instead of an int[] in shape, so that the planner
-- can go either way: from a name to its snapshots, or from a snapshot to its names.
CREATE TABLE shape_series (
	shape_id  int NOT NULL REFERENCES shape ON DELETE CASCADE,
	pos       int NOT NULL,
	series_id int NOT NULL REFERENCES series,
	PRIMARY KEY (series_id, shape_id) INCLUDE (pos)
);
CREATE INDEX shape_series_shape ON shape_series (shape_id);

-- One row a snapshot: all values that a source sampled at one instant. No unique index and no
-- foreign keys: progress keeps duplicates out, the store alone writes here.
CREATE TABLE snapshot (
	time      timestamptz NOT NULL,
	seq       bigint NOT NULL,
	source_id int NOT NULL,
	epoch_id  int NOT NULL,
	shape_id  int NOT NULL,
	vals      float8[] NOT NULL
) PARTITION BY RANGE (time);
COMMENT ON COLUMN snapshot.vals IS 'in the order of shape_series.pos; NaN = no value; no NULLs, so an element is found in constant time';
CREATE INDEX snapshot_source_time ON snapshot (source_id, time);
CREATE INDEX snapshot_time ON snapshot USING brin (time timestamptz_minmax_multi_ops)
	WITH (autosummarize = on);

-- Snapshots whose time is outside the window of partitions: nothing is lost to a wrong clock.
CREATE TABLE snapshot_stray (
	LIKE snapshot,
	arrived timestamptz NOT NULL DEFAULT now()
);
CREATE INDEX snapshot_stray_source_time ON snapshot_stray (source_id, time);
CREATE INDEX snapshot_stray_arrived ON snapshot_stray USING brin (arrived);

-- Rows above 8 kB (about 1 000 values) leave the page and are compressed: by lz4, which costs a
-- tenth of pglz on doubles, where this server was built with it.
DO $$
BEGIN
	ALTER TABLE snapshot ALTER COLUMN vals SET COMPRESSION lz4;
	ALTER TABLE snapshot_stray ALTER COLUMN vals SET COMPRESSION lz4;
EXCEPTION WHEN feature_not_supported THEN
	NULL;
END
$$;
