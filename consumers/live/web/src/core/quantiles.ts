/* SPDX-License-Identifier: MIT */
/** Quantiles of the last so many values. */
export class Quantiles {
	private readonly values: number[] = [];
	private at = 0;

	constructor(private readonly size: number) {}

	push(v: number): void {
		this.values[this.at] = v;
		this.at = (this.at + 1) % this.size;
	}

	get count(): number {
		return this.values.length;
	}

	/** NaN when there is nothing. */
	quantile(q: number): number {
		const sorted = this.values.slice().sort((a, b) => a - b);
		return sorted[Math.min(sorted.length - 1, Math.floor(q * sorted.length))] ?? Number.NaN;
	}
}
