/* SPDX-License-Identifier: MIT */
import assert from "node:assert/strict";
import { test } from "node:test";
import { NodeValues } from "../src/core/feed";
import { Quantiles } from "../src/core/quantiles";
import { type SseEvent, SseParser } from "../src/core/sse";

function parse(chunks: string[]): SseEvent[] {
	const out: SseEvent[] = [];
	const p = new SseParser();
	for (const c of chunks) p.push(c, (e) => out.push(e));
	return out;
}

test("events, ids, comments and lines of data", () => {
	const text = ': hi\nid: 7\nevent: fleet\ndata: {"a":\ndata: 1}\n\ndata:x\n\nevent: none\n\n';
	assert.deepEqual(parse([text]), [
		{ event: "fleet", data: '{"a":\n1}', id: "7" },
		{ event: "message", data: "x", id: "7" },
	]);
});

test("wherever the stream is cut, the events are the same", () => {
	const text = "id: 1\r\nevent: a\r\ndata: é1\r\n\r\nid: 2\rdata: 2\r\rdata: 3\n\n";
	const whole = parse([text]);
	assert.equal(whole.length, 3);
	for (let i = 1; i < text.length; i++)
		assert.deepEqual(parse([text.slice(0, i), text.slice(i)]), whole);
	assert.deepEqual(parse([...text]), whole);
});

test("deltas are put on what was there before", () => {
	const n = new NodeValues();
	const head = { source: "a", stream: "", epoch: 1 };
	assert.equal(n.apply({ ...head, seq: 1, time_ms: 1, d: [0, 5] }), null);
	const first = n.apply({ ...head, seq: 2, time_ms: 2, shape: "s", v: [1, null, "+Inf"] });
	assert.deepEqual([...(first?.v ?? [])], [1, Number.NaN, Number.POSITIVE_INFINITY]);
	const second = n.apply({ ...head, seq: 3, time_ms: 3, d: [1, 7, 2, null] });
	assert.deepEqual([...(second?.v ?? [])], [1, 7, Number.NaN]);
	assert.equal(second?.shape, "s");
	assert.deepEqual([...(first?.v ?? [])], [1, Number.NaN, Number.POSITIVE_INFINITY]);
	assert.equal(n.apply({ ...head, stream: "slow", seq: 4, time_ms: 4, d: [0, 1] }), null);
	assert.equal(n.of("a").length, 1);
	n.keep(new Set(["b"]));
	assert.equal(n.of("a").length, 0);
});

test("quantiles of the last values", () => {
	const q = new Quantiles(100);
	assert.ok(Number.isNaN(q.quantile(0.5)));
	for (let i = 0; i < 1000; i++) q.push(i);
	assert.equal(q.quantile(0.5), 950);
	assert.equal(q.quantile(0.99), 999);
});
