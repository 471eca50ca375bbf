// SPDX-License-Identifier: MIT
// Phones, languages, dark mode, accessibility, logging out.
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { test } from "node:test";
import { axe, logIn, person } from "./harness.mjs";
import { alert, ana, browser, fresh, page, stack } from "./site.mjs";

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
	await alert({ state: "firing" });
	await p.goto("/");
	const notice = await p.locator("[data-notice]").first().boundingBox();
	const first = await p.locator("tr[data-source]").first().boundingBox();
	assert.ok(notice.y > 0 && notice.y + notice.height <= first.y, "alerts come first");
	await alert(null);
	const card = await p.locator("tr[data-source]").first().boundingBox();
	assert.ok(card.height > 90 && card.width > 330);
	await p.locator("tr[data-source] a").first().tap();
	await p.waitForSelector(".chart canvas");
	assert.deepEqual(phone.problems, []);
	await phone.close();
});

test("a share link opens the wall, which may only look", async () => {
	const link = (await stack.do({ do: "share", name: "wall" })).trim();
	assert.match(link, /\/\?kiosk=1#share=[\w-]{43}$/);
	await alert({ state: "firing" });
	const wall = await person(browser, stack, { viewport: { width: 1920, height: 1080 } });
	const p = await wall.newPage();
	const path = link.slice(link.indexOf("/?"));
	await p.goto(path);
	await p.locator("tr[data-source]").first().waitFor();
	assert.equal(new URL(p.url()).hash, "", "the token stays in no address");
	// Large, and nothing to click but the rows; what is firing comes first.
	for (const gone of ["nav", ".toolbar", ".tools button"])
		assert.equal(await p.locator(gone).first().isVisible(), false, gone);
	assert.equal(await p.locator(".livechip").isVisible(), true);
	const size = (q) => p.locator(q).first().evaluate((e) => parseFloat(getComputedStyle(e).fontSize));
	assert.ok((await size("tr[data-source] .name a")) >= 18);
	await p.locator("[data-notice]").first().waitFor();
	assert.ok((await size("[data-notice] a")) >= 20);
	await p.reload();
	await p.locator("tr[data-source] a").first().click();
	await p.locator(".chart canvas").first().waitFor();
	assert.match(p.url(), /kiosk=1/);
	assert.equal((await (await p.request.get("/api/v1/session")).json()).read_only, true);
	assert.deepEqual(wall.problems, []);
	await wall.close();

	const nobody = await person(browser, stack);
	const q = await nobody.newPage();
	await q.goto(`/?kiosk=1#share=${"A".repeat(43)}`);
	await q.locator("input[name=password]").waitFor();
	await nobody.close();
	await alert(null);
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
