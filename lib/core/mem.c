/* SPDX-License-Identifier: MIT */
#include "latido/mem.h"

#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <unistd.h>

#include "latido/clock.h"

static _Noreturn void out_of_memory(size_t size)
{
	char line[96];
	int n = snprintf(line, sizeof(line), "level=error id=out_of_memory bytes=%zu\n", size);

	if (n > 0 && write(STDERR_FILENO, line, (size_t)n) < 0)
		_exit(2);
	_exit(1);
}

void *lt_malloc(size_t size)
{
	void *p = malloc(size ? size : 1);

	if (!p)
		out_of_memory(size);
	return p;
}

void *lt_calloc(size_t n, size_t size)
{
	void *p = calloc(n ? n : 1, size ? size : 1);

	if (!p)
		out_of_memory(n * size);
	return p;
}

void *lt_realloc(void *p, size_t size)
{
	void *q = realloc(p, size ? size : 1);

	if (!q)
		out_of_memory(size);
	return q;
}

char *lt_strndup(const char *s, size_t n)
{
	char *p = lt_malloc(n + 1);

	memcpy(p, s, n);
	p[n] = '\0';
	return p;
}

char *lt_strdup(const char *s)
{
	return lt_strndup(s, strlen(s));
}

char *lt_asprintf(const char *fmt, ...)
{
	struct lt_buf b = {0};
	va_list ap;
	int n;

	va_start(ap, fmt);
	n = vsnprintf(NULL, 0, fmt, ap);
	va_end(ap);
	if (n < 0)
		n = 0;
	lt_buf_room(&b, (size_t)n);
	va_start(ap, fmt);
	vsnprintf(b.data, (size_t)n + 1, fmt, ap);
	va_end(ap);
	return b.data;
}

uint64_t lt_random_u64(void)
{
	uint64_t v = 0;

	/* Early in a boot the pool may be empty: time and place will do for our purposes. */
	if (getrandom(&v, sizeof(v), GRND_NONBLOCK) != sizeof(v))
		v = (uint64_t)lt_wall_ns() * UINT64_C(0x9e3779b97f4a7c15) ^ (uintptr_t)&v;
	return v ? v : 1;
}

/* ---- buffers ---- */

void lt_buf_fini(struct lt_buf *b)
{
	free(b->data);
	*b = (struct lt_buf){0};
}

void lt_buf_reset(struct lt_buf *b)
{
	b->len = 0;
	if (b->data)
		b->data[0] = '\0';
}

char *lt_buf_room(struct lt_buf *b, size_t n)
{
	size_t need;

	if (n > SIZE_MAX - b->len - 1)
		out_of_memory(n);
	need = b->len + n + 1;
	if (need > b->cap) {
		size_t cap = b->cap ? b->cap : 64;

		while (cap < need)
			cap = cap > SIZE_MAX / 2 ? need : cap * 2;
		b->data = lt_realloc(b->data, cap);
		b->cap = cap;
	}
	return b->data + b->len;
}

void lt_buf_add(struct lt_buf *b, const void *p, size_t n)
{
	char *at = lt_buf_room(b, n);

	if (n)
		memcpy(at, p, n);
	at[n] = '\0';
	b->len += n;
}

void lt_buf_str(struct lt_buf *b, const char *s)
{
	lt_buf_add(b, s, strlen(s));
}

void lt_buf_char(struct lt_buf *b, char c)
{
	lt_buf_add(b, &c, 1);
}

void lt_buf_printf(struct lt_buf *b, const char *fmt, ...)
{
	va_list ap;
	int n;

	lt_buf_room(b, 64);
	va_start(ap, fmt);
	n = vsnprintf(b->data + b->len, b->cap - b->len, fmt, ap);
	va_end(ap);
	if (n < 0)
		return;
	if ((size_t)n >= b->cap - b->len) {
		lt_buf_room(b, (size_t)n);
		va_start(ap, fmt);
		vsnprintf(b->data + b->len, b->cap - b->len, fmt, ap);
		va_end(ap);
	}
	b->len += (size_t)n;
}

/* Length of the valid UTF-8 sequence at s, or 0. RFC 3629, table 3-7 of the Unicode standard. */
static size_t utf8_len(const unsigned char *s, size_t n)
{
	if (s[0] < 0x80)
		return 1;
	if (s[0] >= 0xc2 && s[0] <= 0xdf)
		return n >= 2 && (s[1] & 0xc0) == 0x80 ? 2 : 0;
	if (s[0] >= 0xe0 && s[0] <= 0xef) {
		unsigned char lo = s[0] == 0xe0 ? 0xa0 : 0x80, hi = s[0] == 0xed ? 0x9f : 0xbf;

		return n >= 3 && s[1] >= lo && s[1] <= hi && (s[2] & 0xc0) == 0x80 ? 3 : 0;
	}
	if (s[0] >= 0xf0 && s[0] <= 0xf4) {
		unsigned char lo = s[0] == 0xf0 ? 0x90 : 0x80, hi = s[0] == 0xf4 ? 0x8f : 0xbf;

		return n >= 4 && s[1] >= lo && s[1] <= hi && (s[2] & 0xc0) == 0x80 &&
				       (s[3] & 0xc0) == 0x80
			       ? 4
			       : 0;
	}
	return 0;
}

bool lt_utf8_valid(const char *s, size_t n)
{
	const unsigned char *p = (const unsigned char *)s;
	size_t i = 0;

	while (i < n) {
		size_t len = utf8_len(p + i, n - i);

		if (len == 0 || p[i] == 0)
			return false;
		i += len;
	}
	return true;
}

size_t lt_utf8_step(const char *s, size_t left)
{
	size_t n = utf8_len((const unsigned char *)s, left);

	return n ? n : 1;
}

/* C0, DEL, C1 and what is no UTF-8 are not. */
bool lt_utf8_printable(const char *s, size_t n)
{
	unsigned char c = (unsigned char)*s;

	if (n == 1)
		return c >= 0x20 && c < 0x7f;
	return c != 0xc2 || (unsigned char)s[1] >= 0xa0;
}

void lt_buf_json_str(struct lt_buf *b, const char *s, size_t n)
{
	const unsigned char *p = (const unsigned char *)s;
	size_t i = 0, plain = 0;

	lt_buf_char(b, '"');
	while (i < n) {
		size_t len = utf8_len(p + i, n - i);

		if (len && p[i] >= 0x20 && p[i] != '"' && p[i] != '\\' && p[i] != 0x7f) {
			i += len;
			continue;
		}
		lt_buf_add(b, s + plain, i - plain);
		if (!len)
			lt_buf_str(b, "\xef\xbf\xbd");
		else if (p[i] == '"' || p[i] == '\\')
			lt_buf_add(b, (char[]){'\\', (char)p[i]}, 2);
		else if (p[i] == '\n')
			lt_buf_str(b, "\\n");
		else if (p[i] == '\t')
			lt_buf_str(b, "\\t");
		else if (p[i] == '\r')
			lt_buf_str(b, "\\r");
		else
			lt_buf_printf(b, "\\u%04x", p[i]);
		i += len ? len : 1;
		plain = i;
	}
	lt_buf_add(b, s + plain, n - plain);
	lt_buf_char(b, '"');
}

#define DECIMALS_MAX 9

/*
 * Values that are a whole number below 10^15 divided by a power of ten. Both are exact doubles and
 * a division rounds correctly, so v equals the quotient exactly when the decimal reads back as v;
 * and 15 digits survive the way through a double, so the shortest decimal is the only one.
 * Return: length; 0: v is none of these.
 */
static int few_decimals(double v, char text[32])
{
	static const double powers[DECIMALS_MAX + 1] = {
		1, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9};
	double size = fabs(v);
	char *end = text + 32, *p = end;
	uint64_t u = 0;
	int decimals;

	if (size >= 1e15 || (size < 1e-4 && (v != 0 || signbit(v))))
		return 0;
	for (decimals = 0; decimals <= DECIMALS_MAX; decimals++) {
		double scaled = size * powers[decimals];

		if (scaled >= 1e15)
			return 0;
		u = (uint64_t)(scaled + 0.5);
		if ((double)u / powers[decimals] == size)
			break;
	}
	if (decimals > DECIMALS_MAX)
		return 0;
	for (int i = 0; i < decimals; i++, u /= 10)
		*--p = (char)('0' + u % 10);
	if (decimals)
		*--p = '.';
	do {
		*--p = (char)('0' + u % 10);
		u /= 10;
	} while (u);
	if (v < 0)
		*--p = '-';
	memmove(text, p, (size_t)(end - p));
	return (int)(end - p);
}

void lt_buf_double(struct lt_buf *b, double v)
{
	char text[32];
	int n;

	if (isnan(v)) {
		lt_buf_str(b, "NaN");
		return;
	}
	if (isinf(v)) {
		lt_buf_str(b, v > 0 ? "+Inf" : "-Inf");
		return;
	}
	/* Most values are whole (counters, bytes) or have few decimals. -0.0 keeps its sign. */
	n = few_decimals(v, text);
	if (n) {
		lt_buf_add(b, text, (size_t)n);
		return;
	}
	for (int digits = 15; digits <= 17; digits++) {
		n = snprintf(text, sizeof(text), "%.*g", digits, v);
		if (digits == 17 || strtod(text, NULL) == v)
			break;
	}
	lt_buf_add(b, text, (size_t)n);
}

void lt_buf_base64(struct lt_buf *b, const void *data, size_t n)
{
	static const char abc[] =
		"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
	const unsigned char *p = data;
	char *out = lt_buf_room(b, (n + 2) / 3 * 4);

	for (size_t i = 0; i < n; i += 3) {
		uint32_t v = (uint32_t)p[i] << 16;

		v |= i + 1 < n ? (uint32_t)p[i + 1] << 8 : 0;
		v |= i + 2 < n ? p[i + 2] : 0;
		*out++ = abc[v >> 18];
		*out++ = abc[v >> 12 & 63];
		*out++ = i + 1 < n ? abc[v >> 6 & 63] : '=';
		*out++ = i + 2 < n ? abc[v & 63] : '=';
	}
	*out = '\0';
	b->len += (n + 2) / 3 * 4;
}

/* ---- arenas ---- */

struct lt_arena_block {
	struct lt_arena_block *next;
	size_t cap, used;
	char data[];
};

#define ARENA_FIRST 4096

void *lt_arena_alloc(struct lt_arena *a, size_t n)
{
	struct lt_arena_block *block = a->head;
	size_t size = (n + 7) & ~(size_t)7;
	void *p;

	if (size < n)
		out_of_memory(n);
	if (!block || block->cap - block->used < size) {
		size_t cap = block ? block->cap * 2 : ARENA_FIRST;

		while (cap < size)
			cap *= 2;
		block = lt_malloc(sizeof(*block) + cap);
		block->next = a->head;
		block->cap = cap;
		block->used = 0;
		a->head = block;
		a->total += cap;
	}
	p = block->data + block->used;
	block->used += size;
	a->used += size;
	return p;
}

void *lt_arena_dup(struct lt_arena *a, const void *p, size_t n)
{
	void *copy = lt_arena_alloc(a, n);

	if (n)
		memcpy(copy, p, n);
	return copy;
}

char *lt_arena_str(struct lt_arena *a, const char *s, size_t n)
{
	char *copy = lt_arena_alloc(a, n + 1);

	if (n)
		memcpy(copy, s, n);
	copy[n] = '\0';
	return copy;
}

/* Frees all blocks behind the first, which is the largest. */
static void arena_free_rest(struct lt_arena_block *block)
{
	while (block) {
		struct lt_arena_block *next = block->next;

		free(block);
		block = next;
	}
}

void lt_arena_reset(struct lt_arena *a)
{
	if (!a->head)
		return;
	arena_free_rest(a->head->next);
	a->head->next = NULL;
	a->head->used = 0;
	a->used = 0;
	a->total = a->head->cap;
}

struct lt_arena_mark lt_arena_mark(const struct lt_arena *a)
{
	return (struct lt_arena_mark){a->head, a->head ? a->head->used : 0, a->used};
}

void lt_arena_rewind(struct lt_arena *a, struct lt_arena_mark m)
{
	while (a->head != m.head) {
		struct lt_arena_block *next = a->head->next;

		a->total -= a->head->cap;
		free(a->head);
		a->head = next;
	}
	if (a->head)
		a->head->used = m.head_used;
	a->used = m.used;
}

void lt_arena_fini(struct lt_arena *a)
{
	arena_free_rest(a->head);
	*a = (struct lt_arena){0};
}
