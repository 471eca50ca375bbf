/* SPDX-License-Identifier: MIT */
#include "top.h"

#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "latido/clock.h"

/* struct process - comm: where its name begins in the arena of its scan */
struct process {
	uint64_t pid, start_ticks, cpu_ns, rss_bytes;
	size_t comm;
	double ratio; /* below 0: unknown */
};

struct scan {
	struct process *v;
	size_t n, cap;
	struct lt_buf names; /* each with its NUL */
	int64_t mono_ns;
};

struct lt_top {
	const struct lt_agent_conf *conf;
	uint64_t ticks_per_s, page_bytes;
	struct lt_procfile tasks;
	struct scan now, before;
	struct lt_buf name, quoted;
	const struct process **best;
	bool taken;
};

const struct lt_metric lt_top_metrics[LT_TOP_METRICS] = {
	{"latido_process_cpu_ratio", LT_KIND_GAUGE,
		"CPU time a second of the processes that use most, in CPUs."},
	{"latido_process_resident_memory_bytes", LT_KIND_GAUGE,
		"Resident memory of the processes that have most."},
};

struct lt_top *lt_top_new(const struct lt_agent_conf *conf)
{
	struct lt_top *t = lt_calloc(1, sizeof(*t));
	long ticks = sysconf(_SC_CLK_TCK), page = sysconf(_SC_PAGESIZE);

	t->conf = conf;
	t->ticks_per_s = ticks > 0 ? (uint64_t)ticks : 100;
	t->page_bytes = page > 0 ? (uint64_t)page : 4096;
	t->best = lt_calloc((size_t)conf->processes_top, sizeof(const struct process *));
	lt_procfile_init(&t->tasks, lt_collect_path(conf->procfs, "latido/tasks"), false);
	return t;
}

static void scan_fini(struct scan *s)
{
	free(s->v);
	lt_buf_fini(&s->names);
}

void lt_top_free(struct lt_top *t)
{
	if (!t)
		return;
	lt_procfile_fini(&t->tasks);
	scan_fini(&t->now);
	scan_fini(&t->before);
	lt_buf_fini(&t->name);
	lt_buf_fini(&t->quoted);
	free(t->best);
	free(t);
}

bool lt_top_due(const struct lt_top *t, int64_t mono_ns)
{
	/* half a tick early is nearer than half a tick late */
	return !t->taken ||
	       mono_ns - t->now.mono_ns >= t->conf->processes_interval_ms * LT_NS_PER_MS -
						   t->conf->interval_ms * LT_NS_PER_MS / 2;
}

/* ---- scanning ---- */

static void add(struct scan *s, const struct process *p, const struct lt_buf *name)
{
	if (s->n == s->cap) {
		s->cap = s->cap ? 2 * s->cap : 256;
		s->v = lt_realloc(s->v, s->cap * sizeof(*s->v));
	}
	s->v[s->n] = *p;
	s->v[s->n++].comm = s->names.len;
	lt_buf_add(&s->names, name->data ? name->data : "", name->len);
	lt_buf_char(&s->names, '\0');
}

/* Return: false: there is no such file, it may not be read, or it is not understood. */
static bool scan_tasks(struct lt_top *t)
{
	struct lt_token line;
	const char *cursor;
	int rc;

	if (t->conf->kmod == LT_KMOD_OFF)
		return false;
	rc = lt_procfile_read(&t->tasks, NULL);
	if (rc == LT_EIO) /* the module was unloaded since the last read: it may be back */
		rc = lt_procfile_read(&t->tasks, NULL);
	if (rc != LT_OK)
		return false;
	for (cursor = t->tasks.buf; lt_scan_line(&cursor, &line);) {
		struct lt_kmod_task task;

		if (!lt_kmod_task(line.p, &task, &t->name))
			return false;
		add(&t->now,
			&(struct process){.pid = task.pid,
				/* in the units of /proc, for either may be read next time */
				.start_ticks = task.start_ns / (1000000000 / t->ticks_per_s),
				.cpu_ns = task.cpu_ns,
				.rss_bytes = task.rss_bytes},
			&t->name);
	}
	return t->now.n > 0;
}

/* "PID (comm) S ..." where comm may hold anything. */
static bool parse_stat(struct lt_top *t, const char *text, size_t len, struct process *p)
{
	const char *open = memchr(text, '(', len), *close = memrchr(text, ')', len);
	uint64_t utime = 0, stime = 0;
	struct lt_token line, word;
	bool ok = open && close > open;

	if (!ok || !lt_token_u64((struct lt_token){text, (size_t)(open - text - 1)}, &p->pid))
		return false;
	line = (struct lt_token){close + 1, len - (size_t)(close + 1 - text)};
	for (int field = 3; field <= 24 && ok; field++) {
		ok = lt_scan_word(&line, &word);
		if (field == 14)
			ok = ok && lt_token_u64(word, &utime);
		else if (field == 15)
			ok = ok && lt_token_u64(word, &stime);
		else if (field == 22)
			ok = ok && lt_token_u64(word, &p->start_ticks);
		else if (field == 24)
			ok = ok && lt_token_u64(word, &p->rss_bytes);
	}
	p->cpu_ns = (utime + stime) * (1000000000 / t->ticks_per_s);
	p->rss_bytes *= t->page_bytes;
	/* As the module shows a name: what is not UTF-8 is replaced. */
	lt_buf_reset(&t->quoted);
	lt_buf_reset(&t->name);
	lt_buf_json_str(&t->quoted, open + 1, (size_t)(close - open - 1));
	return ok && lt_kmod_string(t->quoted.data, &t->name);
}

static int scan_proc(struct lt_top *t, struct lt_err *err)
{
	DIR *d = opendir(t->conf->procfs);
	struct dirent *e;

	if (!d)
		return lt_fail(err, LT_EIO, LT_CLS_RETRY, "top.sample", "%s: %s", t->conf->procfs,
			strerror(errno));
	while ((e = readdir(d))) {
		char path[32], text[1024];
		struct process p = {0};
		ssize_t n;
		int fd;

		if (!isdigit((unsigned char)e->d_name[0]))
			continue;
		snprintf(path, sizeof(path), "%.20s/stat", e->d_name);
		fd = openat(dirfd(d), path, O_RDONLY | O_CLOEXEC);
		if (fd < 0)
			continue; /* it has ended */
		n = read(fd, text, sizeof(text));
		close(fd);
		if (n > 0 && parse_stat(t, text, (size_t)n, &p))
			add(&t->now, &p, &t->name);
	}
	closedir(d);
	return LT_OK;
}

static int by_pid(const void *a, const void *b)
{
	const struct process *x = a, *y = b;

	return x->pid < y->pid ? -1 : x->pid > y->pid;
}

/* Both scans are sorted by pid. */
static void compute_ratios(struct lt_top *t)
{
	double seconds = (double)(t->now.mono_ns - t->before.mono_ns) / 1e9;
	size_t j = 0;

	for (size_t i = 0; i < t->now.n; i++) {
		struct process *p = &t->now.v[i];
		const struct process *q;

		p->ratio = -1;
		while (j < t->before.n && t->before.v[j].pid < p->pid)
			j++;
		if (j == t->before.n || seconds <= 0)
			continue;
		q = &t->before.v[j];
		if (q->pid == p->pid && q->start_ticks == p->start_ticks)
			p->ratio = p->cpu_ns > q->cpu_ns
					   ? (double)(p->cpu_ns - q->cpu_ns) / 1e9 / seconds
					   : 0;
	}
}

/* ---- ranking ---- */

static double memory(const struct process *p)
{
	return (double)p->rss_bytes;
}

static double cpu(const struct process *p)
{
	return p->ratio;
}

/* Equal ones by pid, so that the choice does not waver. */
static size_t rank(struct lt_top *t, double (*key)(const struct process *p))
{
	size_t n = 0, max = (size_t)t->conf->processes_top;

	for (size_t i = 0; i < t->now.n; i++) {
		const struct process *p = &t->now.v[i];
		size_t at = n;

		if (key(p) <= 0)
			continue;
		while (at > 0 && key(t->best[at - 1]) < key(p))
			at--;
		if (at == max)
			continue;
		n += n < max;
		memmove(t->best + at + 1, t->best + at, (n - at - 1) * sizeof(*t->best));
		t->best[at] = p;
	}
	return n;
}

static void emit(struct lt_top *t, struct lt_snapshot *out, const struct lt_metric *m,
	double (*key)(const struct process *p))
{
	static const char *const keys[] = {"comm", "pid"};
	size_t n = rank(t, key);

	lt_snapshot_family(out, m->name, m->kind, keys, 2);
	for (size_t i = 0; i < n; i++) {
		const struct process *p = t->best[i];
		char pid[24];

		snprintf(pid, sizeof(pid), "%llu", (unsigned long long)p->pid);
		lt_snapshot_row(
			out, (const char *const[]){t->now.names.data + p->comm, pid}, key(p));
	}
}

int lt_top_sample(struct lt_top *t, struct lt_snapshot *out, struct lt_event *e, struct lt_err *err)
{
	struct scan swap = t->before;
	int rc = LT_OK;

	t->before = t->now;
	t->now = swap;
	t->now.n = 0;
	lt_buf_reset(&t->now.names);
	t->now.mono_ns = lt_mono_ns();
	e->time_ns = lt_wall_ns();
	t->taken = true;
	if (!scan_tasks(t)) {
		t->now.n = 0;
		lt_buf_reset(&t->now.names);
		rc = scan_proc(t, err);
	}
	if (rc != LT_OK)
		return rc;
	if (t->now.n)
		qsort(t->now.v, t->now.n, sizeof(*t->now.v), by_pid);
	compute_ratios(t);
	lt_snapshot_begin(out);
	emit(t, out, &lt_top_metrics[0], cpu);
	emit(t, out, &lt_top_metrics[1], memory);
	return lt_snapshot_event(out, e, err);
}
