// SPDX-License-Identifier: MIT
// Tabs and streams, and what breaks under an open page.
import assert from "node:assert/strict";
import { test } from "node:test";
import { DEADLINE, logIn, person, pixels, until } from "./harness.mjs";
import { ana, browser, fresh, page, row, stack } from "./site.mjs";

test("the pipeline says what each part takes, drops and still holds", async () => {
	await fresh("/pipeline");
	for (const part of ["alert", "hot", "store"]) {
		const cells = page.locator(`tr[data-part=${part}] td`);
		await until(`figures of ${part}`, async () => {
			const [state, , rate, dropped] = await cells.allTextContents();
			return /ok|late/.test(state ?? "") && /^[1-9\d]/.test(rate) && dropped === "0";
		});
	}
	for (const fact of ["redis-ping", "postgres-ping", "store-behind", "server-rate", "dropped", "broker-queue", "broker-dropped"])
		await until(fact, async () => /\d/.test(await page.locator(`[data-fact=${fact}]`).textContent()));
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
	// A tab that is ended before it could say so counts until it was silent for SILENT_MS of worker.ts.
	const one = async () => (await page.locator("[data-fact=tabs]").textContent()) === "1";
	await until("one tab", one, 150_000 + 30_000 + DEADLINE);
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

/** Runs of columns of a chart in which something is drawn in colour: one more than it has gaps. */
function runs(panel) {
	return page.$eval(`[data-panel="${panel}"] canvas`, (c) => {
		const { data } = c.getContext("2d").getImageData(0, 0, c.width, c.height);
		let n = 0;
		let before = false;
		for (let x = 0; x < c.width; x++) {
			let here = false;
			for (let y = 0; y < c.height && !here; y++) {
				const i = 4 * (y * c.width + x);
				const rgb = [data[i], data[i + 1], data[i + 2]];
				here = data[i + 3] > 40 && Math.max(...rgb) - Math.min(...rgb) > 40;
			}
			if (here && !before) n++;
			before = here;
		}
		return n;
	});
}

test("the page has no hole after the server was away; what is missing is a gap", async () => {
	// Times are made up, so that it does not matter how fast this machine is.
	const begin = Date.now() - 150_000;
	const send = async (source, from, to) => {
		for (let i = from; i < to; i++)
			await stack.do({
				do: "event",
				source,
				seq: i + 1,
				time_ms: begin + i * 1000,
				interval_ms: 1000,
				families: [["node_load1"], ["node_load5"], ["node_load15"]],
				values: [i, 50, 60],
			});
	};
	const last = async (n) => {
		let shown = "nothing";
		try {
			await until(`event ${n}`, async () => {
				shown = await page.locator('[data-panel="load"] [data-value]').first().textContent();
				return shown === String(n);
			});
		} catch (e) {
			throw new Error(`${e.message}; the page shows ${shown} at ${page.url()}`);
		}
	};
	await send("steady1", 0, 60);
	await send("gappy1", 0, 60);
	await fresh("/n/steady1");
	await last(59);
	await until("one line", async () => (await runs("load")) === 1);
	await stack.do({ do: "stop", what: "live" });
	await page.locator("[data-banner=server]").waitFor();
	await send("steady1", 60, 100);
	await stack.do({ do: "start", what: "live" });
	await page.locator("[data-banner=server]").waitFor({ state: "detached" });
	await last(99);
	await send("steady1", 100, 130);
	await send("gappy1", 100, 130);
	await last(129);
	await until("still one line", async () => (await runs("load")) === 1);
	await page.goto("/n/gappy1");
	await last(129);
	await until("two lines", async () => (await runs("load")) === 2);
	// The heartbeat bar says so, too: forty seconds without an event are eight steps.
	const beats = await page.locator(".nodehead canvas.beats").getAttribute("aria-label");
	const [, ok, down] = /(\d+) ok, .* (\d+) down$/.exec(beats).map(Number);
	assert.ok(ok >= 10 && down >= 7, beats);
	const [bar] = await pixels(page, ".nodehead");
	assert.ok(bar.coloured >= 2, "what came and what did not differ in colour");
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
