/* SPDX-License-Identifier: MIT */
/** Where history, window and stream meet: each event is in the chart once, in whatever order they come. */
import assert from "node:assert/strict";
import { afterEach, test } from "node:test";
import type { PanelSpec } from "../src/core/lines";
import type { Range } from "../src/core/route";
import { type PanelSet, Source } from "../src/source";
import { receive } from "../src/store";

const NAME = "n1";
const SHAPE: [string, Record<string, string>, string][] = [["node_load1", {}, "gauge"]];
const SPEC: PanelSpec = {
	id: "load",
	title: "",
	unit: "none",
	lines: [{ key: "load", label: "", parts: [{ name: "node_load1" }] }],
};
const RANGE = { live: true, name: "5m", span: 300_000 } as Range;
/** How long it waits before it asks again, which is no time here; and for the stream, where that does not come. */
const AGAIN_MS = 3000;
const LISTEN_MS = 2000;
let patient = true;

// Event i has the value i and is i seconds after this; all are in the last five minutes.
const begin = Math.floor(Date.now() / 1000) * 1000 - 200_000;
const time = (i: number) => begin + i * 1000;
const upTo = (n: number, from = 0) => Array.from({ length: n - from + 1 }, (_, i) => from + i);

interface Question {
	url: string;
	answer: (status: number, body: unknown) => void;
}

const asked: Question[] = [];
const real = globalThis.setTimeout;
globalThis.setTimeout = ((f: () => void, ms = 0) =>
	real(f, ms === AGAIN_MS || (ms === LISTEN_MS && !patient) ? 0 : ms)) as typeof setTimeout;
globalThis.requestAnimationFrame = (f) => Number(real(() => f(0), 0));
globalThis.fetch = ((url: string) =>
	new Promise((done) => {
		asked.push({
			url,
			answer: (status, body) => done(new Response(JSON.stringify(body), { status })),
		});
	})) as typeof fetch;

let source: Source;
afterEach(() => {
	source.close();
	asked.length = 0;
	patient = true;
});

/** The next question whose address has this in it; with a deadline far away. */
async function question(part: string): Promise<Question> {
	for (let i = 0; i < 20_000; i++) {
		const at = asked.findIndex((q) => q.url.includes(part));
		if (at >= 0) return asked.splice(at, 1)[0] as Question;
		await new Promise((r) => real(r, 1));
	}
	throw new Error(`nobody asked for ${part}; ${asked.map((q) => q.url)}`);
}

const until = async (what: string, f: () => boolean) => {
	for (let i = 0; i < 20_000 && !f(); i++) await new Promise((r) => real(r, 1));
	assert.ok(f(), what);
};

const detail = (n: number) => ({
	source: NAME,
	interval_ms: 1000,
	values: [],
	streams: [
		{
			stream: "",
			seq: n,
			time_ms: time(n),
			shape: "s1",
			series: SHAPE,
			values: [n],
			interval_ms: 1000,
		},
	],
});

const windowOf = (events: number[]) => ({
	source: NAME,
	truncated: false,
	streams: [
		{
			stream: "",
			interval_ms: 1000,
			time_ms: events.map(time),
			series: [{ name: "node_load1", labels: {}, kind: "gauge", values: events }],
		},
	],
});

/** The database answers with what it has of the time that it is asked for. */
async function history(have: number[]): Promise<void> {
	const q = await question("/series?");
	const to = Number(new URL(q.url, "http://x").searchParams.get("to")) * 1000;
	q.answer(200, historyOf(have.filter((i) => time(i) < to)));
}

const historyOf = (events: number[]) => ({
	source: NAME,
	step_ms: 1000,
	truncated: false,
	series: [
		{
			name: "node_load1",
			labels: {},
			kind: "gauge",
			time_ms: events.map(time),
			min: events,
			max: events,
			avg: events,
		},
	],
});

function event(i: number, shape = "s1"): void {
	const e = {
		source: NAME,
		stream: "",
		epoch: 1,
		seq: i,
		time_ms: time(i),
		shape,
		v: Float64Array.of(i),
	};
	receive({ k: "node", e });
}

const speaks = () => receive({ k: "watching", sources: [NAME] });
const shown = (set: PanelSet) => [...(set.panels[0]?.lines[0]?.avg ?? [])];
const loaded = (set: PanelSet) => until("the charts are loaded", () => set.ready.value);

async function open(): Promise<PanelSet> {
	source = new Source(NAME);
	(await question(`/nodes/${NAME}`)).answer(200, detail(0));
	await until("the node is known", () => source.detail.value !== null);
	return source.panels([SPEC], RANGE);
}

test("events that come while the window is on its way are in it, or after it, once", async () => {
	for (const [inWindow, during] of [
		[9, upTo(9, 8)],
		[9, upTo(12, 8)],
		[9, upTo(12, 10)],
		[5, upTo(9, 6)],
		[9, []],
	] as const) {
		const set = await open();
		speaks();
		const window = await question("/window");
		for (const i of during) event(i);
		window.answer(200, windowOf(upTo(inWindow)));
		await history(upTo(0));
		await loaded(set);
		const last = Math.max(inWindow, ...during);
		assert.deepEqual(shown(set), upTo(last));
		event(last + 1);
		event(last + 1);
		assert.deepEqual(shown(set), upTo(last + 1));
		source.close();
	}
});

test("without a window, what comes later follows the history", async () => {
	const set = await open();
	speaks();
	// A server that has just started knows no node yet.
	(await question("/window")).answer(404, { error: "no node" });
	await history(upTo(99));
	await loaded(set);
	assert.deepEqual(shown(set), upTo(99));
	for (const i of upTo(129, 98)) event(i);
	assert.deepEqual(shown(set), upTo(129));
});

test("what a restarted server does not know yet stays on the page", async () => {
	await open();
	source.resync();
	(await question(`/nodes/${NAME}`)).answer(404, { error: "no node" });
	(await question(`/nodes/${NAME}`)).answer(200, detail(1));
	assert.equal(source.missing.value, false);
	await until("its newest value", () => source.streams.get("")?.values[0] === 1);
});

test("a stream that comes late leaves no hole", async () => {
	patient = false;
	const set = await open();
	// It did not come in time: the charts are filled without it.
	(await question("/window")).answer(200, windowOf(upTo(5)));
	await history(upTo(0));
	await loaded(set);
	// Events 6 to 8 went to nobody.
	speaks();
	event(9);
	(await question("/window")).answer(200, windowOf(upTo(9)));
	await history(upTo(0));
	await until("all of them", () => shown(set).length === 10);
	assert.deepEqual(shown(set), upTo(9));
});

test("an answer that failed is asked for again: a shape, a window", async () => {
	const set = await open();
	speaks();
	receive({
		k: "status",
		redis: { state: "ok", since_ms: 0 },
		postgres: { state: "ok", since_ms: 0 },
	});
	(await question("/window")).answer(503, { error: "too many questions at once" });
	await history(upTo(3));
	await loaded(set);
	(await question("/window")).answer(200, windowOf(upTo(6)));
	await history(upTo(0));
	await until("the window", () => shown(set).length === 7);
	event(7, "s2");
	(await question("/shapes/s2")).answer(500, {});
	(await question(`/nodes/${NAME}`)).answer(200, detail(7));
	(await question("/window")).answer(200, windowOf(upTo(7)));
	await history(upTo(0));
	await until("the event whose shape was not known", () => shown(set).length === 8);
	assert.deepEqual(shown(set), upTo(7));
});
