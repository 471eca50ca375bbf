/* SPDX-License-Identifier: MIT */
/** Light and dark, and the colours that canvases draw with. */
import { signal } from "@preact/signals";
import { keep, kept } from "./core/kept";

export type Theme = "light" | "dark";

const media = matchMedia("(prefers-color-scheme: dark)");
const stored = () => kept("theme");

function initial(): Theme {
	const s = stored();
	return s === "light" || s === "dark" ? s : media.matches ? "dark" : "light";
}

export interface Colours {
	lines: string[];
	text: string;
	grid: string;
	bad: string;
	warn: string;
	surface: string;
}

export const LINE_COLOURS = 12;

function read(): Colours {
	const style = getComputedStyle(document.documentElement);
	const get = (name: string) => style.getPropertyValue(name).trim();
	return {
		lines: Array.from({ length: LINE_COLOURS }, (_, i) => get(`--c${i + 1}`)),
		text: get("--dim"),
		grid: get("--grid"),
		bad: get("--bad"),
		warn: get("--warn"),
		surface: get("--surface"),
	};
}

export const theme = signal<Theme>(initial());
document.documentElement.dataset.theme = theme.value;
export const colours = signal<Colours>(read());

function set(t: Theme): void {
	document.documentElement.dataset.theme = t;
	theme.value = t;
	colours.value = read();
}

export function toggleTheme(): void {
	const t = theme.value === "dark" ? "light" : "dark";
	keep("theme", t);
	set(t);
}

media.addEventListener("change", () => {
	if (!stored()) set(media.matches ? "dark" : "light");
});

/** `#rrggbb` with an alpha of 0 … 1. */
export function alpha(colour: string, a: number): string {
	return (
		colour +
		Math.round(a * 255)
			.toString(16)
			.padStart(2, "0")
	);
}
