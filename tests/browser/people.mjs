// SPDX-License-Identifier: MIT
// Phones, languages, dark mode, accessibility, logging out.
import assert from "node:assert/strict";
import { test } from "node:test";
import { accessible, logIn, person, until } from "./harness.mjs";
import { alert, ana, browser, fresh, page, row, stack } from "./site.mjs";

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
		if (path === "/" || path.startsWith("/n/")) await accessible(p, `${path} on a phone`);
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
	// Rows find their order meanwhile: one that was looked for may be gone.
	await until("large names", async () => (await size("tr[data-source] .name a")) >= 18);
	await p.locator("[data-notice]").first().waitFor();
	await until("large notices", async () => (await size("[data-notice] a")) >= 20);
	await accessible(p, "the wall");
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
	await accessible(p, "login in Spanish");
	await logIn(p, stack);
	await p.getByRole("heading", { level: 1, name: "Flota" }).waitFor();
	assert.equal(await p.getAttribute("html", "lang"), "es");
	await p.goto(`/n/${stack.agent}`);
	await p.getByRole("heading", { name: "Memoria" }).waitFor();
	await p.getByText("Todas las series").waitFor();
	await accessible(p, "a node in Spanish");
	await maria.close();
});

const VIEWS = () => ["/", `/n/${stack.agent}`, "/alerts", "/devices", "/pipeline"];

for (const colorScheme of ["light", "dark"]) {
	test(`accessibility rules, ${colorScheme}`, async () => {
		const someone = await person(browser, stack, { colorScheme });
		const p = await someone.newPage();
		await p.goto("/");
		await p.waitForSelector("input[name=user]");
		await accessible(p, "login");
		await logIn(p, stack);
		const background = await p.evaluate(() => getComputedStyle(document.body).backgroundColor);
		const light = Number(/\d+/.exec(background)[0]) > 128;
		assert.equal(light, colorScheme === "light", background);
		for (const path of VIEWS()) {
			await p.goto(path);
			await p.waitForSelector(path === "/" ? "tr[data-source]" : "h1");
			if (path.startsWith("/n/")) await p.waitForSelector(".chart canvas");
			await accessible(p, path);
		}
		await p.keyboard.press("?");
		await p.getByRole("dialog").waitFor();
		await accessible(p, "help");
		await p.keyboard.press("Escape");
		await p.keyboard.press("Control+k");
		await p.locator("dialog [role=option]").first().waitFor();
		await accessible(p, "the palette");
		await p.keyboard.press("Escape");
		await alert({ state: "firing" });
		await p.goto("/alerts/00000000000000a1");
		await p.waitForSelector(".explain dl");
		await p.waitForSelector(".chart canvas");
		await accessible(p, "an alert explained");
		await alert(null);
		assert.deepEqual(someone.problems, []);
		await someone.close();
	});
}

test("Tab goes through everything, in the order in which it stands there, and comes back", async () => {
	await fresh("/?sort=name&q=node-0000");
	await row("node-00001").waitFor();
	const wanted = await page.evaluate(() => {
		const all = [...document.querySelectorAll("a[href], button, input, select")];
		return all.filter((e) => e.checkVisibility() && e.tabIndex >= 0).map((e) => e.textContent || e.id || e.name);
	});
	assert.ok(wanted.length > 25, wanted.join(", "));
	const here = () =>
		page.evaluate(() => {
			const e = document.activeElement;
			if (e === document.body) return null;
			const box = e.getBoundingClientRect();
			const seen = box.top >= 0 && box.bottom <= innerHeight && box.left >= 0 && getComputedStyle(e).outlineStyle !== "none";
			return [e.textContent || e.id || e.name, seen];
		});
	await page.evaluate(() => document.activeElement.blur());
	const go = async (key, times) => {
		const reached = [];
		for (let i = 0; i < times; i++) {
			await page.keyboard.press(key);
			const [name, seen] = (await here()) ?? ["nothing", false];
			assert.ok(seen, `${name} has the focus, and nobody sees where`);
			reached.push(name);
		}
		return reached;
	};
	assert.deepEqual(await go("Tab", wanted.length), wanted);
	assert.deepEqual((await go("Shift+Tab", wanted.length - 1)).reverse(), wanted.slice(0, -1));
	// What a dialog was opened from has the focus again afterwards.
	const search = page.getByRole("button", { name: "Search everything" });
	await search.focus();
	await page.keyboard.press("Enter");
	await page.locator("dialog input:focus").waitFor();
	await page.keyboard.press("Escape");
	await until("the button again", () => search.evaluate((e) => e === document.activeElement));
	assert.deepEqual(ana.problems, []);
});

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
