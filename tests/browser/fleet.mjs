// SPDX-License-Identifier: MIT
// The table of nodes and devices, and the keyboard.
import assert from "node:assert/strict";
import { test } from "node:test";
import { DEADLINE, pixels, until } from "./harness.mjs";
import { fresh, goTo, page, row, rows, stack } from "./site.mjs";

test("the fleet lists every node and device", async () => {
	await fresh("/");
	await row(stack.agent).waitFor();
	// Which of them are devices the server asks PostgreSQL once a minute.
	await until(
		"62 nodes, three consumers and a device",
		async () => /65 nodes, 1 device/.test(await page.locator(".toolbar .count").textContent()),
		3 * DEADLINE,
	);
	const table = page.getByRole("table");
	assert.equal(await table.getAttribute("aria-rowcount"), "67");
	// Only what is in sight is in the document.
	assert.ok((await rows().count()) < 50);
	await until("sparklines", async () =>
		(await pixels(page, `tr[data-source="${stack.agent}"] .cpu`)).some((p) => p.coloured > 0),
	);
	await page.mouse.wheel(0, 20_000);
	await until("the last row", async () => (await rows().last().getAttribute("aria-rowindex")) === "67");
});

test("a value is on the screen within a second of its event", async () => {
	await fresh("/?q=web1");
	const cell = row("web1").locator("[data-col=load]");
	await cell.waitFor();
	const took = [];
	const end = Date.now() + DEADLINE;
	// One that was late says something about this machine; all of them, about us.
	for (let i = 0; Date.now() < end && !took.some((t) => t < 1000); i++) {
		const wanted = (20 + (i % 50) + i / 100).toFixed(2);
		const painted = page.evaluate(
			([text, ms]) =>
				new Promise((done, fail) => {
					const end = Date.now() + ms;
					const look = () => {
						const cell = document.querySelector('tr[data-source="web1"] [data-col=load]');
						if (cell?.textContent === text) done(Date.now());
						else if (Date.now() > end) fail(new Error(`${text} never came`));
						else requestAnimationFrame(look);
					};
					look();
				}),
			[wanted, DEADLINE],
		);
		const sampled = Date.now();
		await stack.publish("web1", { node_load1: Number(wanted) });
		took.push((await painted) - sampled);
	}
	assert.ok(Math.min(...took) < 1000, `ms from sample to screen: ${took}`);
	assert.match(await page.locator(".livechip").textContent(), /live · .* behind/);
});

test("paused, nothing moves; then it is all there", async () => {
	await fresh("/?q=web1");
	const cell = row("web1").locator("[data-col=load]");
	await cell.waitFor();
	const before = await cell.textContent();
	await page.keyboard.press("Space");
	await page.locator(".livechip", { hasText: "paused" }).waitFor();
	const events = async () => Number((await (await page.request.get("/api/v1/nodes/web1")).json()).values[6]);
	await stack.publish("web1", { node_load1: 77.25 });
	await until("the server has it", async () => (await events()) === 77.25);
	assert.equal(await cell.textContent(), before);
	await page.keyboard.press("Space");
	await until("it is shown", async () => (await cell.textContent()) === "77.25");
});

test("the filter leaves what matches, is in the address, and Escape ends it", async () => {
	await fresh("/");
	await row(stack.agent).waitFor();
	await page.keyboard.press("/");
	await page.keyboard.type("node-0000");
	await until("nine rows", async () => (await rows().count()) === 9);
	assert.match(page.url(), /q=node-0000/);
	assert.match(await page.locator(".toolbar .count").textContent(), /9 of 66 shown/);
	await page.keyboard.type("nothing");
	await page.getByText("Nothing matches").waitFor();
	await page.keyboard.press("Escape");
	await row(stack.agent).waitFor();
	assert.doesNotMatch(page.url(), /q=/);
});

test("sorted by a click, grouped by kind", async () => {
	await fresh("/");
	await page.getByRole("button", { name: "Name" }).click();
	await until("by name", async () => /^alert\./.test(await rows().first().getAttribute("data-source")));
	assert.equal(await page.locator("th[aria-sort]").textContent(), "Name↓");
	await page.selectOption(".group select", "kind");
	await page.locator(".grouphead").first().waitFor();
	assert.match(await page.locator(".grouphead").first().textContent(), /^device 1/);
	await page.reload();
	await page.locator(".grouphead").first().waitFor();
	assert.equal(await page.inputValue(".group select"), "kind");
	// Whatever columns there is room for, devices and heads of groups have no others.
	await row("greenhouse").waitFor();
	for (const width of [1600, 1500, 1360, 1240, 1100, 980, 800]) {
		await page.setViewportSize({ width, height: 900 });
		await until(`all rows are as wide as the table of ${width} px`, () =>
			page.evaluate(() => {
				const right = (e) => Math.round(e.getBoundingClientRect().right);
				const end = right(document.querySelector("table.fleet"));
				const rows = [...document.querySelectorAll("table.fleet tr:not([aria-hidden])")];
				return rows.every((r) => {
					const cells = [...r.cells].filter((c) => c.checkVisibility());
					return cells.length > 0 && Math.abs(right(cells.at(-1)) - end) <= 2;
				});
			}),
		);
	}
	await page.setViewportSize({ width: 1360, height: 900 });
});

test("everything by keyboard", async () => {
	await fresh("/?sort=name&q=node-0000");
	await row("node-00001").waitFor();
	await page.keyboard.press("ArrowDown");
	await page.keyboard.press("j");
	await page.keyboard.press("ArrowDown");
	await page.keyboard.press("k");
	await until("the second row", () =>
		page.evaluate(() => document.activeElement?.closest("tr")?.ariaRowIndex === "3"),
	);
	await page.keyboard.press("Enter");
	await page.getByRole("heading", { level: 1, name: "node-00002" }).waitFor();
	await page.keyboard.press("t");
	await until("the next range", () => page.url().includes("range=1h"));
	await page.keyboard.press("Space");
	await page.locator(".livechip", { hasText: "paused" }).waitFor();
	await page.keyboard.press("Space");
	await page.keyboard.press("Escape");
	await page.getByRole("heading", { level: 1, name: "Fleet" }).waitFor();
	await page.keyboard.press("?");
	await page.getByRole("dialog", { name: "Keyboard" }).waitFor();
	await page.keyboard.press("Escape");
	await page.getByRole("dialog").waitFor({ state: "detached" });
	for (const [key, name] of [["a", "Alerts"], ["d", "Devices"], ["p", "Pipeline"], ["n", "Fleet"]])
		await goTo(key, name);
	await page.keyboard.press("Control+k");
	await page.locator("dialog input:focus").waitFor();
	await page.keyboard.type("greenh");
	await page.locator("dialog [role=option][aria-selected=true]", { hasText: "greenhouse" }).waitFor();
	await page.keyboard.press("Enter");
	await page.getByRole("heading", { level: 1, name: "greenhouse" }).waitFor();
	await page.keyboard.press("d");
	assert.equal(await page.getAttribute("html", "data-theme"), "dark");
	await page.keyboard.press("d");
});
