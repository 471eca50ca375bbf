// SPDX-License-Identifier: MIT
// The pictures of the README: node tests/browser/screenshots.mjs FOLDER [SECONDS]
// A fleet of simulated nodes, one of them with an alert, is watched until its sparklines are full.
import { join } from "node:path";
import { launch, logIn, person, Stack, until } from "./harness.mjs";

const [folder = "docs", seconds = "300"] = process.argv.slice(2);
const NODE = "node-00003";
const stack = await Stack.start();
const browser = await launch();
try {
	// Not of this machine, which is busy with this.
	await stack.do({ do: "stop", what: "agent" });
	await stack.do({ do: "stop", what: "live" });
	await stack.do({ do: "redis", args: ["FLUSHALL"] });
	await stack.do({ do: "start", what: "live" });
	await stack.do({ do: "simulate", sources: 24 });
	const begin = Date.now();
	const someone = await person(browser, stack, { viewport: { width: 1280, height: 760 } });
	const page = await someone.newPage();
	await logIn(page, stack);
	await page.locator(`tr[data-source="${NODE}"]`).waitFor();
	await until("five minutes of history", () => Date.now() - begin > Number(seconds) * 1000, 3_600_000);
	for (const [source, load] of [["loaded1", 4.8], ["loaded2", 2.6]])
		await stack.publish(source, { node_load1: load, node_load5: 3.1, node_load15: 2.2 }, { interval_ms: 60_000 });
	await page.locator("[data-notice]").first().waitFor();
	for (const [path, name, ready] of [
		["/", "page-fleet", `tr[data-source="${NODE}"] .cpu canvas`],
		[`/n/${NODE}`, "page-node", "[data-panel=cpu] canvas"],
	]) {
		await page.goto(path);
		await page.locator(ready).waitFor();
		await page.locator(".overlay").first().waitFor({ state: "detached" });
		// A few more events: rows have found their order, the chip its figure.
		await page.waitForTimeout(5000);
		await page.screenshot({ path: join(folder, `${name}.png`) });
	}
} finally {
	await browser.close();
	await stack.stop();
}
