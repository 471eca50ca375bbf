/* SPDX-License-Identifier: MIT */
#ifndef LATIDO_LIVE_HUB_H
#define LATIDO_LIVE_HUB_H

#include "http.h"
#include "latido/config.h"
#include "latido/event.h"
#include "latido/fleet.h"
#include "latido/stats.h"
#include "upstream.h"

/*
 * The state of all sources as this process has seen it, and the frames of the stream that tell of
 * its changes: each is encoded once, whoever gets it. Loop thread only.
 */

enum hub_column {
	COL_CPU = 0,
	COL_MEM,
	COL_DISK,
	COL_RX,
	COL_TX,
	COL_IO,
	COL_LOAD,
	COL_MAIN,
	COLS
};
extern const char *const hub_columns[COLS];

#define SPARK_POINTS  60
#define SPARK_STEP_MS 5000
#define HUB_SOURCES   20000 /* at most */
#define HUB_STREAMS   16    /* of one source */

/** struct hub_stream - one stream of a source: its newest snapshot */
struct hub_stream {
	char name[LT_STREAM_MAX + 1];
	uint64_t epoch, seq;
	int64_t time_ms;
	uint32_t interval_ms;
	bool partial, known; /* known: holds an event */
	struct lt_shape *shape;
	uint8_t *values; /* little-endian doubles */
	uint32_t n;
	bool figures;    /* a part of the pipeline speaks of itself (bus.self_interval) */
	uint8_t *before; /* then: the values of the event before, of the same shape; or NULL */
	int64_t before_ms;
	uint64_t told_id; /* of the last node frame; 0 = the next one is complete */
};

struct hub_parked;

struct hub_source {
	char name[LT_SOURCE_MAX + 1];
	uint32_t index;
	bool device, kind_known; /* kind_known: PostgreSQL said so */
	enum lt_fleet_state state;
	int64_t seen_ms;
	bool fresh; /* told nobody yet */
	struct lt_fleet_sample sample;
	double values[COLS];
	bool has_row; /* an event came since the start */
	bool filling; /* from the window that was asked for */
	uint64_t epoch, seq;
	struct hub_stream *streams;
	size_t n_streams;
	float spark[COLS][SPARK_POINTS];
	uint16_t beats[SPARK_POINTS];
	int64_t spark_slot;  /* number of the newest step since 1970; 0 = none */
	int64_t spark_first; /* of the oldest that is known of */
	char *labels;        /* JSON members "a":"b",... that PostgreSQL has; NULL = none */
	int64_t warm_until_ns;
	uint64_t warm_since; /* node frames are complete from this id on; 0 = cold */
	unsigned watchers;
	struct hub_parked *parked, **parked_last; /* events of shapes that are not known yet */
	size_t n_parked;
	struct hub_source *next; /* in its bucket */
};

enum frame_kind { FRAME_FLEET = 0, FRAME_NODE, FRAME_ALL };

/** struct hub_frame - one event of the stream, encoded */
struct hub_frame {
	uint64_t id;
	int64_t mono_ns;
	enum frame_kind kind;
	struct hub_source *source; /* NODE */
	uint32_t events;           /* that it stands for */
	struct http_bytes *bytes;
	/* NODE: what a complete one needs, for clients that had none before */
	struct lt_shape *shape;
	uint8_t *values;
	uint32_t n;
	uint64_t epoch, seq;
	int64_t time_ms;
	uint8_t stream; /* index in the source */
	struct hub_frame *next;
};

struct hub_alert {
	char fingerprint[17];
	char *json;
	bool seen;
};

struct hub_dependency {
	const char *name;
	int state; /* 0 unknown, 1 ok, 2 down */
	int64_t since_ms;
	char error[256];
};

struct hub {
	struct lt_loop *loop;
	const struct lt_config *conf;
	struct lt_shapes *shapes;
	struct lt_arena arena;
	struct upstream *upstream;
	uint64_t boot; /* names this run in stream ids */
	uint64_t seed;
	int64_t started_ms;

	struct hub_source **sources; /* by index */
	size_t n_sources;
	struct hub_source **buckets;
	size_t n_buckets;
	size_t n_parked_bytes;

	/* Being collected for the next flush. */
	struct lt_buf rows; /* of the fleet */
	uint32_t n_rows;
	struct hub_frame *pending, **pending_last; /* NODE */
	bool sources_changed;
	struct lt_timer flush, second;

	/* What was sent: for those who come back. */
	struct hub_frame *ring, **ring_last;
	size_t ring_bytes;
	uint64_t last_id, ring_lost; /* ring_lost: the newest id that is not in the ring any more */

	struct http_bytes *fleet_now; /* the complete fleet as of fleet_now_id */
	uint64_t fleet_now_id;

	struct hub_alert *alerts;
	size_t n_alerts;
	struct hub_dependency redis, postgres;
	int64_t last_event_ms;

	/* Set by the stream: a frame is to be sent now. */
	void (*publish)(void *arg, const struct hub_frame *f);
	void *publish_arg;
};

struct hub *hub_new(struct lt_loop *loop, const struct lt_config *conf, struct lt_err *err);
/** hub_start() - begin to read from Redis. */
int hub_start(struct hub *h, struct lt_err *err) LT_MUST_CHECK;
/** hub_stop() - no more messages; before the stream is freed. */
void hub_stop(struct hub *h);
void hub_free(struct hub *h);

struct hub_source *hub_find(struct hub *h, const char *name);
/**
 * hub_expect() - the same, made when it is not there: with seen_ms 0 it is shown to nobody
 * Return: NULL: there are HUB_SOURCES already.
 */
struct hub_source *hub_expect(struct hub *h, const char *name);
/** hub_warm() - node frames of @s are encoded from now on and for live.resume after the last call. */
void hub_warm(struct hub *h, struct hub_source *s);
void hub_set_postgres(struct hub *h, const struct lt_err *err);
/** hub_set_facts() - what PostgreSQL knows of a source; @labels: JSON members, may be "". */
void hub_set_facts(struct hub *h, const char *source, bool device, const char *labels);

/* ---- hub_json.c: what is said about it ---- */

void json_number(struct lt_buf *b, double v);
/** json_short() - with so many significant digits; null for NaN. */
void json_short(struct lt_buf *b, double v, int digits);
void json_labels(struct lt_buf *b, const struct lt_series *s);
const char *json_kind(unsigned kind);
/** hub_id() - a stream id as text. */
void hub_id(const struct hub *h, uint64_t id, char out[40]);
/** hub_parse_id() - Return: false when it is of another run, or none. */
bool hub_parse_id(const struct hub *h, const char *text, uint64_t *id);
/** hub_shape_id() - names a shape: 32 hex digits, a keyless 128-bit digest. */
void hub_shape_id(const struct lt_shape *s, char out[33]);
void hub_put_shape(struct lt_buf *b, const struct lt_shape *s);
void hub_put_row(struct lt_buf *b, const struct hub_source *s, uint64_t seq, int64_t time_ms);
void hub_put_source(struct lt_buf *b, const struct hub_source *s);
/** hub_put_node() - the members of one node of GET /api/v1/nodes. @spark: bit set of columns. */
void hub_put_node(struct lt_buf *b, const struct hub_source *s, unsigned spark);
void hub_put_dependency(struct lt_buf *b, const struct hub_dependency *d);
void hub_put_status(struct lt_buf *b, const struct hub *h);
void hub_put_alerts(struct lt_buf *b, const struct hub *h);
/** hub_put_complete() - a node event with all values. */
void hub_put_complete(struct lt_buf *b, const struct hub_source *s, const char *stream,
	uint64_t epoch, uint64_t seq, int64_t time_ms, const struct lt_shape *shape,
	const uint8_t *values, uint32_t n);
/** hub_frame_bytes() - a whole event of the stream; @id 0 = without. */
struct http_bytes *hub_frame_bytes(
	const struct hub *h, uint64_t id, const char *event, const char *data, size_t size);
/** hub_fleet_now() - the complete fleet; one is kept for all who ask before the next change. */
struct http_bytes *hub_fleet_now(struct hub *h);

/* ---- hub_alerts.c ---- */

void hub_take_alerts(struct hub *h, const char *pairs, size_t size);
void hub_free_alerts(struct hub *h);

/* ---- hub_spark.c ---- */

void hub_spark_init(struct hub_source *s);
/** hub_spark_add() - the row as of @time_ms. */
void hub_spark_add(struct hub_source *s, int64_t time_ms);

/* ---- hub_frames.c ---- */

/** hub_publish() - give the frame an id, keep it in the ring, send it. Takes @f. */
void hub_publish(struct hub *h, struct hub_frame *f, const char *event, const struct lt_buf *data);
/** hub_tell() - an event for all, at once. */
void hub_tell(struct hub *h, const char *event, const struct lt_buf *data);
void hub_frame_free(struct hub_frame *f);
void hub_trim_ring(struct hub *h, bool all);
void hub_flush(struct hub *h);
/** hub_node_frame() - the event that @st now holds, as a difference to @old where it can be. */
void hub_node_frame(struct hub *h, struct hub_source *s, struct hub_stream *st, const uint8_t *old);

extern const struct lt_stat hub_stats[];
extern const size_t hub_stats_n;

/* Counters that several files add to. */
struct hub_counters {
	uint64_t events, lost, skipped, cut, clients, lagging, following, ring_cut;
};
extern struct hub_counters hub_counters;

#endif
