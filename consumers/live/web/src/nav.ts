/* SPDX-License-Identifier: MIT */
/** Where we are. Links are ordinary links; clicks on them stay inside the page. */
import { signal } from "@preact/signals";
import { buildRoute, parseRoute, type Route, type View } from "./core/route";

const here = () => parseRoute(location.pathname, location.search);

export const route = signal<Route>(here());

function arrive(moved: boolean): void {
	route.value = here();
	if (!moved) return;
	scrollTo(0, 0);
	// The new view's title is what a screen reader should hear next.
	requestAnimationFrame(() => document.querySelector<HTMLElement>("main h1")?.focus());
}

addEventListener("popstate", () => arrive(false));

export function go(to: Partial<Route> & { view: View }): void {
	const path = buildRoute({ kiosk: route.value.kiosk, ...to });
	if (path === location.pathname + location.search) return;
	history.pushState(null, "", path);
	arrive(true);
}

/** Changes what is shown of this view; every letter of a filter is no step back. */
export function change(part: Partial<Route>, replace = true): void {
	const path = buildRoute({ ...route.value, ...part });
	if (replace) history.replaceState(null, "", path);
	else history.pushState(null, "", path);
	arrive(false);
}

/** The address of another view; the wall stays a wall. */
export function href(to: Partial<Route> & { view: View }): string {
	return buildRoute({ kiosk: route.value.kiosk, ...to });
}

document.addEventListener("click", (e) => {
	if (e.defaultPrevented || e.button !== 0 || e.metaKey || e.ctrlKey || e.shiftKey || e.altKey)
		return;
	const a = (e.target as Element).closest?.("a");
	if (!a || a.target || a.origin !== location.origin || a.hasAttribute("download")) return;
	if (a.hash && a.pathname === location.pathname) return;
	if (/^\/(api|metrics|prometheus)\b/.test(a.pathname)) return;
	e.preventDefault();
	history.pushState(null, "", a.pathname + a.search);
	arrive(true);
});
