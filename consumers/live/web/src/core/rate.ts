/* SPDX-License-Identifier: MIT */
/** Counters to rates, as Prometheus sees them: a value below the last one is a restart from zero. */

export const KIND_UNKNOWN = 0;
export const KIND_GAUGE = 1;
export const KIND_COUNTER = 2;
export type Kind = 0 | 1 | 2;

/** Two samples closer than this say more about scheduling than about the rate. */
const MIN_DISTANCE_MS = 50;

/** What a counter grew by; after a reset it grew by what it has now. */
export function increase(before: number, now: number): number {
	return now >= before ? now - before : now;
}

/** Remembers the last sample of one counter and turns the next ones into rates per second. */
export class Rate {
	private time = Number.NaN;
	private value = Number.NaN;

	/** longest: two samples further apart than this (ms) are not joined. */
	constructor(private readonly longest = Number.POSITIVE_INFINITY) {}

	/** The rate up to this sample; NaN for the first one, after a gap, or when time went back. */
	push(time: number, value: number): number {
		if (!Number.isFinite(value)) {
			this.time = Number.NaN;
			return Number.NaN;
		}
		const distance = time - this.time;
		if (distance >= 0 && distance < MIN_DISTANCE_MS) return Number.NaN;
		const grown = increase(this.value, value);
		this.time = time;
		this.value = value;
		if (!(distance > 0) || distance > this.longest) return Number.NaN;
		return (grown * 1000) / distance;
	}
}

/** Is this name a counter, where the sender did not say? */
export function isCounterName(name: string): boolean {
	return /_(total|sum|count|bucket)$/.test(name);
}

export function isCounter(name: string, kind: Kind): boolean {
	return kind === KIND_COUNTER || (kind === KIND_UNKNOWN && isCounterName(name));
}
