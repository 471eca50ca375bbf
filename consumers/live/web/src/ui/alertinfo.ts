/* SPDX-License-Identifier: MIT */
/** What alerts say, from the stream (AlertEvent) or from the history's rows. */
import { useSignal } from "@preact/signals";
import { useEffect } from "preact/hooks";
import { type Alert, type AlertChange, ApiError, api } from "../core/api";
import { plain } from "../core/format";
import { alertRev, alertSource, alerts, serverNow } from "../store";

/** ms of an RFC 3339 text or of ms; NaN for none ("0001-01-01T00:00:00Z"). */
export function timeOf(v: unknown): number {
	const ms = typeof v === "string" ? Date.parse(v) : Number(v);
	return ms > 0 ? ms : Number.NaN;
}

interface Info {
	labels: Record<string, string>;
	[more: string]: unknown;
}

/** Of the rule: in the alert itself, in the history's rows with what else is known of it. */
function ofRule(a: Info, name: string): unknown {
	return a[name] ?? (a.rule as Record<string, unknown> | undefined)?.[name];
}

/** The rule's expression; empty where it is gone. */
export function exprOf(a: Info): string {
	return String(ofRule(a, "expr") ?? "");
}

/** Seconds that the condition must hold; NaN when it is not known. */
export function forOf(a: Info): number {
	return Number(ofRule(a, "for") ?? Number.NaN);
}

/** Where the rule stands: file, group, name. */
export function ruleOf(a: Info): string {
	return ["file", "group", "name"]
		.map((k) => (a.rule as Record<string, unknown> | undefined)?.[k])
		.filter(Boolean)
		.join(" · ");
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

/** As an alert that is active. */
export function alertOf(e: Episode): Alert {
	return {
		...e.raw,
		state: e.state,
		labels: e.labels,
		annotations: e.annotations,
		activeAt: e.active,
		startsAt: e.fired,
		endsAt: e.ended,
		value: e.value as number,
	};
}

const HISTORY_ROWS = "500";

/** The history, loaded again when an alert changes. */
export function useHistory(query: Record<string, string>) {
	const list = useSignal<AlertChange[] | null>(null);
	const error = useSignal("");
	const key = JSON.stringify(query);
	const rev = alertRev.value;
	useEffect(() => {
		const abort = new AbortController();
		// A change is in PostgreSQL a moment after it is on the stream.
		const timer = setTimeout(
			() =>
				api
					.alerts({ history: HISTORY_ROWS, ...query }, abort.signal)
					.then((a) => {
						list.value = a.history;
						error.value = "";
					})
					.catch((e: unknown) => {
						if (abort.signal.aborted || (e instanceof ApiError && e.status === 401)) return;
						error.value = e instanceof Error ? e.message : String(e);
					}),
			list.peek() === null ? 0 : 1500,
		);
		return () => {
			clearTimeout(timer);
			abort.abort();
		};
	}, [key, rev]);
	return { list, error };
}

/** Everything that was wrong with a source lately, and what is. */
export function useAlertsOf(source: string): Alert[] {
	const { list } = useHistory({ source });
	const active = alerts.value.filter((a) => alertSource(a) === source);
	const past = episodes(list.value ?? []).filter(
		(e) => !Number.isNaN(e.ended) && !Number.isNaN(e.fired),
	);
	return [...active, ...past.map(alertOf)];
}

/** Alertmanager's page for a new silence, filled in. */
export function silenceLink(base: string, labels: Record<string, string>): string {
	const matchers = Object.entries(labels).map(
		([k, v]) => `${k}="${v.replace(/\\/g, "\\\\").replace(/"/g, '\\"')}"`,
	);
	return `${base.replace(/\/+$/, "")}/#/silences/new?filter=${encodeURIComponent(`{${matchers.join(", ")}}`)}`;
}
