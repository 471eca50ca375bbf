-- SPDX-License-Identifier: MIT
-- Where each Kafka partition is read on. Moved by compare-and-set in the transaction that holds the
-- rows of what lies before it, so that a crash, a rebalance or a store that was replaced while it
-- slept can neither lose nor repeat a row.
CREATE TABLE kafka_progress (
	topic       text NOT NULL,
	part        int NOT NULL,
	next_offset bigint NOT NULL,
	changed     timestamptz NOT NULL DEFAULT now(),
	PRIMARY KEY (topic, part)
) WITH (fillfactor = 50);

COMMENT ON COLUMN gap.kind IS
	'lost: below oldest_seq of a later event; replaced: the epoch ended with holes; islands: too many holes at once; bus: Kafka deleted offsets before they were read (detail: topic, partition, next), epoch_id is null';
