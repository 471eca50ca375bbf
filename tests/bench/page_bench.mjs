// SPDX-License-Identifier: MIT
// The page's figures, in a real browser on the whole pipeline: node tests/bench/page_bench.mjs [SECONDS]
//
// Time to first table and to the first full charts: from navigation to pixels, with a warm server and
// a cold browser. Event to screen: from the sample's time to the end of the frame that shows it, over
// all events of a fleet of 100 (the page measures it itself and shows it under Pipeline).
import { launch, logIn, person, pixels, Stack, until } from "../browser/harness.mjs";

const seconds = Number(process.argv[2] ?? 30);
const NODES = 100;
const ROUNDS = 5;

const median = (list) => list.sort((a, b) => a - b)[list.length >> 1];

const stack = await Stack.start();
const browser = await launch();
try {
	await stack.do({ do: "simulate", sources: NODES });
	const someone = await person(browser, stack);
	const page = await someone.newPage();
	await logIn(page, stack);
	await until("the fleet", async () => (await page.locator(".toolbar .count").textContent())?.includes(`${NODES + 1} nodes`));
	const timed = async (path, ready) => {
		const took = [];
		for (let i = 0; i < ROUNDS; i++) {
			await page.goto("about:blank");
			const begin = performance.now();
			await page.goto(path, { waitUntil: "commit" });
			await ready();
			took.push(performance.now() - begin);
		}
		return median(took);
	};
	const table = await timed("/", () => page.waitForSelector("tr[data-source]"));
	const chart = await timed(`/n/${stack.agent}`, () =>
		until("pixels", async () => (await pixels(page, "[data-panel=cpu]")).some((p) => p.coloured > 0)),
	);
	await page.goto("/pipeline");
	await page.waitForTimeout(seconds * 1000);
	const latency = await page.locator("[data-fact=latency]").textContent();
	const events = await page.locator("[data-fact=events]").textContent();
	console.log(`first table                     ${table.toFixed(0)} ms (median of ${ROUNDS})`);
	console.log(`first full charts               ${chart.toFixed(0)} ms (median of ${ROUNDS})`);
	console.log(`sample to screen, p50 · p99     ${latency} (${NODES + 1} nodes at 1 Hz, ${events} events)`);
} finally {
	await browser.close();
	await stack.stop();
}
