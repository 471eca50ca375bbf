// SPDX-License-Identifier: MIT
// The stack, the browser and the person that most tests share; started once.
import assert from "node:assert/strict";
import { after, before } from "node:test";
import { launch, person, Stack, until } from "./harness.mjs";

export let stack;
export let browser;
/** Logged in by the first tests. */
export let ana;
export let page;

before(async () => {
	[stack, browser] = await Promise.all([Stack.start(), launch()]);
	await stack.do({ do: "simulate", sources: 60 });
	await stack.publish("web1", { node_load1: 1.5, node_memory_MemTotal_bytes: 8e9 });
	await stack.do({
		do: "publish",
		topic: "latido/v1/devices/greenhouse/metrics",
		payload: { temperature: 21.5, soil: { moisture: 40 } },
	});
	ana = await person(browser, stack);
	page = await ana.newPage();
});

after(async () => {
	await browser?.close();
	await stack?.stop();
});

export const rows = () => page.locator("tr[data-source]");
export const row = (source) => page.locator(`tr[data-source="${source}"]`);

/** Leaves nothing behind for the next test. */
export async function fresh(path) {
	assert.deepEqual(ana.problems, []);
	await page.goto(path);
	await page.waitForSelector("header.top");
}

/** To another view by g and a letter; again where the machine was too slow for the two to be together. */
export function goTo(key, name) {
	return until(`the view ${name}`, async () => {
		await page.keyboard.press("g");
		await page.keyboard.press(key);
		const heading = page.getByRole("heading", { level: 1, name });
		return heading.waitFor({ timeout: 3000 }).then(
			() => true,
			() => false,
		);
	});
}

const ALERT = "00000000000000a1";

/** An alert about the agent's node as latido-alert would write it, with these changes; null: it is over. */
export function alert(changes) {
	const text = JSON.stringify({
		fingerprint: ALERT,
		labels: { alertname: "HighLoad", instance: stack.agent, severity: "critical" },
		annotations: { summary: "The load is too high" },
		activeAt: new Date(Date.now() - 60_000).toISOString(),
		startsAt: new Date(Date.now() - 30_000).toISOString(),
		value: 9.5,
		expr: "node_load1 > 4",
		for: 30,
		rule: { file: "cluster.yaml", group: "nodes", name: "HighLoad" },
		...changes,
	});
	const args = changes ? ["HSET", "latido:alerts", ALERT, text] : ["HDEL", "latido:alerts", ALERT];
	return stack.do({ do: "redis", args });
}
