// SPDX-License-Identifier: MIT
// Unit tests with Node's own runner: node test/run.mjs [OUTPUT_FOLDER]
// The tests are bundled first, because Node 18 reads no TypeScript.
import { spawnSync } from "node:child_process";
import { mkdtempSync, readdirSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { build } from "esbuild";

const here = dirname(fileURLToPath(import.meta.url));
const out = mkdtempSync(join(tmpdir(), "latido-web-test-"));
const tests = readdirSync(here).filter((f) => f.endsWith(".test.ts"));
let code = 1;
try {
	await build({
		entryPoints: tests.map((f) => join(here, f)),
		outdir: out,
		outExtension: { ".js": ".mjs" },
		bundle: true,
		platform: "node",
		format: "esm",
		target: "node18",
		sourcemap: "inline",
		logLevel: "warning",
	});
	const files = tests.map((f) => join(out, f.replace(/\.ts$/, ".mjs")));
	const args = ["--enable-source-maps", "--test", "--test-reporter=tap", ...files];
	code = spawnSync(process.execPath, args, { stdio: "inherit" }).status ?? 1;
} finally {
	rmSync(out, { recursive: true, force: true });
}
process.exit(code);
