/* SPDX-License-Identifier: MIT */
#include "latido/ack.h"

#include <inttypes.h>
#include <string.h>

#include "json_read.h"
#include "latido/event.h"

static bool number(struct json *j, uint64_t *out)
{
	struct json_value v;

	*out = 0;
	if (!json_value(j, &v) || v.type != JSON_NUMBER || v.len > 16)
		return false;
	for (size_t i = 0; i < v.len; i++) {
		if (v.s[i] < '0' || v.s[i] > '9')
			return false;
		*out = *out * 10 + (uint64_t)(v.s[i] - '0');
	}
	return *out <= LT_EXACT_INT;
}

static bool pair(struct json *j, struct lt_range *r)
{
	struct json_value v;
	bool first = true;

	return json_value(j, &v) && v.type == JSON_ARRAY && json_item(j, &first) == 1 &&
	       number(j, &r->lo) && json_item(j, &first) == 1 && number(j, &r->hi) &&
	       json_item(j, &first) == 0;
}

static bool have(struct json *j, struct lt_ack *a)
{
	struct json_value v;
	bool first = true;
	int more;

	if (!json_value(j, &v) || v.type != JSON_ARRAY)
		return false;
	while ((more = json_item(j, &first)) == 1) {
		struct lt_range r;

		if (a->n == LT_ACK_RANGES_MAX || !pair(j, &r) || r.lo == 0 || r.lo > r.hi ||
			(a->n && r.lo <= a->have[a->n - 1].hi))
			return false;
		a->have[a->n++] = r;
	}
	return more == 0;
}

static bool member(struct json *j, const struct json_value *key, struct lt_ack *a)
{
	struct json_value v;

	if (key->len == 5 && memcmp(key->s, "epoch", 5) == 0)
		return number(j, &a->epoch);
	if (key->len == 4 && memcmp(key->s, "have", 4) == 0) {
		a->n = 0;
		return have(j, a);
	}
	if (!json_value(j, &v))
		return false;
	if (key->len == 10 && memcmp(key->s, "need_shape", 10) == 0 && v.type == JSON_ARRAY) {
		struct json at = *j;
		bool first = true;

		a->need_shape = json_item(&at, &first) == 1;
	}
	return json_skip(j, &v);
}

int lt_ack_parse(struct lt_ack *out, const void *text, size_t size, struct lt_err *err)
{
	struct json_value v, key;
	bool first = true;
	struct json j;
	int more = -1;

	memset(out, 0, sizeof(*out));
	json_init(&j, text, size);
	if (size <= LT_ACK_BYTES_MAX && json_value(&j, &v) && v.type == JSON_OBJECT)
		while ((more = json_member(&j, &first, &key)) == 1)
			if (!member(&j, &key, out)) {
				more = -1;
				break;
			}
	if (more == 0 && json_end(&j) && (out->epoch > 0 || (out->need_shape && !out->n)))
		return LT_OK;
	return lt_fail(err, LT_EDATA, LT_CLS_POISON, "ack.parse",
		"not an acknowledgement: %s at byte %td",
		j.error ? j.error : "unexpected member or value", j.p - j.start);
}

void lt_ack_format_need(uint64_t hash, struct lt_buf *out)
{
	lt_buf_printf(out, "{\"need_shape\":[\"%016" PRIx64 "\"]}", hash);
}

void lt_ack_format(const struct lt_ack *a, struct lt_buf *out)
{
	lt_buf_printf(out, "{\"epoch\":%" PRIu64 ",\"have\":[", a->epoch);
	for (size_t i = 0; i < a->n; i++)
		lt_buf_printf(out, "%s[%" PRIu64 ",%" PRIu64 "]", i ? "," : "", a->have[i].lo,
			a->have[i].hi);
	lt_buf_str(out, "]}");
}
