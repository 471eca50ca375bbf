/* SPDX-License-Identifier: MIT */
/* Names of any bytes through the modules' formatting and back through the agent's reading; any text
 * at all as if it were a module's file. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "../../kmod/fmt.h"
#include "../../producers/agent/kmod.h"

static void must(bool ok)
{
	if (!ok)
		abort();
}

static void round_trip(const char *name, size_t n, size_t room)
{
	struct lt_task t = {.pid = 7,
		.comm = name,
		.comm_len = n,
		.state = 'S',
		.rss_bytes = n,
		.cpu_ns = 2,
		.start_ns = 3,
		.cgroup = name,
		.cgroup_len = n};
	struct lt_buf comm = {0}, quoted = {0}, want = {0};
	size_t size = 12 * n + 512;
	char *buf = malloc(size);
	struct lt_kmod_task got;
	struct lt_fmt f;

	lt_fmt_init(&f, buf, size - 1);
	lt_fmt_task(&f, &t);
	must(!f.full);
	buf[f.len] = '\0';
	must(lt_utf8_valid(buf, f.len) && buf[f.len - 1] == '\n' &&
		memchr(buf, '\n', f.len) == buf + f.len - 1);
	for (size_t i = 0; i < f.len - 1; i++)
		must((unsigned char)buf[i] >= 0x20);
	/* a NUL is in no name: the kernel ends them there */
	if (!memchr(name, 0, n)) {
		must(lt_kmod_task(buf, &got, &comm));
		must(got.pid == 7 && got.rss_bytes == n && got.cpu_ns == 2 && got.start_ns == 3);
		/* the same repair as everywhere else in Latido */
		lt_buf_json_str(&quoted, name, n);
		must(lt_kmod_string(quoted.data, &want) != NULL);
		must(want.len == comm.len &&
			(!want.len || !memcmp(want.data, comm.data, want.len)));
	}
	/* too small a buffer is said, and not overrun */
	lt_fmt_init(&f, buf, room % size);
	lt_fmt_task(&f, &t);
	must(f.len <= room % size);
	lt_buf_fini(&comm);
	lt_buf_fini(&quoted);
	lt_buf_fini(&want);
	free(buf);
}

static void any_text(const char *data, size_t n)
{
	char *s = malloc(n + 1);
	const char *cursor = s, *row;
	uint64_t by_state[128] = {0}, v;
	struct lt_buf comm = {0};
	struct lt_kmod_task task;

	memcpy(s, data, n);
	s[n] = '\0';
	(void)lt_kmod_u64(s, "total_bytes", &v);
	(void)lt_kmod_states(s, "states", by_state);
	while (lt_kmod_cpu_next(&cursor, &v, &row))
		(void)lt_kmod_u64(row, "user_ns", &v);
	(void)lt_kmod_task(s, &task, &comm);
	lt_buf_fini(&comm);
	free(s);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	if (size < 2 || size > 8192)
		return 0;
	round_trip((const char *)data + 2, size - 2, (size_t)data[0] << 8 | data[1]);
	any_text((const char *)data, size);
	return 0;
}
