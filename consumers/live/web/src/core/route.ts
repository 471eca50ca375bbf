/* SPDX-License-Identifier: MIT */
/** Every view has an address; whoever opens it sees the same view. */

export type View = "fleet" | "devices" | "node" | "alerts" | "alert" | "pipeline" | "missing";

/** What charts show: the last `span` ms, moving; or a fixed window. */
export type Range =
	| { live: true; name: string; span: number }
	| { live: false; from: number; to: number };

export interface Route {
	view: View;
	/** Source of a node page, fingerprint of an alert page. */
	id: string;
	filter: string;
	sort: string;
	group: string;
	range: Range;
	/** Series texts that the reader has put on the page. */
	charts: string[];
	kiosk: boolean;
}

const MINUTE = 60_000;
const HOUR = 60 * MINUTE;

export const RANGES: readonly (readonly [string, number])[] = [
	["5m", 5 * MINUTE],
	["1h", HOUR],
	["6h", 6 * HOUR],
	["24h", 24 * HOUR],
	["7d", 7 * 24 * HOUR],
];

export const DEFAULT_RANGE: Range = { live: true, name: "5m", span: 5 * MINUTE };

/** The longest window that is asked for: what the hourly roll-ups keep. */
const LONGEST = 2 * 366 * 24 * HOUR;

export function parseRange(q: URLSearchParams): Range {
	const from = Number(q.get("from"));
	const to = Number(q.get("to"));
	if (from > 0 && to > from && to - from <= LONGEST) return { live: false, from, to };
	const known = RANGES.find(([name]) => name === q.get("range"));
	return known ? { live: true, name: known[0], span: known[1] } : DEFAULT_RANGE;
}

function decode(part: string | undefined): string {
	try {
		return decodeURIComponent(part ?? "");
	} catch {
		return "";
	}
}

export function parseRoute(path: string, query: string): Route {
	const q = new URLSearchParams(query);
	const parts = path.split("/").filter(Boolean);
	let view: View = "missing";
	let id = "";
	if (parts.length === 0) view = "fleet";
	else if (parts[0] === "devices" && parts.length === 1) view = "devices";
	else if (parts[0] === "pipeline" && parts.length === 1) view = "pipeline";
	else if (parts[0] === "n" && parts.length === 2) {
		view = "node";
		id = decode(parts[1]);
	} else if (parts[0] === "alerts" && parts.length <= 2) {
		view = parts.length === 2 ? "alert" : "alerts";
		id = decode(parts[1]);
	}
	return {
		view,
		id,
		filter: q.get("q") ?? "",
		sort: q.get("sort") ?? "",
		group: q.get("group") ?? "",
		range: parseRange(q),
		charts: q.getAll("c").slice(0, 32),
		kiosk: q.get("kiosk") === "1",
	};
}

/** The address of a route; what is as it begins is left out. */
export function buildRoute(r: Partial<Route> & { view: View }): string {
	const q = new URLSearchParams();
	if (r.filter) q.set("q", r.filter);
	if (r.sort) q.set("sort", r.sort);
	if (r.group) q.set("group", r.group);
	if (r.range && !r.range.live) {
		q.set("from", String(Math.round(r.range.from)));
		q.set("to", String(Math.round(r.range.to)));
	} else if (r.range?.live && r.range.name !== "5m") q.set("range", r.range.name);
	for (const c of r.charts ?? []) q.append("c", c);
	if (r.kiosk) q.set("kiosk", "1");
	const id = encodeURIComponent(r.id ?? "");
	const path =
		r.view === "node"
			? `/n/${id}`
			: r.view === "alert"
				? `/alerts/${id}`
				: r.view === "fleet" || r.view === "missing"
					? "/"
					: `/${r.view}`;
	const text = q.toString();
	return text ? `${path}?${text}` : path;
}
