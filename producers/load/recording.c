/* SPDX-License-Identifier: MIT */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/types.h>

#include "../../lib/event/json_read.h"
#include "load.h"

#define LINE_MAX_BYTES   (64 << 20)
#define SHAPES_MAX_BYTES (256 << 20)
#define RECORDS_MAX      10000000
#define OP               "load.recording"

/* What is worked on while a file is read. */
struct reading {
	struct load_recording *r;
	const char *path, *tag;
	const struct lt_limits_conf *limits;
	struct lt_snapshot *tagged;
	struct lt_arena scratch;
	struct lt_buf text;
	size_t line;
};

static int refuse(const struct reading *in, struct lt_err *err, const char *why)
{
	return lt_fail(
		err, LT_EDATA, LT_CLS_CONFIG, OP, "%.300s:%zu: %.150s", in->path, in->line, why);
}

static bool is(const struct json_value *key, const char *name)
{
	return key->len == strlen(name) && memcmp(key->s, name, key->len) == 0;
}

/* The event with the label api="<tag>" on every series. */
static int with_tag(struct reading *in, struct lt_event *e, struct lt_err *err)
{
	const char *keys[2][LT_LABELS_MAX + 1], *values[LT_LABELS_MAX + 1];
	const struct lt_series *before = NULL;
	unsigned turn = 0;

	lt_snapshot_begin(in->tagged);
	for (uint32_t i = 0; i < e->n; i++) {
		const struct lt_series *s = &e->shape->series[i];
		bool same = before && strcmp(before->name, s->name) == 0, placed = false;
		size_t n = 0;

		if (!same)
			turn ^= 1;
		for (unsigned k = 0; k < s->n_labels || !placed; k++) {
			int order = k < s->n_labels ? strcmp(s->labels[k].name, "api") : 1;

			if (order >= 0 && !placed) {
				keys[turn][n] = "api";
				values[n++] = in->tag;
				placed = true;
			}
			if (order == 0 || k >= s->n_labels)
				continue;
			if (n > LT_LABELS_MAX)
				return refuse(in, err, "too many labels for one more");
			keys[turn][n] = s->labels[k].name;
			values[n++] = s->labels[k].value;
		}
		if (!same)
			lt_snapshot_family(
				in->tagged, s->name, (enum lt_kind)s->kind, keys[turn], n);
		lt_snapshot_row(in->tagged, values, lt_event_value(e, i));
		before = s;
	}
	return lt_snapshot_event(in->tagged, e, err);
}

static int keep(struct reading *in, const struct lt_event *e, struct lt_err *err)
{
	struct load_recording *r = in->r;
	struct lt_event own = *e;
	struct load_record *to;
	int rc;

	if (e->n == 0)
		return refuse(in, err, "there is no number in this document");
	if (r->n == RECORDS_MAX)
		return refuse(in, err, "too many documents");
	if (in->tag && (rc = with_tag(in, &own, err)) != LT_OK)
		return rc;
	if (r->n == r->cap) {
		r->cap = r->cap ? 2 * r->cap : 256;
		r->records = lt_realloc(r->records, r->cap * sizeof(*r->records));
	}
	to = &r->records[r->n];
	to->shape = lt_shapes_intern(r->shapes, own.shape->bytes, own.shape->size, err);
	if (!to->shape)
		return refuse(in, err, err ? err->msg : "bad names");
	to->n = own.n;
	to->values = lt_arena_dup(&r->arena, own.values, 8 * (size_t)own.n);
	r->n++;
	return LT_OK;
}

static int take_body(
	struct reading *in, const char *from, const char *body, size_t size, struct lt_err *err)
{
	const struct lt_decode_limits limits = {LINE_MAX_BYTES, (uint32_t)in->limits->max_series};
	struct lt_origin origin = {.device = true, .arrived_ns = lt_wall_ns()};
	struct lt_event *events = NULL;
	enum lt_reason reason;
	struct lt_err why;
	uint64_t hash;
	int rc;

	snprintf(origin.source, sizeof(origin.source), "%s",
		lt_source_valid(from, strlen(from)) ? from : "load");
	lt_arena_reset(&in->scratch);
	if (lt_decode(in->r->shapes, &limits, &origin, body, size, &in->scratch, &events, &reason,
		    &hash, &why) != LT_OK)
		return refuse(in, err, why.msg);
	rc = LT_OK;
	for (const struct lt_event *e = events; e && rc == LT_OK; e = e->next)
		rc = keep(in, e, err);
	lt_events_release(events);
	return rc;
}

static int take_line(struct reading *in, const char *line, size_t size, struct lt_err *err)
{
	struct json_value v, key;
	const char *body = NULL;
	size_t body_size = 0;
	bool first = true;
	struct json j;
	int more = -1;

	lt_buf_reset(&in->text);
	json_init(&j, line, size);
	if (json_value(&j, &v) && v.type == JSON_OBJECT)
		while ((more = json_member(&j, &first, &key)) == 1) {
			const char *began = j.p;

			if (!json_value(&j, &v) || !json_skip(&j, &v)) {
				more = -1;
				break;
			}
			if (is(&key, "body")) {
				body = began;
				body_size = (size_t)(j.p - began);
			} else if (is(&key, "from") && v.type == JSON_STRING) {
				size_t n = json_unescape(&v, lt_buf_room(&in->text, v.len));

				in->text.data[n] = '\0';
				in->text.len = n;
			}
		}
	if (more != 0 || !json_end(&j))
		return refuse(in, err, j.error ? j.error : "expected one JSON object in each line");
	if (!body)
		return refuse(in, err,
			"no \"body\"; a line is {\"at\":SECONDS,\"from\":NAME,\"body\":DOCUMENT}");
	return take_body(in, in->text.len ? in->text.data : "load", body, body_size, err);
}

static int read_lines(struct reading *in, FILE *f, struct lt_err *err)
{
	char *line = NULL;
	size_t cap = 0;
	ssize_t n;
	int rc = LT_OK;

	while (rc == LT_OK && (n = getline(&line, &cap, f)) >= 0) {
		in->line++;
		while (n > 0 && (line[n - 1] == '\n' || line[n - 1] == '\r'))
			n--;
		if (n > LINE_MAX_BYTES)
			rc = refuse(in, err, "the line is longer than 64 MiB");
		else if (n > 0)
			rc = take_line(in, line, (size_t)n, err);
	}
	if (rc == LT_OK && ferror(f))
		rc = lt_fail(
			err, LT_EIO, LT_CLS_CONFIG, OP, "%.300s: %s", in->path, strerror(errno));
	free(line);
	return rc;
}

int load_recording_read(struct load_recording *r, const char *path, const char *tag,
	const struct lt_limits_conf *limits, struct lt_err *err)
{
	struct reading in = {.r = r, .path = path, .tag = tag, .limits = limits};
	FILE *f = fopen(path, "re");
	int rc;

	if (!f)
		return lt_fail(err, LT_EIO, LT_CLS_CONFIG, OP, "%.300s: %s", path, strerror(errno));
	r->shapes = lt_shapes_new(SHAPES_MAX_BYTES, (uint32_t)limits->max_series);
	in.tagged = lt_snapshot_new((uint32_t)limits->max_series);
	rc = read_lines(&in, f, err);
	fclose(f);
	lt_snapshot_free(in.tagged);
	lt_arena_fini(&in.scratch);
	lt_buf_fini(&in.text);
	if (rc == LT_OK && r->n == 0)
		rc = lt_fail(err, LT_EDATA, LT_CLS_CONFIG, OP, "%.300s holds no document", path);
	return rc;
}

void load_recording_fini(struct load_recording *r)
{
	for (size_t i = 0; i < r->n; i++)
		lt_shape_put(r->records[i].shape);
	free(r->records);
	lt_shapes_free(r->shapes);
	lt_arena_fini(&r->arena);
	memset(r, 0, sizeof(*r));
}

void load_recording_line(
	struct lt_buf *out, int64_t at_ns, const char *from, const char *body, size_t size)
{
	lt_buf_printf(out, "{\"at\":%.3f,\"from\":", (double)at_ns / 1e9);
	lt_buf_json_str(out, from, strlen(from));
	lt_buf_str(out, ",\"body\":");
	/* Line breaks stand between tokens only; in strings JSON has them escaped. */
	for (size_t i = 0; i < size; i++)
		lt_buf_char(out, body[i] == '\n' || body[i] == '\r' ? ' ' : body[i]);
	lt_buf_str(out, "}\n");
}
