/* SPDX-License-Identifier: MIT */
/** The fleet's rows: what the overview knows of each source. Plain data; the store says when it changed. */
import type { ApiNode, Num, State } from "./api";
import { num } from "./api";
import type { FleetRow } from "./feed";

export const COLUMNS = ["cpu", "mem", "disk", "rx", "tx", "io", "load", "main"] as const;
export type Column = (typeof COLUMNS)[number];

/** The last minutes of one column in steps: means, NaN = nothing. */
export class Spark {
	readonly values: Float64Array;
	private end: number;
	private n = 0;

	/** `end`: end of the last step, ms. */
	constructor(
		points: number,
		readonly step: number,
		end: number,
		from: readonly Num[] = [],
	) {
		this.values = new Float64Array(points).fill(Number.NaN);
		this.end = end;
		const skip = Math.max(0, points - from.length);
		for (let i = skip; i < points; i++)
			this.values[i] = num(from[i - skip + from.length - (points - skip)]);
		this.n = Number.isNaN(this.values[points - 1]) ? 0 : 1;
	}

	/** Moves on to the step that `now` is in. */
	advance(now: number): void {
		if (now < this.end) return;
		const steps = Math.floor((now - this.end) / this.step) + 1;
		const v = this.values;
		if (steps >= v.length) v.fill(Number.NaN);
		else {
			v.copyWithin(0, steps);
			v.fill(Number.NaN, v.length - steps);
		}
		this.end += steps * this.step;
		this.n = 0;
	}

	push(time: number, value: number): void {
		this.advance(time);
		const back = Math.floor((this.end - 1 - time) / this.step);
		if (Number.isNaN(value) || back !== 0) return;
		const last = this.values.length - 1;
		this.n++;
		const mean = this.n === 1 ? value : (this.values[last] as number);
		this.values[last] = mean + (value - mean) / this.n;
	}
}

/** Steps in which nothing came are a node that is down when there are so many in a row. */
const DOWN_STEPS = 3;

/** Missing steps as "d" where they are an outage, for the heartbeat bar. */
export function outages(beats: string): string {
	return beats.replace(new RegExp(`m{${DOWN_STEPS},}`, "g"), (m) => "d".repeat(m.length));
}

export type Beat = "l" | "w" | "m" | "-";

/** The last minutes of a source: did its events come? */
export class Beats {
	private readonly states: Beat[];
	private n = 0;

	constructor(
		points: number,
		readonly step: number,
		private end: number,
		from = "",
	) {
		const text = from.slice(-points).padStart(points, "-");
		this.states = [...text] as Beat[];
		// How many the step that is going on has had is not said: nothing makes it one with fewer than planned.
		if (this.states[points - 1] === "l") this.n = Number.POSITIVE_INFINITY;
	}

	push(time: number, interval: number): void {
		this.advance(time, interval);
		if (time < this.end - this.step) return;
		this.n++;
		this.states[this.states.length - 1] = "l";
	}

	/** Closes the steps before `now`; fewer events than planned make one late. */
	advance(now: number, interval: number): void {
		while (now >= this.end) {
			const steps = Math.floor((now - this.end) / this.step);
			if (steps > this.states.length) {
				this.states.fill("m");
				this.end += (steps - 1) * this.step;
			}
			const planned = interval > 0 ? this.step / interval : 0;
			const last = this.states.length - 1;
			if (this.n > 0 && planned >= 2 && this.n < planned * 0.6) this.states[last] = "w";
			else if (this.n === 0 && this.states[last] === "-") {
				// Slow sources have empty steps by plan.
				this.states[last] = planned >= 1 ? "m" : "-";
			}
			this.states.shift();
			this.states.push("-");
			this.n = 0;
			this.end += this.step;
		}
	}

	/** Oldest first. */
	text(): string {
		return this.states.join("");
	}
}

export class Row {
	readonly source: string;
	kind: "node" | "device";
	labels: Record<string, string> = {};
	state: State = "live";
	time = 0;
	interval = 0;
	seq = 0;
	bootTime = Number.NaN;
	cpus = Number.NaN;
	memory = Number.NaN;
	main = "";
	firing = 0;
	readonly values = {} as Record<Column, number>;
	readonly sparks = {} as Record<Column, Spark>;
	beats!: Beats;
	/** What was before is not known yet. */
	bare = true;

	constructor(
		node: ApiNode,
		columns: readonly string[],
		points: number,
		step: number,
		sparkEnd: number,
	) {
		this.source = node.source;
		this.kind = node.kind;
		this.remember(node, points, step, sparkEnd);
		this.take(node, columns);
	}

	/** The state of now. */
	take(node: ApiNode, columns: readonly string[]): void {
		for (const c of COLUMNS) this.values[c] = num(node.values[columns.indexOf(c)] ?? null);
		this.describe(node);
		this.time = node.seen_ms;
		this.seq = node.seq;
	}

	/** Takes over what the last minutes were, if the answer says it. */
	remember(node: ApiNode, points: number, step: number, end: number): void {
		this.bare = !node.spark;
		for (const c of COLUMNS) this.sparks[c] = new Spark(points, step, end, node.spark?.[c] ?? []);
		this.beats = new Beats(points, step, end, node.beat ?? "");
	}

	describe(node: Partial<ApiNode>): void {
		if (node.kind) this.kind = node.kind;
		if (node.labels) this.labels = node.labels;
		if (node.state) this.state = node.state;
		if (node.interval_ms !== undefined) this.interval = node.interval_ms;
		if (node.boot_time_s) this.bootTime = node.boot_time_s;
		if (node.cpus) this.cpus = node.cpus;
		if (node.memory_bytes) this.memory = node.memory_bytes;
		if (node.main) this.main = node.main;
	}

	/**
	 * One event's figures, in the order of `columns`; false when it is not news. `full`: it is the
	 * newest state, which may know more of an event that is here already.
	 */
	apply(row: FleetRow, columns: readonly string[], full = false): boolean {
		const [, seq, time] = row;
		const same = time === this.time && seq === this.seq;
		if (time < this.time || (same && !full)) return false;
		this.time = time;
		this.seq = seq;
		this.state = "live";
		if (!same) this.beats.push(time, this.interval);
		for (let i = 0; i < columns.length; i++) {
			const c = columns[i] as Column;
			const v = num(row[3 + i] as Num);
			if (Number.isNaN(v) || !(c in this.values)) continue;
			this.values[c] = v;
			if (!same) this.sparks[c].push(time, v);
		}
		return true;
	}

	/** Live, late or stale by the age of the last event: the server's own rule. */
	ageState(now: number): State {
		const age = now - this.time;
		const late = this.interval > 0 ? Math.max(2.5 * this.interval, 5_000) : 60_000;
		const stale = this.interval > 0 ? Math.max(5 * this.interval, 15_000) : 300_000;
		return age > stale ? "stale" : age > late ? "late" : "live";
	}
}

/** What is worst comes first: silent ones, firing ones, full ones. Coarse, so that rows keep still. */
export function severity(r: Row): number {
	const state = r.state === "stale" ? 2000 : r.state === "late" ? 1000 : 0;
	const use = Math.max(...(["cpu", "mem", "disk"] as const).map((c) => r.values[c] || 0));
	return state + (r.firing > 0 ? 1500 + Math.min(r.firing, 9) : 0) + Math.floor(use / 20) * 20;
}

export type SortKey = "worst" | "name" | "state" | "uptime" | "age" | "net" | Column;

const STATES: Record<State, number> = { stale: 2, late: 1, live: 0 };

function sortValue(r: Row, key: SortKey): number {
	switch (key) {
		case "worst":
			return severity(r);
		case "state":
			return STATES[r.state] * 2 + (r.firing > 0 ? 3 : 0);
		case "uptime":
			return -r.bootTime;
		case "age":
			return -r.time;
		case "net":
			return (r.values.rx || 0) + (r.values.tx || 0);
		case "name":
			return 0;
		default:
			return r.values[key];
	}
}

const collator = new Intl.Collator(undefined, { numeric: true });

/** Largest first, "-" in front turns it round; the name decides between equals. NaN goes last. */
export function sortRows(rows: readonly Row[], sort: string): Row[] {
	const reverse = sort.startsWith("-");
	const key = ((reverse ? sort.slice(1) : sort) || "worst") as SortKey;
	const sign = reverse ? -1 : 1;
	return rows
		.map((row) => ({ row, v: sortValue(row, key) }))
		.sort((a, b) => {
			const nan = Number(Number.isNaN(a.v)) - Number(Number.isNaN(b.v));
			if (nan !== 0) return nan;
			const d = key === "name" || Number.isNaN(a.v) ? 0 : sign * (b.v - a.v);
			if (d !== 0) return d;
			const names = collator.compare(a.row.source, b.row.source);
			return key === "name" ? sign * names : names;
		})
		.map((x) => x.row);
}
