/* SPDX-License-Identifier: MIT */
import assert from "node:assert/strict";
import { test } from "node:test";
import {
	increase,
	isCounter,
	KIND_COUNTER,
	KIND_GAUGE,
	KIND_UNKNOWN,
	Rate,
} from "../src/core/rate";

test("a counter that falls began again at zero", () => {
	assert.equal(increase(10, 25), 15);
	assert.equal(increase(1000, 3), 3);
	const r = new Rate();
	assert.ok(Number.isNaN(r.push(0, 100)));
	assert.equal(r.push(1000, 110), 10);
	assert.equal(r.push(2000, 4), 4);
	assert.equal(r.push(4000, 8), 2);
});

test("no rate across a gap, a missing value, or when time goes back", () => {
	const r = new Rate(5000);
	r.push(0, 0);
	assert.ok(Number.isNaN(r.push(6000, 60)));
	assert.equal(r.push(7000, 70), 10);
	assert.ok(Number.isNaN(r.push(8000, Number.NaN)));
	assert.ok(Number.isNaN(r.push(9000, 90)));
	assert.equal(r.push(10000, 95), 5);
	assert.ok(Number.isNaN(r.push(9500, 99)));
});

test("two samples at nearly the same time do not make a spike", () => {
	const r = new Rate();
	r.push(0, 0);
	assert.ok(Number.isNaN(r.push(1, 1000)));
	assert.equal(r.push(1000, 1000), 1000);
});

test("what is a counter: the sender's word, else the name", () => {
	assert.ok(isCounter("x", KIND_COUNTER));
	assert.ok(!isCounter("x_total", KIND_GAUGE));
	assert.ok(isCounter("x_total", KIND_UNKNOWN));
	assert.ok(!isCounter("temperature", KIND_UNKNOWN));
});
