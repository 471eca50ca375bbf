/* SPDX-License-Identifier: MIT */
/** What alerts say, from the stream (AlertEvent) or from the history's rows. */
import type { Alert, AlertChange } from "../core/api";
import { plain } from "../core/format";
import { serverNow } from "../store";

/** ms of an RFC 3339 text, of seconds or of ms; NaN for none ("0001-01-01T00:00:00Z"). */
export function timeOf(v: unknown): number {
	if (typeof v === "number") return v > 1e11 ? v : v > 0 ? v * 1000 : Number.NaN;
	if (typeof v !== "string" || !v) return Number.NaN;
	const ms = Date.parse(v);
	return ms > 0 ? ms : Number.NaN;
}

interface Info {
	labels: Record<string, string>;
	[more: string]: unknown;
}

function ruleField(a: Info, name: string): unknown {
	const rule = a.rule;
	return rule && typeof rule === "object" ? (rule as Record<string, unknown>)[name] : undefined;
}

/** The rule's expression, where the alert carries it. */
export function exprOf(a: Info): string {
	for (const v of [a.expr, a.query, ruleField(a, "expr"), ruleField(a, "query")])
		if (typeof v === "string" && v) return v;
	// As Prometheus's own links to its graph do.
	if (typeof a.generatorURL === "string") {
		const m = /[?&](?:g0\.)?expr=([^&]+)/.exec(a.generatorURL);
		try {
			if (m?.[1]) return decodeURIComponent(m[1].replace(/\+/g, " "));
		} catch {
			return "";
		}
	}
	return "";
}

/** Seconds that the condition must hold; NaN when it is not known. */
export function forOf(a: Info): number {
	for (const v of [a.for, a.for_s, a.duration, ruleField(a, "for"), ruleField(a, "duration")]) {
		if (typeof v === "number") return v;
		if (typeof v !== "string") continue;
		let s = 0;
		for (const [, n, u] of v.matchAll(/(\d+)(ms|[smhdwy])/g))
			s +=
				Number(n) *
				({ ms: 1e-3, s: 1, m: 60, h: 3600, d: 86400, w: 604800, y: 31536000 }[u ?? "s"] ?? 1);
		if (s > 0 || v === "0s") return s;
	}
	return Number.NaN;
}

/** Where the rule stands: file, group, name. */
export function ruleOf(a: Info): string {
	if (typeof a.rule === "string") return a.rule;
	const parts = ["file", "group", "name"].map((k) => ruleField(a, k)).filter(Boolean);
	return parts.join(" · ");
}

export function valueText(a: Info): string {
	const v = a.value;
	if (typeof v === "number") return plain(v);
	if (typeof v === "string" && v !== "") return Number.isFinite(Number(v)) ? plain(Number(v)) : v;
	return "–";
}

/** When it was pending and firing, for the charts. */
export function alertTimes(a: Alert): { from: number; to: number; pending: boolean }[] {
	const now = serverNow();
	const active = timeOf(a.activeAt);
	const starts = timeOf(a.startsAt);
	const ends = a.state === "firing" || a.state === "pending" ? now : timeOf(a.endsAt) || now;
	const out = [];
	if (a.state === "pending" || Number.isNaN(starts) || starts <= 0) {
		if (!Number.isNaN(active)) out.push({ from: active, to: ends, pending: true });
		return out;
	}
	if (active < starts) out.push({ from: active, to: starts, pending: true });
	out.push({ from: starts, to: ends, pending: false });
	return out;
}

/** One time that an alert was there: its rows of the history together. */
export interface Episode {
	fingerprint: string;
	labels: Record<string, string>;
	annotations: Record<string, string>;
	state: string;
	value: unknown;
	active: number;
	fired: number;
	ended: number;
	raw: AlertChange;
}

/** Newest first. */
export function episodes(history: readonly AlertChange[]): Episode[] {
	const byKey = new Map<string, Episode>();
	for (const h of [...history].sort((a, b) => a.at_ms - b.at_ms)) {
		const key = `${h.fingerprint} ${h.active_at_ms}`;
		let e = byKey.get(key);
		if (!e) {
			e = {
				fingerprint: h.fingerprint,
				labels: h.labels,
				annotations: h.annotations,
				state: h.state,
				value: h.value,
				active: h.active_at_ms,
				fired: Number.NaN,
				ended: Number.NaN,
				raw: h,
			};
			byKey.set(key, e);
		}
		e.state = h.state;
		if (h.state === "firing") {
			e.fired = h.at_ms;
			e.value = h.value;
			e.annotations = h.annotations;
			e.raw = h;
		} else if (h.state !== "pending") e.ended = h.at_ms;
	}
	return [...byKey.values()].sort((a, b) => b.active - a.active);
}

/** Alertmanager's page for a new silence, filled in. */
export function silenceLink(base: string, labels: Record<string, string>): string {
	const matchers = Object.entries(labels).map(
		([k, v]) => `${k}="${v.replace(/\\/g, "\\\\").replace(/"/g, '\\"')}"`,
	);
	return `${base.replace(/\/+$/, "")}/#/silences/new?filter=${encodeURIComponent(`{${matchers.join(", ")}}`)}`;
}
