/* SPDX-License-Identifier: MIT */
/** The keyboard: single keys where nothing is being typed. The list is in ui/dialogs.tsx. */
import type { View } from "./core/route";
import { change, go, route } from "./nav";
import { needLogin, paused } from "./store";
import { toggleTheme } from "./theme";
import { dialog, openDialog } from "./ui/dialogs";
import { nextRange } from "./ui/range";

const GO: Record<string, View> = {
	n: "fleet",
	f: "fleet",
	d: "devices",
	a: "alerts",
	p: "pipeline",
};
const TOGETHER_MS = 1200;

let g = 0;

function typing(target: EventTarget | null): boolean {
	const e = target as HTMLElement | null;
	return !!e?.closest?.('input, textarea, select, [contenteditable="true"]');
}

function search(): void {
	const box = document.querySelector<HTMLInputElement>("#filter, #series-filter");
	box?.scrollIntoView({ block: "nearest" });
	box?.focus();
	box?.select();
}

function leave(target: EventTarget | null): void {
	const box = target as HTMLInputElement;
	if (typing(target)) {
		if (box.value && box.id === "filter") change({ filter: "" });
		else box.blur();
		return;
	}
	const { view, filter } = route.value;
	if (filter) change({ filter: "" });
	else if (view === "node") go({ view: "fleet" });
	else if (view === "alert") go({ view: "alerts" });
}

function move(by: number): void {
	dispatchEvent(new CustomEvent("latido-move", { detail: by }));
}

addEventListener("keydown", (e) => {
	if (needLogin.peek()) return;
	if ((e.ctrlKey || e.metaKey) && e.key.toLowerCase() === "k") {
		e.preventDefault();
		dialog(openDialog.peek() === "palette" ? "" : "palette");
		return;
	}
	if (e.ctrlKey || e.metaKey || e.altKey || openDialog.peek()) return;
	if (e.key === "Escape") {
		leave(e.target);
		return;
	}
	// From the filter straight into the rows.
	const inFilter = (e.target as HTMLElement | null)?.id === "filter";
	if (typing(e.target) && !(inFilter && (e.key === "ArrowDown" || e.key === "Enter"))) return;
	const rows = route.peek().view === "fleet" || route.peek().view === "devices";
	const after = performance.now() - g < TOGETHER_MS;
	g = 0;
	if (after && GO[e.key]) {
		go({ view: GO[e.key] as View });
		e.preventDefault();
		return;
	}
	switch (e.key) {
		case "/":
			search();
			break;
		case "?":
			dialog("help");
			break;
		case "ArrowDown":
		case "j":
			if (!rows) return;
			move(1);
			break;
		case "ArrowUp":
		case "k":
			if (!rows) return;
			move(-1);
			break;
		case "Enter":
			if (!inFilter) return; // a link or a button knows what to do
			move(1);
			break;
		case "g":
			g = performance.now();
			return;
		case "t":
			if (route.peek().view !== "node") return;
			nextRange();
			break;
		case " ":
			if ((e.target as HTMLElement).closest("button, a, summary")) return;
			paused.value = !paused.value;
			break;
		case "d":
			toggleTheme();
			break;
		default:
			return;
	}
	e.preventDefault();
});
