// SPDX-License-Identifier: MIT
// Logging in; the first tests, the others go on from there.
import assert from "node:assert/strict";
import { test } from "node:test";
import {  } from "./harness.mjs";
import { ana, page, stack } from "./site.mjs";

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
