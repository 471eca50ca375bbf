/* SPDX-License-Identifier: MIT */
/** One source with all its series and the charts that are open on it. */
import { signal } from "@preact/signals";
import { ApiError, api, type NodeDetail, num, type SeriesHistory, type Window } from "./core/api";
import type { NodeEvent } from "./core/feed";
import {
	historyOf,
	Panel,
	type PanelSpec,
	Sampler,
	type SeriesInfo,
	seriesInfo,
} from "./core/lines";
import { isCounter, Rate } from "./core/rate";
import type { Range } from "./core/route";
import { niceStep } from "./core/timeline";
import { draw, heard, serverNow, status, watch } from "./store";

/** Names that one call of the history takes. */
const NAMES_A_CALL = 16;
const NAMES_A_WINDOW = 64;
/** Should the stream not come, what there is is shown anyway. */
const LISTEN_MS = 2000;
const AGAIN_MS = 3000;
/** The window of recent events is asked for at least this far back. */
const WINDOW_MS = 16 * 60_000;

interface StreamOf {
	shape: string;
	series: SeriesInfo[];
	values: Float64Array;
	time: number;
	/** Of counters: increase a second. */
	rates: Float64Array;
	trackers: Rate[];
}

const shapes = new Map<string, SeriesInfo[]>();

/** One source, live. Panels are set by the view; `close` when it is left. */
export class Source {
	readonly detail = signal<NodeDetail | null>(null);
	readonly error = signal("");
	readonly missing = signal(false);
	/** Counts up once a frame when values changed. */
	readonly rev = signal(0);
	/** Counts up when series came or went. */
	readonly shapeRev = signal(0);
	readonly streams = new Map<string, StreamOf>();
	private readonly waiting = new Map<string, NodeEvent[]>();
	private readonly stopWatching: () => void;
	private readonly sets = new Set<PanelSet>();
	private readonly abort = new AbortController();

	/** Events come: what is fetched from now on has no hole before them. Or they do not come, for a while. */
	readonly heard: Promise<void>;

	constructor(readonly name: string) {
		let late = false;
		this.heard = Promise.race([
			heard(name).then(() => {
				if (late) this.resync();
			}),
			new Promise<void>((done) => {
				setTimeout(() => {
					late = true;
					done();
				}, LISTEN_MS);
			}),
		]);
		this.stopWatching = watch(
			name,
			(e) => this.event(e),
			() => this.resync(),
		);
		this.load();
	}

	close(): void {
		this.stopWatching();
		this.abort.abort();
		for (const s of this.sets) s.close();
	}

	get interval(): number {
		return this.detail.value?.interval_ms ?? 1000;
	}

	/** All series, of all streams. */
	series(): SeriesInfo[] {
		return [...this.streams.values()].flatMap((s) => s.series);
	}

	/** Newest value of a series: of counters the rate. */
	value(stream: StreamOf, i: number): number {
		const s = stream.series[i] as SeriesInfo;
		return (isCounter(s.name, s.kind) ? stream.rates[i] : stream.values[i]) ?? Number.NaN;
	}

	async load(): Promise<void> {
		try {
			const d = await api.node(this.name, this.abort.signal);
			for (const s of d.streams) {
				const series = s.series.map(([n, l, k]) => seriesInfo(n, l, k));
				shapes.set(s.shape, series);
				const have = this.streams.get(s.stream);
				if (have && have.time >= s.time_ms) continue;
				this.take(s.stream, s.shape, series, s.time_ms, Float64Array.from(s.values, num));
			}
			this.detail.value = d;
			this.missing.value = false;
			this.error.value = "";
			this.shapeRev.value++;
			this.rev.value++;
		} catch (e) {
			if (this.abort.signal.aborted) return;
			// It may come yet; one that was there is only unknown to a server that has just started.
			if (e instanceof ApiError && e.status === 404) this.missing.value = !this.detail.value;
			else this.error.value = e instanceof Error ? e.message : String(e);
			this.later(() => this.load());
		}
	}

	/** Again, unless it was left meanwhile. */
	private later(f: () => void): void {
		setTimeout(() => this.abort.signal.aborted || f(), AGAIN_MS);
	}

	panels(specs: PanelSpec[], range: Range): PanelSet {
		const set = new PanelSet(this, specs, range);
		this.sets.add(set);
		return set;
	}

	drop(set: PanelSet): void {
		set.close();
		this.sets.delete(set);
	}

	private take(
		stream: string,
		shape: string,
		series: SeriesInfo[],
		time: number,
		values: Float64Array,
	): void {
		let s = this.streams.get(stream);
		if (s?.series !== series) {
			const old = new Map(s?.series.map((x, i) => [x.text, s?.trackers[i]]));
			s = {
				shape,
				series,
				values,
				time,
				rates: new Float64Array(series.length).fill(Number.NaN),
				trackers: series.map((x) => old.get(x.text) ?? new Rate(60_000)),
			};
			this.streams.set(stream, s);
			this.shapeRev.value++;
		}
		s.values = values;
		s.time = time;
		for (let i = 0; i < series.length; i++) {
			const x = series[i] as SeriesInfo;
			if (!isCounter(x.name, x.kind)) continue;
			const rate = (s.trackers[i] as Rate).push(time, values[i] ?? Number.NaN);
			if (!Number.isNaN(rate)) s.rates[i] = rate;
		}
	}

	private event(e: NodeEvent): void {
		const series = shapes.get(e.shape);
		if (!series) {
			this.fetchShape(e);
			return;
		}
		const have = this.streams.get(e.stream);
		if (have && e.time_ms <= have.time && have.shape === e.shape) {
			if (e.time_ms < have.time) return;
		}
		this.take(e.stream, e.shape, series, e.time_ms, e.v);
		for (const set of this.sets) set.push(e.stream, series, e.time_ms, e.v);
		draw(this.redraw);
	}

	private readonly redraw = () => {
		this.rev.value++;
	};

	private fetchShape(e: NodeEvent): void {
		const queue = this.waiting.get(e.shape);
		if (queue) {
			queue.push(e);
			return;
		}
		this.waiting.set(e.shape, [e]);
		api.shape(e.shape).then(
			(s) => {
				shapes.set(
					e.shape,
					s.series.map(([n, l, k]) => seriesInfo(n, l, k)),
				);
				const events = this.waiting.get(e.shape) ?? [];
				this.waiting.delete(e.shape);
				for (const x of events) this.event(x);
			},
			() => {
				// What came meanwhile is in the answer to the next question.
				this.waiting.delete(e.shape);
				this.later(() => this.resync());
			},
		);
	}

	/** Something was missed: fetch it. */
	resync(): void {
		if (this.abort.signal.aborted) return;
		this.load();
		for (const set of this.sets) set.load();
	}
}

/** The charts of one view over one range, filled from both stores and then live. */
export class PanelSet {
	panels: Panel[] = [];
	readonly ready = signal(false);
	readonly error = signal("");
	private sampler: Sampler;
	private fresh: { panels: Panel[]; sampler: Sampler } | null = null;
	private held: [string, readonly SeriesInfo[], number, ArrayLike<number>][] = [];
	private abort = new AbortController();
	private readonly specs: PanelSpec[];
	readonly from: number;
	readonly to: number;
	readonly step: number;

	constructor(
		private readonly source: Source,
		specs: PanelSpec[],
		readonly range: Range,
	) {
		this.specs = specs;
		const end = serverNow();
		this.from = range.live ? end - range.span : range.from;
		this.to = range.live ? end : range.to;
		this.step = niceStep(this.from, this.to);
		this.panels = this.make();
		this.sampler = new Sampler(this.allLines(), source.interval);
		this.load();
	}

	private allLines() {
		return this.specs.flatMap((p) => p.lines);
	}

	private make(): Panel[] {
		const limit = Math.ceil((this.to - this.from) / this.step) + 600;
		return this.specs.map((s) => new Panel(s, this.step, limit));
	}

	close(): void {
		this.abort.abort();
	}

	push(stream: string, series: readonly SeriesInfo[], time: number, v: ArrayLike<number>): void {
		if (this.fresh) this.held.push([stream, series, time, v]);
		if (this.range.live) this.sample(this.panels, this.sampler, stream, series, time, v);
	}

	private sample(
		panels: Panel[],
		sampler: Sampler,
		stream: string,
		series: readonly SeriesInfo[],
		time: number,
		v: ArrayLike<number>,
	): void {
		const lines = panels.flatMap((p) => p.lines);
		sampler.push(stream, series, time, v, (i, at, value) => lines[i]?.push(at, value));
	}

	/** Fills everything again; what is drawn stays until the new is complete. */
	async load(): Promise<void> {
		this.abort.abort();
		this.abort = new AbortController();
		const { signal } = this.abort;
		const panels = this.make();
		const sampler = new Sampler(this.allLines(), this.source.interval);
		this.fresh = { panels, sampler };
		this.held = [];
		await this.source.heard;
		if (signal.aborted) return;
		const end = serverNow();
		const from = this.range.live ? end - this.range.span : this.range.from;
		const to = this.range.live ? end : this.range.to;
		const names = [...new Set(this.allLines().flatMap((l) => l.parts.map((p) => p.name)))];
		try {
			const windows = to > end - WINDOW_MS ? await this.window(names, from, signal) : [];
			const oldest = Math.min(
				...windows.flatMap((w) =>
					w.streams.flatMap((s) => (s.time_ms.length ? [s.time_ms[0] as number] : [])),
				),
			);
			// History ends where the window begins, at a step's edge: no bucket is filled twice.
			let edge = Number.isFinite(oldest)
				? (Math.floor(oldest / this.step) + 1) * this.step
				: to + this.step;
			if (oldest <= from + this.source.interval * 2) edge = from;
			let why = "";
			if (edge > from + this.step) {
				try {
					await this.history(panels, from, Math.min(edge, to), signal);
				} catch (e) {
					if (signal.aborted) return;
					why = e instanceof Error ? e.message : String(e);
				}
			}
			// Without a window (Redis is away, or the server has just started) the history ends where it ends.
			for (const p of panels)
				for (const l of p.lines)
					l.newest = Number.isFinite(oldest)
						? edge - 1
						: (l.t.at(-1) ?? Number.NEGATIVE_INFINITY) + this.step - 1;
			for (const w of windows)
				for (const s of w.streams) {
					const series = s.series.map((x) => seriesInfo(x.name, x.labels, x.kind));
					const v = new Float64Array(series.length);
					for (let i = 0; i < s.time_ms.length; i++) {
						for (let k = 0; k < v.length; k++) v[k] = num(s.series[k]?.values[i] ?? null);
						this.sample(panels, sampler, s.stream, series, s.time_ms[i] as number, v);
					}
				}
			if (this.range.live) for (const h of this.held) this.sample(panels, sampler, ...h);
			this.error.value = why;
		} catch (e) {
			if (signal.aborted) return;
			this.error.value = e instanceof Error ? e.message : String(e);
		}
		if (signal.aborted) return;
		this.fresh = null;
		this.held = [];
		this.panels = panels;
		this.sampler = sampler;
		this.ready.value = true;
		this.source.rev.value++;
	}

	private async window(names: string[], from: number, signal: AbortSignal): Promise<Window[]> {
		const since = Math.max(from - 2 * this.source.interval, serverNow() - WINDOW_MS);
		const calls: Promise<Window>[] = [];
		for (let i = 0; i < names.length; i += NAMES_A_WINDOW)
			calls.push(api.window(this.source.name, names.slice(i, i + NAMES_A_WINDOW), since, signal));
		try {
			return await Promise.all(calls);
		} catch (e) {
			// Redis away, or nothing recent: the database still knows.
			const code = e instanceof ApiError ? e.status : 0;
			if (signal.aborted || code === 401) throw e;
			// Too many questions at once, for example.
			if (code === 503 && status.peek()?.redis.state === "ok")
				setTimeout(() => signal.aborted || this.load(), AGAIN_MS);
			return [];
		}
	}

	private async history(
		panels: Panel[],
		from: number,
		to: number,
		signal: AbortSignal,
	): Promise<void> {
		// Panels that want the same treatment share calls.
		const groups = new Map<string, PanelSpec[]>();
		for (const s of this.specs) {
			const key = s.by?.join(",") ?? "*";
			groups.set(key, [...(groups.get(key) ?? []), s]);
		}
		const known: SeriesHistory["series"] = [];
		const calls: Promise<void>[] = [];
		for (const [, specs] of groups) {
			const names = [
				...new Set(specs.flatMap((s) => s.lines.flatMap((l) => l.parts.map((p) => p.name)))),
			];
			const by = specs[0]?.by;
			for (let i = 0; i < names.length; i += NAMES_A_CALL)
				calls.push(
					api
						.series(
							{
								source: this.source.name,
								names: names.slice(i, i + NAMES_A_CALL),
								from: Math.floor(from / this.step) * this.step,
								to,
								step: this.step,
								rate: true,
								...(by ? { by } : {}),
							},
							signal,
						)
						.then((h) => {
							known.push(...h.series);
						}),
				);
		}
		await Promise.all(calls);
		for (const p of panels)
			p.spec.lines.forEach((line, i) => {
				p.lines[i]?.load(historyOf(line, known), to - 1);
			});
	}
}
