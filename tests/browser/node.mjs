// SPDX-License-Identifier: MIT
// A node: charts, history, series, devices.
import assert from "node:assert/strict";
import { test } from "node:test";
import { pixels, until } from "./harness.mjs";
import { fresh, page, row, rows, stack } from "./site.mjs";

test("the node's charts are full and have pixels in them, and move", async () => {
	await fresh(`/n/${stack.agent}`);
	const panels = ["cpu", "mem", "load", "net", "disk"];
	for (const id of panels)
		await until(`pixels in ${id}`, async () =>
			(await pixels(page, `[data-panel=${id}]`)).some((p) => p.painted > 1500 && p.coloured > 0),
		);
	const value = page.locator("[data-panel=cpu] [data-value]").first();
	const before = await value.textContent();
	await until("another value", async () => (await value.textContent()) !== before);
	await page.getByRole("row", { name: /running/ }).waitFor();
	for (const state of ["R", "S", "Z", "T", "total"])
		assert.match(await page.locator(`tr[data-state=${state}]`).textContent(), /\d/);
});

test("one cursor on all charts; dragging zooms all of them, and the address says so", async () => {
	await fresh(`/n/${stack.agent}`);
	const cpu = page.locator("[data-panel=cpu] .u-over");
	await cpu.waitFor();
	const box = await cpu.boundingBox();
	const y = box.y + box.height / 2;
	await page.mouse.move(box.x + box.width * 0.6, y);
	await page.mouse.move(box.x + box.width * 0.7, y);
	await until("the other chart's cursor", () =>
		page
			.locator("[data-panel=mem] .u-cursor-x")
			.evaluate((e) => !e.classList.contains("u-off") && /translate\([1-9]/.test(e.style.transform)),
	);
	await page.mouse.down();
	await page.mouse.move(box.x + box.width * 0.9, y, { steps: 4 });
	await page.mouse.up();
	await until("a window in the address", () => /from=\d+&to=\d+/.test(page.url()));
	const q = new URL(page.url()).searchParams;
	const span = q.get("to") - q.get("from");
	assert.ok(span > 30_000 && span < 90_000, `${span} ms`);
	await page.reload();
	await page.locator(".rangebar .window").waitFor();
	await page.locator(".golive").click();
	await until("live again", () => !page.url().includes("from="));
});

test("history comes from the database, as a line with its gaps", async () => {
	const hour = 3_600_000;
	const begin = Date.now() - 3 * hour;
	for (let i = 0; i < 60; i++) {
		await stack.do({
			do: "event",
			source: "old1",
			seq: i + 1,
			time_ms: begin + i * 60_000,
			interval_ms: 60_000,
			families: [["node_load1"], ["node_load5"], ["node_load15"]],
			values: [5 + (i % 7), 4, 3],
		});
	}
	await until("the rows", async () => {
		const found = await stack.do({
			do: "sql",
			text: "SELECT count(*) FROM snapshot s JOIN source o ON o.id = s.source_id WHERE o.name = 'old1'",
		});
		return Number(found[0][0]) === 60;
	});
	await fresh("/n/old1?range=6h");
	await until("the line", async () => (await pixels(page, "[data-panel=load]")).some((p) => p.coloured > 1));
	await page.goto(`/n/old1?from=${begin}&to=${begin + hour}`);
	await until("the line of that hour", async () =>
		(await pixels(page, "[data-panel=load]")).some((p) => p.coloured > 1),
	);
	await page.goto(`/n/old1?from=${begin - 24 * hour}&to=${begin - 23 * hour}`);
	await page.locator("[data-panel=load]").getByText("No values in this range").waitFor();
	for (const name of ["1 h", "24 h", "7 d"]) {
		await page.getByRole("button", { name, exact: true }).click();
		await until(name, () => page.url().includes(`range=${name.replace(" ", "")}`));
	}
	await until("the line in seven days", async () =>
		(await pixels(page, "[data-panel=load]")).some((p) => p.coloured > 0),
	);
});

test("processes: those that use most, sorted, filtered, still under the pointer", async () => {
	let seq = 0;
	const send = (running, sshd) =>
		stack.do({
			do: "event",
			source: "busy1",
			seq: ++seq,
			time_ms: Date.now(),
			interval_ms: 60_000,
			families: [
				["node_processes_state", ["state"], [["R"], ["S"], ["D"], ["Z"], ["T"]]],
				["latido_process_cpu_ratio", ["comm", "pid"], [["chromium", "70"], ["sshd", "9"]]],
				["latido_process_resident_memory_bytes", ["comm", "pid"], [
					["chromium", "70"],
					["sshd", "9"],
				]],
			],
			values: [running, 30, 2, 1, 0, 0.5, sshd, 3e9, 5e6],
		});
	await send(4, 1.5);
	await fresh("/n/busy1");
	const running = page.locator("tr[data-state=R] td").first();
	await until("four are running", async () => (await running.textContent()) === "4");
	assert.match(await page.locator("tr[data-state=D]").textContent(), /waiting for I\/O2/);
	assert.match(await page.locator("tr[data-state=total]").textContent(), /37/);
	const groups = page.locator(".processes table").nth(1).locator("tbody tr");
	const first = async (name) => new RegExp(`^${name}`).test(await groups.first().textContent());
	await until("most CPU first", () => first("sshd"));
	assert.match(await groups.first().textContent(), /^sshd9150\s%4\.77\sMiB$/);
	await page.getByRole("button", { name: "Resident", exact: true }).click();
	await until("most memory first", () => first("chromium"));
	await page.locator(".processes input").fill("ssh");
	await until("one process", async () => (await groups.count()) === 1 && (await first("sshd")));
	// The pointer is in the table: nothing moves until it leaves.
	await page.locator(".held").waitFor();
	await send(5, 1.6);
	const series = page.locator(".panel.series tbody tr").filter({ hasText: 'state="R"' });
	await until("the list of series has it", async () => /5/.test(await series.locator(".num").textContent()));
	assert.equal(await running.textContent(), "4");
	await page.locator("h1").hover();
	await until("five are running", async () => (await running.textContent()) === "5");
});

test("any series can be searched and drawn, and the address keeps it", async () => {
	await fresh(`/n/${stack.agent}`);
	await page.fill("#series-filter", "memory buffers");
	const found = page.locator(".series tbody tr");
	await until("one series", async () => (await found.count()) === 1);
	await found.getByRole("button").click();
	await page.getByRole("heading", { name: "Chosen series" }).waitFor();
	assert.match(decodeURIComponent(page.url()), /c=node_memory_Buffers_bytes/);
	await page.reload();
	await until("its pixels", async () =>
		(await pixels(page, '[data-panel="series node_memory_Buffers_bytes"]')).some((p) => p.coloured > 0),
	);
});

test("a device's series are drawn without configuration", async () => {
	await fresh("/devices");
	await row("greenhouse").getByRole("link").click();
	await page.getByRole("heading", { level: 1, name: "greenhouse" }).waitFor();
	for (const name of ["temperature", "soil_moisture"])
		await page.locator(`[data-panel="family ${name}"]`).waitFor();
	const value = page.locator('[data-panel="family temperature"] [data-value]');
	await stack.do({
		do: "publish",
		topic: "latido/v1/devices/greenhouse/metrics",
		payload: { temperature: 23.25, soil: { moisture: 41 } },
	});
	await until("the new temperature", async () => /23\.[23]/.test(await value.textContent()));
});
