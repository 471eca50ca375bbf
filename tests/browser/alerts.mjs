// SPDX-License-Identifier: MIT
// Alerts: those of latido-alert, from pending to the history.
import assert from "node:assert/strict";
import { test } from "node:test";
import { pixels, until } from "./harness.mjs";
import { alert, fresh, goTo, page, row, stack } from "./site.mjs";

/** What a chart shows of an alert: rows that are dashed red from side to side, columns that are shaded red. */
function marked(panel) {
	return page.$eval(`[data-panel="${panel}"] canvas`, (c) => {
		const { data } = c.getContext("2d").getImageData(0, 0, c.width, c.height);
		const red = (i) => data[i] > 120 && data[i + 1] < 110 && data[i + 2] < 110;
		const lines = new Set();
		const shaded = new Set();
		for (let y = 0; y < c.height; y++) {
			let dashes = 0;
			for (let x = 0; x < c.width; x++) {
				const i = 4 * (y * c.width + x);
				if (!red(i)) continue;
				if (data[i + 3] > 150) dashes++;
				else if (data[i + 3] > 15) shaded.add(x);
			}
			if (dashes > c.width / 3) lines.add(y);
		}
		return { lines: lines.size, shaded: shaded.size, width: c.width };
	});
}

/** One event of a node with a load, states of processes, and two of them. */
const processes = (seq, time_ms, load, running, cpu) =>
	stack.do({
		do: "event",
		source: "loaded1",
		seq,
		time_ms,
		interval_ms: 60_000,
		families: [
			["node_load1"],
			["node_processes_state", ["state"], [["R"], ["S"], ["Z"]]],
			["latido_process_cpu_ratio", ["comm", "pid"], [["chromium", "70"], ["sshd", "9"]]],
			["latido_process_resident_memory_bytes", ["comm", "pid"], [
				["chromium", "70"],
				["sshd", "9"],
			]],
		],
		values: [load, running, 42, 1, cpu, 0.01, 3e9, 5e6],
	});

test("an alert of latido-alert on every page, in the title and the icon, until it is over", async () => {
	await fresh("/pipeline");
	const begin = Date.now() - 60_000;
	await processes(1, begin, 1, 3, 1);
	await processes(2, begin + 60_000, 9.5, 7, 0.5);
	await page.locator("nav [data-firing='1']").waitFor();
	await until("the title", async () => (await page.title()).startsWith("(1) "));
	assert.match(await page.locator('link[rel="icon"]').getAttribute("href"), /alert/);
	await page.getByRole("alert").filter({ hasText: "LoadTooHigh" }).waitFor({ state: "attached" });
	const notice = page.locator("[data-notice]").filter({ hasText: "LoadTooHigh" });
	for (const path of ["/pipeline", "/", "/devices", `/n/${stack.agent}`, "/n/loaded1"]) {
		await page.goto(path);
		await notice.getByText("The load of loaded1 is 9.5").waitFor();
	}
	// The other rule, which will not fire before an hour is over, is this node's only.
	await page.locator("[data-notice].pending").filter({ hasText: "LoadIsHigh" }).waitFor();
	await page.locator("nav").getByRole("link", { name: /^Alerts/ }).click();
	const active = page.locator('[data-list="active"] li');
	const pending = active.filter({ hasText: "LoadIsHigh" });
	await pending.getByText(/fires in \d+\s(min|h)/).waitFor();
	assert.match(await pending.textContent(), /9\.5 > 2/);
	await active.getByText(/^node_load1\{instance=~"loaded\.\*"\} > 4$/).waitFor();
	await active.getByRole("link", { name: "LoadTooHigh" }).click();

	// Explained: the rule, the value, the threshold, the charts around it, the processes at that moment.
	await page.getByRole("heading", { level: 1, name: "LoadTooHigh" }).waitFor();
	const facts = page.locator(".explain dl");
	for (const text of [/^9\.5$/, /^> 4$/, /^1\ss$/, /rules\.yaml · browser · LoadTooHigh$/])
		await facts.getByText(text).waitFor();
	const marks = () => page.locator('[data-panel="load"] .plot').getAttribute("data-marks");
	await until("threshold and spans", async () => (await marks()) === "4 pending firing");
	await until("their pixels", async () => {
		const found = await marked("load");
		return found.lines >= 1 && found.shaded >= 1 && found.shaded < found.width / 2;
	});
	assert.equal(await page.locator(".chart").first().getAttribute("data-panel"), "load");
	const state = (s) => page.locator(`.processes tr[data-state=${s}]`);
	await until("the processes of then", async () => /7/.test(await state("R").textContent()));
	assert.match(await page.locator(".processes h2").textContent(), /at \d/);
	const process = page.locator(".processes tbody tr").filter({ hasText: "chromium" });
	assert.match(await process.textContent(), /^chromium7050\.0\s%.*2\.79\sGiB/);

	// What comes later changes nothing of what was.
	await processes(3, begin + 61_000, 1, 1, 2);
	await page.locator("nav [data-firing]").waitFor({ state: "detached" });
	await until("the title", async () => !(await page.title()).startsWith("("));
	assert.doesNotMatch(await page.locator('link[rel="icon"]').getAttribute("href"), /alert/);
	await page.locator(".nodehead .alertstate.resolved").waitFor();
	await until("the processes of then", async () => /7/.test(await state("R").textContent()));
	await page.locator("nav").getByRole("link", { name: /^Alerts/ }).click();
	const past = page.locator('[data-list="history"] tr').filter({ hasText: "LoadTooHigh" });
	await past.getByText("resolved").waitFor();
	assert.match(await past.textContent(), /loaded1.*9\.5/);
	await page.locator('[data-list="history"] tr').filter({ hasText: "LoadIsHigh" }).waitFor();

	// From the history to that time, whoever opens the address.
	await past.getByRole("link", { name: "LoadTooHigh" }).click();
	await until("a window", () => /from=\d+&to=\d+/.test(page.url()));
	await page.reload();
	await until("threshold and spans", async () => (await marks()) === "4 pending firing");
	await page.goto("/n/loaded1");
	await until("what was, in the node's charts", async () => (await marks()) === "4 pending firing");
	assert.equal(await page.locator("[data-notice]").count(), 0);
});

test("an alert appears on every page, is explained, and resolves", async () => {
	await fresh("/pipeline");
	await alert({ state: "pending", for: 3600 });
	await goTo("a", "Alerts");
	const item = page.locator("[data-alert='00000000000000a1']");
	await item.getByText(/pending/).waitFor();
	await item.getByText(/fires in/).waitFor();
	await goTo("p", "Pipeline");
	await alert({ state: "firing" });
	await page.locator("nav [data-firing='1']").waitFor();
	await until("the title", async () => (await page.title()).startsWith("(1) "));
	assert.match(await page.locator('link[rel="icon"]').getAttribute("href"), /alert/);
	await page.getByRole("alert").filter({ hasText: "HighLoad" }).waitFor({ state: "attached" });
	await page.getByRole("link", { name: /Alerts/ }).click();
	await item.getByText("node_load1 > 4").waitFor();
	assert.match(await item.textContent(), /9\.5/);
	const silence = await item.getByRole("link", { name: /Silence/ }).getAttribute("href");
	assert.match(silence, /^http:\/\/alertmanager\.example:9093\/#\/silences\/new\?filter=/);
	assert.match(decodeURIComponent(silence), /alertname="HighLoad"/);
	await item.getByRole("link", { name: "HighLoad" }).click();
	await page.getByText("> 4").first().waitFor();
	await until("its charts, the load first", async () =>
		(await pixels(page, ".chart:first-child")).some((p) => p.coloured > 0),
	);
	assert.equal(await page.locator(".chart").first().getAttribute("data-panel"), "load");
	await page.goto("/");
	await row(stack.agent).locator(".state", { hasText: "alert" }).waitFor();
	await alert(null);
	await page.locator("nav [data-firing]").waitFor({ state: "detached" });
	await row(stack.agent).locator(".state", { hasText: "ok" }).waitFor();
	await until("the title", async () => !(await page.title()).startsWith("("));
});
