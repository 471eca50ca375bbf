/* SPDX-License-Identifier: MIT */
/* The shape parser and the table of shapes. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>
#include <xxhash.h>

#include "latido/event.h"

static struct lt_err err;

static void f_len(struct lt_buf *b, unsigned num, const void *p, size_t n)
{
	lt_buf_char(b, (char)(num << 3 | 2));
	for (size_t v = n;; v >>= 7) {
		lt_buf_char(b, (char)(v >= 0x80 ? v | 0x80 : v));
		if (v < 0x80)
			break;
	}
	lt_buf_add(b, p, n);
}

/*
 * Appends a family. @spec: name, then words: k=<label>, v=<value>, u=<unit>, K=<kind digit>,
 * separated by '|'.
 */
static void family(struct lt_buf *shape, const char *spec)
{
	struct lt_buf f = {0};
	size_t n = strcspn(spec, "|");

	f_len(&f, 1, spec, n);
	for (spec += n; *spec; spec += n) {
		char what = spec[1];

		spec += 3;
		n = strcspn(spec, "|");
		if (what == 'K')
			lt_buf_add(&f, (char[]){2 << 3, (char)(spec[0] - '0')}, 2);
		else
			f_len(&f, what == 'k' ? 3 : what == 'v' ? 4 : 5, spec, n);
	}
	f_len(shape, 1, f.data, f.len);
	lt_buf_fini(&f);
}

static struct lt_shape *parse(struct lt_shapes *t, const char *const *specs)
{
	struct lt_buf b = {0};
	struct lt_shape *s;

	for (; *specs; specs++)
		family(&b, *specs);
	err.msg[0] = '\0';
	s = lt_shapes_intern(t, b.data, b.len, &err);
	lt_buf_fini(&b);
	return s;
}

#define PARSE(t, ...) parse(t, (const char *const[]){__VA_ARGS__, NULL})

static void parsed(void **state)
{
	struct lt_shapes *t = lt_shapes_new(1 << 20, 100);
	struct lt_shape *s;

	(void)state;
	s = PARSE(t, "up", "cpu|K=2|k=cpu|k=mode|v=0|v=idle|v=1|v=a\"b\\c\n|u=s", "empty|k=x",
		"cpu|K=2|k=core|v=|u=s", "temp|K=1|k=\x5f|v=\xc3\xb1|u=Cel", "odd|K=9");
	assert_non_null(s);
	assert_int_equal(s->n_series, 6);
	assert_string_equal(s->series[0].text, "up");
	assert_int_equal(s->series[0].n_labels, 0);
	assert_string_equal(s->series[1].text, "cpu{cpu=\"0\",mode=\"idle\"}");
	assert_string_equal(s->series[2].text, "cpu{cpu=\"1\",mode=\"a\\\"b\\\\c\\n\"}");
	assert_string_equal(s->series[2].labels[1].value, "a\"b\\c\n");
	assert_int_equal(s->series[2].labels[1].value_len, 6);
	assert_string_equal(s->series[3].text, "cpu{core=\"\"}");
	assert_int_equal(s->series[3].kind, LT_KIND_COUNTER);
	assert_string_equal(s->series[4].labels[0].name, "_");
	assert_int_equal(s->series[4].kind, LT_KIND_GAUGE);
	assert_int_equal(s->series[5].kind, LT_KIND_UNKNOWN); /* a kind of tomorrow */
	for (uint32_t i = 0; i < s->n_series; i++) {
		assert_int_equal(strlen(s->series[i].text), s->series[i].text_len);
		assert_int_equal(strlen(s->series[i].name), s->series[i].name_len);
	}
	assert_true(s->hash == XXH3_64bits(s->bytes, s->size));
	lt_shape_put(s);

	/* a family without rows at the very end takes no room from what is behind it */
	s = PARSE(t, "up", "up|k=job|v=node", "empty|K=2|k=x|u=s");
	assert_non_null(s);
	assert_int_equal(s->n_series, 2);
	assert_string_equal(s->series[0].name, "up");
	assert_string_equal(s->series[1].name, "up");
	assert_string_equal(s->series[1].text, "up{job=\"node\"}");
	lt_shape_put(s);
	lt_shapes_free(t);
}

static void refused(void **state)
{
	static const struct {
		const char *specs[3];
		const char *says;
	} bad[] = {
		{{"empty|k=x"}, "no series"},
		{{""}, "not a metric name"},
		{{"1a"}, "not a metric name"},
		{{"a b"}, "not a metric name"},
		{{"a\xc3\xb1"}, "not a metric name"},
		{{"a", "a"}, "twice the same series"},
		{{"a|k=x|v=1|v=1"}, "twice the same series"},
		{{"a|k=x|v=1", "a|k=x|v=1"}, "twice the same series"},
		{{"a|K=1", "a|K=2|k=x|v=1"}, "two kinds"},
		{{"a|u=s", "a|k=x|v=1"}, "kinds or units"},
		{{"a|k=x|k=y|v=1"}, "no multiple"},
		{{"a|v=1"}, "no multiple"},
		{{"a|k=y|k=x|v=1|v=2"}, "not sorted"},
		{{"a|k=x|k=x|v=1|v=2"}, "not sorted or not unique"},
		{{"a|k=xy|k=x|v=1|v=2"}, "not sorted"},
		{{"a|k=x:y|v=1"}, "not a label name"},
		{{"a|k=|v=1"}, "not a label name"},
		{{"a|k=x|v=\xff"}, "not valid UTF-8"},
		{{"a|k=x|v=\xc0\x80"}, "not valid UTF-8"},
		{{"a|u=\xff"}, "unit"},
	};
	struct lt_shapes *t = lt_shapes_new(1 << 20, 100);
	struct lt_shapes_info info;
	struct lt_buf b = {0}, f = {0};
	char text[2000];

	(void)state;
	for (size_t i = 0; i < LT_ARRAY_LEN(bad); i++) {
		assert_null(parse(t, bad[i].specs));
		if (!strstr(err.msg, bad[i].says))
			fail_msg("%zu: %s", i, err.msg);
		assert_int_equal(err.code, LT_EDATA);
		assert_int_equal(err.cls, LT_CLS_POISON);
	}

	/* lengths: the longest that is allowed, and one more */
	for (int more = 0; more < 2; more++) {
		memset(text, 'x', sizeof(text));
		text[128 + more] = '\0';
		assert_int_equal(PARSE(t, text) == NULL, more);
		text[128 + more] = 'x';
		memcpy(text, "a|k=", 4);
		memcpy(text + 4 + 128 + more, "|v=1", 5);
		assert_int_equal(PARSE(t, text) == NULL, more);
		memset(text, 'x', sizeof(text));
		memcpy(text, "a|k=x|v=", 8);
		text[8 + 1024 + more] = '\0';
		assert_int_equal(PARSE(t, text) == NULL, more);
		memcpy(text, "a|u=xxxx", 8);
		text[4 + 64 + more] = '\0';
		assert_int_equal(PARSE(t, text) == NULL, more);
	}
	/* 33 labels */
	f_len(&f, 1, "a", 1);
	for (int i = 0; i < 33; i++)
		f_len(&f, 3, (char[]){(char)('A' + i / 10), (char)('0' + i % 10)}, 2);
	f_len(&b, 1, f.data, f.len);
	assert_null(lt_shapes_intern(t, b.data, b.len, &err));
	assert_non_null(strstr(err.msg, "32 labels"));

	/* NUL inside, and broken messages */
	assert_null(lt_shapes_intern(t,
		"\x0a\x05\x0a\x03"
		"a\0b",
		7, &err));
	assert_null(lt_shapes_intern(t,
		"\x0a\x0a\x0a\x01"
		"a\x1a\x01x\x22\x01\x00",
		12, &err));
	assert_non_null(strstr(err.msg, "NUL"));
	assert_null(lt_shapes_intern(t,
		"\x0a\x05\x0a\x03"
		"ab",
		6, &err));
	assert_null(lt_shapes_intern(t, "\x08\x01", 2, &err));
	assert_non_null(strstr(err.msg, "wire type"));
	assert_null(lt_shapes_intern(t, "\x0a\x02\x08\x01", 4, &err));
	assert_non_null(strstr(err.msg, "wire type"));
	assert_null(lt_shapes_intern(t, "", 0, &err));

	/* 101 series */
	lt_buf_reset(&b);
	for (int i = 0; i < 101; i++) {
		snprintf(text, sizeof(text), "m%d", i);
		family(&b, text);
	}
	assert_null(lt_shapes_intern(t, b.data, b.len, NULL));

	lt_shapes_info(t, &info);
	assert_int_equal(info.shapes, 4); /* of the lengths that were allowed */
	lt_buf_fini(&b);
	lt_buf_fini(&f);
	lt_shapes_free(t);
}

/* Few bytes can stand for long canonical texts: that has its bound, too. */
static void parsed_form_is_bounded(void **state)
{
	struct lt_shapes *t = lt_shapes_new(1 << 20, 100000);
	struct lt_shapes_info info;
	struct lt_buf f = {0}, b = {0};
	char key[LT_LABEL_NAME_MAX];

	(void)state;
	memset(key, 'k', sizeof(key));
	f_len(&f, 1, "a", 1);
	for (int i = 0; i < 31; i++) {
		key[0] = (char)(i < 26 ? 'A' + i : 'a' + i - 26);
		f_len(&f, 3, key, sizeof(key));
	}
	for (int i = 0; i < 31 * 1000; i++)
		f_len(&f, 4, key, i % 31 ? 0 : 1 + (size_t)i % 100);
	f_len(&b, 1, f.data, f.len);
	assert_true(b.len < 200000);
	assert_null(lt_shapes_intern(t, b.data, b.len, &err));
	assert_non_null(strstr(err.msg, "shape_cache_bytes"));
	lt_shapes_info(t, &info);
	assert_true(info.bytes == 0 && info.shapes == 0);
	lt_buf_fini(&f);
	lt_buf_fini(&b);
	lt_shapes_free(t);
}

static unsigned freed;

static void count_free(void *user)
{
	freed += *(unsigned *)user;
}

static void interned_and_evicted(void **state)
{
	struct lt_shapes *t = lt_shapes_new(20000, 100);
	struct lt_shape *held, *s;
	struct lt_shapes_info info;
	unsigned one = 1;
	char name[32];

	(void)state;
	freed = 0;
	held = PARSE(t, "held");
	assert_non_null(held);
	held->user = &one;
	held->user_free = count_free;
	s = PARSE(t, "held");
	assert_ptr_equal(s, held);
	lt_shape_put(s);
	lt_shape_get(held);
	lt_shape_put(held);
	for (int i = 0; i < 1000; i++) {
		snprintf(name, sizeof(name), "m%d", i);
		s = PARSE(t, name);
		assert_non_null(s);
		s->user = &one;
		s->user_free = count_free;
		lt_shape_put(s);
		lt_shapes_info(t, &info);
		assert_true(info.bytes <= 20000);
	}
	assert_true(info.evictions > 800 && info.evictions == freed);
	assert_int_equal(info.shapes + info.evictions, 1001);
	assert_int_equal(info.hits, 1);
	assert_int_equal(info.misses, 1001);
	/* recently used ones and the referenced one are still there */
	s = PARSE(t, "m999");
	lt_shape_put(s);
	assert_ptr_equal(PARSE(t, "held"), held);
	lt_shapes_info(t, &info);
	assert_int_equal(info.misses, 1001);
	lt_shape_put(held);
	lt_shape_put(held);
	lt_shape_put(NULL);
	lt_shapes_free(t);
	assert_int_equal(freed, 1001);
}

static void what_is_used_stays(void **state)
{
	struct lt_shapes *t = lt_shapes_new(20000, 100);
	struct lt_shapes_info info;
	char name[32];

	(void)state;
	for (int i = 0; i < 1000; i++) {
		snprintf(name, sizeof(name), "m%d", i);
		lt_shape_put(PARSE(t, name));
		lt_shape_put(PARSE(t, "always"));
	}
	lt_shapes_info(t, &info);
	assert_int_equal(info.misses, 1001);
	lt_shapes_free(t);
}

static void announcements_are_scoped_and_bounded(void **state)
{
	struct lt_shapes *t = lt_shapes_new(1 << 20, 100);
	struct lt_shape *a = PARSE(t, "a"), *b = PARSE(t, "b"), *s;
	char name[32];
	unsigned found = 0;

	(void)state;
	lt_shapes_announce(t, "s1", a);
	lt_shapes_announce(t, "s1", a);
	lt_shapes_announce(t, "s1", b);
	assert_ptr_equal(lt_shapes_announced(t, "s1", a->hash), a);
	assert_ptr_equal(lt_shapes_announced(t, "s1", b->hash), b);
	assert_null(lt_shapes_announced(t, "s2", a->hash));
	assert_null(lt_shapes_announced(t, "s1", a->hash + 1));
	lt_shape_put(a);
	lt_shape_put(b);

	/* one source pushes out none but its own */
	for (int i = 0; i < 100; i++) {
		snprintf(name, sizeof(name), "m%d", i);
		s = PARSE(t, name);
		lt_shapes_announce(t, "greedy", s);
		lt_shape_put(s);
	}
	for (int i = 0; i < 100; i++) {
		snprintf(name, sizeof(name), "m%d", i);
		s = PARSE(t, name);
		if (lt_shapes_announced(t, "greedy", s->hash)) {
			assert_true(i >= 100 - 16);
			found++;
			lt_shape_put(s);
		}
		lt_shape_put(s);
	}
	assert_int_equal(found, 16);
	assert_ptr_equal(lt_shapes_announced(t, "s1", a->hash), a);
	lt_shape_put(a);

	/* many sources: the least recently used ones go */
	for (int i = 0; i < 5000; i++) {
		snprintf(name, sizeof(name), "source%d", i);
		lt_shapes_announce(t, name, a);
	}
	assert_null(lt_shapes_announced(t, "source0", a->hash));
	assert_ptr_equal(lt_shapes_announced(t, "source4999", a->hash), a);
	lt_shape_put(a);
	lt_shape_put(a);
	lt_shape_put(b);
	lt_shapes_free(t);
}

static void eviction_takes_announcements_along(void **state)
{
	struct lt_shapes *t = lt_shapes_new(20000, 100);
	struct lt_shape *a = PARSE(t, "a");
	uint64_t hash = a->hash;
	char name[32];

	(void)state;
	lt_shapes_announce(t, "s1", a);
	lt_shapes_announce(t, "s2", a);
	lt_shape_put(a);
	for (int i = 0; i < 1000; i++) {
		snprintf(name, sizeof(name), "m%d", i);
		lt_shape_put(PARSE(t, name));
	}
	assert_null(lt_shapes_announced(t, "s1", hash));
	a = PARSE(t, "a");
	assert_null(lt_shapes_announced(t, "s1", hash));
	lt_shapes_announce(t, "s1", a);
	assert_ptr_equal(lt_shapes_announced(t, "s1", hash), a);
	lt_shape_put(a);
	lt_shape_put(a);
	lt_shapes_free(t);
}

/*
 * Two valid shapes of one XXH3-64 hash. For 33 to 64 bytes the hash is a sum of products of input
 * words xored with constants; where a word equals its constant the product is zero, whatever the
 * other factor is. So bytes 16 to 23 are that constant, inside an unknown field, and bytes 24 to 31
 * are free: the last four of them begin a metric's name.
 */
static void forge(char out[64], const char four[4])
{
	static const unsigned char constant[8] = {0xcb, 0x79, 0xe6, 0x4e, 0xcc, 0xc0, 0xe5, 0x78};

	memset(out, 'x', 64);
	memcpy(out, "\x7a\x16", 2); /* field 15, 22 bytes: up to 24 */
	memcpy(out + 16, constant, 8);
	memcpy(out + 24, "\x0a\x26\x0a\x24", 4); /* family of 38 bytes, name of 36 */
	memcpy(out + 28, four, 4);
}

static void forged_collisions(void **state)
{
	struct lt_shapes *t = lt_shapes_new(1 << 20, 100);
	struct lt_shape *a, *b;
	struct lt_shapes_info info;
	char bytes[2][64];
	struct lt_event e = {.source = "s1", .values = (const uint8_t *)"\0\0\0\0\0\0\0\0", .n = 1};
	struct lt_buf wire = {0};

	(void)state;
	forge(bytes[0], "aaaa");
	forge(bytes[1], "bbbb");
	assert_true(XXH3_64bits(bytes[0], 64) == XXH3_64bits(bytes[1], 64));
	a = lt_shapes_intern(t, bytes[0], 64, &err);
	assert_non_null(a);
	assert_false(a->collides);
	lt_shapes_announce(t, "honest", a);
	b = lt_shapes_intern(t, bytes[1], 64, &err);
	assert_non_null(b);
	assert_ptr_not_equal(a, b);
	assert_true(a->hash == b->hash && a->collides && b->collides);
	assert_memory_equal(a->series[0].name, "aaaa", 4);
	assert_memory_equal(b->series[0].name, "bbbb", 4);
	lt_shapes_info(t, &info);
	assert_int_equal(info.collisions, 1);

	/* each is found by its bytes */
	assert_ptr_equal(lt_shapes_intern(t, bytes[0], 64, &err), a);
	assert_ptr_equal(lt_shapes_intern(t, bytes[1], 64, &err), b);
	lt_shape_put(a);
	lt_shape_put(b);

	/* who announced one of them keeps it; who announced both has announced none */
	lt_shapes_announce(t, "forger", a);
	lt_shapes_announce(t, "forger", b);
	assert_null(lt_shapes_announced(t, "forger", a->hash));
	lt_shapes_announce(t, "forger", a);
	assert_null(lt_shapes_announced(t, "forger", a->hash));
	assert_ptr_equal(lt_shapes_announced(t, "honest", a->hash), a);
	lt_shape_put(a);

	/* and nobody refers to it by hash */
	e.shape = a;
	lt_encode_protobuf(&e, false, &wire);
	assert_non_null(memmem(wire.data, wire.len, bytes[0], 64));

	/* a heap of them is refused */
	forge(bytes[1], "cccc");
	lt_shape_put(lt_shapes_intern(t, bytes[1], 64, &err));
	forge(bytes[1], "dddd");
	lt_shape_put(lt_shapes_intern(t, bytes[1], 64, &err));
	forge(bytes[1], "eeee");
	assert_null(lt_shapes_intern(t, bytes[1], 64, &err));
	assert_non_null(strstr(err.msg, "forged"));
	lt_shape_put(a);
	lt_shape_put(b);
	lt_buf_fini(&wire);
	lt_shapes_free(t);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(parsed),
		cmocka_unit_test(refused),
		cmocka_unit_test(parsed_form_is_bounded),
		cmocka_unit_test(interned_and_evicted),
		cmocka_unit_test(what_is_used_stays),
		cmocka_unit_test(announcements_are_scoped_and_bounded),
		cmocka_unit_test(eviction_takes_announcements_along),
		cmocka_unit_test(forged_collisions),
	};

	return cmocka_run_group_tests_name("shape", tests, NULL, NULL);
}
