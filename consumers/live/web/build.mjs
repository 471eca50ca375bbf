// SPDX-License-Identifier: MIT
// Builds the page: node build.mjs OUTPUT_FOLDER. Names of files carry a hash of their content, so
// that browsers may keep them for ever; index.html is the only one that is asked for again.
import { createHash } from "node:crypto";
import { mkdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { dirname, join, resolve } from "node:path";
import { fileURLToPath } from "node:url";
import { brotliCompressSync, constants, gzipSync } from "node:zlib";
import { build } from "esbuild";
import { minify } from "terser";

const here = dirname(fileURLToPath(import.meta.url));
const src = join(here, "src");
const out = resolve(process.argv[2] ?? join(here, "../../../build/web"));

/** Replaces, and fails when there is nothing to replace: another release of a library needs another look. */
function must(text, pattern, by) {
	const result = text.replace(pattern, by);
	if (result === text) throw new Error(`build.mjs: not found: ${pattern}`);
	return result;
}

/**
 * uPlot without what the page does not use, so that the bundler can leave it out: other curves, other
 * scales than linear ones, its legend, and what it offers to other programs.
 */
const lean = {
	name: "uplot without the unused",
	setup(b) {
		b.onLoad({ filter: /uPlot\.esm\.js$/ }, ({ path }) => {
			let s = readFileSync(path, "utf8");
			s = must(s, /\((paths\.(stepped|bars|spline)) += \w+\);/g, "");
			s = must(
				s,
				/^\t?uPlot\.(assign|fmtNum|rangeLog|rangeAsinh|join|fmtDate|tzDate|addGap|clipGaps) *= \w+;/gm,
				"",
			);
			s = must(s, /(?:\b\w+\.)?\bdistr\s*==\s*(?:2|3|4|100)\b|\bsc\.distr >= 3/g, "false");
			s = must(s, /const showLegend = legend\.show;/, "");
			s = must(s, /\bshowLegend\b/g, "false");
			s = must(s, /^const FEAT_TIME.*$/m, "");
			s = must(s, /\bFEAT_TIME\b/g, "false");
			s = must(s, /\bisTime\b(?!\s*=)/g, "false");
			s = must(s, /^\tconst _(timeAxisSplits|timeAxisVals|timeSeriesVal|tzDate|fmtDate) .*$/gm, "");
			s = must(s, /^const \[ timeIncrs.*$/gm, "");
			s = must(s, /\bmode == 2\b/g, "false");
			s = must(s, /\bmode == 1\b/g, "true");
			return { contents: s, loader: "js" };
		});
	},
};

/** Texts by number instead of by name, where the name is written out. */
const texts = {
	name: "short names of texts",
	setup(b) {
		const table = readFileSync(join(src, "core/en.ts"), "utf8");
		const keys = [...table.matchAll(/^\t"([\w.]+)":/gm)].map((m) => m[1]);
		// Those whose end is put together at run time keep their names.
		const kept = /^(state|alert|load|pressure|range|nav|col)\./;
		const short = new Map(keys.filter((k) => !kept.test(k)).map((k, i) => [k, i.toString(36)]));
		b.onLoad({ filter: /src\/.*\.tsx?$/ }, ({ path }) => ({
			contents: readFileSync(path, "utf8").replace(/"([a-z][\w.]+)"/g, (all, k) =>
				short.has(k) ? `"${short.get(k)}"` : all,
			),
			loader: path.endsWith("x") ? "tsx" : "ts",
		}));
	},
};

const common = {
	absWorkingDir: here,
	bundle: true,
	minify: true,
	write: false,
	target: "es2022",
	format: "esm",
	legalComments: "none",
	jsx: "automatic",
	jsxImportSource: "preact",
	logLevel: "warning",
	outdir: out,
	plugins: [lean, texts],
};

/** A second pass saves another twentieth. */
async function smaller(bytes) {
	// Not pure_getters: reading a signal's value is how one subscribes to it.
	const compress = {
		passes: 3,
		ecma: 2020,
		module: true,
		unsafe_arrows: true,
		pure_getters: false,
	};
	const { code } = await minify(Buffer.from(bytes).toString("utf8"), { module: true, compress });
	return code;
}

/** A file, and beside it what is sent to browsers: all of them take gzip, over TLS brotli too. */
function write(file, bytes) {
	const path = join(out, file);
	writeFileSync(path, bytes);
	writeFileSync(`${path}.gz`, gzipSync(bytes, { level: 9 }));
	const params = { [constants.BROTLI_PARAM_QUALITY]: constants.BROTLI_MAX_QUALITY };
	writeFileSync(`${path}.br`, brotliCompressSync(bytes, { params }));
}

function hashed(name, ext, bytes) {
	const hash = createHash("sha256").update(bytes).digest("hex").slice(0, 12);
	const file = `assets/${name}.${hash}.${ext}`;
	write(file, bytes);
	return file;
}

rmSync(out, { recursive: true, force: true });
mkdirSync(join(out, "assets"), { recursive: true });

const worker = await build({ ...common, entryPoints: [join(src, "worker.ts")], format: "iife" });
const workerFile = hashed("worker", "js", await smaller(worker.outputFiles[0].contents));
const app = await build({
	...common,
	entryPoints: [join(src, "main.tsx")],
	define: { WORKER_URL: JSON.stringify(`/${workerFile}`) },
});
const output = (ext) => app.outputFiles.find((f) => f.path.endsWith(ext)).contents;
const js = hashed("app", "js", await smaller(output(".js")));
const css = hashed("app", "css", output(".css"));
const html = readFileSync(join(src, "index.html"), "utf8");
write("index.html", html.replace("@JS@", js).replace("@CSS@", css));
for (const f of ["favicon.svg", "favicon-alert.svg"]) write(f, readFileSync(join(src, f)));
