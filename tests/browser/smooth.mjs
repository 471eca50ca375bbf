// SPDX-License-Identifier: MIT
// Hundreds of rows: an event costs what it changes in sight, however many rows there are.
import assert from "node:assert/strict";
import { test } from "node:test";
import { logIn, person, until } from "./harness.mjs";
import { browser, stack } from "./site.mjs";

const ROWS = 500;
const name = (i) => `smooth-${String(i).padStart(3, "0")}`;
const ALL = Array.from({ length: ROWS }, (_, i) => name(i));
/** Rows that a window of 900 px has room for, and those kept ready above and below. */
const MOST = Math.ceil(900 / 48) + 2 * 6 + 1;
/** Sparklines move on by a step each so many ms: then every row in sight is drawn. */
const STEP_MS = 5000;

/** Runs in the page: counts how often each row's canvases are drawn, and what else changes in rows. */
function count() {
	const seen = { drawn: new Map(), texts: new Map(), rows: 0, frames: 0, begin: 0 };
	globalThis.seen = seen;
	const clear = CanvasRenderingContext2D.prototype.clearRect;
	const canvases = new Map();
	CanvasRenderingContext2D.prototype.clearRect = function (...args) {
		const source = this.canvas.closest("tr[data-source]")?.dataset.source;
		if (source) {
			const n = (canvases.get(this.canvas) ?? 0) + 1;
			canvases.set(this.canvas, n);
			seen.drawn.set(source, Math.max(seen.drawn.get(source) ?? 0, n));
		}
		return clear.apply(this, args);
	};
	const rowOf = (node) => (node.nodeType === 1 ? node : node.parentElement)?.closest("tr[data-source]");
	const observer = new MutationObserver((list) => {
		for (const m of list) {
			for (const node of [...m.addedNodes, ...m.removedNodes]) if (node.nodeName === "TR") seen.rows++;
			const row = rowOf(m.target);
			// Ages tick, and up times do when the row is drawn.
			if (!row || m.target.parentElement?.closest(".aged, .uptime")) continue;
			seen.texts.set(row.dataset.source, (seen.texts.get(row.dataset.source) ?? 0) + 1);
		}
	});
	const tick = () => {
		seen.frames++;
		requestAnimationFrame(tick);
	};
	tick();
	globalThis.begin = () => {
		canvases.clear();
		seen.drawn.clear();
		seen.texts.clear();
		seen.rows = seen.frames = 0;
		seen.begin = performance.now();
		observer.observe(document.querySelector("table.fleet"), { subtree: true, childList: true, characterData: true });
	};
	globalThis.result = () => ({
		drawn: [...seen.drawn],
		texts: [...seen.texts],
		rows: seen.rows,
		frames: seen.frames,
		ms: performance.now() - seen.begin,
	});
}

test("hundreds of rows: what did not change is not drawn, what is not in sight is not there", async () => {
	await stack.do({ do: "rows", sources: ALL, load: 1 });
	const someone = await person(browser, stack);
	await someone.addInitScript(count);
	const p = await someone.newPage();
	let answers = 0;
	p.on("response", (r) => {
		if (r.url().includes("/api/v1/nodes?")) answers++;
	});
	await logIn(p, stack, "/?q=smooth&sort=name");
	const load = (i) => p.locator(`tr[data-source="${name(i)}"] [data-col=load]`);
	await load(0).waitFor();
	await until("all of them", async () => (await p.locator("table.fleet").getAttribute("aria-rowcount")) === `${ROWS + 1}`);
	// With the first stream the page asks for everything once more, a moment later.
	await until("the second answer", () => answers >= 2);
	const present = () => p.locator("tr[data-source]").count();
	assert.ok((await present()) <= MOST, `${await present()} rows in the document`);

	// Twenty events of one row, each of them seen before the next comes; and of others far below.
	await p.evaluate(() => globalThis.begin());
	for (let i = 1; i <= 20; i++) {
		await stack.do({ do: "rows", sources: [name(3), name(200 + i), name(300 + i)], load: 20 + i });
		await until(`load ${20 + i}`, async () => (await load(3).textContent()) === `${20 + i}.00`);
	}
	const one = await p.evaluate(() => globalThis.result());
	// And once more each for the answer and its sparklines, which may just have come.
	const steps = (ms) => Math.floor(ms / STEP_MS) + 1 + 2;
	for (const [source, n] of one.drawn)
		assert.ok(n <= steps(one.ms) + (source === name(3) ? 20 : 0), `${source} was drawn ${n} times in ${one.ms} ms`);
	assert.ok(one.drawn.length <= MOST);
	assert.deepEqual(one.texts.map(([source]) => source), [name(3)], "texts of other rows");
	assert.equal(one.rows, 0, "rows were made or removed");
	assert.ok(one.frames > 0);

	// Three events of everybody, as fast as they come.
	await p.evaluate(() => globalThis.begin());
	for (let i = 1; i <= 3; i++) await stack.do({ do: "rows", sources: ALL, load: 50 + i });
	await until("the last of all", async () => (await load(0).textContent()) === "53.00");
	const all = await p.evaluate(() => globalThis.result());
	assert.ok(all.drawn.length > 0 && all.drawn.length <= MOST, `${all.drawn.length} rows were drawn`);
	for (const [source, n] of all.drawn)
		assert.ok(n <= steps(all.ms) + 3, `${source} was drawn ${n} times in ${all.ms} ms for three events`);
	assert.equal(all.rows, 0, "rows were made or removed");

	// To the end, page by page: there are never more rows than fit, and the last ones are up to date.
	for (let n = 0; n < 60 && (await load(ROWS - 1).count()) === 0; n++) {
		await p.mouse.wheel(0, 600);
		await p.evaluate(() => new Promise((r) => requestAnimationFrame(() => requestAnimationFrame(r))));
		assert.ok((await present()) <= MOST, `${await present()} rows in the document`);
	}
	await until("the last row", async () => (await load(ROWS - 1).textContent()) === "53.00");
	assert.deepEqual(someone.problems, []);
	await someone.close();
});
