/* SPDX-License-Identifier: MIT */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "../../lib/bus/bus_queue.h"
#include "latido/clock.h"

static void push(struct lt_inq *q, const char *topic, bool told)
{
	assert_int_equal(lt_inq_push(q, lt_in_new(topic, strlen(topic), "xy", 2, NULL, 0)), told);
}

static void received_in_order_and_counted(void **state)
{
	struct lt_bus_msg *m[4];
	struct lt_inq q;

	(void)state;
	lt_inq_init(&q);
	push(&q, "a", true);
	push(&q, "b", false);
	push(&q, "c", false);
	assert_true(q.held_bytes > 3 * (sizeof(struct lt_in) + 3));
	assert_int_equal(lt_inq_poll(&q, m, 2), 2);
	assert_string_equal(m[0]->topic, "a");
	assert_string_equal(m[1]->topic, "b");
	assert_int_equal(m[0]->partition, -1);
	assert_int_equal(m[0]->offset, -1);
	assert_int_equal(lt_inq_poll(&q, m + 2, 2), 1);
	/* Nothing was missed, so the next one is announced only after a poll that found nothing. */
	push(&q, "d", false);
	free(lt_inq_remove(&q, m[1]));
	free(lt_inq_remove(&q, m[2]));
	free(lt_inq_remove(&q, m[0]));
	assert_int_equal(lt_inq_poll(&q, m, 4), 1);
	assert_int_equal(lt_inq_poll(&q, m + 1, 3), 0);
	push(&q, "e", true);
	free(lt_inq_remove(&q, m[0]));
	assert_int_equal(lt_inq_poll(&q, m, 4), 1);
	free(lt_inq_remove(&q, m[0]));
	assert_int_equal(q.held_bytes, 0);
	push(&q, "f", false);
	lt_inq_fini(&q);
}

static void message_is_a_copy(void **state)
{
	char data[] = "d\0t", topic[] = "topic-and-more", type[] = "text/plain;x";
	struct lt_in *in = lt_in_new(topic, 5, data, 3, type, 10);

	(void)state;
	memset(data, 'z', 3);
	memset(topic, 'z', 5);
	memset(type, 'z', 5);
	assert_string_equal(in->m.topic, "topic");
	assert_string_equal(in->m.content_type, "text/plain");
	assert_memory_equal(in->m.data, "d\0t", 4);
	assert_int_equal(in->m.size, 3);
	free(in);
	in = lt_in_new("t", 1, NULL, 0, NULL, 0);
	assert_null(in->m.content_type);
	assert_int_equal(in->m.size, 0);
	assert_non_null(in->m.data);
	free(in);
}

static struct lt_out *add(struct lt_outq *q, uint64_t token, bool at_most_once)
{
	struct lt_bus_out m = {.topic = "t", .token = token, .at_most_once = at_most_once};
	struct lt_out *o = lt_out_new(&m);

	lt_outq_add(q, o);
	return o;
}

static void rewind_keeps_order_and_answers(void **state)
{
	struct lt_outq q = {0};
	struct lt_out *o[5];

	(void)state;
	for (uint64_t i = 0; i < 5; i++)
		o[i] = add(&q, i, i == 1);
	assert_int_equal(q.n, 5);
	assert_int_equal(q.n_reported, 4);
	for (int i = 0; i < 4; i++)
		assert_ptr_equal(lt_outq_next(&q), o[i]);
	assert_int_equal(q.n_sent, 4);
	o[2]->done = true;
	lt_outq_rewind(&q);
	/* 1 was at most once; 2 is answered. */
	assert_int_equal(q.n, 4);
	assert_int_equal(q.n_sent, 1);
	assert_ptr_equal(lt_outq_next(&q), o[0]);
	assert_ptr_equal(lt_outq_next(&q), o[3]);
	lt_outq_remove(&q, o[0]);
	free(o[0]);
	lt_outq_remove(&q, o[2]);
	free(o[2]);
	assert_ptr_equal(lt_outq_next(&q), o[4]);
	assert_null(lt_outq_next(&q));
	o[1] = add(&q, 9, false);
	assert_ptr_equal(lt_outq_next(&q), o[1]);
	lt_outq_rewind(&q);
	lt_outq_remove(&q, o[3]);
	free(o[3]);
	assert_ptr_equal(lt_outq_next(&q), o[4]);
	assert_int_equal(q.n_reported, 2);
	lt_outq_fini(&q);
	assert_int_equal(q.n, 0);
}

static void takeovers(void **state)
{
	struct lt_takeovers t = {0};
	struct lt_err err;
	int64_t now = 1000 * LT_NS_PER_S;

	(void)state;
	assert_int_equal(lt_takeover_note(&t, now, "id", true, &err), LT_EIO);
	assert_int_equal(err.cls, LT_CLS_RETRY);
	assert_int_equal(lt_takeover_note(&t, now + 61 * LT_NS_PER_S, "id", true, &err), LT_EIO);
	assert_int_equal(lt_takeover_note(&t, now + 80 * LT_NS_PER_S, "id", true, &err), LT_EIO);
	assert_int_equal(lt_takeover_note(&t, now + 121 * LT_NS_PER_S, "id", true, &err), LT_ECONF);
	assert_int_equal(err.cls, LT_CLS_CONFIG);
	assert_non_null(strstr(err.msg, "'id'"));
	assert_int_equal(lt_takeover_note(&t, now + 200 * LT_NS_PER_S, "id", true, &err), LT_EIO);
	t.n = 0;
	assert_int_equal(lt_takeover_note(&t, now, "id", false, &err), LT_OK);
	assert_int_equal(lt_takeover_note(&t, now + 1, "id", false, &err), LT_OK);
	assert_int_equal(lt_takeover_note(&t, now + 2, "id", false, &err), LT_ECONF);
	assert_non_null(strstr(err.msg, "probably"));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(received_in_order_and_counted),
		cmocka_unit_test(message_is_a_copy),
		cmocka_unit_test(rewind_keeps_order_and_answers),
		cmocka_unit_test(takeovers),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
