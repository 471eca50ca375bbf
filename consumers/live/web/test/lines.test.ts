/* SPDX-License-Identifier: MIT */
import assert from "node:assert/strict";
import { test } from "node:test";
import { historyOf, type LineSpec, Sampler, type SeriesInfo, seriesInfo } from "../src/core/lines";
import { devicePanels, nodePanels } from "../src/core/panels";

const cpu = (n: number, mode: string) =>
	seriesInfo("node_cpu_seconds_total", { cpu: String(n), mode }, "counter");

function run(specs: LineSpec[], series: SeriesInfo[], events: [number, number[]][]) {
	const out: [number, number, number][] = [];
	const s = new Sampler(specs, 1000);
	for (const [t, v] of events) s.push("", series, t, v, (i, at, x) => out.push([i, at, x]));
	return out.filter(([, , v]) => !Number.isNaN(v));
}

test("a line is the sum of the rates of its series", () => {
	const series = [cpu(0, "user"), cpu(1, "user"), cpu(0, "idle"), cpu(1, "idle")];
	const panel = nodePanels(series, 2, 0)[0];
	assert.equal(panel?.id, "cpu");
	const out = run(panel?.lines ?? [], series, [
		[0, [10, 20, 0, 0]],
		[1000, [10.5, 20.25, 0, 0]],
		[2000, [0.1, 20.25, 0, 0]],
	]);
	assert.deepEqual(
		out.map(([, t, v]) => [t, Math.round(v * 100) / 100]),
		[
			[1000, 37.5],
			[2000, 5],
		],
	);
});

test("history in steps gives the same line as events", () => {
	const gauge = (m: string) => seriesInfo(`node_memory_${m}_bytes`, {}, "gauge");
	const series = [gauge("MemTotal"), gauge("MemAvailable"), gauge("MemFree")];
	const lines = nodePanels(series, 1, 100)[0]?.lines ?? [];
	const live = run(lines, series, [[1000, [100, 60, 20]]]);
	const column = (v: number) => ({ time_ms: [1000], avg: [v], min: [v], max: [v] });
	const history = [
		{ name: "node_memory_MemTotal_bytes", labels: {}, kind: "gauge", ...column(100) },
		{ name: "node_memory_MemAvailable_bytes", labels: {}, kind: "gauge", ...column(60) },
		{ name: "node_memory_MemFree_bytes", labels: {}, kind: "gauge", ...column(20) },
	];
	assert.deepEqual(
		lines.map((l) => historyOf(l, history).avg),
		live.map(([, , v]) => [v]),
	);
	assert.deepEqual(
		live.map(([, , v]) => v),
		[40, 40, 20],
	);
});

test("a line that falls when its part rises has minimum and maximum the right way round", () => {
	const falling: LineSpec = {
		key: "x",
		label: "x",
		parts: [{ name: "a" }],
		combine: ([v]) => 100 - (v as number),
	};
	const h = historyOf(falling, [
		{
			name: "a",
			labels: {},
			kind: "gauge",
			time_ms: [0, 1],
			avg: [10, null],
			min: [5, 1],
			max: [30, 2],
		},
	]);
	assert.deepEqual([h.min[0], h.avg[0], h.max[0]], [70, 90, 95]);
	assert.equal(h.avg[1], null);
});

test("names that come and go keep the counters of those that stay", () => {
	const spec: LineSpec = { key: "x", label: "x", parts: [{ name: "a_total" }] };
	const s = new Sampler([spec], 1000);
	const out: number[] = [];
	const a = seriesInfo("a_total", {}, "counter");
	const b = seriesInfo("b_total", {}, "counter");
	s.push("", [a, b], 0, [1, 1], (_, __, v) => out.push(v));
	s.push("", [b, a], 1000, [1, 4], (_, __, v) => out.push(v));
	assert.deepEqual(out, [Number.NaN, 3]);
});

test("a device gets a chart for each name without being known", () => {
	const series = [
		seriesInfo("temperature", {}, "gauge"),
		seriesInfo("pulses_total", { channel: "1" }, "counter"),
		seriesInfo("pulses_total", { channel: "2" }, "counter"),
	];
	assert.deepEqual(nodePanels(series, 0, 0), []);
	const panels = devicePanels(series);
	assert.deepEqual(
		panels.map((p) => [p.title, p.unit, p.lines.map((l) => l.label)]),
		[
			["temperature", "celsius", ["temperature"]],
			["pulses_total", "/s", ["1", "2"]],
		],
	);
});
