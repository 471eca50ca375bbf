// SPDX-License-Identifier: MIT
// The pictures of the README: node tests/browser/screenshots.mjs FOLDER [SECONDS]
// A fleet of simulated nodes is watched until its sparklines are full.
import { join } from "node:path";
import { launch, logIn, person, Stack } from "./harness.mjs";

const [folder = "docs", seconds = "310"] = process.argv.slice(2);
const stack = await Stack.start();
const browser = await launch();
try {
	await stack.do({ do: "simulate", sources: 24 });
	const someone = await person(browser, stack, { viewport: { width: 1280, height: 760 } });
	const page = await someone.newPage();
	await logIn(page, stack);
	await page.waitForTimeout(Number(seconds) * 1000);
	for (const [path, name] of [["/", "page-fleet"], [`/n/${stack.agent}`, "page-node"]]) {
		await page.goto(path);
		await page.waitForTimeout(4000);
		await page.screenshot({ path: join(folder, `${name}.png`) });
	}
} finally {
	await browser.close();
	await stack.stop();
}
