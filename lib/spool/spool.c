/* SPDX-License-Identifier: MIT */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "latido/clock.h"
#include "spool_int.h"

static void lock(struct lt_spool *s)
{
	pthread_mutex_lock(&s->lock);
}

static void unlock(struct lt_spool *s)
{
	pthread_mutex_unlock(&s->lock);
}

/* ---- records in memory ---- */

void context_put(struct context *c)
{
	if (c && --c->refs == 0)
		free(c);
}

static struct context *context_get(struct lt_spool *s, const void *p, size_t size)
{
	struct context *c = s->last_context;
	uint32_t crc;

	if (!size)
		return NULL;
	crc = lt_crc32c(0, p, size);
	if (!c || c->crc != crc || c->size != size || memcmp(c->bytes, p, size) != 0) {
		context_put(c);
		c = lt_malloc(sizeof(*c) + size);
		c->refs = 1;
		c->size = size;
		c->crc = crc;
		memcpy(c->bytes, p, size);
		s->last_context = c;
	}
	c->refs++;
	return c;
}

static size_t cost(const struct mem_record *r)
{
	/* A context counts for each: with few records it is the larger part. */
	return sizeof(*r) + r->size + (r->context ? r->context->size : 0);
}

/* Under the lock. */
void spool_forget_mem(struct lt_spool *s, struct mem_record **at)
{
	struct mem_record *r = *at;

	*at = r->next;
	if (s->mem_end == &r->next)
		s->mem_end = at;
	s->mem_bytes -= cost(r);
	context_put(r->context);
	free(r);
}

/* ---- the bookkeeping of numbers ---- */

static void save_done(struct lt_spool *s)
{
	uint64_t upto = lt_ranges_missing(&s->gone, 1) - 1;

	if (upto >= s->next_seq)
		upto = s->next_seq - 1;
	if (upto != head_get(&s->head, HEAD_DONE))
		head_set(&s->head, HEAD_DONE, upto);
}

void spool_lose(struct lt_spool *s, uint64_t lo, uint64_t hi, uint64_t *counter, const char *why)
{
	uint64_t n = lt_ranges_add(&s->gone, lo, hi);

	save_done(s);
	if (!n)
		return;
	*counter += n;
	s->info.lost_lo = lo;
	s->info.lost_hi = hi;
	lt_complain(&s->drop_complaint, LT_ERROR, "spool_lost", LT_S("spool", s->opt.name),
		LT_S("reason", why), LT_U("records", n), LT_U("first_seq", lo),
		LT_U("last_seq", hi), LT_U("epoch", s->head.epoch));
}

uint64_t lt_spool_append(
	struct lt_spool *s, const void *data, size_t size, const void *context, size_t context_size)
{
	size_t all = sizeof(struct mem_record) + size + context_size;
	struct mem_record *r;
	uint64_t seq = 0;

	lock(s);
	if (size > LT_SPOOL_RECORD_MAX || all > (size_t)s->opt.memory_bytes ||
		SEG_HEADER_BYTES + 2 * SEG_RECORD_BYTES + size + context_size >
			(size_t)s->opt.max_bytes) {
		s->info.dropped_size++;
		unlock(s);
		return 0;
	}
	r = lt_malloc(sizeof(*r) + size);
	*r = (struct mem_record){.seq = seq = s->next_seq++,
		.time_ns = lt_wall_ns(),
		.context = context_get(s, context, context_size),
		.size = size};
	memcpy(r->data, data, size);
	*s->mem_end = r;
	s->mem_end = &r->next;
	s->mem_bytes += cost(r);
	while (s->mem_bytes > (size_t)s->opt.memory_bytes) {
		struct mem_record **at = s->busy_end ? &s->busy_end->next : &s->mem;

		if (!*at || *at == r)
			break; /* the rest is being written */
		spool_lose(s, (*at)->seq, (*at)->seq, &s->info.dropped_memory,
			"memory is full and the disk does not take it");
		spool_forget_mem(s, at);
	}
	pthread_cond_signal(&s->work);
	unlock(s);
	return seq;
}

bool lt_spool_written(struct lt_spool *s, uint64_t seq)
{
	bool written;

	lock(s);
	written = !s->mem || s->mem->seq > seq;
	unlock(s);
	return written;
}

void lt_spool_issue(struct lt_spool *s, uint64_t seq)
{
	lock(s);
	if (seq > head_get(&s->head, HEAD_ISSUED))
		head_set(&s->head, HEAD_ISSUED, seq);
	unlock(s);
}

uint64_t lt_spool_done(struct lt_spool *s, uint64_t lo, uint64_t hi)
{
	struct mem_record **at;
	uint64_t n;

	lock(s);
	if (hi >= s->next_seq)
		hi = s->next_seq - 1;
	n = lo > hi ? 0 : lt_ranges_add(&s->gone, lo, hi);
	if (n) {
		save_done(s);
		at = s->busy_end ? &s->busy_end->next : &s->mem;
		while (*at && (*at)->seq <= hi) {
			if ((*at)->seq >= lo)
				spool_forget_mem(s, at);
			else
				at = &(*at)->next;
		}
		pthread_cond_signal(&s->work); /* files may be in the way */
	}
	unlock(s);
	return n;
}

bool lt_spool_is_done(struct lt_spool *s, uint64_t seq)
{
	bool done;

	lock(s);
	done = seq >= s->next_seq || lt_ranges_contains(&s->gone, seq);
	unlock(s);
	return done;
}

/* ---- reading ---- */

void lt_spool_record_fini(struct lt_spool_record *r)
{
	lt_buf_fini(&r->data);
	lt_buf_fini(&r->context);
}

static void fill(struct lt_spool_record *r, uint64_t seq, int64_t time_ns, const void *data,
	size_t size, const void *context, size_t context_size)
{
	r->seq = seq;
	r->time_ns = time_ns;
	lt_buf_reset(&r->data);
	lt_buf_add(&r->data, data, size);
	lt_buf_reset(&r->context);
	lt_buf_add(&r->context, context, context_size);
}

static bool from_memory(struct lt_spool *s, uint64_t seq, struct lt_spool_record *out)
{
	for (struct mem_record *r = s->mem; r && r->seq <= seq; r = r->next) {
		if (r->seq != seq)
			continue;
		fill(out, seq, r->time_ns, r->data, r->size, r->context ? r->context->bytes : NULL,
			r->context ? r->context->size : 0);
		return true;
	}
	return false;
}

static bool from_loaded(struct lt_spool *s, uint64_t seq, struct lt_spool_record *out)
{
	const struct loaded *l = &s->loaded;
	size_t lo = 0, hi = l->n;

	while (lo < hi) {
		size_t mid = lo + (hi - lo) / 2;

		if (l->records[mid].seq < seq)
			lo = mid + 1;
		else
			hi = mid;
	}
	if (lo == l->n || l->records[lo].seq != seq)
		return false;
	fill(out, seq, l->records[lo].time_ns, l->bytes.data + l->records[lo].at,
		l->records[lo].size, l->bytes.data + l->records[lo].ctx, l->records[lo].ctx_bytes);
	return true;
}

int lt_spool_read(struct lt_spool *s, uint64_t seq, struct lt_spool_record *r)
{
	int rc = LT_OK;

	lock(s);
	seq = lt_ranges_missing(&s->gone, seq);
	if (seq >= s->next_seq) {
		rc = LT_ESTOPPED;
	} else if (!from_memory(s, seq, r) && !from_loaded(s, seq, r)) {
		rc = LT_EAGAIN;
		s->want = seq;
		pthread_cond_signal(&s->work);
	}
	unlock(s);
	return rc;
}

uint64_t lt_spool_next_held(struct lt_spool *s, uint64_t seq)
{
	lock(s);
	seq = lt_ranges_missing(&s->gone, seq);
	if (seq >= s->next_seq)
		seq = 0;
	unlock(s);
	return seq;
}

/* ---- figures ---- */

enum lt_spool_doubt lt_spool_doubt(struct lt_spool *s)
{
	enum lt_spool_doubt d;

	lock(s);
	d = s->doubt;
	unlock(s);
	return d;
}

const char *lt_spool_doubt_name(enum lt_spool_doubt d)
{
	static const char *const names[] = {"none", "no spool was there", "the head was damaged",
		"written on another machine", "an older copy was put back",
		"the machine went down without closing it", "written by another source",
		"its numbers were used before"};

	return (size_t)d < LT_ARRAY_LEN(names) ? names[d] : "unknown";
}

uint64_t lt_spool_epoch(struct lt_spool *s)
{
	uint64_t v;

	lock(s);
	v = s->head.epoch;
	unlock(s);
	return v;
}

uint64_t lt_spool_next_seq(struct lt_spool *s)
{
	uint64_t v;

	lock(s);
	v = s->next_seq;
	unlock(s);
	return v;
}

static uint64_t oldest(const struct lt_spool *s)
{
	uint64_t seq = lt_ranges_missing(&s->gone, 1);

	return seq < s->next_seq ? seq : 0;
}

uint64_t lt_spool_oldest(struct lt_spool *s)
{
	uint64_t v;

	lock(s);
	v = oldest(s);
	unlock(s);
	return v;
}

uint64_t lt_spool_issued(struct lt_spool *s)
{
	uint64_t v;

	lock(s);
	v = head_get(&s->head, HEAD_ISSUED);
	unlock(s);
	return v;
}

uint64_t lt_spool_base(struct lt_spool *s)
{
	uint64_t v;

	lock(s);
	v = s->base;
	unlock(s);
	return v;
}

void lt_spool_info(struct lt_spool *s, struct lt_spool_info *out)
{
	lock(s);
	*out = s->info;
	out->epoch = s->head.epoch;
	out->next_seq = s->next_seq;
	out->oldest_seq = oldest(s);
	out->issued = head_get(&s->head, HEAD_ISSUED);
	out->held = s->next_seq - 1 - lt_ranges_count(&s->gone, 1, s->next_seq - 1);
	out->memory_bytes = s->mem_bytes;
	out->segments = s->n_segments;
	for (size_t i = 0; i < s->n_segments; i++)
		out->disk_bytes += s->segments[i].bytes;
	unlock(s);
}

/* ---- metrics: one callback a figure ---- */

#define FIGURE(name)                                        \
	static double figure_##name(void *p)                \
	{                                                   \
		struct lt_spool_info info;                  \
                                                            \
		lt_spool_info((struct lt_spool *)p, &info); \
		return (double)info.name;                   \
	}

FIGURE(held)
FIGURE(memory_bytes)
FIGURE(disk_bytes)
FIGURE(segments)
FIGURE(written)
FIGURE(syncs)
FIGURE(write_errors)
FIGURE(read_errors)
FIGURE(dropped_disk)
FIGURE(dropped_memory)
FIGURE(dropped_size)
FIGURE(damaged)

static double figure_max_bytes(void *p)
{
	return (double)((struct lt_spool *)p)->opt.max_bytes;
}

static double figure_memory_max_bytes(void *p)
{
	return (double)((struct lt_spool *)p)->opt.memory_bytes;
}

void lt_spool_stats(struct lt_spool *s)
{
	static const struct {
		const char *name, *reason, *help;
		double (*fn)(void *p);
	} rows[] = {
		{"latido_spool_records", NULL, "Records held: not done.", figure_held},
		{"latido_spool_disk_bytes", NULL, "Size on disk.", figure_disk_bytes},
		{"latido_spool_disk_max_bytes", NULL, "Bound of the size on disk.",
			figure_max_bytes},
		{"latido_spool_segments", NULL, "Segment files.", figure_segments},
		{"latido_spool_memory_bytes", NULL, "Memory of records that are not written yet.",
			figure_memory_bytes},
		{"latido_spool_memory_max_bytes", NULL, "Bound of that memory.",
			figure_memory_max_bytes},
		{"latido_spool_written_total", NULL, "Records written to disk.", figure_written},
		{"latido_spool_syncs_total", NULL, "Times that the disk was made to keep them.",
			figure_syncs},
		{"latido_spool_errors_total", "write", "Failed operations on the disk.",
			figure_write_errors},
		{"latido_spool_errors_total", "read", "Failed operations on the disk.",
			figure_read_errors},
		{"latido_spool_dropped_total", "disk_full",
			"Records lost, by the bound that was reached.", figure_dropped_disk},
		{"latido_spool_dropped_total", "memory_full",
			"Records lost, by the bound that was reached.", figure_dropped_memory},
		{"latido_spool_dropped_total", "too_large",
			"Records lost, by the bound that was reached.", figure_dropped_size},
		{"latido_spool_dropped_total", "damaged",
			"Records lost, by the bound that was reached.", figure_damaged},
	};
	/* The table and its labels outlive the spool: /metrics may be read until the end. */
	struct lt_stat *table = lt_calloc(LT_ARRAY_LEN(rows), sizeof(*table));
	static struct lt_arena texts;

	for (size_t i = 0; i < LT_ARRAY_LEN(rows); i++) {
		struct lt_buf text = {0};

		lt_buf_printf(&text, "spool=\"%s\"", s->opt.name);
		if (rows[i].reason)
			lt_buf_printf(&text, ",%s=\"%s\"",
				strstr(rows[i].name, "errors") ? "operation" : "reason",
				rows[i].reason);
		table[i] = (struct lt_stat){rows[i].name,
			strstr(rows[i].name, "_total") ? LT_STAT_COUNTER_FN : LT_STAT_GAUGE_FN,
			lt_arena_str(&texts, text.data, text.len), rows[i].help, s, rows[i].fn};
		lt_buf_fini(&text);
	}
	s->stats = table;
	lt_stats_add(table, LT_ARRAY_LEN(rows));
}

/* ---- waiting for the disk ---- */

static struct timespec until(int64_t mono_ns)
{
	return (struct timespec){.tv_sec = mono_ns / LT_NS_PER_S, .tv_nsec = mono_ns % LT_NS_PER_S};
}

bool lt_spool_sync(struct lt_spool *s, int64_t timeout_ms)
{
	struct timespec deadline = until(lt_mono_ns() + timeout_ms * LT_NS_PER_MS);
	bool done;

	lock(s);
	s->sync_wanted = true;
	pthread_cond_signal(&s->work);
	while (s->mem || s->sync_wanted || s->running)
		if (pthread_cond_timedwait(&s->idle, &s->lock, &deadline) == ETIMEDOUT)
			break;
	done = !s->mem && !s->sync_wanted;
	unlock(s);
	return done;
}
