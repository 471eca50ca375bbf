/* SPDX-License-Identifier: MIT */
/** What a page can say about a rule without evaluating it. */

export interface Threshold {
	op: string;
	value: number;
}

/** How deep in parentheses each character is; what stands in quotes counts for nothing. */
function depths(expr: string): number[] {
	let depth = 0;
	let quote = "";
	const out: number[] = [];
	for (let i = 0; i < expr.length; i++) {
		const c = expr[i] as string;
		if (quote) {
			if (c === "\\") {
				out.push(depth + 1);
				i++;
			} else if (c === quote) quote = "";
			out.push(depth + 1);
			continue;
		}
		if (c === '"' || c === "'" || c === "`") quote = c;
		if (")]}".includes(c)) depth--;
		out.push(quote ? depth + 1 : depth);
		if ("([{".includes(c)) depth++;
	}
	return out;
}

/** `… > 80`: the comparison with a number at the end of an expression, at its top level. */
export function threshold(expr: string): Threshold | null {
	let text = expr.trim();
	// Parentheses around all of it.
	while (text.startsWith("(") && depths(text).indexOf(0, 1) === text.length - 1)
		text = text.slice(1, -1).trim();
	const m = /(>=|<=|==|!=|>|<)\s*(?:bool\s+)?([-+]?(?:\d+\.?\d*|\.\d+)(?:e[-+]?\d+)?)$/i.exec(text);
	if (!m?.[1] || !m[2] || depths(text)[m.index] !== 0) return null;
	return { op: m[1], value: Number(m[2]) };
}

const WORDS = new Set(
	"and or unless by without on ignoring group_left group_right bool offset sum min max avg count stddev stdvar topk bottomk quantile count_values group inf nan start end atan2".split(
		" ",
	),
);

/** Names of metrics in an expression. */
export function metricsOf(expr: string): string[] {
	const bare = expr
		.replace(/"(?:[^"\\]|\\.)*"|'(?:[^'\\]|\\.)*'|`[^`]*`/g, '""')
		.replace(/\{[^}]*\}/g, "{}")
		.replace(/\b(by|without|on|ignoring|group_left|group_right)\s*\([^)]*\)/gi, " ");
	const out = new Set<string>();
	for (const m of bare.matchAll(/(?<![\w:.])([a-zA-Z_:][\w:]*)(?!\s*\(|[\w:])/g)) {
		const name = m[1] as string;
		if (!WORDS.has(name.toLowerCase())) out.add(name);
	}
	// Units of durations stand behind digits, so they are no names; functions have a parenthesis.
	return [...out].filter((n) => !/^(s|ms|m|h|d|w|y)$/.test(n));
}
