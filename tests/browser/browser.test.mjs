// SPDX-License-Identifier: MIT
// The page in a real browser, on the whole real pipeline: node --test tests/browser
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { after, before, test } from "node:test";
import { axe, DEADLINE, launch, logIn, person, pixels, Stack, until } from "./harness.mjs";

let stack;
let browser;
/** The person that most tests share; logged in once. */
let ana;
let page;

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

const rows = () => page.locator("tr[data-source]");
const row = (source) => page.locator(`tr[data-source="${source}"]`);

/** Leaves nothing behind for the next test. */
async function fresh(path) {
	assert.deepEqual(ana.problems, []);
	await page.goto(path);
	await page.waitForSelector("header.top");
}

test("without a session there is a login, and nothing else", async () => {
	await page.goto("/n/web1");
	await page.waitForSelector("input[name=password]");
	assert.equal(await page.locator("header.top").count(), 0);
	const answer = await page.request.get("/api/v1/nodes");
	assert.equal(answer.status(), 401);
});

test("a wrong password is said, and the field is empty again", async () => {
	await page.fill("input[name=user]", stack.user);
	await page.fill("input[name=password]", "not it");
	await page.click("button[type=submit]");
	await page.getByRole("alert").filter({ hasText: "wrong" }).waitFor();
	assert.equal(await page.inputValue("input[name=password]"), "");
});

test("logging in leads to where one wanted to go", async () => {
	await page.fill("input[name=password]", stack.password);
	await page.keyboard.press("Enter");
	await page.getByRole("heading", { name: "web1" }).waitFor();
	const cookie = (await ana.cookies()).find((c) => /latido_session/.test(c.name));
	assert.ok(cookie.httpOnly);
	assert.match(cookie.sameSite, /Strict|Lax/);
});

test("the fleet lists every node and device", async () => {
	await fresh("/");
	await row(stack.agent).waitFor();
	await until("62 nodes and a device", async () =>
		/62 nodes, 1 device/.test(await page.locator(".toolbar .count").textContent()),
	);
	const table = page.getByRole("table");
	assert.equal(await table.getAttribute("aria-rowcount"), "64");
	// Only what is in sight is in the document.
	assert.ok((await rows().count()) < 50);
	await until("sparklines", async () =>
		(await pixels(page, `tr[data-source="${stack.agent}"] .cpu`)).some((p) => p.coloured > 0),
	);
	await page.mouse.wheel(0, 20_000);
	await until("the last row", async () => (await rows().last().getAttribute("aria-rowindex")) === "64");
});

test("a value is on the screen within a second of its event", async () => {
	await fresh("/?q=web1");
	const cell = row("web1").locator("[data-col=load]");
	await cell.waitFor();
	const took = [];
	// One that was late says something about this machine; all of them, about us.
	for (let i = 0; i < 10 && !took.some((t) => t < 1000); i++) {
		const wanted = (20 + i + i / 10).toFixed(2);
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

test("the filter leaves what matches, is in the address, and Escape ends it", async () => {
	await fresh("/");
	await row(stack.agent).waitFor();
	await page.keyboard.press("/");
	await page.keyboard.type("node-0000");
	await until("nine rows", async () => (await rows().count()) === 9);
	assert.match(page.url(), /q=node-0000/);
	assert.match(await page.locator(".toolbar .count").textContent(), /9 of 63 shown/);
	await page.keyboard.type("nothing");
	await page.getByText("Nothing matches").waitFor();
	await page.keyboard.press("Escape");
	await row(stack.agent).waitFor();
	assert.doesNotMatch(page.url(), /q=/);
});

test("sorted by a click, grouped by kind", async () => {
	await fresh("/");
	await page.getByRole("button", { name: "Name" }).click();
	await until("by name", async () => (await rows().first().getAttribute("data-source")) === "greenhouse");
	assert.equal(await page.locator("th[aria-sort]").textContent(), "Name↓");
	await page.selectOption(".group select", "kind");
	await page.locator(".grouphead").first().waitFor();
	assert.match(await page.locator(".grouphead").first().textContent(), /^device 1/);
	await page.reload();
	await page.locator(".grouphead").first().waitFor();
	assert.equal(await page.inputValue(".group select"), "kind");
});

test("everything by keyboard", async () => {
	await fresh("/?sort=name");
	await row("greenhouse").waitFor();
	await page.keyboard.press("ArrowDown");
	await page.keyboard.press("j");
	await page.keyboard.press("ArrowDown");
	await page.keyboard.press("k");
	await until("the second row", () =>
		page.evaluate(() => document.activeElement?.closest("tr")?.ariaRowIndex === "3"),
	);
	await page.keyboard.press("Enter");
	await page.getByRole("heading", { level: 1, name: "node-00001" }).waitFor();
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
	for (const [key, name] of [["a", "Alerts"], ["d", "Devices"], ["p", "Pipeline"], ["n", "Fleet"]]) {
		await page.keyboard.press("g");
		await page.keyboard.press(key);
		await page.getByRole("heading", { level: 1, name }).waitFor();
	}
	await page.keyboard.press("Control+k");
	await page.keyboard.type("greenh");
	await page.keyboard.press("Enter");
	await page.getByRole("heading", { level: 1, name: "greenhouse" }).waitFor();
	await page.keyboard.press("d");
	assert.equal(await page.getAttribute("html", "data-theme"), "dark");
	await page.keyboard.press("d");
});

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
	// Minutes are summed up a little after their events.
	await until("the line", async () => {
		await page.reload();
		await page.locator("[data-panel=load]").waitFor();
		await page.waitForTimeout(500);
		return (await pixels(page, "[data-panel=load]")).some((p) => p.coloured > 1);
	});
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

test("an alert appears on every page, is explained, and resolves", async () => {
	await fresh("/pipeline");
	const alert = {
		fingerprint: "00000000000000a1",
		state: "firing",
		labels: { alertname: "HighLoad", instance: stack.agent, severity: "critical" },
		annotations: { summary: "The load is too high" },
		activeAt: new Date(Date.now() - 60_000).toISOString(),
		startsAt: new Date(Date.now() - 30_000).toISOString(),
		value: 9.5,
		expr: "node_load1 > 4",
		for: 30,
		rule: "cluster.yaml",
	};
	const set = (a) =>
		stack.do({ do: "redis", args: ["HSET", "latido:alerts", a.fingerprint, JSON.stringify(a)] });
	await set({ ...alert, state: "pending", for: 3600 });
	await page.keyboard.press("g");
	await page.keyboard.press("a");
	const item = page.locator("[data-alert='00000000000000a1']");
	await item.getByText(/pending/).waitFor();
	await item.getByText(/fires in/).waitFor();
	await page.keyboard.press("g");
	await page.keyboard.press("p");
	await set(alert);
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
	await stack.do({ do: "redis", args: ["HDEL", "latido:alerts", alert.fingerprint] });
	await page.locator("nav [data-firing]").waitFor({ state: "detached" });
	await row(stack.agent).locator(".state", { hasText: "ok" }).waitFor();
	await until("the title", async () => !(await page.title()).startsWith("("));
});

test("many tabs, one stream", async () => {
	const others = [];
	for (let i = 0; i < 3; i++) {
		const p = await ana.newPage();
		await p.goto(i ? `/n/${stack.agent}` : "/");
		await p.locator(".livechip.live").waitFor();
		others.push(p);
	}
	await page.goto("/pipeline");
	await page.getByText("one stream for all tabs").waitFor();
	await until("four tabs", async () => (await page.locator("[data-fact=tabs]").textContent()) === "4");
	await until("one stream", async () => {
		const status = await (await page.request.get("/api/v1/status")).json();
		return status.clients === 1;
	});
	for (const p of others) await p.close();
	await until("one tab", async () => (await page.locator("[data-fact=tabs]").textContent()) === "1");
});

test("without SharedWorker a tab has its own stream", async () => {
	const old = await person(browser, stack);
	await old.addInitScript(() => delete globalThis.SharedWorker);
	const p = await old.newPage();
	await logIn(p, stack, "/pipeline");
	await p.getByText("a stream of this tab").waitFor();
	await p.locator(".livechip.live").waitFor();
	assert.deepEqual(old.problems, []);
	await old.close();
});

test("the server restarts under an open page: said, healed, nobody logs in again, no hole", async () => {
	await fresh("/?q=web1");
	await row("web1").waitFor();
	await stack.do({ do: "stop", what: "live" });
	await page.locator("[data-banner=server]").waitFor();
	assert.equal(await row("web1").count(), 1);
	await stack.publish("web1", { node_load1: 33.33 });
	await stack.do({ do: "start", what: "live" });
	await page.locator("[data-banner=server]").waitFor({ state: "detached" });
	await until("what happened meanwhile", async () =>
		(await row("web1").locator("[data-col=load]").textContent()) === "33.33",
	);
	await stack.publish("web1", { node_load1: 44.44 });
	await until("what happens now", async () =>
		(await row("web1").locator("[data-col=load]").textContent()) === "44.44",
	);
	assert.equal(await page.locator("input[name=password]").count(), 0);
});

test("Redis restarts under an open page", async () => {
	await fresh("/?q=web1");
	await row("web1").waitFor();
	await stack.do({ do: "stop", what: "redis" });
	await page.locator("[data-banner=redis]").waitFor();
	await stack.do({ do: "start", what: "redis" });
	await page.locator("[data-banner=redis]").waitFor({ state: "detached" });
	await until("values again", async () => {
		await stack.publish("web1", { node_load1: 55.55 });
		return (await row("web1").locator("[data-col=load]").textContent()) === "55.55";
	});
});

test("PostgreSQL stops under an open page: live goes on", async () => {
	await fresh(`/n/${stack.agent}`);
	await page.locator("[data-panel=cpu]").waitFor();
	await stack.do({ do: "stop", what: "postgres" });
	await page.locator("[data-banner=postgres]").waitFor();
	await until("charts of what Redis has", async () =>
		(await pixels(page, "[data-panel=cpu]")).some((p) => p.coloured > 0),
	);
	await page.getByRole("button", { name: "24 h", exact: true }).click();
	await page.getByText(/History is not available/).first().waitFor();
	await stack.do({ do: "start", what: "postgres" });
	await page.locator("[data-banner=postgres]").waitFor({ state: "detached" });
});

test("a phone shows cards and nothing sticks out", async () => {
	const phone = await person(browser, stack, { viewport: { width: 390, height: 844 }, hasTouch: true });
	const p = await phone.newPage();
	await logIn(p, stack);
	await p.locator("tr[data-source]").first().waitFor();
	for (const path of ["/", `/n/${stack.agent}`, "/alerts", "/devices", "/pipeline"]) {
		await p.goto(path);
		await p.locator("h1").waitFor();
		await p.waitForSelector(path.startsWith("/n/") ? ".chart canvas" : "main");
		const wide = await p.evaluate(() => document.documentElement.scrollWidth - innerWidth);
		assert.ok(wide <= 0, `${path} is ${wide} px too wide`);
	}
	await p.goto("/");
	const card = await p.locator("tr[data-source]").first().boundingBox();
	assert.ok(card.height > 90 && card.width > 330);
	await p.locator("tr[data-source] a").first().tap();
	await p.waitForSelector(".chart canvas");
	assert.deepEqual(phone.problems, []);
	await phone.close();
});

test("Spanish for who wants it, with its numbers", async () => {
	const maria = await person(browser, stack, { locale: "es-MX" });
	const p = await maria.newPage();
	await p.goto("/");
	await p.getByRole("button", { name: "Entrar" }).waitFor();
	await logIn(p, stack);
	await p.getByRole("heading", { level: 1, name: "Flota" }).waitFor();
	assert.equal(await p.getAttribute("html", "lang"), "es");
	await p.goto(`/n/${stack.agent}`);
	await p.getByRole("heading", { name: "Memoria" }).waitFor();
	await p.getByText("Todas las series").waitFor();
	await maria.close();
});

const VIEWS = () => ["/", `/n/${stack.agent}`, "/alerts", "/devices", "/pipeline"];

for (const colorScheme of ["light", "dark"]) {
	test(`accessibility rules, ${colorScheme}`, async () => {
		const someone = await person(browser, stack, { colorScheme });
		const p = await someone.newPage();
		const check = async (what) => {
			// Not as an element: the page's own policy would refuse it.
			await p.evaluate(readFileSync(axe, "utf8"));
			const found = await p.evaluate(() => globalThis.axe.run(document, { resultTypes: ["violations"] }));
			const said = found.violations.map(
				(v) => `${v.id}: ${v.nodes.map((n) => n.target.join(" ")).slice(0, 3)}`,
			);
			assert.deepEqual(said, [], what);
		};
		await p.goto("/");
		await p.waitForSelector("input[name=user]");
		await check("login");
		await logIn(p, stack);
		const background = await p.evaluate(() => getComputedStyle(document.body).backgroundColor);
		const light = Number(/\d+/.exec(background)[0]) > 128;
		assert.equal(light, colorScheme === "light", background);
		for (const path of VIEWS()) {
			await p.goto(path);
			await p.waitForSelector(path === "/" ? "tr[data-source]" : "h1");
			if (path.startsWith("/n/")) await p.waitForSelector(".chart canvas");
			await check(path);
		}
		await p.keyboard.press("?");
		await p.getByRole("dialog").waitFor();
		await check("help");
		assert.deepEqual(someone.problems, []);
		await someone.close();
	});
}

test("logging out ends it, in every tab", async () => {
	await fresh("/");
	const other = await ana.newPage();
	await other.goto("/");
	await other.locator(".livechip.live").waitFor();
	await page.getByRole("button", { name: "Log out" }).click();
	await page.waitForSelector("input[name=password]");
	await other.waitForSelector("input[name=password]");
	assert.equal((await page.request.get("/api/v1/nodes")).status(), 401);
	assert.deepEqual(ana.problems, []);
});
