// SPDX-License-Identifier: MIT
// The page's figures, in a real browser on the whole pipeline.
//
// Time to first table and to the first full charts: from navigation to pixels by Chromium's own clock, with a
// warm server and an empty cache, and beside it the machine's load, without which such a time says little. Frames:
// of a table of 500 rows with an event of each every second. Event to screen: from the sample's time to the end of the frame that shows it, over
// all events of a fleet of 100 (the page measures it itself and shows it under Pipeline).
import { readdirSync, statSync } from "node:fs";
import { loadavg } from "node:os";
import { dirname, join } from "node:path";
import { parseArgs } from "node:util";
import { launch, logIn, person, Stack, until } from "../browser/harness.mjs";

const options = { rounds: { type: "string", default: "5" }, seconds: { type: "string", default: "30" } };
const { values } = parseArgs({ options });
const rounds = Number(values.rounds);
const seconds = Number(values.seconds);
const NODES = 100;
const ROWS = 500;
const PARTS = 10;
const FRAMES_S = 10;
const web = join(dirname(dirname(dirname(new URL(import.meta.url).pathname))), "build", "web");

const result = (kase, name, unit, value, round) =>
	console.log(JSON.stringify({ bench: "page", figure: "page", case: kase, name, role: "subject", unit, value, round }));

/** Runs in the page: when was that painted, ms since the navigation began? Charts: when their values are there. */
function watchFor(selector) {
	const look = () => {
		const found = document.querySelector(selector);
		const full = found && !found.closest(".panel")?.querySelector(".overlay");
		// A task queued in a frame runs after that frame was painted.
		if (full) setTimeout(() => (globalThis.painted = performance.now()));
		else requestAnimationFrame(look);
	};
	look();
}

/** A table of hundreds of rows, each with an event a second: times between frames, and what the tab computes. */
async function frames() {
	const names = Array.from({ length: ROWS }, (_, i) => `row-${String(i).padStart(3, "0")}`);
	await stack.do({ do: "rows", sources: names, load: 1 });
	const visitor = await person(browser, stack, { storageState: await someone.storageState() });
	const p = await visitor.newPage();
	const cdp = await visitor.newCDPSession(p);
	await p.goto("/?q=row-");
	await until("all rows", async () => (await p.locator("table.fleet").getAttribute("aria-rowcount").catch(() => "")) === `${ROWS + 1}`);
	await cdp.send("Performance.enable");
	const busy = async () => (await cdp.send("Performance.getMetrics")).metrics.find((m) => m.name === "TaskDuration").value;
	await p.evaluate(() => {
		globalThis.gaps = [];
		let last = performance.now();
		const tick = (now) => {
			globalThis.gaps.push(now - last);
			last = now;
			requestAnimationFrame(tick);
		};
		requestAnimationFrame(tick);
	});
	const before = await busy();
	const begin = performance.now();
	const end = begin + FRAMES_S * 1000;
	for (let n = 0; performance.now() < end; n++) {
		const part = n % PARTS;
		await stack.do({ do: "rows", sources: names.slice((part * ROWS) / PARTS, ((part + 1) * ROWS) / PARTS), load: n % 40 });
		const due = begin + ((n + 1) * 1000) / PARTS;
		await p.waitForTimeout(Math.max(0, due - performance.now()));
	}
	const share = ((await busy()) - before) / ((performance.now() - begin) / 1000);
	const gaps = (await p.evaluate(() => globalThis.gaps)).sort((a, b) => a - b);
	const quantile = (q) => gaps[Math.min(gaps.length - 1, Math.floor(q * gaps.length))];
	const kase = `${ROWS} rows, an event of each a second`;
	result(kase, "between frames, p50", "ms", quantile(0.5), 1);
	result(kase, "between frames, p99", "ms", quantile(0.99), 1);
	result(kase, "the tab's main thread", "% of a core", share * 100, 1);
	result(kase, "load of the machine", "processes", loadavg()[0], 1);
	await visitor.close();
}

const stack = await Stack.start();
const browser = await launch();
let someone;
try {
	await stack.do({ do: "simulate", sources: NODES });
	someone = await person(browser, stack);
	const page = await someone.newPage();
	await logIn(page, stack);
	// The agent and the programs' own figures are among them.
	await until("the fleet", async () => Number.parseInt((await page.locator(".toolbar .count").textContent()) ?? "0", 10) > NODES);
	const state = await someone.storageState();
	const opened = "the page is opened, warm server, cold browser";
	for (let round = 1; round <= rounds; round++)
		for (const [name, path, there] of [
			["first table", "/", "tr[data-source]"],
			["first full charts", `/n/${stack.agent}`, "[data-panel=cpu] .u-over"],
		]) {
			const visitor = await person(browser, stack, { storageState: state });
			await visitor.addInitScript(watchFor, there);
			const p = await visitor.newPage();
			await p.goto(path, { waitUntil: "commit" });
			const ms = await (await p.waitForFunction(() => globalThis.painted)).jsonValue();
			result(opened, name, "ms", ms, round);
			result(opened, `load of the machine at the ${name}`, "processes", loadavg()[0], round);
			await visitor.close();
		}
	await frames();
	await page.goto("/pipeline");
	await page.waitForTimeout(seconds * 1000);
	const text = await page.locator("[data-fact=latency]").textContent();
	const [p50, p99] = [...text.matchAll(/([\d.,]+)\s*(ms|s)\b/g)].map(([, n, unit]) => Number(n.replace(",", ".")) * (unit === "s" ? 1000 : 1));
	const flow = `${NODES + 1} nodes at one event a second`;
	result(flow, "sample to screen, p50", "ms", p50, 1);
	result(flow, "sample to screen, p99", "ms", p99, 1);
	const size = (form) =>
		readdirSync(web, { recursive: true })
			.filter((file) => file.endsWith(form))
			.reduce((sum, file) => sum + statSync(join(web, file)).size, 0);
	result("files of the page", "as gzip", "bytes", size(".gz"), 1);
	result("files of the page", "as brotli", "bytes", size(".br"), 1);
} finally {
	await browser.close();
	await stack.stop();
}
