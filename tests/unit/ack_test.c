/* SPDX-License-Identifier: MIT */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "../../producers/agent/payload.h"
#include "latido/ack.h"
#include "latido/event.h"
#include "latido/status.h"

/* Acknowledgements as text, and the identity that an event gets when it is sent. */

static int parse(struct lt_ack *a, const char *text)
{
	struct lt_err err;

	return lt_ack_parse(a, text, strlen(text), &err);
}

static void test_ack(void **state)
{
	static const char *const bad[] = {"", "[]", "{}", "{\"epoch\":0,\"have\":[]}",
		"{\"epoch\":-1,\"have\":[]}", "{\"epoch\":1.5,\"have\":[]}",
		"{\"epoch\":1,\"have\":[[5,1]]}", "{\"epoch\":1,\"have\":[[0,1]]}",
		"{\"epoch\":1,\"have\":[[1,5],[5,6]]}", "{\"epoch\":1,\"have\":[[1]]}",
		"{\"epoch\":1,\"have\":[[1,2,3]]}", "{\"epoch\":1,\"have\":{}}",
		"{\"epoch\":1,\"have\":[[1,99999999999999999]]}", "{\"epoch\":1,\"have\":[[1,2]]",
		"{\"epoch\":1} x", "{\"epoch\":99999999999999999999}", "{\"need_shape\":[]}",
		"{\"have\":[[1,2]],\"need_shape\":[\"9f\"]}"};
	struct lt_buf text = {0}, many = {0};
	struct lt_ack a, b;

	(void)state;
	assert_int_equal(
		parse(&a, "{\"epoch\":1763700000000000,\"have\":[[1,500],[520,530]],\"more\":"
			  "{\"x\":[1]},\"need_shape\":[\"9f8e\"]}"),
		LT_OK);
	assert_int_equal(a.epoch, 1763700000000000);
	assert_int_equal(a.n, 2);
	assert_int_equal(a.have[1].lo, 520);
	assert_int_equal(a.have[1].hi, 530);
	assert_true(a.need_shape);
	lt_ack_format(&a, &text);
	assert_string_equal(text.data, "{\"epoch\":1763700000000000,\"have\":[[1,500],[520,530]]}");
	assert_int_equal(lt_ack_parse(&b, text.data, text.len, NULL), LT_OK);
	assert_int_equal(b.n, 2);
	assert_false(b.need_shape);
	lt_buf_reset(&text);
	lt_ack_format_need(0x9f8e7d6c5b4a3928, &text);
	assert_string_equal(text.data, "{\"need_shape\":[\"9f8e7d6c5b4a3928\"]}");
	assert_int_equal(lt_ack_parse(&b, text.data, text.len, NULL), LT_OK);
	assert_true(b.need_shape && !b.n && !b.epoch);
	assert_int_equal(parse(&a, "{\"epoch\":7,\"have\":[],\"need_shape\":[]}"), LT_OK);
	assert_int_equal(a.n, 0);
	assert_false(a.need_shape);
	for (size_t i = 0; i < LT_ARRAY_LEN(bad); i++)
		if (parse(&a, bad[i]) != LT_EDATA)
			fail_msg("accepted: %s", bad[i]);
	lt_buf_str(&many, "{\"epoch\":1,\"have\":[");
	for (int i = 0; i <= LT_ACK_RANGES_MAX; i++)
		lt_buf_printf(&many, "%s[%d,%d]", i ? "," : "", 3 * i + 1, 3 * i + 2);
	lt_buf_str(&many, "]}");
	assert_int_equal(parse(&a, many.data), LT_EDATA);
	lt_buf_fini(&text);
	lt_buf_fini(&many);
}

static int status(struct lt_status *s, const char *text)
{
	return lt_status_parse(s, text, strlen(text), NULL);
}

static void test_status(void **state)
{
	static const char *const bad[] = {"", "x", "[]", "{}", "{\"state\":\"gone\"}",
		"{\"state\":1}", "{\"state\":\"online\",\"epoch\":-1}",
		"{\"state\":\"online\",\"epoch\":99999999999999999}",
		"{\"state\":\"online\",\"run\":7}", "{\"state\":\"online\"",
		"{\"state\":\"online\",\"run\":\"123456789012345678901234567890123\"}",
		"{\"state\":\"online\"} x"};
	struct lt_status s;

	(void)state;
	assert_int_equal(status(&s, "{\"state\":\"online\",\"epoch\":5,\"conn\":7,\"labels\":{"
				    "\"a\":[1]},\"run\":\"9f8e\"}"),
		LT_OK);
	assert_true(s.online && s.epoch == 5 && s.conn == 7);
	assert_string_equal(s.run, "9f8e");
	assert_int_equal(status(&s, "{\"state\":\"offline\"}"), LT_OK);
	assert_true(!s.online && !*s.run);
	assert_int_equal(status(&s, "online"), LT_OK);
	assert_true(s.online);
	assert_int_equal(status(&s, "offline"), LT_OK);
	assert_false(s.online);
	for (size_t i = 0; i < LT_ARRAY_LEN(bad); i++)
		if (status(&s, bad[i]) != LT_EDATA)
			fail_msg("accepted: %s", bad[i]);
}

/* What was encoded without an identity decodes with the one that it got. */
static void check_payload(bool json, bool shape)
{
	const struct lt_decode_limits limits = {1 << 20, 1000};
	struct lt_origin origin = {.source = "renamed", .arrived_ns = 1};
	struct lt_snapshot *snap = lt_snapshot_new(1000);
	struct lt_shapes *shapes = lt_shapes_new(1 << 20, 1000);
	struct lt_event e = {.source = "n1",
		.stream = "",
		.has_time = true,
		.time_ns = INT64_C(1763700000250000000),
		.interval_ms = 1000};
	struct lt_event *out = NULL;
	struct lt_arena arena = {0};
	struct lt_buf body = {0}, msg = {0};
	enum lt_reason reason;
	struct lt_err err = {0};
	uint64_t missing;

	lt_snapshot_begin(snap);
	lt_snapshot_value(snap, "a", LT_KIND_GAUGE, 1.5);
	lt_snapshot_value(snap, "b", LT_KIND_COUNTER, 7);
	assert_int_equal(lt_snapshot_event(snap, &e, &err), LT_OK);
	if (json)
		lt_encode_json(&e, &body);
	else
		lt_encode_protobuf(&e, false, &body);
	lt_payload_write(&msg, "renamed", 1763700000000000, 300, 290, body.data, body.len,
		shape ? e.shape->bytes : NULL, shape ? e.shape->size : 0);
	assert_string_equal(lt_payload_type(body.data, body.len),
		json ? "application/json" : "application/x-protobuf;proto=latido.v1.Event");
	if (!json && !shape) {
		assert_int_equal(lt_decode(shapes, &limits, &origin, msg.data, msg.len, &arena,
					 &out, &reason, &missing, &err),
			LT_ESHAPE);
		assert_int_equal(missing, e.shape->hash);
	} else {
		assert_int_equal(lt_decode(shapes, &limits, &origin, msg.data, msg.len, &arena,
					 &out, &reason, &missing, &err),
			LT_OK);
		assert_string_equal(out->source, "renamed");
		assert_int_equal(out->epoch, 1763700000000000);
		assert_int_equal(out->seq, 300);
		assert_int_equal(out->oldest_seq, 290);
		assert_int_equal(out->time_ns, e.time_ns);
		assert_int_equal(out->interval_ms, 1000);
		assert_int_equal(out->n, 2);
		assert_true(lt_event_value(out, 0) == 1.5 && lt_event_value(out, 1) == 7);
		lt_events_release(out);
	}
	lt_buf_fini(&body);
	lt_buf_fini(&msg);
	lt_arena_fini(&arena);
	lt_shapes_free(shapes);
	lt_snapshot_free(snap);
}

static void test_payload(void **state)
{
	(void)state;
	check_payload(false, true);
	check_payload(false, false);
	check_payload(true, false);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_ack),
		cmocka_unit_test(test_status),
		cmocka_unit_test(test_payload),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
