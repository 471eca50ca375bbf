/* SPDX-License-Identifier: MIT */
import assert from "node:assert/strict";
import { test } from "node:test";
import { join, lowerBound, niceStep, stack, Timeline } from "../src/core/timeline";

function line(step: number, samples: [number, number][]): Timeline {
	const l = new Timeline(step);
	for (const [t, v] of samples) l.push(t, v);
	return l;
}

test("samples of one step become one bucket with minimum, maximum and mean", () => {
	const l = line(1000, [
		[0, 1],
		[250, 5],
		[500, 3],
		[1000, 7],
	]);
	assert.deepEqual(l.t, [0, 1000]);
	assert.deepEqual(l.avg, [3, 7]);
	assert.deepEqual(l.min, [1, 7]);
	assert.deepEqual(l.max, [5, 7]);
	assert.equal(l.last, 7);
});

test("history and live meet without a seam: nothing twice, nothing missing", () => {
	const l = new Timeline(1000);
	l.load({ t: [0, 1000, 2000], avg: [1, 2, 3], min: [0, 1, 2], max: [2, 3, 4] }, 2999);
	assert.equal(l.push(2500, 99), false);
	assert.equal(l.push(3000, 4), true);
	assert.equal(l.push(3000, 4), false);
	assert.deepEqual(l.t, [0, 1000, 2000, 3000]);
	assert.deepEqual(l.avg, [1, 2, 3, 4]);
});

test("what the database does not know is left out", () => {
	const l = new Timeline(1000);
	l.load({ t: [0, 1000, 2000], avg: [1, null, 3], min: [1, null, 3], max: [1, null, 3] }, 2999);
	assert.deepEqual(l.t, [0, 2000]);
});

test("a value that is missing moves the time on but draws nothing", () => {
	const l = line(1000, [[0, 1]]);
	assert.equal(l.push(1000, Number.NaN), true);
	assert.deepEqual(l.t, [0]);
	assert.equal(l.push(1000, 5), false);
});

test("gaps are gaps, and what is only slower is joined", () => {
	const fast = line(1000, [
		...Array.from({ length: 10 }, (_, i): [number, number] => [i * 1000, i]),
		...Array.from({ length: 5 }, (_, i): [number, number] => [20000 + i * 1000, i]),
	]);
	const slow = line(1000, [
		[0, 10],
		[5000, 11],
		[10000, 12],
		[15000, 13],
		[20000, 14],
	]);
	const { x, avg } = join([fast, slow], 0, 24000);
	const at = (column: number, seconds: number) => avg[column]?.[x.indexOf(seconds)];
	assert.equal(at(0, 9), 9);
	assert.equal(at(0, 10), null);
	assert.equal(at(0, 20), 0);
	assert.equal(at(1, 10), 12);
	assert.ok(!avg[1]?.includes(null));
	assert.equal(at(1, 3), undefined);
});

test("one point outside each edge keeps the line whole", () => {
	const l = line(
		1000,
		Array.from({ length: 20 }, (_, i): [number, number] => [i * 1000, i]),
	);
	const { x } = join([l], 5500, 9500);
	assert.deepEqual(x, [5, 6, 7, 8, 9, 10]);
});

test("a point that stands alone is seen, as a dash with nothing after it", () => {
	const one = join([line(1000, [[50_000, 7]])], 0, 300_000);
	assert.deepEqual(one.x, [50, 51.75]);
	assert.deepEqual(one.avg[0], [7, 7]);
	const l = line(1000, [
		...Array.from({ length: 9 }, (_, i): [number, number] => [i * 1000, i]),
		[60_000, 5],
		[90_000, 6],
	]);
	const { x, avg } = join([l], 0, 100_000);
	assert.deepEqual(x.slice(8), [8, 9, 60, 61, 62, 90, 91]);
	assert.deepEqual(avg[0]?.slice(8), [8, null, 5, 5, null, 6, 6]);
});

test("stacking carries a slower line along and stops at gaps", () => {
	const out = stack([
		[1, 2, null, 4],
		[10, undefined, undefined, 40],
	]);
	assert.deepEqual(out[0], [1, 2, null, 4]);
	assert.deepEqual(out[1], [11, 12, 10, 44]);
});

test("old buckets are forgotten", () => {
	const l = new Timeline(1000, 100);
	for (let i = 0; i < 1000; i++) l.push(i * 1000, i);
	assert.ok(l.t.length <= 300);
	assert.equal(l.last, 999);
	l.trim(990_000);
	assert.ok((l.t[0] ?? 0) >= 690_000);
});

test("steps are round and few", () => {
	assert.equal(niceStep(0, 300_000), 1000);
	assert.equal(niceStep(0, 3_600_000), 10_000);
	assert.equal(niceStep(0, 7 * 86_400_000), 1_800_000);
	for (const span of [1e3, 1e6, 1e8, 1e10]) assert.ok(span / niceStep(0, span) <= 1200);
	assert.equal(lowerBound([1, 3, 5], 3), 1);
	assert.equal(lowerBound([1, 3, 5], 6), 3);
});
