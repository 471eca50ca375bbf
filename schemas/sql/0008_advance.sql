-- SPDX-License-Identifier: MIT
--
-- The end of a batch's transaction, for latido-store: what is stored of each epoch and where each
-- Kafka partition is read on, by compare-and-set. They fail unless they change every row they were
-- given, so that the store can send COMMIT right behind them, without waiting for their answer: a
-- store that was overtaken gets error 40001, and nothing of its batch stays.

-- Epochs without islands, before and after: the common case. Arrays of a known length are no reason
-- to plan again: that would cost four times the update of one row. The plan must then be right for any
-- size of the table, also when it was made while the table was small: by its key.
CREATE FUNCTION latido_advance(epochs int[], olds bigint[], news bigint[]) RETURNS void LANGUAGE plpgsql
SET plan_cache_mode = force_generic_plan SET enable_seqscan = off AS $$
DECLARE
	n bigint;
BEGIN
	UPDATE progress p SET upto = u.upto, changed = now()
	FROM unnest(epochs, olds, news) AS u (id, old, upto)
	WHERE p.epoch_id = u.id AND p.upto = u.old AND isempty(p.above);
	GET DIAGNOSTICS n = ROW_COUNT;
	IF n <> cardinality(epochs) THEN
		RAISE EXCEPTION 'another store changed the progress of % of % sources',
			cardinality(epochs) - n, cardinality(epochs) USING ERRCODE = 'serialization_failure';
	END IF;
END
$$;

CREATE FUNCTION latido_advance_islands(epochs int[], olds bigint[], news bigint[], old_above text[],
	new_above text[])
RETURNS void LANGUAGE plpgsql
SET enable_seqscan = off AS $$
DECLARE
	n bigint;
BEGIN
	UPDATE progress p SET upto = u.upto, above = u.above::int8multirange, changed = now()
	FROM unnest(epochs, olds, news, old_above, new_above) AS u (id, old, upto, old_above, above)
	WHERE p.epoch_id = u.id AND p.upto = u.old AND p.above = u.old_above::int8multirange;
	GET DIAGNOSTICS n = ROW_COUNT;
	IF n <> cardinality(epochs) THEN
		RAISE EXCEPTION 'another store changed the progress of % of % sources',
			cardinality(epochs) - n, cardinality(epochs) USING ERRCODE = 'serialization_failure';
	END IF;
END
$$;

-- An old offset of -1: the partition has no row yet.
CREATE FUNCTION latido_advance_kafka(topics text[], parts int[], olds bigint[], news bigint[])
RETURNS void LANGUAGE plpgsql
SET enable_seqscan = off AS $$
DECLARE
	moved bigint;
	added bigint;
BEGIN
	UPDATE kafka_progress p SET next_offset = u.next, changed = now()
	FROM unnest(topics, parts, olds, news) AS u (topic, part, old, next)
	WHERE p.topic = u.topic AND p.part = u.part AND p.next_offset = u.old AND u.old >= 0;
	GET DIAGNOSTICS moved = ROW_COUNT;
	INSERT INTO kafka_progress (topic, part, next_offset)
	SELECT u.topic, u.part, u.next FROM unnest(topics, parts, olds, news) AS u (topic, part, old, next)
	WHERE u.old < 0
	ON CONFLICT DO NOTHING;
	GET DIAGNOSTICS added = ROW_COUNT;
	IF moved + added <> cardinality(topics) THEN
		RAISE EXCEPTION 'another store moved % of % Kafka positions',
			cardinality(topics) - moved - added, cardinality(topics) USING ERRCODE = 'serialization_failure';
	END IF;
END
$$;
