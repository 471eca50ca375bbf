/* SPDX-License-Identifier: MIT */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "../../producers/agent/queue.h"

static const char body[1000];

static void push(struct lt_agent_queue *q, uint64_t seq, size_t want_dropped)
{
	assert_int_equal(lt_agent_queue_push(q, seq, body, sizeof(body), NULL), want_dropped);
}

static void first_in_first_out(void **state)
{
	struct lt_agent_queue *q = lt_agent_queue_new(1 << 20);

	(void)state;
	assert_null(lt_agent_queue_next(q));
	assert_int_equal(lt_agent_queue_oldest_seq(q), 0);
	for (uint64_t seq = 1; seq <= 5; seq++)
		push(q, seq, 0);
	assert_int_equal(lt_agent_queue_events(q), 5);
	for (uint64_t seq = 1; seq <= 4; seq++) {
		struct lt_agent_entry *e = lt_agent_queue_next(q);

		assert_int_equal(e->seq, seq);
		assert_true(lt_agent_queue_may_send(q, e));
		lt_agent_queue_sent(q, e);
	}
	/* what was sent stays until it is acknowledged, in whatever order */
	assert_int_equal(lt_agent_queue_oldest_seq(q), 1);
	assert_true(lt_agent_queue_acknowledged(q, 3));
	assert_false(lt_agent_queue_acknowledged(q, 3));
	assert_true(lt_agent_queue_acknowledged(q, 1));
	assert_false(lt_agent_queue_acknowledged(q, 77));
	assert_int_equal(lt_agent_queue_oldest_seq(q), 2);
	assert_int_equal(lt_agent_queue_next(q)->seq, 5);
	assert_true(lt_agent_queue_acknowledged(q, 2));
	assert_true(lt_agent_queue_acknowledged(q, 4));
	assert_int_equal(lt_agent_queue_oldest_seq(q), 5);
	assert_true(lt_agent_queue_acknowledged(q, 5)); /* refused before it was sent */
	assert_null(lt_agent_queue_next(q));
	assert_int_equal(lt_agent_queue_bytes(q), 0);
	push(q, 6, 0);
	assert_int_equal(lt_agent_queue_next(q)->seq, 6);
	lt_agent_queue_free(q);
	lt_agent_queue_free(NULL);
}

static void oldest_unsent_is_dropped(void **state)
{
	size_t cost = sizeof(struct lt_agent_entry) + sizeof(body);
	struct lt_agent_queue *q = lt_agent_queue_new(10 * cost);
	struct lt_agent_entry *e;

	(void)state;
	for (uint64_t seq = 1; seq <= 10; seq++)
		push(q, seq, 0);
	push(q, 11, 1);
	assert_int_equal(lt_agent_queue_oldest_seq(q), 2);
	/* half of it may be in flight */
	while ((e = lt_agent_queue_next(q)) && lt_agent_queue_may_send(q, e))
		lt_agent_queue_sent(q, e);
	assert_int_equal(lt_agent_queue_next(q)->seq, 7);
	/* those are the bus's to deliver: the oldest of the others goes */
	push(q, 12, 1);
	assert_int_equal(lt_agent_queue_oldest_seq(q), 2);
	assert_int_equal(lt_agent_queue_next(q)->seq, 8);
	for (uint64_t seq = 13; seq <= 40; seq++)
		push(q, seq, 1);
	assert_true(lt_agent_queue_bytes(q) <= 10 * cost);
	assert_int_equal(lt_agent_queue_next(q)->seq, 36);
	for (uint64_t seq = 2; seq <= 6; seq++)
		assert_true(lt_agent_queue_acknowledged(q, seq));
	assert_int_equal(lt_agent_queue_oldest_seq(q), 36);
	assert_int_equal(lt_agent_queue_events(q), 5);
	lt_agent_queue_free(q);
}

static void larger_than_the_queue(void **state)
{
	struct lt_agent_queue *q = lt_agent_queue_new(500);

	(void)state;
	push(q, 1, 1);
	assert_int_equal(lt_agent_queue_events(q), 0);
	assert_null(lt_agent_queue_next(q));
	assert_int_equal(lt_agent_queue_push(q, 2, body, 100, NULL), 0);
	/* one event may always be sent */
	assert_true(lt_agent_queue_may_send(q, lt_agent_queue_next(q)));
	lt_agent_queue_free(q);
}

/* What leaves the queue decodes, with its shape and without it. */
static void payloads_decode(void **state)
{
	struct lt_agent_queue *q = lt_agent_queue_new(1 << 20);
	struct lt_snapshot *snapshot = lt_snapshot_new(1000);
	const struct lt_decode_limits limits = {1 << 20, 1000};
	struct lt_origin origin = {.source = "n"};
	size_t empty;

	(void)state;
	push(q, 1, 0);
	lt_agent_queue_acknowledged(q, 1);
	empty = lt_agent_queue_bytes(q);
	/* 5 events of one shape, then 5 of another, long enough for a length of two bytes */
	for (uint64_t seq = 2; seq <= 11; seq++) {
		struct lt_event e = {.source = "n", .stream = "", .epoch = 9, .seq = seq};
		struct lt_buf text = {0};
		char name[32];

		lt_snapshot_begin(snapshot);
		for (int i = 0; i < (seq < 7 ? 1 : 30); i++) {
			snprintf(name, sizeof(name), "metric_%d", i);
			lt_snapshot_value(snapshot, name, LT_KIND_GAUGE, (double)seq);
		}
		assert_int_equal(lt_snapshot_event(snapshot, &e, NULL), LT_OK);
		lt_encode_protobuf(&e, false, &text);
		assert_int_equal(lt_agent_queue_push(q, seq, text.data, text.len, e.shape), 0);
		lt_buf_fini(&text);
	}
	for (int inline_shape = 0; inline_shape < 2; inline_shape++) {
		struct lt_shapes *shapes = lt_shapes_new(1 << 20, 1000);
		struct lt_agent_entry *e = lt_agent_queue_next(q);
		struct lt_buf payload = {0};
		struct lt_arena arena = {0};

		for (; e; e = e->next) {
			struct lt_event *decoded;
			enum lt_reason reason;
			uint64_t missing;
			int rc;

			lt_agent_entry_payload(e, inline_shape, &payload);
			rc = lt_decode(shapes, &limits, &origin, payload.data, payload.len, &arena,
				&decoded, &reason, &missing, NULL);
			if (!inline_shape) {
				assert_int_equal(rc, LT_ESHAPE);
				assert_true(missing == e->shape->hash);
				continue;
			}
			assert_int_equal(rc, LT_OK);
			assert_int_equal(decoded->seq, e->seq);
			assert_int_equal(decoded->n, e->seq < 7 ? 1 : 30);
			assert_true(lt_event_value(decoded, decoded->n - 1) == (double)e->seq);
			lt_events_release(decoded);
			lt_arena_reset(&arena);
		}
		lt_buf_fini(&payload);
		lt_arena_fini(&arena);
		lt_shapes_free(shapes);
	}
	/* a shape that no event has any more takes no room */
	for (uint64_t seq = 2; seq <= 11; seq++)
		lt_agent_queue_acknowledged(q, seq);
	assert_true(lt_agent_queue_bytes(q) < empty + 1000);
	lt_snapshot_free(snapshot);
	lt_agent_queue_free(q);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(first_in_first_out),
		cmocka_unit_test(oldest_unsent_is_dropped),
		cmocka_unit_test(larger_than_the_queue),
		cmocka_unit_test(payloads_decode),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
