// SPDX-License-Identifier: MIT
// Builds the page: node build.mjs OUTPUT_FOLDER. Names of files carry a hash of their content, so
// that browsers may keep them for ever; index.html is the only one that is asked for again.
import { createHash } from "node:crypto";
import { mkdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { dirname, join, resolve } from "node:path";
import { fileURLToPath } from "node:url";
import { brotliCompressSync, constants } from "node:zlib";
import { gzipAsync } from "@gfx/zopfli";
import { build, transformSync } from "esbuild";
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
			// x goes from left to right, y upwards.
			s = must(s, /\bscaleX\.ori == 0\b/g, "true");
			s = must(s, /\bscaleX\.ori == 1\b/g, "false");
			s = must(s, /\bscaleX\.dir \* \(true \? 1 : -1\)/g, "1");
			s = must(s, /\b(scale|sc)\.dir == -1\b/g, "false");
			// No focus, no points but the cursor's, no labels, ticks, borders and rotation of axes.
			s = must(s, /^\tconst cursor(Focus|OnePt) = .*$/gm, "");
			s = must(s, /\bcursor(Focus|OnePt)\b/g, "false");
			s = must(s, /\bshow \|\| idxs\b/, "false");
			s = must(s, /^\s*let (show|idxs) = s\.points\..*$/gm, "");
			s = must(s, /let shouldAlpha = .*;/, "const shouldAlpha = false;");
			s = must(s, /if \(opts\.focus != null\)\s*setFocus\(i\);/, "");
			s = must(s, /const pointsPath = .*/, "");
			s = must(s, /paths: pointsPath,/, "");
			s = must(
				s,
				/let paths = uPlot\.paths = \{\s*points,\s*\};\s*\(paths\.linear *= linear\);/,
				"",
			);
			s = must(s, /\baxis\.label != null/g, "false");
			s = must(s, /let angle = .*;/, "const angle = 0;");
			s = must(s, /\b(ticks|border)\.show\b/g, "false");
			s = must(s, /\(opts\.plugins \|\| \[\]\)\.forEach\(p => \{[\s\S]*?\n\t\}\);/g, "");
			// Scales have their ranges by functions.
			s = must(s, /let rangeIsArr = .*;/, "");
			s = must(s, /\brangeIsArr = false;/, "");
			s = must(s, /!rangeIsArr && isObj\(rn\)/, "false");
			s = must(s, /\brangeIsArr\b/g, "false");
			s = must(s, /fnOrSelf\(rn \|\| \([\s\S]*?\n\t+\)\);/, "fnOrSelf(rn);");
			s = must(s, /\[_min, _max\] = rangeNum\(.*\);/, "_max++;");
			// What runs when it is loaded, for dates and for steps in powers of two.
			s = must(s, /\b(days|months)\.map\(/g, "/* @__PURE__ */ $&");
			s = must(s, /new Intl\.DateTimeFormat\(\)\.resolvedOptions\(\)\.timeZone/, "null");
			s = must(s, /^genIncrs\(2, .*$/m, "");
			s = must(s, /^\ton\(dppxchange, win, .*$/m, "");
			s = must(s, /^uPlot\.(rangeNum|orient|pxRatio|sync) *= .*$/gm, "");
			// One drags along x; the cursor is never locked; a click locks, focuses and hides nothing.
			s = must(s, /\blet dragY = drag\.y;/, "");
			s = must(s, /\bdragX = dragY = /g, "dragX = ");
			s = must(s, /\bdragY = [^=].*;$/gm, ";");
			s = must(s, /\bdragY\b/g, "false");
			s = must(s, /\bdrag\.y\b/g, "false");
			s = must(s, /\bdrag\.uni\b/g, "null");
			s = must(s, /^\tcursor\._lock = false;/m, "");
			s = must(s, /\bcursor\.lock\b/g, "false");
			s = must(s, /\bcursor\._lock = [^=].*;$/gm, ";");
			s = must(s, /\bcursor\._lock\b/g, "false");
			s = must(s, /^\tevents\["setSeries"\] = [\s\S]*?\n\t\};/m, "");
			// No legend of its own.
			s = must(s, /^\t\tmarkers\.\w+ *= fnOrSelf.*$/gm, "");
			s = must(s, /^\tmarkers: \{[\s\S]*?\n\t\},/m, "");
			// Axes with steps in lines of text, in angles.
			s = must(s, /val\.indexOf\("\\n"\) == -1 \? \[val\] : val\.split\(.*\)/, "[val]");
			// What the page always says itself: texts of ticks and values, fonts, points.
			s = must(s, /av \|\| numAxisVals/, "av");
			s = must(s, /sv \|\| numSeriesVal/, "sv");
			s = must(s, /^const font += .*;$/m, 'const font = "12px sans-serif";');
			s = must(s, /show: seriesPointsShow/, "show: false");
			s = must(s, /\bscaleX\.time\b/g, "false");
			s = must(s, /\bendRad == 0 && baseRad == 0/, "true");
			s = must(s, /\bsx\.ori == 0/, "true");
			s = must(s, /^\t\t\t(arc|bezierCurveTo)[HV],$/gm, "");
			s = must(s, /\b(scaleOpts|sc|wsc)\.from [!=]= null/g, (m) => String(m.includes("==")));
			s = must(s, /^\tfacets: \[[\s\S]*?\n\t\],/m, "");
			s = must(s, /\bopts\.id != null/, "false");
			s = must(s, /\bif \(opts\.title\)/, "if (false)");
			s = must(s, /^\tif \(legend\.live\) \{[\s\S]*?\n\t\}/m, "");
			s = must(s, /\baxis\.align == [12]\b/g, "false");
			// Methods that nobody calls.
			s = must(
				s,
				/^\tself\.(addBand|setBand|delBand|batch|addSeries|delSeries|setLegend|setScale|setSeries|valToIdx|posToIdx) = .*;$/gm,
				"",
			);
			s = must(s, /^\tself\.(redraw|setCursor) = \([\s\S]*?\n\t\};/gm, "");
			s = must(s, /\blegend\.show\b/g, "false");
			s = must(s, /\blegend\.live\b/g, "true");
			s = must(s, /\bsetLegend\(\);/g, "shouldSetLegend = false;");
			// Times are drawn as they are, in one colour; no axis is turned.
			s = must(s, /\bxScaleDistr == \d/g, "false");
			s = must(s, /\b(stroke|fill)Path instanceof Map\b/g, "false");
			s = must(s, /^\s*const angle = 0;$/m, "");
			s = must(s, /\bangle ([<>]) 0/g, "false");
			s = must(s, /\bangle\b(?! )|\bangle \|\|/g, (m) => (m === "angle" ? "0" : ""));
			s = must(s, /new Intl\.NumberFormat\(/, "/* @__PURE__ */ $&");
			return { contents: s, loader: "js" };
		});
	},
};

/** A place in minified code, as it stands there. */
function cut(text, from, by = "") {
	return must(text, from, () => by);
}

/**
 * Preact without what the page has no use for: taking over what a server has drawn, suspending, portals,
 * classes' life cycles, HTML as text, MathML. And signals without those that stand in the document by
 * themselves, for which every attribute of every element would be looked at.
 */
const plain = {
	name: "preact without the unused",
	setup(b) {
		b.onLoad({ filter: /preact\/dist\/preact\.mjs$/ }, ({ path }) => {
			let s = readFileSync(path, "utf8");
			s = cut(
				s,
				"128&u.__u&&(c=32&u.__u,s=u.__c.__z)&&(r.__u|=c,p=o=[],8==s.nodeType?l=B(s,o):o.push(s),l=o[0]||l),",
			);
			s = must(
				s,
				/if\(e\.length=v,r\.__v=null,c\|\|o\)if\(t&&t\.then\)\{.*?\}else o&&o\.some\(g\);else r\.__e=u\.__e;/,
				"e.length=v,r.__v=null,r.__e=u.__e;",
			);
			s = cut(s, "t&&t.then||D(r),", "D(r),");
			s = must(s, /M\.__P&&\(s=l,.*?l=u\.__k\?S\(u,0\):null\),/, "");
			s = cut(s, "M.__P&&(r.__e=null,l=s),r.__u&=-161,p&&p.some(g),", "r.__u&=-161,");
			s = cut(
				s,
				'"function"!=typeof n.type||n.props.__P?null:S(n)',
				'"function"!=typeof n.type?null:S(n)',
			);
			s = cut(s, "&&!n.props.__P)return n.__e=null", ")return n.__e=null");
			s = cut(s, "if(n.props.__P)return t;");
			s = cut(s, "||u&&!t.props.__P)", "||u)");
			s = cut(s, "!u&&(i=t.__c)&&(i=i.__z)&&(f=B(i,o=[]))&&(i==t.__e&&o.some(g),g(f),g(i)),");
			s = cut(
				s,
				'(t=t&&t.nextSibling)&&8==t.nodeType&&!t.data.startsWith("$s")',
				"(t=t&&t.nextSibling)&&8==t.nodeType",
			);
			// Nothing is in the page's element before.
			s = cut(s, 'if("svg"==C?', '"svg"==C?');
			s = must(s, /,o\)for\(s=0;s<o\.length;s\+\+\)if\(\(k=.*?break\}/, ";");
			s = cut(s, ",l&&(n.__m&&n.__m(r,o),l=!1),o=null}", "}");
			s = must(
				s,
				/if\(a="template"==C&&t\.content\|\|t,o=.*?,!l&&o\)for\(\$=\{\},.*?k\.value;/,
				"a=t;",
			);
			s = cut(s, 'k=$[s],"dangerouslySetInnerHTML"==s?y=k:"children"==s', 'k=$[s],"children"==s');
			s = cut(s, '"dangerouslySetInnerHTML"==s?h=k:', "");
			s = must(
				s,
				/h\?\(l\|\|y&&.*?r\.__k=\[\]\):\(y&&\(t\.textContent=""\),\("foreignObject".*?xhtml"\),/,
				"",
			);
			s = cut(s, "u.__k&&S(u,0),l,c),o&&o.some(g)),", "u.__k&&S(u,0),l,c),");
			s = cut(
				s,
				'l&&"textarea"!=C||(s="value","progress"==C&&null==b?t.removeAttribute(s):null==b||b===t[s]&&("progress"!=C||b)||N',
				'(s="value",null==b||b===t[s]||N',
			);
			s = cut(s, '"math"==C?f="http://www.w3.org/1998/Math/MathML":', "");
			s = must(s, /C&&\(d\.__s\|\|\(d\.__s=d\.state\),.*?\)\)\),k=d\.props/, "k=d.props");
			s = must(
				s,
				/if\(M!==k&&C&&!V\.getDerivedStateFromProps.*?,r\.__v==u\.__v/,
				"if(r.__v==u.__v",
			);
			s = must(
				s,
				/,C&&d\.componentDidUpdate&&d\.__h\.push\(function\(\)\{.*?\}\)\}else C&&.*?componentDidMount\);/,
				"}",
			);
			s = must(s, /d\.getChildContext&&\(i=.*?getSnapshotBeforeUpdate\(k,b\)\),/, "");
			s = must(s, /try\{if\(\(e=\(o=i\.constructor\).*?catch\(t\)\{n=t\}/, "");
			return { contents: s, loader: "js" };
		});
		b.onLoad({ filter: /@preact\/signals\/dist\/signals\.module\.js$/ }, ({ path }) => {
			let s = readFileSync(path, "utf8");
			s = must(s, /function w\(i\)\{var n=this,[\s\S]*?\}\);(?=b\("__b")/, "");
			s = must(
				s,
				/(b\("__b",function\(i,n\)\{y\(\);d=void 0;)if\("string"==typeof n\.type\).*?(i\(n\)\}\);b\("__r")/,
				"$1$2",
			);
			s = must(
				s,
				/(b\("diffed",function\(i,n\)\{y\(\);d=void 0;).*?(i\(n\)\}\);)function k\(.*?(?=b\("unmount")/,
				"$1$2",
			);
			s = must(
				s,
				/if\("string"==typeof n\.type\)\{var r=n\.__e;if\(r\)\{.*?n\.__np=void 0\}else\{(var c=n\.__c;.*?v\.d\(\)\}\})\}i\(n\)/,
				"$1i(n)",
			);
			s = cut(s, '"undefined"!=typeof window&&!!window.__PREACT_SIGNALS_DEVTOOLS__', "!1");
			return { contents: s, loader: "js" };
		});
	},
};

/** Texts by number instead of by name, where the name is written out; each table is one string. */
const texts = {
	name: "short names of texts",
	setup(b) {
		const table = readFileSync(join(src, "core/en.ts"), "utf8");
		const keys = [...table.matchAll(/^\t"([\w.]+)":/gm)].map((m) => m[1]);
		// Those whose end is put together at run time keep their names.
		const kept = /^(state|alert|load|pressure|range|nav|col)\./;
		const short = new Map(keys.filter((k) => !kept.test(k)).map((k, i) => [k, i]));
		b.onLoad({ filter: /src\/.*\.tsx?$/ }, ({ path }) => {
			const source = readFileSync(path, "utf8");
			const language = /core\/(en|es)\.ts$/.exec(path)?.[1];
			if (language) return { contents: oneString(source, language, short), loader: "js" };
			const contents = source.replace(/"([a-z][\w.]+)"/g, (all, k) => short.get(k) ?? all);
			return { contents, loader: path.endsWith("x") ? "tsx" : "ts" };
		});
	},
};

/** A table of texts as text of a module: those with numbers as one string, in their order. */
function oneString(source, language, short) {
	const plain = transformSync(source, { loader: "ts", format: "cjs" }).code;
	const module = { exports: {} };
	new Function("module", plain)(module);
	const table = module.exports[language];
	const numbered = [...short.keys()].map((k) => table[k]);
	if (numbered.some((s) => s.includes("\n")))
		throw new Error(`build.mjs: ${language}: a line break`);
	const named = Object.entries(table).filter(([k]) => !short.has(k));
	return `export const ${language} = {...${JSON.stringify(numbered.join("\n"))}.split("\\n"), ...${JSON.stringify(Object.fromEntries(named))}}`;
}

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
	plugins: [lean, plain, texts],
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
	// Members of classes that are used in one file only, and nowhere else under that name.
	const members = /^(allLines|fetchShape|stopWatching|waiting|downSince|greeted|shapeRev)$/;
	const mangle = { properties: { regex: members } };
	const { code } = await minify(Buffer.from(bytes).toString("utf8"), {
		module: true,
		compress,
		mangle,
	});
	return code;
}

/**
 * A file, and beside it what is sent to browsers: all of them take gzip, over TLS brotli too. Zopfli's
 * gzip is a twenty-fifth smaller than zlib's.
 */
async function write(file, bytes) {
	const path = join(out, file);
	writeFileSync(path, bytes);
	writeFileSync(`${path}.gz`, await gzipAsync(bytes, { numiterations: 100 }));
	const params = { [constants.BROTLI_PARAM_QUALITY]: constants.BROTLI_MAX_QUALITY };
	writeFileSync(`${path}.br`, brotliCompressSync(bytes, { params }));
}

async function hashed(name, ext, bytes) {
	const hash = createHash("sha256").update(bytes).digest("hex").slice(0, 12);
	const file = `assets/${name}.${hash}.${ext}`;
	await write(file, bytes);
	return file;
}

rmSync(out, { recursive: true, force: true });
mkdirSync(join(out, "assets"), { recursive: true });

// The tab's script is one file: nothing is asked for after it before there is something to see. What runs
// in the worker is only in the worker's.
const app = await build({
	...common,
	entryPoints: [join(src, "main.tsx"), join(src, "worker.ts")],
	define: { WORKER_URL: '"@WORKER@"' },
});
const output = (name) => app.outputFiles.find((f) => f.path === join(out, name)).contents;
const worker = await hashed("worker", "js", await smaller(output("worker.js")));
const main = must(await smaller(output("main.js")), "@WORKER@", `/${worker}`);
const js = await hashed("app", "js", main);
const css = await hashed("app", "css", output("main.css"));
const html = readFileSync(join(src, "index.html"), "utf8");
await write("index.html", Buffer.from(html.replace("@JS@", js).replace("@CSS@", css)));
for (const f of ["favicon.svg", "favicon-alert.svg"]) await write(f, readFileSync(join(src, f)));
