// SPDX-License-Identifier: MIT
// What the browser tests share: the stack (stack.py), one Chromium, and waits with deadlines.
import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { dirname, join } from "node:path";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";

export const here = dirname(fileURLToPath(import.meta.url));
const root = join(here, "../..");
// Node's packages are those of the page.
const require = createRequire(join(root, "consumers/live/web/"));
const { chromium } = require("playwright-core");
const axeText = readFileSync(require.resolve("axe-core/axe.min.js"), "utf8");

/** Deadline of every wait, ms: sanitizer builds on a busy machine are slow. */
export const DEADLINE = Number(process.env.DEADLINE_MS ?? 60_000);

export class Stack {
	static async start() {
		const s = new Stack();
		s.child = spawn("/usr/bin/python3", [join(here, "stack.py")], {
			stdio: ["pipe", "pipe", "inherit"],
		});
		s.lines = createInterface({ input: s.child.stdout })[Symbol.asyncIterator]();
		s.queue = Promise.resolve();
		const first = await s.lines.next();
		if (first.done) throw new Error("stack.py did not start; its messages are above");
		Object.assign(s, JSON.parse(first.value));
		return s;
	}

	/** One command of stack.py; they are answered in order. */
	do(command) {
		this.queue = this.queue.then(async () => {
			this.child.stdin.write(`${JSON.stringify(command)}\n`);
			const { value, done } = await this.lines.next();
			if (done) throw new Error(`stack.py ended at ${JSON.stringify(command)}`);
			const answer = JSON.parse(value);
			if (answer.error) throw new Error(`${JSON.stringify(command)}: ${answer.error}`);
			return answer.ok;
		});
		return this.queue;
	}

	publish(source, metrics, more = {}) {
		const payload = { source, time: new Date().toISOString(), interval_ms: 1000, metrics, ...more };
		return this.do({ do: "publish", topic: `latido/v1/nodes/${source}/metrics`, payload });
	}

	async stop() {
		this.child.stdin.end();
		const code = await new Promise((r) => this.child.once("exit", r));
		if (code !== 0) throw new Error(`stack.py: a program did not end well (${code})`);
	}
}

export function launch() {
	const args = ["--disable-gpu", "--disable-dev-shm-usage"];
	if (process.getuid() === 0) args.push("--no-sandbox");
	return chromium.launch({ executablePath: process.env.CHROMIUM ?? "/usr/bin/chromium", args });
}

/** Waits until `f` (may be async) is true, and says what for when it never is. */
export async function until(what, f, ms = DEADLINE) {
	const end = Date.now() + ms;
	for (;;) {
		const value = await f();
		if (value) return value;
		if (Date.now() > end) throw new Error(`not within ${ms / 1000} s: ${what}`);
		await new Promise((r) => setTimeout(r, 50));
	}
}

/** A browser of one person: cookies of its own. Errors of the page fail the test that looks at them. */
export async function person(browser, stack, options = {}) {
	const context = await browser.newContext({
		viewport: { width: 1360, height: 900 },
		locale: "en-GB",
		timezoneId: "UTC",
		colorScheme: "light",
		baseURL: stack.url,
		...options,
	});
	context.setDefaultTimeout(DEADLINE);
	context.problems = [];
	context.on("weberror", (e) => context.problems.push(String(e.error().stack)));
	// It works without the internet: nothing is asked of anybody else.
	context.on("request", (r) => {
		if (new URL(r.url()).origin !== stack.url) context.problems.push(`asked for ${r.url()}`);
	});
	context.on("console", (m) => {
		if (m.type() === "error" && !/Failed to load resource|net::ERR/.test(m.text()))
			context.problems.push(m.text());
	});
	return context;
}

export async function logIn(page, stack, path = "/") {
	await page.goto(path);
	await page.fill("input[name=user]", stack.user);
	await page.fill("input[name=password]", stack.password);
	await page.click("button[type=submit]");
	await page.waitForSelector("header.top");
}

/** The rules of axe-core on the page as it is, and whether all that can have the focus shows it. */
export async function accessible(page, what) {
	// Not as an element: the page's own policy would refuse it.
	await page.evaluate(axeText);
	const found = await page.evaluate(() => globalThis.axe.run(document, { resultTypes: ["violations"] }));
	const said = found.violations.map(
		(v) => `${v.id}: ${v.nodes.map((n) => n.target.join(" ")).slice(0, 3)}`,
	);
	const blind = await page.evaluate(() => {
		const before = document.activeElement;
		const bad = [];
		// Behind an open dialog nothing can have it.
		const root = document.querySelector("dialog[open]") ?? document;
		for (const e of root.querySelectorAll("a[href], button, input, select, summary, [tabindex='0']")) {
			if (!e.checkVisibility() || e.disabled) continue;
			e.focus({ focusVisible: true, preventScroll: true });
			const style = getComputedStyle(e);
			if (document.activeElement !== e || style.outlineStyle === "none" || Number.parseFloat(style.outlineWidth) < 2)
				bad.push(`no visible focus: ${e.outerHTML.slice(0, 80)}`);
		}
		before?.focus?.({ preventScroll: true });
		return bad;
	});
	assert.deepEqual([...said, ...blind], [], what);
}

/** How many pixels of each canvas in `where` are painted, and in how many colours. */
export function pixels(page, where) {
	return page.$$eval(`${where} canvas`, (all) =>
		all.map((c) => {
			const { data } = c.getContext("2d").getImageData(0, 0, c.width, c.height);
			const colours = new Set();
			let painted = 0;
			for (let i = 0; i < data.length; i += 4) {
				if (data[i + 3] < 40) continue;
				painted++;
				// Hues only: text and grid are grey.
				const [r, g, b] = [data[i], data[i + 1], data[i + 2]];
				if (Math.max(r, g, b) - Math.min(r, g, b) > 40)
					colours.add(`${r >> 5}${g >> 5}${b >> 5}`);
			}
			return { painted, coloured: colours.size };
		}),
	);
}
