/* SPDX-License-Identifier: MIT */
/* Reading what a spool holds without being its owner. */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "latido/spool.h"

struct scan {
	bool (*record)(void *arg, uint64_t seq, int64_t time_ns, const void *data, size_t size);
	void *arg;
	bool ended;
};

static void one(void *arg, uint64_t seq, int64_t time_ns, const void *data, size_t size,
	const void *context, size_t context_size)
{
	struct scan *s = arg;

	(void)context;
	(void)context_size;
	s->ended = s->ended || !s->record(s->arg, seq, time_ns, data, size);
}

/* All that can be read of a file. Return: false: it is gone. */
static bool read_file(int dir, const char *name, struct lt_buf *out)
{
	int fd = openat(dir, name, O_RDONLY | O_CLOEXEC);
	ssize_t n = 1;

	if (fd < 0)
		return false;
	lt_buf_reset(out);
	while (n > 0) {
		n = read(fd, lt_buf_room(out, 1 << 16), 1 << 16);
		if (n < 0 && errno == EINTR)
			n = 1;
		else if (n > 0)
			out->len += (size_t)n;
	}
	close(fd);
	return true;
}

int lt_spool_scan(const char *dir,
	bool (*record)(void *arg, uint64_t seq, int64_t time_ns, const void *data, size_t size),
	void *arg, struct lt_err *err)
{
	struct scan s = {.record = record, .arg = arg};
	struct lt_spool_report report;
	struct lt_spool_segment seg;
	struct lt_buf bytes = {0};
	int fd, rc = lt_spool_inspect(dir, &report, err);

	fd = rc == LT_OK ? open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC) : -1;
	for (size_t i = 0; fd >= 0 && i < report.n && !s.ended; i++)
		if (read_file(fd, report.segments[i].name, &bytes))
			lt_spool_check(bytes.data, bytes.len, &seg, one, &s);
	if (fd >= 0)
		close(fd);
	lt_spool_report_fini(&report);
	lt_buf_fini(&bytes);
	return rc;
}
