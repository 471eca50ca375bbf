/* SPDX-License-Identifier: MIT */
import assert from "node:assert/strict";
import { test } from "node:test";
import {
	age,
	bytes,
	bytesRate,
	duration,
	format,
	NONE,
	percent,
	plain,
	setFormatLocale,
	unitOf,
} from "../src/core/format";

/** As a reader sees it: any space is a space. */
const seen = (s: string) => s.replace(/[\u202f\u00a0]/g, " ");

test("bytes go up in powers of two and never show 1 024", () => {
	setFormatLocale("en");
	assert.equal(seen(bytes(0)), "0 B");
	assert.equal(seen(bytes(1024)), "1.0 KiB");
	assert.equal(seen(bytes(1536 * 1024)), "1.5 MiB");
	assert.equal(seen(bytes(16 * 2 ** 30)), "16.0 GiB");
	assert.equal(seen(bytes(1024 ** 2 - 1)), "1.0 MiB");
	assert.equal(seen(bytesRate(2048)), "2.0 KiB/s");
	assert.equal(bytes(Number.NaN), NONE);
});

test("percent keeps one digit until it is full", () => {
	setFormatLocale("en");
	assert.equal(seen(percent(0)), "0.0 %");
	assert.equal(seen(percent(93.21)), "93.2 %");
	assert.equal(seen(percent(99.99)), "100 %");
	assert.equal(seen(percent(0.02)), "0.02 %");
});

test("lengths of time have two parts at most", () => {
	setFormatLocale("en");
	assert.equal(seen(duration(0.02)), "20 ms");
	assert.equal(seen(duration(1.5)), "1.5 s");
	assert.equal(seen(duration(125)), "2 min 5 s");
	assert.equal(seen(duration(3600)), "1 h");
	assert.equal(seen(duration(3 * 86400 + 4 * 3600 + 59)), "3 d 4 h");
	assert.equal(seen(duration(59.7)), "1 min");
	assert.equal(seen(duration(-90)), "−1 min 30 s");
	assert.equal(duration(Number.POSITIVE_INFINITY), NONE);
});

test("ages have one part and keep their width", () => {
	setFormatLocale("en");
	assert.equal(seen(age(0.04)), "0.0 s");
	assert.equal(seen(age(9.96)), "10 s");
	assert.equal(seen(age(119)), "119 s");
	assert.equal(seen(age(120)), "2 min");
	assert.equal(seen(age(7200)), "2 h");
	assert.equal(seen(age(200000)), "2 d");
});

test("plain numbers, small, large and not there", () => {
	setFormatLocale("en");
	assert.equal(plain(0), "0");
	assert.equal(plain(0.000123), "0.000123");
	assert.equal(plain(1234567), "1,234,567");
	assert.equal(plain(1e18), "1.00e+18");
	assert.equal(plain(Number.NaN), NONE);
	assert.equal(plain(Number.NEGATIVE_INFINITY), "−∞");
});

test("decimal comma in Spanish", () => {
	setFormatLocale("es");
	assert.equal(seen(percent(12.34)), "12,3 %");
	assert.equal(seen(format(21.5, "celsius")), "21,5 °C");
	setFormatLocale("en");
});

test("the unit comes from what the sender says, then from the name", () => {
	assert.equal(unitOf("node_memory_MemFree_bytes", undefined, false), "bytes");
	assert.equal(unitOf("node_network_receive_bytes_total", undefined, true), "bytes/s");
	assert.equal(unitOf("node_cpu_seconds_total", undefined, true), "ratio");
	assert.equal(unitOf("node_boot_time_seconds", undefined, false), "time");
	assert.equal(unitOf("node_hwmon_temp_celsius", undefined, false), "celsius");
	assert.equal(unitOf("temperature", undefined, false), "celsius");
	assert.equal(unitOf("x", "By", true), "bytes/s");
	assert.equal(unitOf("x", "unheard-of", false), "none");
	assert.equal(unitOf("requests_total", undefined, true), "/s");
});
