/* SPDX-License-Identifier: MIT */
/** The server's REST calls as schemas/openapi.yaml describes them. */
import type { Kind } from "./rate";
import { KIND_COUNTER, KIND_GAUGE, KIND_UNKNOWN } from "./rate";
import type { Labels } from "./series";

export type Num = number | null | "+Inf" | "-Inf";

export interface Session {
	auth: "password" | "none";
	user: string | null;
	/** Of a share link. */
	read_only?: boolean;
	expires_ms?: number;
	title: string;
}

export interface Config {
	title: string;
	version: string;
	alertmanager_url: string;
	language: "auto" | "en" | "es";
	columns: string[];
	spark_points: number;
	spark_step_ms: number;
	max_steps: number;
	retention_ms?: number;
	server_ms: number;
}

export type State = "live" | "late" | "stale";

export interface ApiNode {
	source: string;
	kind: "node" | "device";
	state: State;
	seen_ms: number;
	interval_ms: number;
	epoch: number;
	seq: number;
	labels: Record<string, string>;
	boot_time_s?: number | null;
	cpus?: number | null;
	memory_bytes?: number | null;
	main?: string | null;
	values: Num[];
	spark?: Record<string, Num[]>;
	beat?: string;
}

export interface Fleet {
	time_ms: number;
	stream_id: string;
	columns: string[];
	spark_step_ms: number;
	spark_end_ms: number;
	nodes: ApiNode[];
}

export type ShapeSeries = [string, Record<string, string>, string];

export interface NodeDetail extends ApiNode {
	stream_id: string;
	streams: {
		stream: string;
		epoch: number;
		seq: number;
		time_ms: number;
		interval_ms: number;
		partial: boolean;
		shape: string;
		series: ShapeSeries[];
		values: Num[];
	}[];
}

export interface Window {
	source: string;
	truncated: boolean;
	streams: {
		stream: string;
		interval_ms: number;
		time_ms: number[];
		series: { name: string; labels: Record<string, string>; kind: string; values: Num[] }[];
	}[];
}

export interface SeriesHistory {
	source: string;
	from_ms: number;
	to_ms: number;
	step_ms: number;
	truncated: boolean;
	series: {
		name: string;
		labels: Record<string, string>;
		kind: string;
		time_ms: number[];
		min: Num[];
		max: Num[];
		avg: Num[];
	}[];
}

export interface Alert {
	fingerprint: string;
	state: string;
	labels: Record<string, string>;
	annotations?: Record<string, string>;
	activeAt?: string | number;
	startsAt?: string | number;
	endsAt?: string | number;
	value?: number | string | null;
	rule?: Record<string, unknown>;
	source?: string;
	expr?: string;
	for?: number;
	[more: string]: unknown;
}

export interface AlertChange {
	fingerprint: string;
	state: string;
	active_at_ms: number;
	at_ms: number;
	value: Num;
	labels: Record<string, string>;
	annotations: Record<string, string>;
	[more: string]: unknown;
}

export interface Alerts {
	active: Alert[];
	history: AlertChange[];
}

export interface Dependency {
	state: "ok" | "down" | "unknown";
	since_ms: number;
	error?: string;
}

export interface Status {
	redis: Dependency;
	postgres: Dependency;
	server_ms: number;
	started_ms: number;
	events_total: number;
	lost_total?: number;
	clients: number;
	clients_lagging: number;
	skipped_total: number;
	cut_total?: number;
	last_event_ms?: number | null;
}

/** One source at an instant of the past: newest event first, each with what no newer one has. */
export interface NodeAt {
	time_ms: number;
	events: { time_ms: number; series: ShapeSeries[]; values: Num[] }[];
}

export type Figure = number | null;

/** What a part of the pipeline says of itself. */
export interface Part {
	source: string;
	part: string;
	host: string;
	state: State;
	seen_ms: number;
	events_per_s: Figure;
	rejected_per_s: Figure;
	dropped_per_s: Figure;
	retries_per_s: Figure;
	waiting_events: Figure;
	queue_bytes: Figure;
	lag_messages: Figure;
	lag_seconds: Figure;
}

export interface Pipeline {
	server_ms: number;
	live: Record<
		"clients" | "clients_lagging" | "events_per_s" | "lost_per_s" | "skipped_per_s",
		number
	> & {
		last_event_ms: Figure;
	};
	redis: Dependency &
		Record<
			| "ping_ms"
			| "used_memory_bytes"
			| "max_memory_bytes"
			| "evicted_total"
			| "connected_clients"
			| "commands_per_s",
			Figure
		>;
	postgres: Dependency &
		Record<
			| "ping_ms"
			| "database_bytes"
			| "connections"
			| "commits_per_s"
			| "newest_ms"
			| "missing_events"
			| "gap_events",
			Figure
		>;
	sources: Record<State, number>;
	broker: Record<"queued_messages" | "dropped_per_s", Figure>;
	parts: Part[];
}

/** JSON has no NaN and no infinities. */
export function num(v: Num | undefined): number {
	if (typeof v === "number") return v;
	if (v === "+Inf") return Number.POSITIVE_INFINITY;
	if (v === "-Inf") return Number.NEGATIVE_INFINITY;
	return Number.NaN;
}

export function kindOf(text: string): Kind {
	return text === "counter" ? KIND_COUNTER : text === "gauge" ? KIND_GAUGE : KIND_UNKNOWN;
}

export class ApiError extends Error {
	constructor(
		readonly status: number,
		message: string,
		readonly retryAfter = 0,
	) {
		super(message);
	}
}

/** What to do when a call says that nobody is logged in. */
let onLogin: () => void = () => {};

export function setLoginHandler(f: () => void): void {
	onLogin = f;
}

async function call<T>(path: string, init?: RequestInit): Promise<T> {
	let response: Response;
	try {
		response = await fetch(path, { cache: "no-store", credentials: "same-origin", ...init });
	} catch (e) {
		if (e instanceof DOMException && e.name === "AbortError") throw e;
		throw new ApiError(0, e instanceof Error ? e.message : String(e));
	}
	if (response.ok) return (await response.json()) as T;
	let message = `${response.status} ${response.statusText}`;
	let after = Number(response.headers.get("Retry-After")) || 0;
	try {
		const body = (await response.json()) as { error?: string; retry_after_s?: number };
		message = body.error ?? message;
		after = body.retry_after_s ?? after;
	} catch {
		// not JSON: a proxy's page; the status says enough
	}
	if (response.status === 401 && !/\/(login|share)$/.test(path)) onLogin();
	throw new ApiError(response.status, message, after);
}

function post<T>(path: string, body: unknown): Promise<T> {
	return call<T>(path, {
		method: "POST",
		headers: { "Content-Type": "application/json" },
		body: JSON.stringify(body),
	});
}

/** Seconds with a fraction: what the server takes as a time. */
const seconds = (ms: number) => (ms / 1000).toFixed(3);

export interface SeriesQuery {
	source: string;
	names: readonly string[];
	match?: Labels;
	from: number;
	to: number;
	step: number;
	rate: boolean;
	/** Labels that stay; the others are summed over. */
	by?: readonly string[];
}

export const api = {
	session: () => call<Session>("/api/v1/session"),
	login: (user: string, password: string) => post<Session>("/api/v1/login", { user, password }),
	share: (token: string) => post<Session>("/api/v1/share", { token }),
	logout: () => post<Session>("/api/v1/logout", {}),
	config: () => call<Config>("/api/v1/config"),
	status: () => call<Status>("/api/v1/status"),
	pipeline: () => call<Pipeline>("/api/v1/pipeline"),
	/** `past`: with sparklines and heartbeats, which are most of it. */
	nodes: (past: boolean) => call<Fleet>(`/api/v1/nodes${past ? "?spark=all" : ""}`),
	node: (source: string, signal?: AbortSignal) =>
		call<NodeDetail>(`/api/v1/nodes/${encodeURIComponent(source)}`, signal ? { signal } : {}),
	at: (source: string, names: readonly string[], time: number) => {
		const q = new URLSearchParams({ time: seconds(time) });
		for (const n of names) q.append("name", n);
		return call<NodeAt>(`/api/v1/nodes/${encodeURIComponent(source)}/at?${q}`);
	},
	window: (source: string, names: readonly string[], since: number, signal?: AbortSignal) => {
		const q = new URLSearchParams({ since: seconds(since) });
		for (const n of names) q.append("name", n);
		return call<Window>(
			`/api/v1/nodes/${encodeURIComponent(source)}/window?${q}`,
			signal ? { signal } : {},
		);
	},
	series: (s: SeriesQuery, signal?: AbortSignal) => {
		const q = new URLSearchParams({
			source: s.source,
			from: seconds(s.from),
			to: seconds(s.to),
			step: String(s.step / 1000),
			rate: String(s.rate),
		});
		for (const n of s.names) q.append("name", n);
		for (const [k, v] of Object.entries(s.match ?? {})) q.append("match", `${k}=${v}`);
		if (s.by) q.set("by", s.by.join(","));
		return call<SeriesHistory>(`/api/v1/series?${q}`, signal ? { signal } : {});
	},
	shape: (shape: string) =>
		call<{ shape: string; series: ShapeSeries[] }>(`/api/v1/shapes/${shape}`),
	alerts: (q: Record<string, string> = {}, signal?: AbortSignal) =>
		call<Alerts>(`/api/v1/alerts?${new URLSearchParams(q)}`, signal ? { signal } : {}),
};
