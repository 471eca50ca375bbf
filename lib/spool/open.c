/* SPDX-License-Identifier: MIT */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "latido/clock.h"
#include "spool_int.h"

#define SEGMENT_MIN_BYTES (64 << 10)
#define SEGMENT_MAX_BYTES (4 << 20)
/* One of them is in memory while a backlog is read: that is what an agent grows by then. */
#define SEGMENTS          512

static ssize_t sys_write(int fd, const void *p, size_t n, off_t at)
{
	return pwrite(fd, p, n, at);
}

static ssize_t sys_read(int fd, void *p, size_t n, off_t at)
{
	return pread(fd, p, n, at);
}

static const struct lt_spool_io system_io = {sys_write, sys_read, fdatasync};

/* ---- finding segments ---- */

struct found {
	uint64_t epoch, first_seq;
};

static int by_number(const void *a, const void *b)
{
	const struct found *x = a, *y = b;

	if (x->epoch != y->epoch)
		return x->epoch < y->epoch ? -1 : 1;
	return x->first_seq < y->first_seq ? -1 : x->first_seq > y->first_seq;
}

static int list_segments(int dir_fd, struct found **out, size_t *n, struct lt_err *err)
{
	int fd = openat(dir_fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	DIR *dir = fd >= 0 ? fdopendir(fd) : NULL;
	struct found f, *list = NULL;
	const struct dirent *d;
	size_t cap = 0;

	*n = 0;
	if (!dir) {
		if (fd >= 0)
			close(fd);
		return lt_fail(err, LT_EIO, LT_CLS_RETRY, "spool.open",
			"cannot list the spool's folder: %s", strerror(errno));
	}
	while ((d = readdir(dir))) {
		if (!seg_name_parse(d->d_name, &f.epoch, &f.first_seq))
			continue;
		if (*n == cap) {
			cap = cap ? 2 * cap : 32;
			list = lt_realloc(list, cap * sizeof(*list));
		}
		list[(*n)++] = f;
	}
	closedir(dir);
	if (*n)
		qsort(list, *n, sizeof(*list), by_number);
	*out = list;
	return LT_OK;
}

/* All of a file; what cannot be read is zeros. Return: false: it cannot be opened. */
static bool slurp(const struct lt_spool_io *io, int dir_fd, const char *name, struct lt_buf *out,
	bool *errors)
{
	struct stat st;
	int fd = openat(dir_fd, name, O_RDONLY | O_CLOEXEC);
	size_t at = 0, size;

	lt_buf_reset(out);
	if (fd < 0 || fstat(fd, &st) < 0 || st.st_size < 0) {
		if (fd >= 0)
			close(fd);
		return false;
	}
	size = (size_t)st.st_size;
	lt_buf_room(out, size);
	while (at < size) {
		size_t want = size - at < 65536 ? size - at : 65536;
		ssize_t n = io->read(fd, out->data + at, want, (off_t)at);

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0) {
			*errors = true;
			memset(out->data + at, 0, want);
			n = (ssize_t)want;
		}
		at += (size_t)n;
	}
	out->len = size;
	close(fd);
	return true;
}

static int cut_file(int dir_fd, const char *name, size_t size)
{
	int fd = openat(dir_fd, name, O_WRONLY | O_CLOEXEC), rc;

	if (fd < 0)
		return -1;
	rc = ftruncate(fd, (off_t)size);
	close(fd);
	return rc;
}

static void add_segment(struct lt_spool *s, const struct segment *seg)
{
	if (s->n_segments == s->segments_cap) {
		s->segments_cap = s->segments_cap ? 2 * s->segments_cap : 16;
		s->segments = lt_realloc(s->segments, s->segments_cap * sizeof(*s->segments));
	}
	s->segments[s->n_segments++] = *seg;
}

/* One segment of the present epoch: what it holds, minus its torn end. */
static void scan_segment(
	struct lt_spool *s, const struct found *f, struct lt_ranges *have, struct lt_buf *bytes)
{
	struct segment seg = {.first_seq = f->first_seq, .last_seq = f->first_seq - 1};
	int64_t age_ns = 0;
	struct seg_parser p;
	struct seg_record r;
	char name[64];
	bool errors = false;

	seg_name(name, f->epoch, f->first_seq);
	if (!slurp(&s->io, s->dir_fd, name, bytes, &errors)) {
		s->info.read_errors++;
		return;
	}
	s->info.read_errors += errors;
	seg_parser_init(&p);
	while (seg_next(&p, (const uint8_t *)bytes->data, bytes->len, &r)) {
		if (r.seq < seg.first_seq || r.seq >= UINT64_MAX / 2)
			continue;
		lt_ranges_add(have, r.seq, r.seq);
		seg.last_seq = r.seq;
		age_ns = lt_wall_ns() - r.time_ns;
	}
	seg.bytes = p.end;
	if (bytes->len > p.end && !errors) {
		s->info.cut_bytes += bytes->len - p.end;
		if (cut_file(s->dir_fd, name, p.end) < 0)
			s->info.write_errors++;
	}
	s->info.damaged += p.damaged;
	if (seg.last_seq < seg.first_seq) {
		spool_unlink(s, f->epoch, f->first_seq);
		return;
	}
	/* By the wall clock, which may have been set: never younger than new. */
	seg.last_mono_ns = lt_mono_ns() - (age_ns > 0 ? age_ns : 0);
	add_segment(s, &seg);
}

/* ---- open ---- */

static uint64_t now_us(void)
{
	int64_t ns = lt_wall_ns();

	return ns > 0 ? (uint64_t)(ns / LT_NS_PER_US) : 1;
}

static uint64_t epoch_above(uint64_t other)
{
	uint64_t now = now_us();

	return now > other ? now : other + 1;
}

/* The head, or a new one; segments of other epochs are leftovers of a renumbering. */
static int open_head(struct lt_spool *s, struct found *list, size_t *n, struct lt_err *err)
{
	uint64_t highest = *n ? list[*n - 1].epoch : 0, last = *n ? list[*n - 1].first_seq : 0;
	bool copied = false;
	size_t kept = 0;
	int rc = head_load(&s->head, s->dir_fd, &copied, err);
	uint64_t machine = machine_hash(s->opt.machine_id);

	if (rc == LT_EIO)
		return rc;
	if (rc != LT_OK) {
		s->doubt = rc == LT_EAGAIN && !*n ? LT_SPOOL_NEW : LT_SPOOL_DAMAGED;
		if (rc == LT_EDATA)
			lt_log(LT_ERROR, "spool_head_damaged", LT_S("dir", s->dir),
				LT_S("err", err ? err->msg : ""));
		head_close(&s->head);
		s->head.epoch = *n ? highest : epoch_above(0);
		s->head.machine = machine;
		strcpy(s->head.source, s->source);
		rc = head_create(&s->head, s->dir_fd, err);
		if (rc != LT_OK)
			return rc;
		if (*n) /* what is on disk may have been sent, and more than that */
			head_set(&s->head, HEAD_ISSUED, last - 1);
	} else if (head_get(&s->head, HEAD_DOUBT)) {
		s->doubt = (enum lt_spool_doubt)head_get(&s->head, HEAD_DOUBT);
	} else if (strcmp(s->head.source, s->source) != 0) {
		s->doubt = LT_SPOOL_RENAMED;
	} else if (s->head.machine != machine) {
		s->doubt = LT_SPOOL_MACHINE;
	} else if (copied) {
		s->doubt = LT_SPOOL_COPIED;
	} else if (!head_get(&s->head, HEAD_CLEAN) &&
		   head_get(&s->head, HEAD_BOOT) != boot_hash()) {
		s->doubt = LT_SPOOL_CRASHED;
	}
	for (size_t i = 0; i < *n; i++) {
		if (list[i].epoch == s->head.epoch)
			list[kept++] = list[i];
		else
			spool_unlink(s, list[i].epoch, list[i].first_seq);
	}
	*n = kept;
	/* Before anything is issued, the disk has to know that it is open. */
	head_set(&s->head, HEAD_CLEAN, 0);
	head_set(&s->head, HEAD_BOOT, boot_hash());
	head_set(&s->head, HEAD_DOUBT, s->doubt == LT_SPOOL_NEW ? 0 : (uint64_t)s->doubt);
	fdatasync(s->head.fd);
	return LT_OK;
}

int spool_scan(struct lt_spool *s, struct lt_err *err)
{
	struct lt_ranges have = {0};
	struct lt_buf bytes = {0};
	struct found *list = NULL;
	uint64_t last, done;
	size_t n;
	int rc = list_segments(s->dir_fd, &list, &n, err);

	if (rc == LT_OK)
		rc = open_head(s, list, &n, err);
	for (size_t i = 0; rc == LT_OK && i < n; i++)
		scan_segment(s, &list[i], &have, &bytes);
	free(list);
	lt_buf_fini(&bytes);
	if (rc == LT_OK) {
		last = lt_ranges_max(&have);
		done = head_get(&s->head, HEAD_DONE);
		if (s->doubt == LT_SPOOL_DAMAGED && last > head_get(&s->head, HEAD_ISSUED))
			head_set(&s->head, HEAD_ISSUED, last);
		if (head_get(&s->head, HEAD_ISSUED) > last)
			last = head_get(&s->head, HEAD_ISSUED);
		if (head_get(&s->head, HEAD_ASSIGNED) > last)
			last = head_get(&s->head, HEAD_ASSIGNED);
		if (done > last)
			last = done;
		s->next_seq = last + 1;
		s->base = head_get(&s->head, HEAD_ISSUED);
		lt_ranges_add(&s->gone, 0, last);
		for (size_t i = 0; i < have.n; i++)
			lt_ranges_remove(&s->gone, have.r[i].lo, have.r[i].hi);
		lt_ranges_add(&s->gone, 0, done);
	}
	lt_ranges_fini(&have);
	return rc;
}

static int make_dirs(const char *path, struct lt_err *err)
{
	char *copy = lt_strdup(path);

	for (char *p = copy + 1;; p++) {
		char c = *p;

		if (c && c != '/')
			continue;
		*p = '\0';
		if (mkdir(copy, 0700) < 0 && errno != EEXIST) {
			lt_fail(err, LT_ECONF, LT_CLS_CONFIG, "spool.open",
				"cannot make the folder %s: %s; give it to the program's user or "
				"name another",
				copy, strerror(errno));
			free(copy);
			return LT_ECONF;
		}
		*p = c;
		if (!c)
			break;
	}
	free(copy);
	return LT_OK;
}

static int open_dir(struct lt_spool *s, struct lt_err *err)
{
	int rc = make_dirs(s->dir, err);

	if (rc != LT_OK)
		return rc;
	s->dir_fd = open(s->dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (s->dir_fd >= 0)
		s->lock_fd = openat(s->dir_fd, "lock", O_RDWR | O_CREAT | O_CLOEXEC, 0600);
	if (s->lock_fd < 0)
		return lt_fail(err, LT_ECONF, LT_CLS_CONFIG, "spool.open",
			"cannot use the spool's folder %s: %s", s->dir, strerror(errno));
	if (flock(s->lock_fd, LOCK_EX | LOCK_NB) < 0)
		return lt_fail(err, LT_ECONF, LT_CLS_CONFIG, "spool.open",
			"the spool %s is in use by another process; give each program its own "
			"folder",
			s->dir);
	return LT_OK;
}

static int start_thread(struct lt_spool *s, struct lt_err *err)
{
	sigset_t all, old;
	int rc;

	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &old);
	rc = pthread_create(&s->thread, NULL, spool_thread, s);
	pthread_sigmask(SIG_SETMASK, &old, NULL);
	if (rc != 0)
		return lt_fail(err, LT_EIO, LT_CLS_FATAL, "spool.open", "cannot start a thread: %s",
			strerror(rc));
	s->started = true;
	return LT_OK;
}

static void destroy(struct lt_spool *s)
{
	while (s->mem)
		spool_forget_mem(s, &s->mem);
	context_put(s->last_context);
	context_put(s->active_context);
	if (s->active_fd >= 0)
		close(s->active_fd);
	loaded_fini(&s->loaded);
	lt_ranges_fini(&s->gone);
	lt_buf_fini(&s->out);
	head_close(&s->head);
	if (s->lock_fd >= 0)
		close(s->lock_fd);
	if (s->dir_fd >= 0)
		close(s->dir_fd);
	pthread_mutex_destroy(&s->lock);
	pthread_cond_destroy(&s->work);
	pthread_cond_destroy(&s->idle);
	free(s->segments);
	free(s->dir);
	free(s->source);
	free(s->stats);
	free(s);
}

int lt_spool_open(struct lt_spool **out, const struct lt_spool_options *opt, struct lt_err *err)
{
	struct lt_spool *s = lt_calloc(1, sizeof(*s));
	pthread_condattr_t attr;
	int64_t part = opt->max_bytes / SEGMENTS;
	int rc;

	*out = NULL;
	s->opt = *opt;
	s->io = opt->io ? *opt->io : system_io;
	s->dir = lt_strdup(opt->dir);
	s->source = lt_strndup(opt->source, strnlen(opt->source, sizeof(s->head.source) - 1));
	s->dir_fd = s->lock_fd = s->active_fd = s->head.fd = -1;
	s->mem_end = &s->mem;
	if (opt->segment_bytes)
		part = opt->segment_bytes;
	else if (part > SEGMENT_MAX_BYTES)
		part = SEGMENT_MAX_BYTES;
	else if (part < SEGMENT_MIN_BYTES)
		part = SEGMENT_MIN_BYTES;
	s->segment_bytes = (size_t)part;
	pthread_mutex_init(&s->lock, NULL);
	pthread_condattr_init(&attr);
	pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
	pthread_cond_init(&s->work, &attr);
	pthread_cond_init(&s->idle, &attr);
	pthread_condattr_destroy(&attr);
	rc = open_dir(s, err);
	if (rc == LT_OK)
		rc = spool_scan(s, err);
	if (rc == LT_OK)
		rc = start_thread(s, err);
	if (rc != LT_OK) {
		destroy(s);
		return rc;
	}
	*out = s;
	return LT_OK;
}

size_t lt_spool_close(struct lt_spool *s, int64_t timeout_ms)
{
	size_t lost = 0;

	if (!s)
		return 0;
	pthread_mutex_lock(&s->lock);
	s->quit = true;
	s->quit_ns = lt_mono_ns() + timeout_ms * LT_NS_PER_MS;
	pthread_cond_signal(&s->work);
	pthread_mutex_unlock(&s->lock);
	pthread_join(s->thread, NULL);
	for (const struct mem_record *r = s->mem; r; r = r->next)
		lost++;
	/* Everything of it is on the disk before it says so. */
	if (!lost && fdatasync(s->head.fd) == 0) {
		head_set(&s->head, HEAD_ASSIGNED, s->next_seq - 1);
		head_set(&s->head, HEAD_CLEAN, 1);
		fdatasync(s->head.fd);
	}
	destroy(s);
	return lost;
}

/* ---- a new epoch ---- */

static void pause_thread(struct lt_spool *s)
{
	s->paused = true;
	pthread_cond_signal(&s->work);
	while (s->running)
		pthread_cond_wait(&s->idle, &s->lock);
}

struct mover {
	struct lt_buf out; /* of one new segment */
	struct segment *segs;
	size_t n, cap;
	uint64_t epoch, next_seq;
	struct lt_buf ctx_copy; /* in force */
};

/* Writes what is collected as one segment. Return: errno or 0. */
static int mover_flush(struct lt_spool *s, struct mover *m)
{
	struct segment *seg = m->n ? &m->segs[m->n - 1] : NULL;
	struct seg_header h = {.epoch = m->epoch, .machine = machine_hash(s->opt.machine_id)};
	uint8_t header[SEG_HEADER_BYTES];
	char name[64];
	int fd, problem = 0;
	size_t at = 0;

	if (!m->out.len)
		return 0;
	h.first_seq = seg->first_seq;
	h.created_ns = lt_wall_ns();
	strcpy(h.source, s->source);
	seg_header_write(&h, header);
	memcpy(m->out.data, header, sizeof(header));
	seg_name(name, h.epoch, h.first_seq);
	fd = openat(s->dir_fd, name, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
	if (fd < 0)
		return errno;
	while (!problem && at < m->out.len) {
		ssize_t n = s->io.write(fd, m->out.data + at, m->out.len - at, (off_t)at);

		if (n <= 0)
			problem = n < 0 ? errno : ENOSPC;
		else
			at += (size_t)n;
	}
	if (!problem && s->io.sync(fd) < 0)
		problem = errno;
	close(fd);
	if (problem)
		unlinkat(s->dir_fd, name, 0);
	seg->bytes = m->out.len;
	lt_buf_reset(&m->out);
	return problem;
}

static void mover_add(struct mover *m, int64_t time_ns, const void *data, size_t size,
	const void *ctx, size_t ctx_bytes)
{
	uint64_t seq = m->next_seq++;
	bool fresh = !m->out.len;

	if (fresh) {
		if (m->n == m->cap) {
			m->cap = m->cap ? 2 * m->cap : 16;
			m->segs = lt_realloc(m->segs, m->cap * sizeof(*m->segs));
		}
		m->segs[m->n++] = (struct segment){.first_seq = seq, .last_mono_ns = lt_mono_ns()};
		memset(lt_buf_room(&m->out, SEG_HEADER_BYTES), 0, SEG_HEADER_BYTES);
		m->out.len = SEG_HEADER_BYTES;
	}
	if (fresh || m->ctx_copy.len != ctx_bytes ||
		(ctx_bytes && memcmp(m->ctx_copy.data, ctx, ctx_bytes) != 0)) {
		if (ctx_bytes || !fresh)
			seg_record_write(
				&m->out, true, seq, time_ns, ctx_bytes ? ctx : "", ctx_bytes);
		lt_buf_reset(&m->ctx_copy);
		lt_buf_add(&m->ctx_copy, ctx, ctx_bytes);
	}
	seg_record_write(&m->out, false, seq, time_ns, data, size);
	m->segs[m->n - 1].last_seq = seq;
}

/* With the lock and the thread paused: copies every held record of the disk. */
static int move_all(struct lt_spool *s, struct mover *m)
{
	struct loaded l = {0};
	int problem = 0;

	for (size_t i = 0; !problem && i < s->n_segments; i++) {
		problem = spool_load(s, &s->segments[i], &l, true);
		for (size_t k = 0; !problem && k < l.n; k++) {
			const struct seg_record *r = &l.records[k];

			if (lt_ranges_contains(&s->gone, r->seq))
				continue;
			mover_add(m, r->time_ns, l.bytes.data + r->at, r->size,
				l.bytes.data + r->ctx, r->ctx_bytes);
			if (m->out.len >= s->segment_bytes)
				problem = mover_flush(s, m);
		}
	}
	if (!problem)
		problem = mover_flush(s, m);
	loaded_fini(&l);
	return problem;
}

int lt_spool_renumber(struct lt_spool *s, uint64_t after_epoch, struct lt_err *err)
{
	struct mover m = {.next_seq = 1};
	struct segment *old;
	size_t n_old;
	uint64_t old_epoch, moved;
	int problem, rc;

	pthread_mutex_lock(&s->lock);
	pause_thread(s);
	old_epoch = s->head.epoch;
	m.epoch = epoch_above(after_epoch > old_epoch ? after_epoch : old_epoch);
	problem = move_all(s, &m);
	if (problem) {
		/* Nothing has changed yet; the caller tries again when there is room. */
		for (size_t i = 0; i < m.n; i++)
			spool_unlink(s, m.epoch, m.segs[i].first_seq);
		s->info.write_errors++;
		rc = lt_fail(err, LT_EIO, LT_CLS_RETRY, "spool.renumber",
			"cannot copy the spool to a new epoch: %s", strerror(problem));
		goto out;
	}
	s->head.epoch = m.epoch;
	s->head.machine = machine_hash(s->opt.machine_id);
	memset(s->head.source, 0, sizeof(s->head.source));
	strcpy(s->head.source, s->source);
	rc = head_create(&s->head, s->dir_fd, err);
	if (rc != LT_OK) {
		s->head.epoch = old_epoch;
		for (size_t i = 0; i < m.n; i++)
			spool_unlink(s, m.epoch, m.segs[i].first_seq);
		goto out;
	}
	moved = m.next_seq - 1;
	head_set(&s->head, HEAD_BOOT, boot_hash());
	head_set(&s->head, HEAD_ASSIGNED, moved);
	fdatasync(s->head.fd);
	if (s->active_fd >= 0)
		close(s->active_fd);
	s->active_fd = -1;
	context_put(s->active_context);
	s->active_context = NULL;
	loaded_fini(&s->loaded);
	old = s->segments;
	n_old = s->n_segments;
	s->segments = m.segs;
	s->n_segments = m.n;
	s->segments_cap = m.cap;
	m.segs = NULL;
	for (struct mem_record *r = s->mem; r; r = r->next)
		r->seq = m.next_seq++;
	s->next_seq = m.next_seq;
	s->base = 0;
	s->want = 0;
	s->doubt = LT_SPOOL_TRUSTED;
	lt_ranges_clear(&s->gone);
	lt_ranges_add(&s->gone, 0, 0);
	for (size_t i = 0; i < n_old; i++)
		spool_unlink(s, old_epoch, old[i].first_seq);
	free(old);
out:
	s->paused = false;
	pthread_cond_signal(&s->work);
	pthread_mutex_unlock(&s->lock);
	free(m.segs);
	lt_buf_fini(&m.out);
	lt_buf_fini(&m.ctx_copy);
	return rc;
}

/* ---- looking at one ---- */

void lt_spool_report_fini(struct lt_spool_report *r)
{
	free(r->segments);
	memset(r, 0, sizeof(*r));
}

int lt_spool_inspect(const char *dir, struct lt_spool_report *out, struct lt_err *err)
{
	struct head h = {.fd = -1};
	struct lt_err head_err = {0};
	struct lt_buf bytes = {0};
	struct found *list = NULL;
	uint64_t fields[6];
	size_t n = 0;
	bool errors;
	int rc, fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	memset(out, 0, sizeof(*out));
	if (fd < 0)
		return lt_fail(err, LT_EIO, LT_CLS_CONFIG, "spool.inspect", "%s: %s", dir,
			strerror(errno));
	out->head_ok = head_read_only(&h, fd, fields, &head_err) == LT_OK;
	if (out->head_ok) {
		strcpy(out->source, h.source);
		out->epoch = h.epoch;
		out->issued = fields[HEAD_ISSUED];
		out->done_upto = fields[HEAD_DONE];
		out->clean = fields[HEAD_CLEAN] != 0;
	} else {
		snprintf(out->problem, sizeof(out->problem), "%.255s", head_err.msg);
	}
	rc = list_segments(fd, &list, &n, err);
	out->segments = lt_calloc(n ? n : 1, sizeof(*out->segments));
	for (size_t i = 0; rc == LT_OK && i < n; i++) {
		struct lt_spool_segment *seg = &out->segments[out->n];
		char name[64];

		seg_name(name, list[i].epoch, list[i].first_seq);
		errors = false;
		if (!slurp(&system_io, fd, name, &bytes, &errors))
			continue; /* deleted meanwhile */
		lt_spool_check(bytes.data, bytes.len, seg, NULL, NULL);
		strcpy(seg->name, name);
		seg->damaged += errors;
		out->n++;
	}
	free(list);
	lt_buf_fini(&bytes);
	close(fd);
	return rc;
}
