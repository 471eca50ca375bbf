// SPDX-License-Identifier: MIT
// The page's figures, in a real browser on the whole pipeline.
//
// Time to first table and to the first full charts: from navigation to pixels, with a warm server and
// a cold browser. Event to screen: from the sample's time to the end of the frame that shows it, over
// all events of a fleet of 100 (the page measures it itself and shows it under Pipeline).
import { readdirSync, statSync } from "node:fs";
import { dirname, join } from "node:path";
import { parseArgs } from "node:util";
import { launch, logIn, person, pixels, Stack, until } from "../browser/harness.mjs";

const options = { rounds: { type: "string", default: "5" }, seconds: { type: "string", default: "30" } };
const { values } = parseArgs({ options });
const rounds = Number(values.rounds);
const seconds = Number(values.seconds);
const NODES = 100;
const web = join(dirname(dirname(dirname(new URL(import.meta.url).pathname))), "build", "web");

const result = (kase, name, unit, value, round) =>
	console.log(JSON.stringify({ bench: "page", figure: "page", case: kase, name, role: "subject", unit, value, round }));

const stack = await Stack.start();
const browser = await launch();
try {
	await stack.do({ do: "simulate", sources: NODES });
	const someone = await person(browser, stack);
	const page = await someone.newPage();
	await logIn(page, stack);
	// The agent and the programs' own figures are among them.
	await until("the fleet", async () => Number.parseInt((await page.locator(".toolbar .count").textContent()) ?? "0", 10) > NODES);
	const timed = async (path, ready) => {
		await page.goto("about:blank");
		const begin = performance.now();
		await page.goto(path, { waitUntil: "commit" });
		await ready();
		return performance.now() - begin;
	};
	const charts = () => until("pixels", async () => (await pixels(page, "[data-panel=cpu]")).some((p) => p.coloured > 0));
	for (let round = 1; round <= rounds; round++) {
		const opened = "the page is opened, warm server, cold browser";
		result(opened, "first table", "ms", await timed("/", () => page.waitForSelector("tr[data-source]")), round);
		result(opened, "first full charts", "ms", await timed(`/n/${stack.agent}`, charts), round);
	}
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
