/* SPDX-License-Identifier: MIT */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "latido/clock.h"
#include "spool_int.h"

/*
 * The spool's thread: writes what is in memory, reads ahead, syncs, deletes. It holds the lock
 * while it decides and gives it up while it waits for the disk; s->running says so.
 */

#define WRITE_MAX_BYTES (1u << 20)
#define RETRY_MS        1000
#define READ_TRIES      5
#define PIECE_BYTES     (64u << 10)
#define AGE_CHECK_NS    LT_NS_PER_S

static int64_t retry_ns(const struct lt_spool *s)
{
	int64_t wait_ms = s->opt.retry_ms ? s->opt.retry_ms : RETRY_MS;

	return lt_mono_ns() + wait_ms * LT_NS_PER_MS;
}

/* ---- writing ---- */

static struct segment *active(struct lt_spool *s)
{
	return s->active_fd >= 0 && s->n_segments ? &s->segments[s->n_segments - 1] : NULL;
}

static void close_active(struct lt_spool *s)
{
	if (s->active_fd >= 0)
		close(s->active_fd);
	s->active_fd = -1;
	context_put(s->active_context);
	s->active_context = NULL;
}

/* With the lock; gives it up. Return: errno or 0. */
int spool_new_segment(struct lt_spool *s, uint64_t first_seq, struct lt_err *err)
{
	uint8_t bytes[SEG_HEADER_BYTES];
	struct seg_header h = {.epoch = s->head.epoch,
		.first_seq = first_seq,
		.machine = s->head.machine,
		.created_ns = lt_wall_ns()};
	char name[64];
	ssize_t n;
	int fd, problem = 0;

	strcpy(h.source, s->head.source);
	close_active(s);
	seg_header_write(&h, bytes);
	seg_name(name, h.epoch, first_seq);
	pthread_mutex_unlock(&s->lock);
	fd = openat(s->dir_fd, name, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
	if (fd < 0) {
		problem = errno;
	} else {
		n = s->io.write(fd, bytes, sizeof(bytes), 0);
		if (n != (ssize_t)sizeof(bytes)) {
			problem = n < 0 ? errno : ENOSPC;
			close(fd);
			unlinkat(s->dir_fd, name, 0);
		} else if (s->opt.sync != LT_SPOOL_NEVER) {
			fsync(s->dir_fd);
		}
	}
	pthread_mutex_lock(&s->lock);
	if (problem)
		return lt_fail(err, LT_EIO, LT_CLS_RETRY, "spool.write", "%s: %s", name,
			strerror(problem));
	if (s->n_segments == s->segments_cap) {
		s->segments_cap = s->segments_cap ? 2 * s->segments_cap : 16;
		s->segments = lt_realloc(s->segments, s->segments_cap * sizeof(*s->segments));
	}
	s->segments[s->n_segments++] = (struct segment){.first_seq = first_seq,
		.last_seq = first_seq - 1,
		.bytes = sizeof(bytes),
		.last_mono_ns = lt_mono_ns()};
	s->active_fd = fd;
	return LT_OK;
}

static void remove_segment(struct lt_spool *s, size_t i)
{
	s->n_segments--;
	memmove(s->segments + i, s->segments + i + 1, (s->n_segments - i) * sizeof(*s->segments));
}

void spool_unlink(struct lt_spool *s, uint64_t epoch, uint64_t first_seq)
{
	char name[64];

	seg_name(name, epoch, first_seq);
	unlinkat(s->dir_fd, name, 0);
}

/* With the lock; the oldest one that is not being written to. */
void spool_drop_oldest(struct lt_spool *s, uint64_t *counter, const char *why)
{
	struct segment seg = s->segments[0];
	uint64_t epoch = s->head.epoch;

	if (s->n_segments == 1)
		close_active(s);
	remove_segment(s, 0);
	spool_lose(s, seg.first_seq, seg.last_seq, counter, why);
	pthread_mutex_unlock(&s->lock);
	spool_unlink(s, epoch, seg.first_seq);
	pthread_mutex_lock(&s->lock);
}

static size_t disk_bytes(const struct lt_spool *s)
{
	size_t n = 0;

	for (size_t i = 0; i < s->n_segments; i++)
		n += s->segments[i].bytes;
	return n;
}

/* Writes into the active segment and remembers where a torn end begins if it fails. */
static int write_out(struct lt_spool *s, size_t at)
{
	size_t done = 0;

	while (done < s->out.len) {
		ssize_t n = s->io.write(
			s->active_fd, s->out.data + done, s->out.len - done, (off_t)(at + done));

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0) {
			int problem = n < 0 ? errno : ENOSPC;

			if (ftruncate(s->active_fd, (off_t)at) < 0)
				return problem; /* overwritten by the next try, or cut on open */
			return problem;
		}
		done += (size_t)n;
	}
	return 0;
}

static void write_failed(struct lt_spool *s, const char *text)
{
	s->info.write_errors++;
	s->write_failures++;
	s->write_retry_ns = retry_ns(s);
	lt_complain(&s->write_complaint, LT_ERROR, "spool_write_failed", LT_S("spool", s->opt.name),
		LT_S("dir", s->dir), LT_U("memory_bytes", s->mem_bytes), LT_S("err", text),
		LT_S("remedy", "records are kept in memory as far as it goes; make room on the "
			       "disk"));
}

/* What does not fit any more is made room for, oldest first. */
static bool make_room(struct lt_spool *s, size_t more)
{
	bool dropped = false;

	while (s->n_segments && disk_bytes(s) + more > (size_t)s->opt.max_bytes) {
		spool_drop_oldest(s, &s->info.dropped_disk, "the spool is full");
		dropped = true;
	}
	return dropped;
}

/* With the lock. */
static void write_batch(struct lt_spool *s)
{
	struct mem_record *last = NULL, *first = s->mem;
	const struct context *context;
	struct lt_err err;
	struct segment *seg = active(s);
	uint64_t records = 0, first_seq = first->seq;
	size_t at;
	int problem;

	if (seg && seg->bytes >= s->segment_bytes) {
		close_active(s);
		seg = NULL;
	}
	if (make_room(s, SEG_HEADER_BYTES + 2 * SEG_RECORD_BYTES + first->size +
				 (first->context ? first->context->size : 0)))
		return; /* the lock was given up */
	if (!active(s)) {
		if (spool_new_segment(s, first_seq, &err) != LT_OK) {
			write_failed(s, err.msg);
			return;
		}
		if (!s->mem || s->mem->seq != first_seq) /* done meanwhile: the next turn */
			return;
	}
	seg = active(s);
	at = seg->bytes;
	context = s->active_context;
	lt_buf_reset(&s->out);
	for (struct mem_record *r = first; r; r = r->next) {
		if (last && (at + s->out.len >= s->segment_bytes || s->out.len >= WRITE_MAX_BYTES))
			break;
		if (r->context != context) {
			seg_record_write(&s->out, true, r->seq, r->time_ns,
				r->context ? (const void *)r->context->bytes : "",
				r->context ? r->context->size : 0);
			context = r->context;
		}
		seg_record_write(&s->out, false, r->seq, r->time_ns, r->data, r->size);
		last = r;
		records++;
	}
	s->busy_end = last;
	pthread_mutex_unlock(&s->lock);
	problem = write_out(s, at);
	pthread_mutex_lock(&s->lock);
	s->busy_end = NULL;
	if (problem) {
		write_failed(s, strerror(problem));
		return;
	}
	s->write_failures = 0;
	lt_release(&s->write_complaint, "spool_writes_again", LT_S("spool", s->opt.name));
	seg = active(s);
	seg->bytes = at + s->out.len;
	seg->last_seq = last->seq;
	seg->last_mono_ns = lt_mono_ns();
	s->info.written += records;
	head_set(&s->head, HEAD_ASSIGNED, last->seq);
	if (last->context)
		last->context->refs++;
	context_put(s->active_context);
	s->active_context = last->context;
	while (records--)
		spool_forget_mem(s, &s->mem);
	s->dirty = true;
	if (s->out.cap > 2 * WRITE_MAX_BYTES)
		lt_buf_fini(&s->out);
}

/* With the lock. */
static void sync_active(struct lt_spool *s)
{
	int fd = s->active_fd, rc = 0;

	s->dirty = false;
	s->synced_ns = lt_mono_ns();
	if (fd < 0)
		return;
	pthread_mutex_unlock(&s->lock);
	rc = s->io.sync(fd);
	pthread_mutex_lock(&s->lock);
	if (rc == 0) {
		s->info.syncs++;
		return;
	}
	/*
	 * The kernel may have thrown the pages away (fsyncgate): what was written is in doubt, and
	 * trying again would seem to work. The next records go to another file; these stay listed.
	 */
	write_failed(s, strerror(errno));
	close_active(s);
}

/* ---- reading ---- */

void loaded_fini(struct loaded *l)
{
	lt_buf_fini(&l->bytes);
	free(l->records);
	memset(l, 0, sizeof(*l));
}

static void index_loaded(struct loaded *l)
{
	struct seg_record r;

	while (seg_next(&l->parser, (const uint8_t *)l->bytes.data, l->bytes.len, &r)) {
		if (l->n == l->cap) {
			l->cap = l->cap ? 2 * l->cap : 256;
			l->records = lt_realloc(l->records, l->cap * sizeof(*l->records));
		}
		l->records[l->n++] = r;
	}
}

/*
 * Without the lock: the part of @seg that @into does not have yet. @skip_bad: zeros stand for what
 * cannot be read. Return: errno or 0.
 */
int spool_load(struct lt_spool *s, const struct segment *seg, struct loaded *into, bool skip_bad)
{
	char name[64];
	int fd, problem = 0;

	if (into->first_seq != seg->first_seq || into->bytes.len > seg->bytes) {
		into->first_seq = seg->first_seq;
		into->n = 0;
		lt_buf_reset(&into->bytes);
		seg_parser_init(&into->parser);
	}
	seg_name(name, s->head.epoch, seg->first_seq);
	fd = openat(s->dir_fd, name, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		problem = errno;
	while (!problem && into->bytes.len < seg->bytes) {
		size_t want = seg->bytes - into->bytes.len;
		ssize_t n;

		if (want > PIECE_BYTES)
			want = PIECE_BYTES;
		n = s->io.read(fd, lt_buf_room(&into->bytes, want), want, (off_t)into->bytes.len);
		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0 && !skip_bad) {
			problem = n < 0 ? errno : ENODATA;
		} else {
			if (n <= 0) {
				memset(into->bytes.data + into->bytes.len, 0, want);
				n = (ssize_t)want;
			}
			into->bytes.len += (size_t)n;
		}
	}
	if (fd >= 0)
		close(fd);
	if (problem && skip_bad) { /* not even opened */
		into->parser.at = seg->bytes;
		return 0;
	}
	if (!problem)
		index_loaded(into);
	return problem;
}

/* What a segment should hold and does not is lost. */
static void note_damage(struct lt_spool *s, const struct segment *seg, const struct loaded *l)
{
	uint64_t seq = seg->first_seq;

	for (size_t i = 0; i <= l->n; i++) {
		uint64_t end = i < l->n ? l->records[i].seq : seg->last_seq + 1;

		if (seq < end)
			spool_lose(s, seq, end - 1, &s->info.damaged, "damaged on disk");
		seq = end + 1;
	}
}

static struct segment *segment_of(struct lt_spool *s, uint64_t seq)
{
	for (size_t i = 0; i < s->n_segments; i++)
		if (s->segments[i].first_seq <= seq && seq <= s->segments[i].last_seq)
			return &s->segments[i];
	return NULL;
}

static bool in_memory(const struct lt_spool *s, uint64_t seq)
{
	for (const struct mem_record *r = s->mem; r && r->seq <= seq; r = r->next)
		if (r->seq == seq)
			return true;
	return false;
}

/* With the lock: what lt_spool_read() waits for. */
static void read_ahead(struct lt_spool *s)
{
	struct segment *found = segment_of(s, s->want), seg;
	struct loaded l = s->loaded;
	uint64_t want = s->want;
	bool skip_bad = s->want_failures + 1 >= READ_TRIES;
	int problem;

	if (!found) {
		s->want = 0;
		if (want < s->next_seq && !in_memory(s, want))
			spool_lose(s, want, want, &s->info.damaged, "not on disk");
		return;
	}
	seg = *found;
	memset(&s->loaded, 0, sizeof(s->loaded));
	pthread_mutex_unlock(&s->lock);
	problem = spool_load(s, &seg, &l, skip_bad);
	pthread_mutex_lock(&s->lock);
	if (problem) {
		s->info.read_errors++;
		s->want_failures++;
		s->want_retry_ns = retry_ns(s);
		lt_complain(&s->read_complaint, LT_ERROR, "spool_read_failed",
			LT_S("spool", s->opt.name), LT_U("seq", want),
			LT_S("err", strerror(problem)));
		loaded_fini(&l);
		return;
	}
	s->want_failures = 0;
	lt_release(&s->read_complaint, "spool_reads_again", LT_S("spool", s->opt.name));
	note_damage(s, &seg, &l);
	s->loaded = l;
	if (s->want == want)
		s->want = 0;
}

/* ---- the thread ---- */

/* With the lock. Return: a segment nobody needs was deleted. */
static bool delete_done(struct lt_spool *s)
{
	for (size_t i = 0; i < s->n_segments; i++) {
		struct segment seg = s->segments[i];
		bool current = s->active_fd >= 0 && i + 1 == s->n_segments;

		if (lt_ranges_missing(&s->gone, seg.first_seq) <= seg.last_seq)
			continue;
		if (current && (s->mem || seg.bytes < s->segment_bytes / 2))
			continue;
		if (current)
			close_active(s);
		remove_segment(s, i);
		if (s->loaded.first_seq == seg.first_seq)
			loaded_fini(&s->loaded);
		pthread_mutex_unlock(&s->lock);
		spool_unlink(s, s->head.epoch, seg.first_seq);
		pthread_mutex_lock(&s->lock);
		return true;
	}
	if (s->loaded.first_seq && lt_ranges_missing(&s->gone, 1) >= s->next_seq)
		loaded_fini(&s->loaded); /* the backlog is over */
	return false;
}

static bool too_old(struct lt_spool *s, int64_t now_ns)
{
	if (!s->opt.max_age_ms || now_ns < s->age_check_ns)
		return false;
	if (s->n_segments &&
		now_ns - s->segments[0].last_mono_ns >= s->opt.max_age_ms * LT_NS_PER_MS) {
		spool_drop_oldest(s, &s->info.dropped_disk, "older than the limit");
		return true;
	}
	s->age_check_ns = now_ns + AGE_CHECK_NS;
	return false;
}

static int64_t sync_due_ns(const struct lt_spool *s)
{
	if (!s->dirty || s->opt.sync == LT_SPOOL_NEVER)
		return INT64_MAX;
	if (s->opt.sync == LT_SPOOL_ALWAYS)
		return 0;
	return s->synced_ns + s->opt.sync_interval_ms * LT_NS_PER_MS;
}

static int64_t min64(int64_t a, int64_t b)
{
	return a < b ? a : b;
}

/* With the lock. Return: false: nothing to do until *wake_ns. @told: ready() is to be called. */
static bool work(struct lt_spool *s, bool *told, int64_t *wake_ns)
{
	int64_t now_ns = lt_mono_ns();

	*wake_ns = INT64_MAX;
	if (sync_due_ns(s) <= now_ns || (s->sync_wanted && s->dirty && !s->mem)) {
		sync_active(s);
		return true;
	}
	if (s->mem && (now_ns >= s->write_retry_ns || s->quit)) {
		if (s->write_failures && now_ns < s->write_retry_ns) {
			*wake_ns = s->write_retry_ns;
		} else {
			write_batch(s);
			*told = true;
			return true;
		}
	}
	if (s->want && now_ns >= s->want_retry_ns) {
		read_ahead(s);
		*told = true;
		return true;
	}
	if (delete_done(s) || too_old(s, now_ns))
		return true;
	if (s->sync_wanted && !s->mem && !s->dirty)
		s->sync_wanted = false;
	if (s->mem)
		*wake_ns = min64(*wake_ns, s->write_retry_ns);
	if (s->want)
		*wake_ns = min64(*wake_ns, s->want_retry_ns);
	if (s->opt.max_age_ms)
		*wake_ns = min64(*wake_ns, s->age_check_ns);
	*wake_ns = min64(*wake_ns, sync_due_ns(s));
	return false;
}

static void wait_for_work(struct lt_spool *s, int64_t wake_ns)
{
	struct timespec until = {.tv_sec = wake_ns / LT_NS_PER_S, .tv_nsec = wake_ns % LT_NS_PER_S};

	s->running = false;
	pthread_cond_broadcast(&s->idle);
	if (wake_ns == INT64_MAX)
		pthread_cond_wait(&s->work, &s->lock);
	else
		pthread_cond_timedwait(&s->work, &s->lock, &until);
	s->running = true;
}

void *spool_thread(void *arg)
{
	struct lt_spool *s = arg;
	int64_t wake_ns;
	bool told;

	pthread_setname_np(pthread_self(), "spool");
	pthread_mutex_lock(&s->lock);
	s->running = true;
	for (;;) {
		told = false;
		if (s->paused) {
			wait_for_work(s, INT64_MAX);
			continue;
		}
		if (s->quit && (!s->mem || lt_mono_ns() >= s->quit_ns))
			break;
		if (!work(s, &told, &wake_ns)) {
			if (s->quit)
				wake_ns = min64(wake_ns, s->quit_ns);
			wait_for_work(s, wake_ns);
		}
		if (told && s->opt.ready) {
			pthread_mutex_unlock(&s->lock);
			s->opt.ready(s->opt.arg);
			pthread_mutex_lock(&s->lock);
		}
	}
	if (s->dirty)
		sync_active(s);
	close_active(s);
	s->running = false;
	pthread_cond_broadcast(&s->idle);
	pthread_mutex_unlock(&s->lock);
	return NULL;
}
