/* SPDX-License-Identifier: MIT */
/**
 * The stream's life: connect, resume, reconnect, watch other nodes without a hole. Runs in the
 * SharedWorker, or in the tab where there is none. docs/live-stream.md describes the events.
 */
import type { Alert, Dependency, Num, State } from "./api";
import { num } from "./api";
import { readStream, type SseEvent } from "./sse";

export interface SourceState {
	source: string;
	kind: "node" | "device";
	state: State;
	seen_ms: number;
	interval_ms: number;
}

/** source, seq, time_ms, then the fleet's columns */
export type FleetRow = [string, number, number, ...Num[]];

export interface NodeEvent {
	source: string;
	stream: string;
	epoch: number;
	seq: number;
	time_ms: number;
	shape: string;
	/** All values in the order of the shape; NaN = missing. */
	v: Float64Array;
}

/** From the feed to a tab. */
export type FeedMessage =
	| { k: "up"; resumed: boolean; time_ms: number; reconnects: number }
	| { k: "down"; since: number }
	| { k: "login" }
	| { k: "status"; redis: Dependency; postgres: Dependency }
	| { k: "source"; list: SourceState[] }
	| { k: "fleet"; full: boolean; rows: FleetRow[] }
	| { k: "node"; e: NodeEvent }
	| { k: "alerts"; active: Alert[] }
	| { k: "alert"; alert: Alert & { gone?: boolean } }
	| { k: "tick"; time_ms: number; at: number }
	| { k: "skip"; events: number }
	| { k: "watching"; sources: string[] }
	| { k: "tabs"; n: number };

/** From a tab to the worker. */
export type TabMessage =
	| { k: "start" }
	| { k: "watch"; sources: string[] }
	| { k: "alive" }
	| { k: "lock"; lock: string }
	| { k: "bye" };

/** The server ticks every 5 s. */
const SILENCE_MS = 13_000;
const FIRST_RETRY_MS = 300;
const LONGEST_RETRY_MS = 5_000;

interface RawNode {
	source: string;
	stream: string;
	epoch: number;
	seq: number;
	time_ms: number;
	shape?: string;
	v?: Num[];
	d?: Num[];
}

/** Expands deltas: what each stream of each watched source had last. */
export class NodeValues {
	private readonly last = new Map<string, NodeEvent>();

	/** The complete event; null when it is a delta to something that is not known here. */
	apply(raw: RawNode): NodeEvent | null {
		const key = `${raw.source} ${raw.stream}`;
		const before = this.last.get(key);
		let v: Float64Array;
		if (raw.v) v = Float64Array.from(raw.v, num);
		else {
			if (!before) return null;
			v = before.v.slice();
			const d = raw.d ?? [];
			for (let i = 0; i + 1 < d.length; i += 2) v[d[i] as number] = num(d[i + 1]);
		}
		const { source, stream, epoch, seq, time_ms } = raw;
		const e = { source, stream, epoch, seq, time_ms, shape: raw.shape ?? before?.shape ?? "", v };
		this.last.set(key, e);
		return e;
	}

	of(source: string): NodeEvent[] {
		return [...this.last.values()].filter((e) => e.source === source);
	}

	/** Forgets sources that nobody watches any more. */
	keep(sources: ReadonlySet<string>): void {
		for (const [key, e] of this.last) if (!sources.has(e.source)) this.last.delete(key);
	}

	clear(): void {
		this.last.clear();
	}
}

export class Feed {
	private watched = new Set<string>();
	/** Those of them that the open stream speaks of. */
	private heard: ReadonlySet<string> = new Set();
	private open: { stop: AbortController; values: NodeValues } | null = null;
	private lastId = "";
	private retry = FIRST_RETRY_MS;
	private timer: ReturnType<typeof setTimeout> | undefined;
	private running = false;
	private downSince = 0;
	private reconnects = 0;
	private greeted = false;
	/** The newest of what every tab needs when it comes later. */
	private status: FeedMessage | null = null;
	private up: FeedMessage | null = null;
	private readonly alerts = new Map<string, Alert>();

	constructor(private readonly send: (m: FeedMessage) => void) {}

	start(): void {
		if (this.running) return;
		this.running = true;
		this.retry = FIRST_RETRY_MS;
		this.connect();
	}

	stop(): void {
		this.running = false;
		clearTimeout(this.timer);
		this.open?.stop.abort();
		this.open = null;
	}

	/** What a tab that joins has missed. */
	greet(to: (m: FeedMessage) => void): void {
		if (this.up) to(this.up);
		else if (this.downSince) to({ k: "down", since: this.downSince });
		if (this.status) to(this.status);
		if (this.up) to({ k: "alerts", active: [...this.alerts.values()] });
	}

	/** Newest complete events of a source that is watched already. */
	recall(source: string, to: (m: FeedMessage) => void): void {
		if (this.heard.has(source)) to({ k: "watching", sources: [source] });
		for (const e of this.open?.values.of(source) ?? []) to({ k: "node", e });
	}

	watch(sources: ReadonlySet<string>): void {
		const same =
			sources.size === this.watched.size && [...sources].every((s) => this.watched.has(s));
		if (same) return;
		const more = [...sources].some((s) => !this.watched.has(s));
		this.watched = new Set(sources);
		this.open?.values.keep(this.watched);
		// A node less costs little until the next time; a node more needs a new stream.
		if (this.running && more) this.connect();
	}

	private url(): string {
		const q = new URLSearchParams();
		for (const s of [...this.watched].slice(0, 32)) q.append("node", s);
		const text = q.toString();
		return text ? `/api/v1/stream?${text}` : "/api/v1/stream";
	}

	private connect(): void {
		clearTimeout(this.timer);
		const before = this.open;
		const mine = { stop: new AbortController(), values: new NodeValues() };
		const asked = new Set(this.watched);
		this.open = mine;
		let greeted = false;
		const done = (status: number) => {
			before?.stop.abort();
			if (this.open !== mine || !this.running) return;
			this.open = null;
			if (status === 401 || status === 403) {
				this.running = false;
				this.up = null;
				this.send({ k: "login" });
				return;
			}
			if (!this.downSince) this.downSince = Date.now();
			this.up = null;
			if (greeted) this.retry = FIRST_RETRY_MS;
			this.send({ k: "down", since: this.downSince });
			this.timer = setTimeout(() => this.connect(), this.retry * (0.75 + Math.random() / 2));
			this.retry = Math.min(this.retry * 2, LONGEST_RETRY_MS);
		};
		readStream(this.url(), this.lastId, mine.stop.signal, SILENCE_MS, (e) => {
			if (this.open !== mine) return;
			if (!greeted) {
				// The old stream went on until the new one speaks.
				greeted = true;
				before?.stop.abort();
			}
			if (e.id) this.lastId = e.id;
			this.event(e, mine.values);
			if (e.event === "hello") {
				this.heard = asked;
				this.send({ k: "watching", sources: [...asked] });
			}
		}).then(done, () => done(0));
	}

	private event(e: SseEvent, values: NodeValues): void {
		let data: unknown;
		try {
			data = JSON.parse(e.data);
		} catch {
			return; // cut in the middle; the next one is whole
		}
		switch (e.event) {
			case "hello": {
				const h = data as { id?: string; resumed: boolean; gaps?: string[]; time_ms: number };
				if (h.id && !e.id) this.lastId = h.id;
				if (this.downSince && this.greeted) this.reconnects++;
				this.downSince = 0;
				this.greeted = true;
				// A tab that joins later loads everything by itself: for it nothing is missing.
				const up = {
					k: "up",
					resumed: true,
					time_ms: h.time_ms,
					reconnects: this.reconnects,
				} as const;
				this.up = up;
				// Events of what was watched before may be missing all the same.
				const gaps = h.gaps?.some((s) => this.heard.has(s));
				this.send({ ...up, resumed: h.resumed && !gaps });
				break;
			}
			case "status":
				this.status = { k: "status", ...(data as { redis: Dependency; postgres: Dependency }) };
				this.send(this.status);
				break;
			case "source":
				this.send({ k: "source", list: data as SourceState[] });
				break;
			case "fleet":
				this.send({ k: "fleet", ...(data as { full: boolean; rows: FleetRow[] }) });
				break;
			case "node": {
				const complete = values.apply(data as RawNode);
				if (complete) this.send({ k: "node", e: complete });
				break;
			}
			case "alerts": {
				const { active } = data as { active: Alert[] };
				this.alerts.clear();
				for (const a of active) this.alerts.set(a.fingerprint, a);
				this.send({ k: "alerts", active });
				break;
			}
			case "alert": {
				const alert = data as Alert & { gone?: boolean };
				if (alert.gone) this.alerts.delete(alert.fingerprint);
				else this.alerts.set(alert.fingerprint, alert);
				this.send({ k: "alert", alert });
				break;
			}
			case "tick":
				this.send({ k: "tick", time_ms: (data as { time_ms: number }).time_ms, at: Date.now() });
				break;
			case "skip":
				this.send({ k: "skip", events: (data as { events: number }).events });
				break;
			case "end":
				if ((data as { reason: string }).reason === "session") {
					this.stop();
					this.up = null;
					this.send({ k: "login" });
				}
				break;
		}
	}
}
