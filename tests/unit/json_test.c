/* SPDX-License-Identifier: MIT */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "latido/event.h"

#define ARRIVED INT64_C(1763700099000000000)

static struct lt_shapes *table;
static struct lt_arena arena;
static struct lt_event *got;
static enum lt_reason reason;
static struct lt_err err;

static int setup(void **state)
{
	(void)state;
	table = lt_shapes_new(16 << 20, 100000);
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	lt_events_release(got);
	got = NULL;
	lt_arena_fini(&arena);
	lt_shapes_free(table);
	return 0;
}

static int decode_n(const char *topic, const void *payload, size_t n)
{
	struct lt_origin o = {.arrived_ns = ARRIVED};
	uint64_t missing;

	lt_events_release(got);
	lt_arena_reset(&arena);
	err.msg[0] = '\0';
	assert_int_equal(lt_origin_from_topic(&o, "t", topic, NULL), LT_OK);
	return lt_decode(table, NULL, &o, payload, n, &arena, &got, &reason, &missing, &err);
}

static int decode(const char *topic, const char *payload)
{
	return decode_n(topic, payload, strlen(payload));
}

#define NODE     "t/nodes/worker1/metrics"
#define DEV      "t/devices/d1/metrics"
#define DEV_TEMP "t/devices/d1/metrics/temp"

/* "name=value ..." in order, for comparing */
static const char *series(const struct lt_event *e)
{
	static char text[4096];
	struct lt_buf b = {0};

	for (uint32_t i = 0; i < e->n; i++) {
		if (i)
			lt_buf_char(&b, ' ');
		lt_buf_str(&b, e->shape->series[i].text);
		lt_buf_char(&b, '=');
		lt_buf_double(&b, lt_event_value(e, i));
	}
	assert_true(b.len < sizeof(text));
	memcpy(text, b.data, b.len + 1);
	lt_buf_fini(&b);
	return text;
}

static void event_form(void **state)
{
	(void)state;
	assert_int_equal(
		decode(NODE, "{\"source\":\"worker1\",\"epoch\":1763700000000000,\"seq\":17,"
			     "\"time\":\"2026-11-21T05:00:00.250Z\",\"oldest\":12,"
			     "\"stream\":\"slow\",\"interval_ms\":1000,\"new_key\":[1,{}],"
			     "\"metrics\":{\"node_load1\":0.42,"
			     "\"node_cpu_seconds_total{mode=\\\"idle\\\",cpu=\\\"0\\\"}\":1234.5,"
			     "\"a{x=\\\"q\\\\\\\"b\\\\\\\\n\\\\nl\\\"}\":null,\"b\":\"+Inf\","
			     "\"c\":\"-Inf\",\"d\":\"NaN\",\"e\":true},"
			     "\"types\":{\"node_cpu_seconds_total\":\"counter\",\"b\":\"gauge\"},"
			     "\"units\":{\"b\":\"By\"}}"),
		LT_OK);
	assert_string_equal(got->source, "worker1");
	assert_string_equal(got->stream, "slow");
	assert_true(got->epoch == 1763700000000000 && got->seq == 17 && got->oldest_seq == 12);
	assert_true(got->has_time && got->time_ns == INT64_C(1795237200250000000));
	assert_int_equal(got->interval_ms, 1000);
	assert_false(got->partial);
	assert_false(got->device);
	assert_int_equal(got->n_ignored, 1);
	assert_null(got->next);
	assert_string_equal(series(got),
		"node_load1=0.42 node_cpu_seconds_total{cpu=\"0\",mode=\"idle\"}=1234.5 "
		"a{x=\"q\\\"b\\\\n\\nl\"}=NaN b=+Inf c=-Inf d=NaN e=1");
	assert_string_equal(got->shape->series[2].labels[0].value, "q\"b\\n\nl");
	assert_int_equal(got->shape->series[0].kind, LT_KIND_UNKNOWN);
	assert_int_equal(got->shape->series[1].kind, LT_KIND_COUNTER);
	assert_int_equal(got->shape->series[3].kind, LT_KIND_GAUGE);
}

static void event_form_writes_and_reads_back(void **state)
{
	static const char text[] =
		"{\"source\":\"d1\",\"epoch\":3,\"seq\":9007199254740992,"
		"\"time\":\"2026-11-21T05:00:00.250000001Z\",\"oldest\":1,\"stream\":\"s\","
		"\"partial\":false,\"interval_ms\":4294967295,"
		"\"metrics\":{\"a\":0.1,\"b{k=\\\"1\\\"}\":null,\"b{k=\\\"2\\\"}\":\"-Inf\","
		"\"c\":-0,\"b{z=\\\"\\\\\\\\\\\"}\":1e+300},"
		"\"types\":{\"b\":\"counter\"},\"units\":{\"a\":\"Cel\",\"c\":\"\\u007f\"}}";
	struct lt_buf out = {0};
	const struct lt_shape *shape;

	(void)state;
	assert_int_equal(decode(DEV, text), LT_OK);
	shape = got->shape;
	lt_encode_json(got, &out);
	assert_string_equal(out.data, text);
	assert_int_equal(decode(DEV, out.data), LT_OK);
	assert_ptr_equal(got->shape, shape);
	lt_buf_fini(&out);
}

static void devices_flat(void **state)
{
	static const struct {
		const char *topic, *text, *series;
	} good[] = {
		{DEV, "{\"temperature\":21.5}", "temperature=21.5"},
		{DEV, " \t{ \"a\" : 1 , \"b\" : [ ] , \"c\" : { } }\n", "a=1"},
		{DEV, "\n{\"a\":1}", "a=1"},
		{DEV, "\xef\xbb\xbf{\"a\":1}", "a=1"},
		{DEV, "{\"AM2301\":{\"Temperature\":21.5,\"Humidity\":40},\"TempUnit\":\"C\"}",
			"AM2301_Temperature=21.5 AM2301_Humidity=40"},
		{DEV, "{\"on\":true,\"off\":false,\"n\":null}", "on=1 off=0 n=NaN"},
		{DEV, "{\"a\":\"100.00\",\"b\":\" 5 \",\"c\":\"nan\",\"d\":\"-.5\",\"e\":\"x1\"}",
			"a=100 b=5 c=NaN d=-0.5"},
		{DEV, "{\"t-out \xc3\xb1\":1,\"9\":2,\"\":3}", "t_out__=1 _9=2 _=3"},
		{DEV, "{\"v\":[1,\"x\",[2,3]],\"s\":[{\"t\":4},{\"t\":5}]}",
			"v{index=\"0\"}=1 v{index=\"2.0\"}=2 v{index=\"2.1\"}=3 "
			"s_t{index=\"0\"}=4 s_t{index=\"1\"}=5"},
		{DEV, "{\"seq\":4,\"_x\":{\"y\":1},\"timestamp\":\"noon\",\"a\":1}", "a=1"},
		{DEV, "{\"e\":1e3,\"f\":-1.5E-3,\"g\":123456789012345678901234567890}",
			"e=1000 f=-0.0015 g=1.2345678901234568e+29"},
		{DEV, "{\"\\u0061\\ud83d\\ude00b\":1}", "a_b=1"},
		{DEV_TEMP, "21.5", "temp=21.5"},
		{DEV_TEMP, "  -3\r\n", "temp=-3"},
		{DEV_TEMP, "\n7", "temp=7"},
		{DEV_TEMP, "+1.5", "temp=1.5"},
		{DEV_TEMP, "nan", "temp=NaN"},
		{DEV_TEMP, "true", "temp=1"},
		{DEV_TEMP, "null", "temp=NaN"},
		{DEV_TEMP, "\"21.5\"", "temp=21.5"},
		{DEV_TEMP, "{\"a\":1,\"b\":{\"c\":2}}", "temp_a=1 temp_b_c=2"},
		{DEV_TEMP, "[1,2]", "temp{index=\"0\"}=1 temp{index=\"1\"}=2"},
		{DEV, "{\"source\":\"d1\",\"values\":{\"a\":1}}", "values_a=1"},
		{DEV, "{\"metrics\":{\"a\":1,\"b\":\"text\",\"c d\":{\"e\":2}}}", "a=1 c_d_e=2"},
	};

	(void)state;
	for (size_t i = 0; i < LT_ARRAY_LEN(good); i++) {
		if (decode(good[i].topic, good[i].text) != LT_OK)
			fail_msg("%s: %s", good[i].text, err.msg);
		assert_string_equal(got->source, "d1");
		assert_string_equal(series(got), good[i].series);
		assert_true(got->partial && got->device && !got->has_time);
		assert_true(got->time_ns == ARRIVED && got->arrived_ns == ARRIVED);
		assert_true(got->seq == 0 && got->epoch == 0);
		assert_null(got->next);
	}
}

static void devices_with_time_and_sequence(void **state)
{
	(void)state;
	assert_int_equal(decode(DEV, "{\"ts\":1763700000250,\"values\":{\"temp\":21.5,\"ts\":3},"
				     "\"other\":5}"),
		LT_OK);
	assert_true(got->time_ns == INT64_C(1763700000250000000) && got->has_time);
	assert_string_equal(series(got), "temp=21.5 ts=3");
	assert_int_equal(got->n_ignored, 1);

	assert_int_equal(decode(DEV, "[{\"ts\":1763700000,\"values\":{\"a\":1}},"
				     "{\"ts\":1763700001.5,\"values\":{\"a\":2}},{\"a\":3}]"),
		LT_OK);
	assert_true(got->time_ns == INT64_C(1763700000000000000));
	assert_string_equal(series(got), "a=1");
	assert_true(got->next->time_ns == INT64_C(1763700001500000000));
	assert_string_equal(series(got->next), "a=2");
	assert_ptr_equal(got->next->shape, got->shape);
	assert_true(got->next->next->time_ns == ARRIVED);
	assert_null(got->next->next->next);

	assert_int_equal(decode(DEV, "{\"_seq\":\"17\",\"_epoch\":3,\"temp\":1}"), LT_OK);
	assert_true(got->seq == 17 && got->epoch == 3);
	assert_string_equal(series(got), "temp=1");

	assert_int_equal(decode(DEV, "{\"time\":\"2026-11-21T05:00:00Z\",\"temp\":1}"), LT_OK);
	assert_true(got->time_ns == INT64_C(1795237200000000000));

	/* a list on a metric's topic keeps the name for each */
	assert_int_equal(decode(DEV_TEMP, "[{\"metrics\":{\"x\":{\"y\":1}}},{\"in\":2}]"), LT_OK);
	assert_string_equal(series(got), "x_y=1");
	assert_string_equal(series(got->next), "temp_in=2");
}

static void the_first_users_document(void **state)
{
	static const char text[] =
		"{\"total_ram\":2072,\"ram_libre\":1110552576,\"uso_ram\":442,"
		"\"porcentaje_ram\":22,\"porcentaje_cpu_uso\":22,\"porcentaje_cpu_libre\":88,"
		"\"procesos_corriendo\":123,\"total_procesos\":233,\"procesos_durmiendo\":65,"
		"\"procesos_zombie\":65,\"procesos_parados\":65,\"hora\":\"2025-06-17 02:21:54\","
		"\"api\":\"Python\"}";

	(void)state;
	assert_int_equal(decode(DEV, text), LT_OK);
	assert_int_equal(got->n, 12);
	assert_true(got->has_time && got->time_ns == INT64_C(1750126914000000000));
	assert_int_equal(got->n_ignored, 0);
	assert_string_equal(got->shape->series[11].text, "api_info{api=\"Python\"}");
	assert_true(lt_event_value(got, 11) == 1);
	assert_string_equal(got->shape->series[1].text, "ram_libre");
	assert_true(lt_event_value(got, 1) == 1110552576);

	/* a number is a number; what cannot be a label is passed over */
	assert_int_equal(decode(DEV, "{\"api\":3,\"a\":1}"), LT_OK);
	assert_string_equal(series(got), "api=3 a=1");
	assert_int_equal(decode(DEV, "{\"api\":\"\",\"a\":1}"), LT_OK);
	assert_true(got->n == 1 && got->n_ignored == 1);
	assert_int_equal(decode(DEV, "{\"api\":\"x\\u0000\",\"a\":1}"), LT_OK);
	assert_true(got->n == 1 && got->n_ignored == 1);
	/* an explicit time wins; an hora that is none is text like any other */
	assert_int_equal(
		decode(DEV, "{\"hora\":\"2025-06-17 02:21:54\",\"ts\":1763700000,\"a\":1}"), LT_OK);
	assert_true(got->time_ns == INT64_C(1763700000000000000));
	/* with an offset it is that zone's */
	assert_int_equal(decode(DEV, "{\"hora\":\"2025-06-16 20:21:54-06:00\",\"a\":1}"), LT_OK);
	assert_true(got->has_time && got->time_ns == INT64_C(1750126914000000000));
	assert_int_equal(decode(DEV, "{\"hora\":\"2025-06-17T02:21:54Z\",\"a\":1}"), LT_OK);
	assert_true(got->has_time && got->time_ns == INT64_C(1750126914000000000));
	assert_int_equal(decode(DEV, "{\"hora\":\"2025-13-17 02:21:54\",\"a\":1}"), LT_OK);
	assert_true(!got->has_time && got->n_ignored == 1);
	assert_int_equal(decode(DEV, "{\"hora\":\"1960-06-17 02:21:54\",\"a\":1}"), LT_OK);
	assert_true(!got->has_time && got->n_ignored == 1);
	assert_int_equal(decode(DEV, "{\"hora\":7}"), LT_OK);
	assert_string_equal(series(got), "hora=7");
}

struct refusal {
	const char *topic, *text;
	enum lt_reason reason;
	const char *says;
};

static void refuse(const struct refusal *r, size_t n)
{
	for (; n; n--, r++) {
		if (decode(r->topic, r->text) != LT_EDATA)
			fail_msg("accepted: %s", r->text);
		if (reason != r->reason || !strstr(err.msg, r->says))
			fail_msg("%s: %s: %s", r->text, lt_reason_name(reason), err.msg);
		assert_null(got);
		assert_int_equal(err.cls, LT_CLS_POISON);
	}
}

static void bad_events(void **state)
{
	static const struct refusal bad[] = {
		{NODE, "{\"metrics\":{\"a\":1}}", LT_REASON_DECODE, "no source"},
		{NODE, "{\"a\":1}", LT_REASON_DECODE, "no source"},
		{NODE, "{\"source\":\"worker2\",\"metrics\":{\"a\":1}}", LT_REASON_SOURCE_MISMATCH,
			"worker1"},
		{NODE, "{\"source\":\"a b\",\"metrics\":{\"a\":1}}", LT_REASON_LIMITS, "source"},
		{NODE, "{\"source\":5,\"metrics\":{\"a\":1}}", LT_REASON_DECODE, "source"},
		{NODE, "{\"source\":\"worker1\",\"seq\":1,\"metrics\":{\"a\":1}}", LT_REASON_DECODE,
			"both or neither"},
		{NODE, "{\"source\":\"worker1\",\"epoch\":1,\"metrics\":{\"a\":1}}",
			LT_REASON_DECODE, "both or neither"},
		{NODE,
			"{\"source\":\"worker1\",\"epoch\":1,\"seq\":9007199254740993,\"metrics\":{"
			"\"a\":1}}",
			LT_REASON_LIMITS, "2^53"},
		{NODE,
			"{\"source\":\"worker1\",\"epoch\":99999999999999999999999,\"seq\":1,"
			"\"metrics\":{\"a\":1}}",
			LT_REASON_LIMITS, "2^53"},
		{NODE, "{\"source\":\"worker1\",\"epoch\":1,\"seq\":-1,\"metrics\":{\"a\":1}}",
			LT_REASON_DECODE, "seq"},
		{NODE, "{\"source\":\"worker1\",\"epoch\":1,\"seq\":1.5,\"metrics\":{\"a\":1}}",
			LT_REASON_DECODE, "seq"},
		{NODE,
			"{\"source\":\"worker1\",\"epoch\":1,\"seq\":1,\"oldest\":2,\"metrics\":{"
			"\"a\":1}}",
			LT_REASON_DECODE, "oldest"},
		{NODE, "{\"source\":\"worker1\",\"metrics\":{}}", LT_REASON_DECODE, "no numeric"},
		{NODE, "{\"source\":\"worker1\",\"metrics\":{\"a\":\"x\"}}", LT_REASON_DECODE,
			"\"a\""},
		{NODE, "{\"source\":\"worker1\",\"metrics\":{\"a\":{\"b\":1}}}", LT_REASON_DECODE,
			"\"a\""},
		{NODE, "{\"source\":\"worker1\",\"metrics\":{\"a\":1e999}}", LT_REASON_DECODE,
			"\"a\""},
		{NODE, "{\"source\":\"worker1\",\"metrics\":{\"a\":1,\"a\":2}}", LT_REASON_LIMITS,
			"twice"},
		{NODE, "{\"source\":\"worker1\",\"metrics\":{\"a\":1,\"b\":1,\"a{}\":2}}",
			LT_REASON_LIMITS, "twice"},
		{NODE, "{\"source\":\"worker1\",\"metrics\":{\"a b\":1}}", LT_REASON_LIMITS,
			"not a metric name"},
		{NODE, "{\"source\":\"worker1\",\"metrics\":{\"a{b}\":1}}", LT_REASON_DECODE,
			"name{label"},
		{NODE, "{\"source\":\"worker1\",\"metrics\":{\"a{b=\\\"1\\\"\":1}}",
			LT_REASON_DECODE, "name{label"},
		{NODE, "{\"source\":\"worker1\",\"metrics\":{\"a{b=\\\"1\\\"}x\":1}}",
			LT_REASON_DECODE, "name{label"},
		{NODE, "{\"source\":\"worker1\",\"metrics\":{\"a{b=\\\"1\":1}}", LT_REASON_DECODE,
			"name{label"},
		{NODE, "{\"source\":\"worker1\",\"metrics\":{\"a{b=\\\"1\\\",b=\\\"2\\\"}\":1}}",
			LT_REASON_LIMITS, "unique"},
		{NODE, "{\"source\":\"worker1\",\"metrics\":{\"a{b=\\\"\\u0000\\\"}\":1}}",
			LT_REASON_LIMITS, "NUL"},
		{NODE, "{\"source\":\"worker1\",\"metrics\":{\"a\":1},\"metrics\":{\"b\":1}}",
			LT_REASON_DECODE, "twice"},
		{NODE, "{\"source\":\"worker1\",\"metrics\":{\"a\":1},\"partial\":1}",
			LT_REASON_DECODE, "partial"},
		{NODE, "{\"source\":\"worker1\",\"metrics\":{\"a\":1},\"interval_ms\":4294967296}",
			LT_REASON_LIMITS, "interval_ms"},
		{NODE, "{\"source\":\"worker1\",\"metrics\":{\"a\":1},\"time\":\"soon\"}",
			LT_REASON_DECODE, "RFC 3339"},
		{NODE,
			"{\"source\":\"worker1\",\"metrics\":{\"a\":1},\"time\":"
			"\"1969-01-01T00:00:00Z\"}",
			LT_REASON_TIME_RANGE, "1970"},
		{NODE, "{\"source\":\"worker1\",\"metrics\":{\"a\":1},\"types\":{\"a\":1}}",
			LT_REASON_DECODE, "types"},
		{NODE, "{\"source\":\"worker1\",\"metrics\":{\"a\":1},\"types\":[]}",
			LT_REASON_DECODE, "types"},
		{NODE, "{\"source\":\"worker1\",\"metrics\":5}", LT_REASON_DECODE, "metrics"},
	};

	(void)state;
	/* "metrics" that is no object makes it a flat document, where it is a metric */
	refuse(bad, LT_ARRAY_LEN(bad) - 1);
	assert_int_equal(decode(NODE, bad[LT_ARRAY_LEN(bad) - 1].text), LT_OK);
	assert_string_equal(series(got), "metrics=5");
}

static void bad_devices(void **state)
{
	static const struct refusal bad[] = {
		{DEV, "21.5", LT_REASON_DECODE, "devices/<id>/metrics/<name>"},
		{DEV, "true", LT_REASON_DECODE, "devices/<id>/metrics/<name>"},
		{DEV_TEMP, "ON", LT_REASON_DECODE, "no number"},
		{DEV_TEMP, "21.5 C", LT_REASON_DECODE, "no number"},
		{DEV_TEMP, "", LT_REASON_DECODE, "empty"},
		{DEV_TEMP, "  ", LT_REASON_DECODE, ""},
		{DEV_TEMP, "{\"a\":\"x\"}", LT_REASON_DECODE, "1 members ignored"},
		{DEV, "{}", LT_REASON_DECODE, "no numeric value"},
		{DEV, "[]", LT_REASON_DECODE, "empty list"},
		{DEV, "[1]", LT_REASON_DECODE, "must hold objects"},
		{DEV, "[{\"a\":1},{}]", LT_REASON_DECODE, "no numeric value"},
		{DEV, "[{\"a\":1},{\"a\":2,\"a\":3}]", LT_REASON_LIMITS, "twice"},
		{DEV, "{\"a.b\":1,\"a\":{\"b\":2}}", LT_REASON_LIMITS, "twice"},
		{DEV, "{\"source\":\"d2\",\"a\":1}", LT_REASON_SOURCE_MISMATCH, "d2"},
		{DEV, "{\"_seq\":1,\"a\":1}", LT_REASON_DECODE, "both or neither"},
		{DEV, "{\"ts\":1763700000250000000,\"a\":1}", LT_REASON_TIME_RANGE, "ms, s"},
		{DEV, "{\"ts\":-1,\"a\":1}", LT_REASON_TIME_RANGE, "1970"},
		{DEV, "{\"ts\":1e300,\"a\":1}", LT_REASON_TIME_RANGE, "1970"},
		{DEV, "{\"a\":1e999}", LT_REASON_DECODE, "range"},
		{DEV, "{\"a\":1", LT_REASON_DECODE, "at byte 6"},
		{DEV, "{\"a\":1}x", LT_REASON_DECODE, "follows"},
		{DEV, "{\"a\":1,}", LT_REASON_DECODE, "key"},
		{DEV, "{\"a\":01}", LT_REASON_DECODE, "comma"},
		{DEV, "{\"a\":.5}", LT_REASON_DECODE, "value"},
		{DEV, "{\"a\":1.}", LT_REASON_DECODE, "malformed number"},
		{DEV, "{\"a\":-}", LT_REASON_DECODE, "malformed number"},
		{DEV, "{\"a\":1e}", LT_REASON_DECODE, "malformed number"},
		{DEV, "{\"a\":tru}", LT_REASON_DECODE, "value"},
		{DEV, "{\"a\" 1}", LT_REASON_DECODE, "colon"},
		{DEV, "{a:1}", LT_REASON_DECODE, "double quotes"},
		{DEV, "{\"a\n\":1}", LT_REASON_DECODE, "control"},
		{DEV, "{\"a\\x\":1}", LT_REASON_DECODE, "escape"},
		{DEV, "{\"a\\u12g4\":1}", LT_REASON_DECODE, "hexadecimal"},
		{DEV, "{\"a\\ud83d\":1}", LT_REASON_DECODE, "surrogate"},
		{DEV, "{\"a\\ude00\":1}", LT_REASON_DECODE, "surrogate"},
		{DEV, "{\"a\xff\":1}", LT_REASON_DECODE, "UTF-8"},
		{DEV, "{\"a\xed\xa0\x80\":1}", LT_REASON_DECODE, "UTF-8"},
	};

	(void)state;
	refuse(bad, LT_ARRAY_LEN(bad));
}

static void limits(void **state)
{
	struct lt_buf b = {0};

	(void)state;
	/* depth: refused, by whichever reader meets it first */
	for (int i = 0; i < 40; i++)
		lt_buf_str(&b, "{\"a\":");
	lt_buf_str(&b, "1");
	for (int i = 0; i < 40; i++)
		lt_buf_char(&b, '}');
	assert_int_equal(decode(DEV, b.data), LT_EDATA);
	assert_int_equal(reason, LT_REASON_LIMITS);
	lt_buf_reset(&b);
	for (int i = 0; i < 500000; i++)
		lt_buf_char(&b, '[');
	assert_int_equal(decode(DEV_TEMP, b.data), LT_EDATA);
	assert_int_equal(decode(DEV, b.data), LT_EDATA);

	/* too many events */
	lt_buf_reset(&b);
	lt_buf_char(&b, '[');
	for (int i = 0; i <= 10000; i++)
		lt_buf_str(&b, i ? ",{\"a\":1}" : "{\"a\":1}");
	lt_buf_char(&b, ']');
	assert_int_equal(decode(DEV, b.data), LT_EDATA);
	assert_int_equal(reason, LT_REASON_LIMITS);
	assert_non_null(strstr(err.msg, "10000"));

	/* too many series; their names */
	lt_buf_reset(&b);
	lt_buf_str(&b, "[1");
	for (int i = 0; i < 100000; i++)
		lt_buf_str(&b, ",1");
	lt_buf_char(&b, ']');
	assert_int_equal(decode(DEV_TEMP, b.data), LT_EDATA);
	assert_int_equal(reason, LT_REASON_LIMITS);
	lt_buf_reset(&b);
	lt_buf_char(&b, '{');
	for (int i = 0; i < 5; i++)
		lt_buf_str(&b, "\"n1234567890123456789012\":{");
	for (int i = 0; i < 90000; i++)
		lt_buf_printf(&b, "%s\"%x\":1", i ? "," : "", i);
	lt_buf_str(&b, "}}}}}}");
	assert_true(b.len < 1 << 20);
	assert_int_equal(decode(DEV, b.data), LT_EDATA);
	assert_int_equal(reason, LT_REASON_LIMITS);
	assert_non_null(strstr(err.msg, "names of the series take more"));

	/* long names and values */
	lt_buf_reset(&b);
	lt_buf_str(&b, "{\"");
	for (int i = 0; i < 129; i++)
		lt_buf_char(&b, 'x');
	lt_buf_str(&b, "\":1}");
	assert_int_equal(decode(DEV, b.data), LT_EDATA);
	assert_int_equal(reason, LT_REASON_LIMITS);

	/* one byte more than a message may have */
	lt_buf_reset(&b);
	lt_buf_str(&b, "{\"a\":1}");
	while (b.len < 1 << 20)
		lt_buf_char(&b, ' ');
	assert_int_equal(decode(DEV, b.data), LT_OK);
	lt_buf_char(&b, ' ');
	assert_int_equal(decode(DEV, b.data), LT_EDATA);
	assert_int_equal(reason, LT_REASON_TOO_LARGE);
	lt_buf_fini(&b);
}

static void content_type_decides(void **state)
{
	static const char text[] = "\n\x05{\"a\":1}";
	struct lt_origin o = {.source = "d1", .device = true, .content_type = "application/json"};
	uint64_t missing;

	(void)state;
	assert_int_equal(lt_decode(table, NULL, &o, text, sizeof(text) - 1, &arena, &got, &reason,
				 &missing, &err),
		LT_EDATA);
	assert_non_null(strstr(err.msg, "expected a JSON value"));
	o.content_type = "application/x-protobuf;proto=latido.v1.Event";
	assert_int_equal(
		lt_decode(table, NULL, &o, "{\"a\":1}", 7, &arena, &got, &reason, &missing, &err),
		LT_EDATA);
	assert_string_equal(err.op, "event.protobuf");
	o.content_type = "application/vnd.acme+json; charset=utf-8";
	assert_int_equal(
		lt_decode(table, NULL, &o, "{\"a\":1}", 7, &arena, &got, &reason, &missing, &err),
		LT_OK);
}

/* Against strtod(), which is exact: random doubles in shortest and in long form. */
static void numbers_are_the_nearest_double(void **state)
{
	uint64_t rng = 88172645463325252u;
	char text[400];

	(void)state;
	for (int i = 0; i < 20000; i++) {
		uint64_t bits;
		double want, have;

		rng ^= rng << 13;
		rng ^= rng >> 7;
		rng ^= rng << 17;
		bits = i % 2 ? rng : (rng & ~(UINT64_C(0x7ff) << 52)) | (rng % 60 + 1000) << 52;
		memcpy(&want, &bits, 8);
		if (!isfinite(want))
			continue;
		snprintf(text, sizeof(text), "{\"a\":%.*g}", 1 + (int)(rng >> 40) % 20, want);
		want = strtod(text + 5, NULL);
		if (isinf(want)) { /* the rounded text can lie beyond the largest one */
			assert_int_equal(decode(DEV, text), LT_EDATA);
			continue;
		}
		assert_int_equal(decode(DEV, text), LT_OK);
		have = lt_event_value(got, 0);
		assert_memory_equal(&have, &want, 8);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(event_form),
		cmocka_unit_test(event_form_writes_and_reads_back),
		cmocka_unit_test(devices_flat),
		cmocka_unit_test(devices_with_time_and_sequence),
		cmocka_unit_test(the_first_users_document),
		cmocka_unit_test(bad_events),
		cmocka_unit_test(bad_devices),
		cmocka_unit_test(limits),
		cmocka_unit_test(content_type_decides),
		cmocka_unit_test(numbers_are_the_nearest_double),
	};

	return cmocka_run_group_tests_name("json", tests, setup, teardown);
}
