/* SPDX-License-Identifier: MIT */
#include "latido/status.h"

#include <string.h>

#include "json_read.h"
#include "latido/event.h"

#define STATUS_BYTES_MAX 65536

static bool text_is(const struct json_value *v, const char *word)
{
	return v->len == strlen(word) && memcmp(v->s, word, v->len) == 0;
}

static bool number(const struct json_value *v, uint64_t *out)
{
	*out = 0;
	if (v->type != JSON_NUMBER || v->len > 16)
		return false;
	for (size_t i = 0; i < v->len; i++) {
		if (v->s[i] < '0' || v->s[i] > '9')
			return false;
		*out = *out * 10 + (uint64_t)(v->s[i] - '0');
	}
	return *out <= LT_EXACT_INT;
}

static bool member(struct json *j, const struct json_value *key, struct lt_status *s)
{
	struct json_value v;

	if (!json_value(j, &v))
		return false;
	if (text_is(key, "state")) {
		s->online = v.type == JSON_STRING && text_is(&v, "online");
		return s->online || (v.type == JSON_STRING && text_is(&v, "offline"));
	}
	if (text_is(key, "epoch"))
		return number(&v, &s->epoch);
	if (text_is(key, "conn"))
		return number(&v, &s->conn);
	if (text_is(key, "run")) {
		if (v.type != JSON_STRING || v.escaped || v.len > LT_STATUS_RUN_MAX)
			return false;
		memcpy(s->run, v.s, v.len);
		s->run[v.len] = '\0';
		return true;
	}
	return json_skip(j, &v);
}

int lt_status_parse(struct lt_status *out, const void *text, size_t size, struct lt_err *err)
{
	struct json_value v, key;
	bool first = true, state = false;
	struct json j;
	int more = -1;

	memset(out, 0, sizeof(*out));
	if ((size == 6 && memcmp(text, "online", 6) == 0) ||
		(size == 7 && memcmp(text, "offline", 7) == 0)) {
		out->online = size == 6;
		return LT_OK;
	}
	json_init(&j, text, size);
	if (size <= STATUS_BYTES_MAX && json_value(&j, &v) && v.type == JSON_OBJECT)
		while ((more = json_member(&j, &first, &key)) == 1) {
			state = state || text_is(&key, "state");
			if (!member(&j, &key, out)) {
				more = -1;
				break;
			}
		}
	if (more == 0 && state && json_end(&j))
		return LT_OK;
	return lt_fail(err, LT_EDATA, LT_CLS_POISON, "status.parse", "not a status: %s at byte %td",
		j.error ? j.error : "unexpected member or value", j.p - j.start);
}
