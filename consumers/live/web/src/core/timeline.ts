/* SPDX-License-Identifier: MIT */
/**
 * One line of a chart: buckets of `step` ms with minimum, maximum and mean. History fills it once,
 * every live event is then added to its bucket, so the line has no seam between the two.
 */

export interface Buckets {
	/** Start of each bucket, ms, rising. */
	t: number[];
	avg: (number | null)[];
	min: (number | null)[];
	max: (number | null)[];
}

export class Timeline {
	t: number[] = [];
	avg: number[] = [];
	min: number[] = [];
	max: number[] = [];
	private n: number[] = [];
	/** Newest sample that is inside, ms: live samples up to here are in the history already. */
	newest = Number.NEGATIVE_INFINITY;

	constructor(
		readonly step: number,
		/** Buckets kept; the oldest go first. */
		private readonly limit = 4000,
	) {}

	/** Replaces everything; `upto`: newest sample (ms) that the history covers. */
	load(h: Buckets, upto: number): void {
		this.t = [];
		this.avg = [];
		this.min = [];
		this.max = [];
		this.n = [];
		for (let i = 0; i < h.t.length; i++) {
			const t = h.t[i];
			const avg = h.avg[i];
			if (t === undefined || avg === null || avg === undefined || !Number.isFinite(avg)) continue;
			this.t.push(this.bucket(t));
			this.avg.push(avg);
			this.min.push(h.min[i] ?? avg);
			this.max.push(h.max[i] ?? avg);
			this.n.push(1);
		}
		this.newest = upto;
	}

	/** Adds one sample; false when it is older than what is there. NaN only marks the time as seen. */
	push(time: number, value: number): boolean {
		if (time <= this.newest) return false;
		this.newest = time;
		if (!Number.isFinite(value)) return true;
		const at = this.bucket(time);
		const last = this.t.length - 1;
		if (last >= 0 && this.t[last] === at) {
			const n = (this.n[last] ?? 0) + 1;
			const mean = this.avg[last] ?? value;
			this.n[last] = n;
			this.avg[last] = mean + (value - mean) / n;
			this.min[last] = Math.min(this.min[last] ?? value, value);
			this.max[last] = Math.max(this.max[last] ?? value, value);
			return true;
		}
		this.t.push(at);
		this.avg.push(value);
		this.min.push(value);
		this.max.push(value);
		this.n.push(1);
		if (this.t.length > this.limit + 200) this.drop(this.t.length - this.limit);
		return true;
	}

	/** Forgets buckets before `time`. Done in lumps: splicing on each event would cost. */
	trim(time: number): void {
		let i = 0;
		while (i < this.t.length && (this.t[i] ?? 0) < time) i++;
		if (i > 100) this.drop(i);
	}

	get last(): number {
		return this.avg[this.avg.length - 1] ?? Number.NaN;
	}

	/** Median distance of the buckets: what counts as a gap depends on it. */
	get distance(): number {
		if (this.t.length < 2) return this.step;
		const d: number[] = [];
		const stride = Math.max(1, Math.floor(this.t.length / 64));
		for (let i = stride; i < this.t.length; i += stride)
			d.push(((this.t[i] ?? 0) - (this.t[i - 1] ?? 0)) | 0);
		d.sort((a, b) => a - b);
		return Math.max(this.step, d[d.length >> 1] ?? this.step);
	}

	private bucket(time: number): number {
		return Math.floor(time / this.step) * this.step;
	}

	private drop(count: number): void {
		this.t.splice(0, count);
		this.avg.splice(0, count);
		this.min.splice(0, count);
		this.max.splice(0, count);
		this.n.splice(0, count);
	}
}

export type Column = (number | null | undefined)[];

export interface Joined {
	/** Seconds, as uPlot wants them. */
	x: number[];
	/** For each line: undefined = nothing at this x (draw through), null = a gap. */
	avg: Column[];
	min: Column[];
	max: Column[];
}

/** How many missing samples make a gap. */
const GAP = 3.5;
/** So many of the shortest lines fill a chart. */
const DASHES = 100;

/**
 * Puts lines on one time axis between `from` and `to` (ms). Where a line has nothing for much longer
 * than its usual distance, a null is put in, so that the gap is drawn as one.
 */
export function join(lines: readonly Timeline[], from: number, to: number): Joined {
	const times = new Set<number>();
	const spans = lines.map((line) => {
		const t = line.t;
		let a = lowerBound(t, from);
		if (a > 0) a--; // one point outside on each side: the line reaches the edge
		let b = lowerBound(t, to + 1);
		if (b < t.length) b++;
		const gap = line.distance * GAP;
		// One that stands alone is a dash: a line needs two points.
		const dash = Math.min(Math.max(line.step, (to - from) / DASHES), gap / 2);
		const holes: number[] = [];
		const dashes = new Map<number, number>();
		let alone = true;
		for (let i = a; i < b; i++) {
			const at = t[i] as number;
			times.add(at);
			const torn = i + 1 < b && (t[i + 1] as number) - at > gap;
			const end = alone && (torn || i + 1 === b) ? at + dash : at;
			if (end > at) {
				times.add(end);
				dashes.set(end, i);
			}
			if (torn) {
				times.add(end + line.step);
				holes.push(end + line.step);
			}
			alone = torn;
		}
		return { a, b, holes, dashes };
	});
	const ms = Float64Array.from(times).sort();
	const out: Joined = { x: Array.from(ms, (t) => t / 1000), avg: [], min: [], max: [] };
	lines.forEach((line, k) => {
		const { a, b, holes, dashes } = spans[k] as (typeof spans)[number];
		const avg: Column = new Array(ms.length);
		const min: Column = new Array(ms.length);
		const max: Column = new Array(ms.length);
		let i = a;
		let h = 0;
		for (let x = 0; x < ms.length; x++) {
			const at = ms[x] as number;
			const index = i < b && line.t[i] === at ? i++ : dashes.get(at);
			if (index !== undefined) {
				avg[x] = line.avg[index];
				min[x] = line.min[index];
				max[x] = line.max[index];
				if (h < holes.length && holes[h] === at) h++;
			} else if (h < holes.length && holes[h] === at) {
				avg[x] = null;
				min[x] = null;
				max[x] = null;
				h++;
			}
		}
		out.avg.push(avg);
		out.min.push(min);
		out.max.push(max);
	});
	return out;
}

/** Each line on top of the one before it; what a line lacks at some x it takes from its last value. */
export function stack(columns: readonly Column[]): Column[] {
	const n = columns[0]?.length ?? 0;
	const total = new Float64Array(n);
	return columns.map((column) => {
		const out: Column = new Array(n);
		let last: number | null = null;
		for (let x = 0; x < n; x++) {
			const v = column[x];
			if (v === null) {
				last = null;
				out[x] = null;
				continue;
			}
			if (v !== undefined) last = v;
			if (last === null) continue;
			total[x] = (total[x] as number) + last;
			out[x] = total[x] as number;
		}
		return out;
	});
}

/** First index whose value is not below x. */
export function lowerBound(a: readonly number[], x: number): number {
	let lo = 0;
	let hi = a.length;
	while (lo < hi) {
		const mid = (lo + hi) >> 1;
		if ((a[mid] as number) < x) lo = mid + 1;
		else hi = mid;
	}
	return lo;
}

const NICE = [1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 14400, 21600, 43200];

/** A round step (ms) that gives about `points` buckets over the range. */
export function niceStep(from: number, to: number, points = 600): number {
	const want = (to - from) / 1000 / points;
	return (NICE.find((s) => s >= want) ?? 86400) * 1000;
}
