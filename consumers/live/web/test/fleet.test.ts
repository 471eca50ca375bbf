/* SPDX-License-Identifier: MIT */
import assert from "node:assert/strict";
import { test } from "node:test";
import type { ApiNode } from "../src/core/api";
import { Beats, COLUMNS, outages, Row, Spark, severity, sortRows } from "../src/core/fleet";

function row(source: string, more: Partial<ApiNode> = {}): Row {
	const node: ApiNode = {
		source,
		kind: "node",
		state: "live",
		seen_ms: 10_000,
		interval_ms: 1000,
		epoch: 1,
		seq: 1,
		labels: {},
		values: [10, 20, 30, 0, 0, 0, 0.5, null],
		...more,
	};
	return new Row(node, COLUMNS, 6, 5000, 15_000);
}

test("a spark holds means of steps and moves with time", () => {
	const s = new Spark(4, 1000, 4000, [1, 2, null, 4]);
	assert.deepEqual([...s.values], [1, 2, Number.NaN, 4]);
	s.push(4100, 10);
	s.push(4200, 20);
	assert.deepEqual([...s.values], [2, Number.NaN, 4, 15]);
	s.advance(6000);
	assert.deepEqual([...s.values], [4, 15, Number.NaN, Number.NaN]);
	s.advance(60_000);
	assert.ok([...s.values].every(Number.isNaN));
});

test("a spark with fewer points than it should have begins with nothing", () => {
	assert.deepEqual([...new Spark(3, 1000, 3000, [7]).values], [Number.NaN, Number.NaN, 7]);
});

test("beats: came, fewer than planned, missing", () => {
	const b = new Beats(4, 5000, 5000, "");
	for (let t = 0; t < 5000; t += 1000) b.push(t, 1000);
	b.push(5000, 1000);
	b.advance(10_000, 1000);
	b.advance(15_000, 1000);
	assert.equal(b.text(), "lwm-");
	b.advance(10_000_000, 1000);
	assert.ok(/^m*-$/.test(b.text()));
});

test("a step of which the answer had some is not late because the rest are few", () => {
	const b = new Beats(4, 5000, 10_000, "lll");
	b.push(9000, 1000);
	b.advance(10_000, 1000);
	assert.equal(b.text(), "lll-");
	b.push(11_000, 1000);
	b.advance(15_000, 1000);
	assert.equal(b.text(), "llw-");
});

test("fifteen seconds without anything are an outage", () => {
	assert.equal(outages("llmlmmlwmmml-mmmmm"), "llmlmmlwdddl-ddddd");
});

test("beats of a slow source are not missing between two events", () => {
	const b = new Beats(4, 5000, 5000, "");
	b.push(0, 60_000);
	b.advance(15_000, 60_000);
	assert.equal(b.text(), "l---");
});

test("an older event changes nothing; what an event lacks stays", () => {
	const r = row("a");
	assert.equal(r.apply(["a", 1, 9_000, 99], COLUMNS), false);
	assert.equal(r.apply(["a", 1, 10_000, 99], COLUMNS), false);
	assert.equal(r.apply(["a", 2, 11_000, 55, null], COLUMNS), true);
	assert.equal(r.values.cpu, 55);
	assert.equal(r.values.mem, 20);
});

test("late and stale by the planned interval", () => {
	const r = row("a");
	assert.equal(r.ageState(14_000), "live");
	assert.equal(r.ageState(16_000), "late");
	assert.equal(r.ageState(26_000), "stale");
	r.interval = 0;
	assert.equal(r.ageState(60_000), "live");
	assert.equal(r.ageState(311_000), "stale");
});

test("worst first: silent, then firing, then full; equals by name, as people count", () => {
	const calm = row("n10");
	const calm2 = row("n9");
	const full = row("full", { values: [95, 20, 30] });
	const silent = row("silent", { state: "stale" });
	const firing = row("firing");
	firing.firing = 1;
	const order = (sort: string) =>
		sortRows([calm, calm2, full, silent, firing], sort).map((r) => r.source);
	assert.deepEqual(order(""), ["silent", "firing", "full", "n9", "n10"]);
	assert.deepEqual(order("name"), ["firing", "full", "n9", "n10", "silent"]);
	assert.deepEqual(order("-name"), ["silent", "n10", "n9", "full", "firing"]);
	assert.equal(order("cpu")[0], "full");
	assert.equal(order("-cpu").at(-1), "full");
	assert.ok(severity(silent) > severity(full));
});

test("what is not known goes last, whichever way it is sorted", () => {
	const known = row("known");
	const unknown = row("unknown", { values: [null] });
	for (const sort of ["cpu", "-cpu"])
		assert.equal(sortRows([unknown, known], sort).at(-1)?.source, "unknown");
});
