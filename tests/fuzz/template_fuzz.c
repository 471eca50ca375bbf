/* SPDX-License-Identifier: MIT */
#include <stdlib.h>
#include <string.h>

#include "../../lib/rules/tmpl.h"

/* Any template is refused at a place inside it, or executed within its bounds. */

static int no_query(void *ctx, const char *text, size_t len, struct lt_arena *arena,
	struct tvec **out, struct lt_err *err)
{
	(void)ctx;
	(void)text;
	(void)len;
	(void)err;
	*out = lt_arena_alloc(arena, sizeof(**out));
	(*out)->n = 0;
	return LT_OK;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct tmpl_env env = {.external_url = "http://x", .value = 1234.5};
	struct lt_buf out = {0}, why = {0};
	struct lt_arena arena = {0};
	struct tmap none = {0};
	struct lt_err err = {0};
	struct tmap *labels;
	struct tmpl *t;
	size_t at;

	labels = lt_arena_alloc(&arena, sizeof(*labels) + 2 * sizeof(labels->e[0]));
	labels->n = 2;
	labels->e[0] = (struct tmap_entry){"a", {.kind = TV_STRING, .s = "x y", .len = 3}};
	labels->e[1] = (struct tmap_entry){"b", {.kind = TV_STRING, .s = "\xc3\xa9:80", .len = 5}};
	env.labels = labels;
	env.external_labels = &none;
	env.query = no_query;
	if (memchr(data, '\0', size) || !lt_utf8_valid((const char *)data, size))
		size = 0;
	if (tmpl_parse(&arena, "__alert_x", (const char *)data, size, &t, &at, &err)) {
		if (at > size || !err.msg[0])
			abort();
	} else if (tmpl_exec(t, &env, &arena, &out, &why)) {
		if (!why.len)
			abort();
	}
	lt_buf_fini(&out);
	lt_buf_fini(&why);
	lt_arena_fini(&arena);
	return 0;
}
