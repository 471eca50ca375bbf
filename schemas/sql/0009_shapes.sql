-- SPDX-License-Identifier: MIT
--
-- A shape of very many series, entered in pieces: each statement is short, the shape is there as a
-- whole or not at all, because the pieces are one transaction.

-- Series are never deleted and their ids come from the table itself: checking each again doubles the
-- time of a large shape.
ALTER TABLE shape_series DROP CONSTRAINT shape_series_series_id_fkey;

-- NULL: it is there already.
CREATE FUNCTION latido_new_shape(shape_bytes bytea, shape_hash bigint, n bigint) RETURNS int LANGUAGE sql AS $$
	INSERT INTO shape (sha256, hash, n, bytes)
	SELECT sha256(shape_bytes), shape_hash, n, shape_bytes
	WHERE NOT EXISTS (SELECT FROM shape s WHERE s.sha256 = sha256(shape_bytes))
	ON CONFLICT DO NOTHING
	RETURNING id
$$;
