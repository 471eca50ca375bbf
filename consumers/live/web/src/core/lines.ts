/* SPDX-License-Identifier: MIT */
/**
 * From series to the lines of charts. A line is made of parts; a part is the sum of the series that
 * match it, counters as rates. The same samplers take the window of recent events and live events;
 * history comes in steps from the database and goes in front of them.
 */
import type { SeriesHistory } from "./api";
import { kindOf, num } from "./api";
import type { Unit } from "./format";
import { isCounter, type Kind, Rate } from "./rate";
import { type Labels, seriesText } from "./series";
import { type Buckets, Timeline } from "./timeline";

export interface Part {
	name: string;
	/** Labels that a series must have to belong to it. */
	match?: Labels;
}

export interface LineSpec {
	key: string;
	label: string;
	parts: Part[];
	/** From the parts' sums; without it their sum. */
	combine?: (v: readonly number[]) => number;
	/** Drawn below zero: what goes out. */
	below?: boolean;
}

export interface PanelSpec {
	id: string;
	title: string;
	unit: Unit;
	lines: LineSpec[];
	stacked?: boolean;
	/** The scale reaches at least this. */
	max?: number;
	/** Labels that the server keeps when it sums: for what has hundreds of series. */
	by?: string[];
	/** The metric's name, where the title is not made of it. */
	note?: string;
}

export interface SeriesInfo {
	name: string;
	labels: Labels;
	kind: Kind;
	/** Its text, made once. */
	text: string;
}

export function seriesInfo(name: string, labels: Labels, kind: string): SeriesInfo {
	return { name, labels, kind: kindOf(kind), text: seriesText(name, labels) };
}

function fits(part: Part, name: string, labels: Labels): boolean {
	if (part.name !== name) return false;
	for (const k in part.match) if (labels[k] !== part.match[k]) return false;
	return true;
}

/** Longer without a sample than this many intervals (or a minute) and a rate is not drawn across. */
const RATE_GAP = 10;

interface Plan {
	series: readonly SeriesInfo[];
	/** For each line: for each part: where its series are in the values. */
	lines: number[][][];
}

/** Turns the values of one source's events into samples of lines. */
export class Sampler {
	private readonly plans = new Map<string, Plan>();
	private readonly rates = new Map<string, Rate>();

	constructor(
		private readonly specs: readonly LineSpec[],
		private readonly interval: number,
	) {}

	/** `emit(i, time, value)`: line i has this value. NaN where a counter has no rate yet. */
	push(
		stream: string,
		series: readonly SeriesInfo[],
		time: number,
		v: ArrayLike<number>,
		emit: (line: number, time: number, value: number) => void,
	): void {
		const plan = this.plan(stream, series);
		// A series can be in two lines: its counter is pushed once an event.
		const rated = new Map<number, number>();
		plan.lines.forEach((parts, i) => {
			if (parts.length === 0) return;
			const sums = parts.map((where) => {
				let sum = Number.NaN;
				for (const at of where) {
					const s = series[at] as SeriesInfo;
					let x = v[at] ?? Number.NaN;
					if (isCounter(s.name, s.kind)) {
						let r = rated.get(at);
						if (r === undefined) {
							r = this.rate(stream, s).push(time, x);
							rated.set(at, r);
						}
						x = r;
					}
					if (!Number.isNaN(x)) sum = Number.isNaN(sum) ? x : sum + x;
				}
				return sum;
			});
			emit(i, time, combine(this.specs[i] as LineSpec, sums));
		});
	}

	private plan(stream: string, series: readonly SeriesInfo[]): Plan {
		const known = this.plans.get(stream);
		if (known?.series === series) return known;
		const byName = new Map<string, number[]>();
		series.forEach((s, i) => {
			const list = byName.get(s.name);
			if (list) list.push(i);
			else byName.set(s.name, [i]);
		});
		const lines = this.specs.map((spec) => {
			const parts = spec.parts.map((part) =>
				(byName.get(part.name) ?? []).filter((i) => {
					const s = series[i] as SeriesInfo;
					return fits(part, s.name, s.labels);
				}),
			);
			return parts.some((p) => p.length > 0) ? parts : [];
		});
		const plan = { series, lines };
		this.plans.set(stream, plan);
		return plan;
	}

	private rate(stream: string, s: SeriesInfo): Rate {
		const key = `${stream} ${s.text}`;
		let r = this.rates.get(key);
		if (!r) {
			r = new Rate(Math.max(60_000, RATE_GAP * this.interval));
			this.rates.set(key, r);
		}
		return r;
	}
}

function combine(spec: LineSpec, sums: readonly number[]): number {
	if (spec.combine) return spec.combine(sums);
	let sum = Number.NaN;
	for (const x of sums) if (!Number.isNaN(x)) sum = Number.isNaN(sum) ? x : sum + x;
	return sum;
}

/** The part of a line that the database knows. */
export function historyOf(spec: LineSpec, history: SeriesHistory["series"]): Buckets {
	interface Sums {
		avg: number[];
		min: number[];
		max: number[];
	}
	const at = new Map<number, Sums>();
	const empty = () => new Array<number>(spec.parts.length).fill(Number.NaN);
	const add = (a: number[], part: number, x: number) => {
		if (Number.isNaN(x)) return;
		const before = a[part] as number;
		a[part] = Number.isNaN(before) ? x : before + x;
	};
	spec.parts.forEach((part, p) => {
		for (const s of history) {
			if (!fits(part, s.name, s.labels)) continue;
			for (let i = 0; i < s.time_ms.length; i++) {
				const t = s.time_ms[i] as number;
				let sums = at.get(t);
				if (!sums) {
					sums = { avg: empty(), min: empty(), max: empty() };
					at.set(t, sums);
				}
				add(sums.avg, p, num(s.avg[i]));
				add(sums.min, p, num(s.min[i]));
				add(sums.max, p, num(s.max[i]));
			}
		}
	});
	const t = [...at.keys()].sort((a, b) => a - b);
	const out: Buckets = { t, avg: [], min: [], max: [] };
	for (const time of t) {
		const sums = at.get(time) as Sums;
		const avg = combine(spec, sums.avg);
		// A line that falls when its part rises has them the other way round.
		const a = combine(spec, sums.min);
		const b = combine(spec, sums.max);
		out.avg.push(Number.isNaN(avg) ? null : avg);
		out.min.push(Math.min(a, b, avg));
		out.max.push(Math.max(a, b, avg));
	}
	return out;
}

/** One chart's data: its lines' timelines. */
export class Panel {
	readonly lines: Timeline[];

	constructor(
		readonly spec: PanelSpec,
		readonly step: number,
		limit: number,
	) {
		this.lines = spec.lines.map(() => new Timeline(step, limit));
	}

	get empty(): boolean {
		return this.lines.every((l) => l.t.length === 0);
	}
}
