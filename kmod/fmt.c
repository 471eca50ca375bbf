// SPDX-License-Identifier: GPL-2.0 OR MIT
#include "fmt.h"

#define MB_SHIFT 20

void lt_fmt_init(struct lt_fmt *f, char *buf, size_t size)
{
	f->buf = buf;
	f->size = size;
	f->len = 0;
	f->full = false;
}

static void put(struct lt_fmt *f, const char *s, size_t n)
{
	if (f->full || n > f->size - f->len) {
		f->full = true;
		return;
	}
	memcpy(f->buf + f->len, s, n);
	f->len += n;
}

static void put_str(struct lt_fmt *f, const char *s)
{
	put(f, s, strlen(s));
}

static void put_u64(struct lt_fmt *f, uint64_t v)
{
	char digits[20];
	size_t n = sizeof(digits);

	do {
		uint32_t rem;

		v = div_u64_rem(v, 10, &rem);
		digits[--n] = (char)('0' + rem);
	} while (v);
	put(f, digits + n, sizeof(digits) - n);
}

/* ,"key":v */
static void put_key(struct lt_fmt *f, const char *key, uint64_t v)
{
	put_str(f, ",\"");
	put_str(f, key);
	put_str(f, "\":");
	put_u64(f, v);
}

/* Hundredths of a percent as 12.34 */
static void put_percent(struct lt_fmt *f, uint32_t v)
{
	char fraction[3] = {'.', (char)('0' + v / 10 % 10), (char)('0' + v % 10)};

	put_u64(f, v / 100);
	put(f, fraction, sizeof(fraction));
}

static uint32_t whole_percent(uint32_t v)
{
	return (v + 50) / 100;
}

/*
 * Length of the UTF-8 sequence that @s begins with, at most @n bytes; 0: not one. RFC 3629: no
 * overlong forms, no surrogates, nothing above U+10FFFF.
 */
static size_t utf8_len(const unsigned char *s, size_t n)
{
	unsigned char lo = 0x80, hi = 0xbf;
	size_t len, i;

	if (s[0] < 0x80)
		return 1;
	if (s[0] >= 0xc2 && s[0] <= 0xdf)
		len = 2;
	else if (s[0] >= 0xe0 && s[0] <= 0xef)
		len = 3;
	else if (s[0] >= 0xf0 && s[0] <= 0xf4)
		len = 4;
	else
		return 0;
	if (len > n)
		return 0;
	/* The second byte is what rules those out. */
	if (s[0] == 0xe0)
		lo = 0xa0;
	else if (s[0] == 0xed)
		hi = 0x9f;
	else if (s[0] == 0xf0)
		lo = 0x90;
	else if (s[0] == 0xf4)
		hi = 0x8f;
	if (s[1] < lo || s[1] > hi)
		return 0;
	for (i = 2; i < len; i++)
		if (s[i] < 0x80 || s[i] > 0xbf)
			return 0;
	return len;
}

void lt_fmt_json(struct lt_fmt *f, const char *s, size_t n)
{
	static const char hex[] = "0123456789abcdef";
	size_t i = 0;

	put(f, "\"", 1);
	while (i < n) {
		unsigned char c = (unsigned char)s[i];
		size_t len = utf8_len((const unsigned char *)s + i, n - i);

		if (!len) {
			put_str(f, "\\ufffd");
			len = 1;
		} else if (c == '"' || c == '\\') {
			put(f, "\\", 1);
			put(f, s + i, 1);
		} else if (c < 0x20 || c == 0x7f) {
			char text[6] = {'\\', 'u', '0', '0', hex[c >> 4], hex[c & 15]};

			put(f, text, sizeof(text));
		} else {
			put(f, s + i, len);
		}
		i += len;
	}
	put(f, "\"", 1);
}

void lt_fmt_cpu_begin(struct lt_fmt *f, const struct lt_cpu_head *h)
{
	uint32_t used = whole_percent(h->usage);

	put_str(f, "{\"porcentaje_cpu_uso\":");
	put_u64(f, used);
	put_key(f, "porcentaje_cpu_libre", 100 - used);
	put_str(f, ",\"used_percent\":");
	put_percent(f, h->usage);
	put_key(f, "window_ms", h->window_ms);
	put_key(f, "samples", h->samples);
	put_key(f, "online_cpus", h->online);
	put_str(f, ",\"cpus\":[");
}

void lt_fmt_cpu_row(struct lt_fmt *f, const struct lt_cpu_row *r, bool first)
{
	static const char *const names[LT_CPU_MODES] = {
		[LT_CPU_USER] = "user_ns",
		[LT_CPU_NICE] = "nice_ns",
		[LT_CPU_SYSTEM] = "system_ns",
		[LT_CPU_IDLE] = "idle_ns",
		[LT_CPU_IOWAIT] = "iowait_ns",
		[LT_CPU_IRQ] = "irq_ns",
		[LT_CPU_SOFTIRQ] = "softirq_ns",
		[LT_CPU_STEAL] = "steal_ns",
		[LT_CPU_GUEST] = "guest_ns",
		[LT_CPU_GUEST_NICE] = "guest_nice_ns",
	};
	unsigned int i;

	put_str(f, first ? "\n{\"cpu\":" : ",\n{\"cpu\":");
	put_u64(f, r->cpu);
	put_str(f, ",\"used_percent\":");
	put_percent(f, r->usage);
	for (i = 0; i < LT_CPU_MODES; i++)
		put_key(f, names[i], r->ns[i]);
	put(f, "}", 1);
}

void lt_fmt_cpu_end(struct lt_fmt *f)
{
	put_str(f, "\n]}\n");
}

void lt_fmt_ram(struct lt_fmt *f, const struct lt_ram *r)
{
	/* What cannot be had without swapping: as free(1) of procps 4. */
	uint64_t used = r->total > r->available ? r->total - r->available : 0;
	uint64_t part = used, whole = r->total;
	uint32_t percent = 0;

	while (whole >> 50) { /* part * 10000 fits */
		whole >>= 1;
		part >>= 1;
	}
	if (whole)
		percent = (uint32_t)div64_u64(part * 10000 + whole / 2, whole);
	put_str(f, "{\"total_ram\":");
	put_u64(f, r->total >> MB_SHIFT);
	put_key(f, "ram_libre", r->free);
	put_key(f, "uso_ram", used >> MB_SHIFT);
	put_key(f, "porcentaje_ram", whole_percent(percent));
	put_str(f, ",\"used_percent\":");
	put_percent(f, percent);
	put_key(f, "free_mb", r->free >> MB_SHIFT);
	put_key(f, "total_bytes", r->total);
	put_key(f, "free_bytes", r->free);
	put_key(f, "used_bytes", used);
	put_key(f, "available_bytes", r->available);
	put_key(f, "buffers_bytes", r->buffers);
	put_key(f, "cached_bytes", r->cached);
	put_key(f, "shared_bytes", r->shared);
	put_key(f, "slab_reclaimable_bytes", r->slab_reclaimable);
	put_key(f, "slab_unreclaimable_bytes", r->slab_unreclaimable);
	put_str(f, "}\n");
}

unsigned int lt_state_index(char state)
{
	const char *p = state ? strchr(LT_TASK_STATES, state) : NULL;

	return p ? (unsigned int)(p - LT_TASK_STATES) : LT_N_STATES - 1;
}

static uint64_t sum(const uint64_t *counts)
{
	uint64_t total = 0;
	unsigned int i;

	for (i = 0; i < LT_N_STATES; i++)
		total += counts[i];
	return total;
}

static void put_states(struct lt_fmt *f, const uint64_t *counts)
{
	static const char letters[] = LT_TASK_STATES "?";
	unsigned int i;

	put(f, "{", 1);
	for (i = 0; i < LT_N_STATES; i++) {
		char key[5] = {',', '"', letters[i], '"', ':'};

		put(f, key + (i == 0), sizeof(key) - (i == 0));
		put_u64(f, counts[i]);
	}
	put(f, "}", 1);
}

void lt_fmt_procs(struct lt_fmt *f, const struct lt_procs *p)
{
	const uint64_t *n = p->processes;

	put_str(f, "{\"procesos_corriendo\":");
	put_u64(f, n[lt_state_index('R')]);
	put_key(f, "total_procesos", sum(n));
	put_key(f, "procesos_durmiendo", n[lt_state_index('S')]);
	put_key(f, "procesos_zombie", n[lt_state_index('Z')]);
	put_key(f, "procesos_parados", n[lt_state_index('T')] + n[lt_state_index('t')]);
	put_key(f, "uninterruptible", n[lt_state_index('D')]);
	put_key(f, "idle", n[lt_state_index('I')]);
	put_key(f, "dead", n[lt_state_index('X')]);
	put_key(f, "parked", n[lt_state_index('P')]);
	put_key(f, "other", n[LT_N_STATES - 1]);
	put_str(f, ",\"states\":");
	put_states(f, n);
	put_key(f, "threads", sum(p->threads));
	put_str(f, ",\"thread_states\":");
	put_states(f, p->threads);
	put_str(f, "}\n");
}

void lt_fmt_task(struct lt_fmt *f, const struct lt_task *t)
{
	put_str(f, "{\"pid\":");
	put_u64(f, t->pid > 0 ? (uint64_t)t->pid : 0);
	put_str(f, ",\"comm\":");
	lt_fmt_json(f, t->comm, t->comm_len);
	put_str(f, ",\"state\":");
	lt_fmt_json(f, &t->state, 1);
	put_key(f, "threads", t->threads);
	put_key(f, "rss_bytes", t->rss_bytes);
	put_key(f, "cpu_ns", t->cpu_ns);
	put_key(f, "start_ns", t->start_ns);
	put_str(f, ",\"cgroup\":");
	if (t->cgroup)
		lt_fmt_json(f, t->cgroup, t->cgroup_len);
	else
		put_str(f, "null");
	put_str(f, "}\n");
}
