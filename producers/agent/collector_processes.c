/* SPDX-License-Identifier: MIT */
/*
 * Processes and threads by state. Reading the stat file of every process and thread is by far the
 * dearest part of a sample, so it is done every agent.processes_interval_ms only; between, the last
 * counts are shown again.
 *
 * Opening and closing costs more than reading (7 us against 3 us, Linux 6.18), so the files of the
 * first few hundred stay open. What is read from one that belongs to an ended process is ESRCH,
 * also when its number was given to another.
 */
#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "collector.h"
#include "latido/clock.h"

#define STATES 128

/* Shown even when there is none of them: otherwise each process that runs or sleeps for a moment
 * would make a new shape. Others join when they were seen once. */
static const char usual_states[] = "DIRSTZ";

struct counts {
	uint64_t pids, threads;
	uint64_t by_process[STATES], by_thread[STATES];
};

/* getdents64(2) into a buffer that is kept; opendir(3) would allocate 32 KiB a process. */
struct names {
	int fd;
	size_t len, off;
	_Alignas(struct dirent64) char buf[8192];
};

/* Files that stay open, by number of the process or thread: those are all different. A hash table
 * with open addressing. */
#define KEPT_PLACES 1024
#define KEPT_MAX    384
struct kept {
	struct kept_file {
		uint64_t id;
		int fd;
		uint32_t scan; /* that saw it last */
		bool used;
	} place[KEPT_PLACES];
	unsigned n, max;
};

struct state {
	int fd; /* of procfs */
	struct kept kept;
	uint32_t scan;
	struct lt_procfile threads_max, pid_max;
	struct names pids, tasks;
	struct counts c;
	double max_threads, max_pids;
	bool seen[STATES];
	bool scanned;
	int64_t scanned_ns;
};

static const struct lt_metric metrics[] = {
	{"node_processes_threads", LT_KIND_GAUGE, "Allocated threads in system"},
	{"node_processes_max_threads", LT_KIND_GAUGE, "Limit of threads in the system"},
	{"node_processes_pids", LT_KIND_GAUGE, "Number of PIDs"},
	{"node_processes_max_processes", LT_KIND_GAUGE, "Number of max PIDs limit"},
	{"node_processes_state", LT_KIND_GAUGE, "Number of processes in each state."},
	{"node_processes_threads_state", LT_KIND_GAUGE, "Number of threads in each state."},
};

static int init(void *state, struct lt_collect_env *env, struct lt_err *err)
{
	struct state *s = state;
	const char *root = env->conf->procfs;

	s->fd = -1;
	s->kept.max = env->files_max < KEPT_MAX ? env->files_max : KEPT_MAX;
	lt_procfile_init(&s->threads_max, lt_collect_path(root, "sys/kernel/threads-max"), true);
	lt_procfile_init(&s->pid_max, lt_collect_path(root, "sys/kernel/pid_max"), true);
	for (const char *p = usual_states; *p; p++)
		s->seen[(unsigned char)*p] = true;
	s->fd = open(root, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (s->fd < 0)
		return lt_fail(err, errno == ENOENT ? LT_EAGAIN : LT_EIO, LT_CLS_RETRY,
			"processes.init", "%s: %s", root, strerror(errno));
	return LT_OK;
}

/* Next name that is a number. NULL: end or failure (errno, 0 at the end). */
static const char *next_pid(struct names *d)
{
	for (;;) {
		const struct dirent64 *e;

		if (d->off >= d->len) {
			ssize_t n = getdents64(d->fd, d->buf, sizeof(d->buf));

			if (n <= 0) {
				errno = n < 0 ? errno : 0;
				return NULL;
			}
			d->len = (size_t)n;
			d->off = 0;
		}
		e = (const struct dirent64 *)(d->buf + d->off);
		d->off += e->d_reclen;
		if (isdigit((unsigned char)e->d_name[0]))
			return e->d_name;
	}
}

/* "PID (comm) S ..." where comm may hold anything: what counts is behind the last ')'. */
static bool parse(const char *text, size_t len, unsigned char *process_state, uint64_t *n_threads)
{
	const char *p = memrchr(text, ')', len);
	struct lt_token line, word;

	if (!p)
		return false;
	line = (struct lt_token){p + 1, len - (size_t)(p + 1 - text)};
	if (!lt_scan_word(&line, &word) || word.len != 1 || !isalpha((unsigned char)word.p[0]))
		return false;
	*process_state = (unsigned char)word.p[0];
	for (int field = 4; field <= 20; field++) /* num_threads is field 20 */
		if (!lt_scan_word(&line, &word))
			return false;
	return lt_token_u64(word, n_threads);
}

/* The place of @id, or an empty one. */
static struct kept_file *kept_find(struct kept *k, uint64_t id)
{
	size_t i = id * UINT64_C(0x9e3779b97f4a7c15) >> 54; /* KEPT_PLACES is 2^10 */

	while (k->place[i].used && k->place[i].id != id)
		i = (i + 1) % KEPT_PLACES;
	return &k->place[i];
}

/* Close what belongs to nobody any more, or all. */
static void kept_sweep(struct kept *k, uint32_t scan, bool all)
{
	struct kept_file live[KEPT_MAX];
	unsigned n = 0;

	for (size_t i = 0; i < KEPT_PLACES; i++) {
		struct kept_file *f = &k->place[i];

		if (!f->used)
			continue;
		if (all || f->scan != scan)
			close(f->fd);
		else
			live[n++] = *f;
	}
	if (n == k->n)
		return;
	memset(k->place, 0, sizeof(k->place));
	for (k->n = 0; k->n < n; k->n++)
		*kept_find(k, live[k->n].id) = live[k->n];
}

/*
 * The file @path below @dir, kept under @id or opened and kept if there is room. @fresh: what is
 * kept has turned out to be of one that has ended; open what has its number now.
 * Return: descriptor, or a negative errno. @keep: false: to be closed by the caller.
 */
static int kept_open(
	struct state *s, int dir, const char *path, uint64_t id, bool fresh, bool *keep)
{
	struct kept_file *f = kept_find(&s->kept, id);
	int fd;

	*keep = true;
	if (f->used && !fresh) {
		f->scan = s->scan;
		return f->fd;
	}
	fd = openat(dir, path, O_RDONLY | O_CLOEXEC);
	if (fd < 0) {
		if (f->used)
			f->scan = s->scan - 1; /* to be swept */
		return -errno;
	}
	if (f->used) {
		close(f->fd);
		f->fd = fd;
	} else if (s->kept.n < s->kept.max) {
		*f = (struct kept_file){id, fd, s->scan, true};
		s->kept.n++;
	} else {
		*keep = false;
	}
	return fd;
}

/* Return: bytes read, or a negative errno. */
static ssize_t read_text(
	struct state *s, int dir, const char *path, uint64_t id, char *text, size_t size)
{
	ssize_t n = 0;
	bool keep;

	for (int try = 0; try < 2; try++) {
		int fd = kept_open(s, dir, path, id, try > 0, &keep);

		if (fd < 0)
			return fd;
		n = pread(fd, text, size, 0);
		if (n < 0)
			n = -errno;
		if (!keep)
			close(fd);
		if (n != -ESRCH)
			break;
	}
	return n;
}

/* LT_EAGAIN: the process or thread has ended meanwhile. */
static int read_stat(struct state *s, int dir, const char *pid, unsigned char *process_state,
	uint64_t *n_threads, struct lt_err *err)
{
	char path[32], text[1024];
	ssize_t n;
	int e;

	snprintf(path, sizeof(path), "%.20s/stat", pid);
	n = read_text(s, dir, path, strtoull(pid, NULL, 10), text, sizeof(text));
	e = n < 0 ? (int)-n : 0;
	if (e == ENOENT || e == ESRCH || e == EACCES || e == ENOTDIR)
		return LT_EAGAIN;
	if (e)
		return lt_fail(
			err, LT_EIO, LT_CLS_RETRY, "processes.sample", "%s: %s", path, strerror(e));
	if (n == 0)
		return LT_EAGAIN;
	if (!parse(text, (size_t)n, process_state, n_threads))
		return lt_fail(err, LT_EDATA, LT_CLS_RETRY, "processes.sample",
			"%s: is not \"PID (name) STATE ...\"", path);
	return LT_OK;
}

/* The folder of a process's threads is kept like a file, under another number. */
#define TASKS (UINT64_C(1) << 63)

static int count_threads(struct state *s, const char *pid, unsigned char own, uint64_t n_threads,
	struct counts *c, struct lt_err *err)
{
	uint64_t id = strtoull(pid, NULL, 10) | TASKS;
	struct names *d = &s->tasks;
	uint64_t seen = 0;
	char path[32];
	const char *tid;
	int rc = LT_OK;
	bool keep;

	snprintf(path, sizeof(path), "%.20s/task", pid);
	for (int try = 0; try < 2 && seen == 0 && rc == LT_OK; try++) {
		d->fd = kept_open(s, s->fd, path, id, try > 0, &keep);
		d->len = d->off = 0;
		if (d->fd < 0)
			return LT_OK; /* ended */
		(void)lseek(d->fd, 0, SEEK_SET);
		/* as many as stat said: that spares the call that finds no more */
		while (seen < n_threads && (tid = next_pid(d))) {
			unsigned char thread_state = own;
			uint64_t ignored;

			seen++;
			if (strcmp(tid, pid) != 0)
				rc = read_stat(s, d->fd, tid, &thread_state, &ignored, err);
			if (rc == LT_OK)
				c->by_thread[thread_state]++;
			else if (rc != LT_EAGAIN)
				break;
			rc = LT_OK;
		}
		if (!keep)
			close(d->fd);
	}
	return rc;
}

static int scan(struct state *s, struct lt_err *err)
{
	struct counts c = {0};
	const char *pid;

	s->scan++;
	s->pids.fd = s->fd;
	s->pids.len = s->pids.off = 0;
	if (lseek(s->fd, 0, SEEK_SET) < 0)
		return lt_fail(err, LT_EIO, LT_CLS_RETRY, "processes.sample", "rewind: %s",
			strerror(errno));
	while ((pid = next_pid(&s->pids))) {
		unsigned char process_state;
		uint64_t n_threads;
		int rc = read_stat(s, s->fd, pid, &process_state, &n_threads, err);

		if (rc == LT_EAGAIN)
			continue;
		if (rc != LT_OK)
			return rc;
		c.pids++;
		c.threads += n_threads;
		c.by_process[process_state]++;
		if (n_threads == 1)
			c.by_thread[process_state]++;
		else if ((rc = count_threads(s, pid, process_state, n_threads, &c, err)) != LT_OK)
			return rc;
	}
	if (errno != 0)
		return lt_fail(err, LT_EIO, LT_CLS_RETRY, "processes.sample", "getdents64: %s",
			strerror(errno));
	if (c.pids == 0)
		return lt_fail(err, LT_EDATA, LT_CLS_RETRY, "processes.sample",
			"no process to be seen: not a procfs, or mounted with hidepid");
	kept_sweep(&s->kept, s->scan, false);
	s->c = c;
	return LT_OK;
}

/* From latido_procs.ko, which needs no walk. Return: false: not there, or not understood. */
static bool read_kmod(struct state *s, struct lt_collect_env *env)
{
	const char *text = lt_kmod_read(&env->kmod, LT_KMOD_PROCS, env->tick);
	struct counts c = {0};

	if (!text)
		return false;
	if (!lt_kmod_u64(text, "total_procesos", &c.pids) || c.pids == 0 ||
		!lt_kmod_u64(text, "threads", &c.threads) ||
		!lt_kmod_states(text, "states", c.by_process) ||
		!lt_kmod_states(text, "thread_states", c.by_thread)) {
		lt_kmod_refuse(&env->kmod, LT_KMOD_PROCS, "total_procesos, states, threads");
		return false;
	}
	kept_sweep(&s->kept, 0, true);
	s->c = c;
	return true;
}

static void emit_states(const struct state *s, struct lt_snapshot *out,
	const struct lt_metric *metric, const char *key, const uint64_t *counts)
{
	lt_snapshot_family(out, metric->name, metric->kind, &key, 1);
	for (size_t i = 0; i < STATES; i++) {
		const char label[2] = {(char)i, '\0'};
		const char *const labels[] = {label};

		if (s->seen[i])
			lt_snapshot_row(out, labels, (double)counts[i]);
	}
}

static int sample(
	void *state, struct lt_collect_env *env, struct lt_snapshot *out, struct lt_err *err)
{
	struct state *s = state;
	/* half a tick early is nearer than half a tick late */
	int64_t every_ns = env->conf->processes_interval_ms * LT_NS_PER_MS -
			   env->conf->interval_ms * LT_NS_PER_MS / 2;
	int rc;

	if (!s->scanned || env->mono_ns - s->scanned_ns >= every_ns) {
		if ((rc = lt_procfile_number(&s->threads_max, &s->max_threads, err)) != LT_OK ||
			(rc = lt_procfile_number(&s->pid_max, &s->max_pids, err)) != LT_OK ||
			(!read_kmod(s, env) && (rc = scan(s, err)) != LT_OK))
			return rc;
		for (size_t i = 0; i < STATES; i++)
			s->seen[i] |= s->c.by_process[i] || s->c.by_thread[i];
		s->scanned = true;
		s->scanned_ns = env->mono_ns;
	}
	lt_snapshot_value(out, metrics[0].name, metrics[0].kind, (double)s->c.threads);
	lt_snapshot_value(out, metrics[1].name, metrics[1].kind, s->max_threads);
	lt_snapshot_value(out, metrics[2].name, metrics[2].kind, (double)s->c.pids);
	lt_snapshot_value(out, metrics[3].name, metrics[3].kind, s->max_pids);
	emit_states(s, out, &metrics[4], "state", s->c.by_process);
	emit_states(s, out, &metrics[5], "thread_state", s->c.by_thread);
	return LT_OK;
}

static void fini(void *state, struct lt_collect_env *env)
{
	struct state *s = state;

	(void)env;
	lt_procfile_fini(&s->threads_max);
	lt_procfile_fini(&s->pid_max);
	kept_sweep(&s->kept, 0, true);
	if (s->fd > 0)
		close(s->fd);
}

const struct lt_collector lt_collector_processes = {
	.name = "processes",
	.help = "processes and threads by state",
	.metrics = metrics,
	.n_metrics = LT_ARRAY_LEN(metrics),
	.state_size = sizeof(struct state),
	.init = init,
	.sample = sample,
	.fini = fini,
};
