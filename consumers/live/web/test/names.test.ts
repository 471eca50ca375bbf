/* SPDX-License-Identifier: MIT */
import assert from "node:assert/strict";
import { test } from "node:test";
import { buildRoute, parseRoute } from "../src/core/route";
import { metricsOf, threshold } from "../src/core/rules";
import {
	isRealFilesystem,
	isVirtualInterface,
	matches,
	parseSeries,
	seriesText,
} from "../src/core/series";

test("series texts are read back as they were", () => {
	const labels = { mode: "idle", cpu: "0", path: 'a\\b"c\nd' };
	const text = seriesText("node_cpu_seconds_total", labels);
	assert.equal(text, 'node_cpu_seconds_total{cpu="0",mode="idle",path="a\\\\b\\"c\\nd"}');
	assert.deepEqual(parseSeries(text), { name: "node_cpu_seconds_total", labels });
	assert.deepEqual(parseSeries("up"), { name: "up", labels: {} });
	assert.equal(parseSeries("1up"), null);
	assert.equal(parseSeries('up{a="1"b="2"}'), null);
});

test("the filter wants every word", () => {
	assert.ok(matches("web RACK=r1", "web3 rack=r1 live"));
	assert.ok(!matches("web r2", "web3 rack=r1 live"));
	assert.ok(matches("", "anything"));
});

test("what carries no traffic or data of its own", () => {
	assert.ok(isVirtualInterface("veth12ab") && isVirtualInterface("lo"));
	assert.ok(!isVirtualInterface("eth0") && !isVirtualInterface("lowpan0"));
	assert.ok(!isRealFilesystem("tmpfs") && isRealFilesystem("ext4"));
});

test("every address leads to the view that it came from", () => {
	for (const path of [
		"/",
		"/devices",
		"/alerts",
		"/alerts/00000000000000a1",
		"/pipeline",
		"/n/web%3A1",
		"/?q=rack%3Dr1&sort=-cpu&group=rack",
		"/n/web1?range=24h",
		"/n/web1?from=1000&to=2000&c=up&c=node_load1",
		"/?kiosk=1",
	]) {
		const [p = "", q = ""] = path.split("?");
		assert.equal(buildRoute(parseRoute(p, q ? `?${q}` : "")), path);
	}
	assert.equal(parseRoute("/n/web%3A1", "").id, "web:1");
	assert.equal(parseRoute("/nowhere", "").view, "missing");
	assert.equal(parseRoute("/n/%", "").id, "");
});

test("a bad range is the usual one", () => {
	for (const q of ["?from=5&to=3", "?from=x&to=y", "?range=99y", "?from=1&to=99999999999999"])
		assert.equal(parseRoute("/", q).range.live, true);
});

test("the threshold of a rule is the number at its end", () => {
	const cpu = '100 * (1 - avg by (instance) (rate(node_cpu_seconds_total{mode="idle"}[1m]))) > 80';
	assert.deepEqual(threshold(cpu), { op: ">", value: 80 });
	assert.deepEqual(threshold("(a / b) < 0.2"), { op: "<", value: 0.2 });
	assert.deepEqual(threshold("(up == 0)"), { op: "==", value: 0 });
	assert.equal(threshold("a > b"), null);
	assert.equal(threshold("sum(a > 3)"), null);
	assert.equal(threshold('a{x="> 3"}'), null);
	assert.equal(threshold("a > 1 and b"), null);
});

test("the metrics of a rule, without functions, labels and words", () => {
	assert.deepEqual(
		metricsOf(
			'100 * (1 - avg by (instance, mode) (rate(node_cpu_seconds_total{mode="idle"}[1m]))) > 80',
		),
		["node_cpu_seconds_total"],
	);
	assert.deepEqual(metricsOf("node_a offset 5m / on(x) group_left(y) node:b > bool 1e3"), [
		"node_a",
		"node:b",
	]);
});
