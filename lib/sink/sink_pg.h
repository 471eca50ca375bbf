/* SPDX-License-Identifier: MIT */
#ifndef LATIDO_SINK_PG_INTERNAL_H
#define LATIDO_SINK_PG_INTERNAL_H

#include "latido/log.h"
#include "latido/sink_pg.h"
#include "latido/stats.h"
#include "pg_conn.h"
#include "pg_map.h"
#include "pg_progress.h"

/*
 * The parts of the PostgreSQL sink: sink_pg.c (life, put, chores), pg_intern.c (names to ids),
 * pg_write.c (the transaction), pg_partition.c, pg_migrate.c. All but interrupt runs on the sink's
 * thread.
 */

/* A source that numbers in leaps could leave a hole at every step: above this, holes are given up. */
#define LT_PG_ISLANDS_MAX    4096
/* Partitions made on demand for late events; beyond, they go to snapshot_stray. */
#define LT_PG_PARTITIONS_MAX 1000

/* Five minutes of one source that are marked at once; a backlog goes through them in order. */
#define LT_PG_MARKS 4

/** struct lt_pg_source - a row of table source */
struct lt_pg_source {
	char *name;
	int32_t id; /* 0: not known yet */
	bool device;
	bool seen; /* last_seen_ns is newer than what the table has */
	bool asked;
	int64_t last_seen_ns;
	int64_t top_epoch; /* highest met: only that one is acknowledged */
	struct {
		int64_t bucket_us, mono_ns; /* mono_ns 0 = free */
	} marks[LT_PG_MARKS];               /* what roll-ups were marked for, and when */
	unsigned next_mark;
	struct lt_pg_epoch *last; /* of its events, that was looked up last */
};

/** struct lt_pg_mark - five minutes of a source whose roll-up is to be computed */
struct lt_pg_mark {
	struct lt_pg_source *source;
	int64_t bucket_us;
};

struct lt_pg_rollup;

/** struct lt_pg_epoch - a row of tables epoch and progress */
struct lt_pg_epoch {
	struct lt_pg_source *source;
	int64_t epoch; /* 0: unnumbered events */
	int32_t id;    /* 0: not known yet */
	bool loaded;   /* have is what the table has */
	bool asked;
	bool staged;        /* next is in use */
	int64_t oldest_seq; /* highest of the batch */
	struct lt_pg_have have;
	struct lt_pg_have next; /* with the batch that is being written */
};

/** struct lt_pg_shape_ids - hangs at lt_shape.user */
struct lt_pg_shape_ids {
	uint64_t generation; /* of the connection that looked it up */
	int64_t mono_ns;     /* when */
	int32_t id;
	uint64_t asked; /* serial number of the last put() that looked for it */
};

/** struct lt_pg_row - one event of the batch that is to be stored */
struct lt_pg_row {
	const struct lt_event *event;
	uint32_t index; /* in the batch */
	struct lt_pg_epoch *epoch;
	int32_t shape_id;
	bool stray;
	bool skip; /* found to be a duplicate inside the transaction */
};

/** struct lt_pg_last - a statement that goes out together with COMMIT */
struct lt_pg_last {
	const char *sql;
	struct lt_buf param[LT_PG_CALL_PARAMS];
	size_t n;
};

struct lt_pg_partition {
	int64_t lo_us, hi_us; /* timestamptz, [lo, hi) */
};

enum { LT_PG_AHEAD = 0, LT_PG_SEEN, LT_PG_RETENTION, LT_PG_REST, LT_PG_ROLLUP, LT_PG_CHORES };

/** struct lt_pg_position - a row of table kafka_progress */
struct lt_pg_position {
	char *log;
	int32_t partition;
	bool loaded;  /* next is what the table has, or had */
	int64_t next; /* -1: no row */
	int64_t from; /* of the batch: what lies below is stored already */
	int64_t to;   /* of the batch: where the position goes; -1: stays */
};

struct lt_sink_pg {
	struct lt_sink sink;
	const struct lt_config *conf;
	struct lt_pg pg;
	uint64_t generation; /* of the caches; each connection has its own */
	uint64_t serial;     /* of put() */

	uint64_t seed;                      /* of the hashes: names come from outside */
	struct lt_pg_map sources;           /* by name */
	struct lt_pg_map epochs;            /* by source and epoch */
	struct lt_pg_partition *partitions; /* ascending */
	size_t n_partitions;
	bool partitions_loaded;

	/* the batch being written */
	struct lt_pg_row *rows;
	size_t n_rows, rows_cap;
	struct lt_pg_epoch **event_epochs; /* of every event of the batch */
	struct lt_pg_source **event_sources;
	size_t event_epochs_cap;
	void **want; /* scratch: what has to be looked up */
	size_t n_want, want_cap;
	struct lt_pg_epoch **staged;
	size_t n_staged, staged_cap;
	size_t duplicates;
	struct lt_pg_gaps gaps;
	struct lt_pg_position *positions; /* of Kafka's partitions */
	size_t n_positions, last_position;
	const struct lt_bus_span **bus_gaps; /* of the batch, to be recorded */
	size_t n_bus_gaps, bus_gaps_cap;
	bool astray; /* the batch does not begin where the positions are */
	struct lt_buf param[8];
	struct lt_pg_last last[LT_PG_CALLS];
	size_t n_last;
	struct lt_buf copy;
	bool wrote; /* there was something to commit */
	uint64_t copied_bytes;
	struct lt_pg_mark *marks; /* of the batch */
	size_t n_marks, marks_cap;
	struct lt_pg_rollup *rollup; /* NULL until the first one */
	int64_t rollup_again_ns;
	size_t holes; /* islands in all loaded epochs */

	struct lt_pg_chore {
		int64_t due_ns;
		struct lt_complaint complaint;
	} chores[LT_PG_CHORES];
	int64_t clock_offset_ns; /* wall - monotonic at the last retention */
	int64_t retention_held_until_ns;
	struct lt_complaint lost_complaint, overlap_complaint;
};

/* ---- pg_intern.c ---- */

/** lt_pg_forget() - empty all caches. */
void lt_pg_forget(struct lt_sink_pg *s);
/**
 * lt_pg_resolve() - ids and progress of everything that the batch names
 * @bad: out, class POISON: the first event that names what PostgreSQL refuses.
 *
 * Sets event_epochs; commits what is new before the batch itself.
 */
int lt_pg_resolve(struct lt_sink_pg *s, const struct lt_batch *b, size_t *bad, struct lt_err *err);
/** lt_pg_shape_id() - after lt_pg_resolve(). */
int32_t lt_pg_shape_id(const struct lt_shape *sh);
/** lt_pg_reload() - forget the progress of the staged epochs: somebody else changed it. */
void lt_pg_reload(struct lt_sink_pg *s);

/* ---- pg_write.c ---- */

/**
 * lt_pg_last() - a statement with @n array parameters to go out with the batch's COMMIT
 * @sql: fails when it cannot do all that it should.
 *
 * Return: the parameters, empty.
 */
struct lt_buf *lt_pg_last(struct lt_sink_pg *s, const char *sql, size_t n);
/** lt_pg_stage() - which events are new, and the progress that they make. */
int lt_pg_stage(
	struct lt_sink_pg *s, const struct lt_batch *b, int64_t wall_ns, struct lt_err *err);
/**
 * lt_pg_write() - one transaction: rows, gaps, progress
 * Return: LT_ECONFLICT: another store was faster; the transaction is rolled back.
 */
int lt_pg_write(struct lt_sink_pg *s, struct lt_err *err);
/** lt_pg_find_bad() - after a POISON error of lt_pg_write(): which event is it? */
int lt_pg_find_bad(struct lt_sink_pg *s, size_t *bad, struct lt_err *err);
/** lt_pg_unstage() - @committed: what was staged is now what the table has. */
void lt_pg_unstage(struct lt_sink_pg *s, bool committed);

/* ---- pg_kafka.c ---- */

int lt_pg_positions(struct lt_sink *sink, struct lt_bus_span *parts, size_t n, struct lt_err *err);
/**
 * lt_pg_positions_stage() - where the batch moves them; loads what is not known
 *
 * Return: LT_ECONFLICT with s->astray: the batch begins behind a position in the table; what lies
 * between would be lost, so it has to be read again from there.
 */
int lt_pg_positions_stage(struct lt_sink_pg *s, const struct lt_batch *b, struct lt_err *err);
/** lt_pg_passed() - the event lies below its partition's position: it is stored already. */
bool lt_pg_passed(struct lt_sink_pg *s, const struct lt_event *e);
bool lt_pg_positions_change(const struct lt_sink_pg *s);
/** lt_pg_positions_last() - they move with COMMIT, or it fails as lt_pg_write() says. */
void lt_pg_positions_last(struct lt_sink_pg *s);
/** lt_pg_positions_done() - the transaction ended as @rc. */
void lt_pg_positions_done(struct lt_sink_pg *s, int rc);
/** lt_pg_positions_forget() - the table is asked again before the next batch. */
void lt_pg_positions_forget(struct lt_sink_pg *s);
void lt_pg_positions_fini(struct lt_sink_pg *s);

/* ---- pg_partition.c ---- */

/** lt_pg_partition_for() - make sure of the partition. Return: false in @ok = it is one too many. */
int lt_pg_partition_for(struct lt_sink_pg *s, int64_t time_us, bool *ok, struct lt_err *err);
void lt_pg_partitions_forget(struct lt_sink_pg *s);
/** lt_pg_partitions_ahead() - today's and the next days' partitions. */
int lt_pg_partitions_ahead(struct lt_sink_pg *s, struct lt_err *err);
/** lt_pg_retention() - drop at most one expired partition. @more: there are others. */
int lt_pg_retention(struct lt_sink_pg *s, bool *more, struct lt_err *err);
/** lt_pg_expire_rest() - strays, shapes and epochs that are over. */
int lt_pg_expire_rest(struct lt_sink_pg *s, struct lt_err *err);

/* ---- pg_rollup.c ---- */

/** lt_pg_rollup_last() - the roll-ups that the batch's rows change are marked with COMMIT. */
void lt_pg_rollup_last(struct lt_sink_pg *s);
/** lt_pg_rollup_marked() - the transaction ended. */
void lt_pg_rollup_marked(struct lt_sink_pg *s, bool committed);
/** lt_pg_rollup() - compute some of those marked; sets rollup_again_ns. */
int lt_pg_rollup(struct lt_sink_pg *s, bool *more, struct lt_err *err);
/** lt_pg_rollup_forget() - it may be another database from now on. */
void lt_pg_rollup_forget(struct lt_sink_pg *s);
void lt_pg_rollup_fini(struct lt_sink_pg *s);

/* ---- pg_ack.c ---- */

/** lt_pg_acknowledge() - after COMMIT, before lt_pg_unstage(): tell the sources of the batch. */
void lt_pg_acknowledge(struct lt_sink_pg *s);

/** lt_pg_announce() - after connecting: what is stored of every source of late. */
int lt_pg_announce(struct lt_sink_pg *s, struct lt_err *err);

/* ---- pg_migrate.c ---- */

/** lt_pg_schema_apply() - as lt_pg_migrate(), on this connection; @apply false: only check. */
int lt_pg_schema_apply(struct lt_pg *pg, const struct lt_migration *list, size_t n, bool apply,
	size_t *applied, struct lt_err *err);

/* ---- sink_pg.c ---- */

struct lt_pg_stats {
	struct lt_counter events, values, duplicates, strays, commits, bytes, conflicts, gap_events;
	struct lt_counter batch_1, batch_10, batch_100, batch_1000, batch_more;
	struct lt_counter partitions_made, partitions_dropped;
	struct lt_counter cache_resets, rollups, rollups_failed;
	struct lt_gauge holes, epochs_known, rollups_waiting;
	struct lt_hist commit_seconds, event_to_commit_seconds, rollup_seconds;
};
extern struct lt_pg_stats lt_pg_stats;

static inline struct lt_pg_param lt_pg_param_buf(const struct lt_buf *b)
{
	return (struct lt_pg_param){b->data, b->len};
}

#endif
