/* SPDX-License-Identifier: MIT */
import { en, type Key } from "./en";
import { es } from "./es";
import { setFormatLocale } from "./format";

export type { Key };
export type Language = "en" | "es";

const tables: Record<Language, Record<Key, string>> = { en, es };

let language: Language = "en";

/** The first of the browser's languages that the page speaks. */
export function chooseLanguage(wanted: readonly string[]): Language {
	for (const w of wanted) {
		const base = w.toLowerCase().split("-")[0];
		if (base === "en" || base === "es") return base;
	}
	return "en";
}

/** `locale` is the browser's own tag (es-MX), for numbers and dates. */
export function setLanguage(l: Language, locale: string = l): void {
	language = l;
	setFormatLocale(locale.toLowerCase().startsWith(l) ? locale : l);
}

/** The text of a key; {n} decides between the two forms of "one|many". */
export function t(key: Key, values?: Readonly<Record<string, string | number>>): string {
	let text = tables[language][key];
	const bar = text.indexOf("|");
	if (bar >= 0) text = values?.n === 1 ? text.slice(0, bar) : text.slice(bar + 1);
	return values ? text.replace(/\{(\w+)\}/g, (_, k: string) => String(values[k] ?? "")) : text;
}
