/* SPDX-License-Identifier: MIT */
/** One chart: uPlot with our own legend, a linked cursor, drag to zoom, gaps drawn as gaps. */
import { type ReadonlySignal, useSignal } from "@preact/signals";
import { useEffect, useRef } from "preact/hooks";
import uPlot from "uplot";
import { format, NONE, type Unit } from "../core/format";
import { t } from "../core/i18n";
import type { Panel } from "../core/lines";
import { join, stack } from "../core/timeline";
import { alpha, colours, LINE_COLOURS } from "../theme";

/** When something was wrong, ms, and the threshold that said so. */
export interface Mark {
	from: number;
	to: number;
	pending: boolean;
	level?: number | undefined;
}

interface Props {
	panel: Panel;
	/** Something new to draw. */
	rev: ReadonlySignal<number>;
	/** Window, ms; asked for at each drawing. */
	window: () => [number, number];
	ready: boolean;
	marks?: readonly Mark[] | undefined;
	onZoom: (from: number, to: number) => void;
	onZoomOut: () => void;
	onRemove?: (() => void) | undefined;
	level?: 2 | 3;
}

const SYNC = "latido";
const HEIGHT = 168;
const FONT = '11px system-ui, -apple-system, "Segoe UI", Roboto, "Noto Sans", sans-serif';

/** Steps of axes of bytes are powers of two. */
const BYTE_STEPS: number[] = [];
for (let e = 0; e < 60; e++) BYTE_STEPS.push(2 ** e);

/** Steps of the time axis, s. */
const TIME_STEPS = [
	1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 10800, 21600, 43200, 86400, 172800,
	604800, 1209600, 2592000, 7776000,
];

/** Ticks at round local times. */
export function timeTicks(min: number, max: number, step: number): number[] {
	const shift = -60 * new Date(min * 1000).getTimezoneOffset();
	const ticks: number[] = [];
	// None at the right edge, where its text would be cut off.
	const last = max - 0.03 * (max - min);
	for (let x = Math.ceil((min + shift) / step) * step - shift; x <= last; x += step) ticks.push(x);
	return ticks;
}

const pad = (n: number) => String(n).padStart(2, "0");

/** Times of day; dates where the day changes. */
export function timeLabels(splits: readonly number[], step: number): string[] {
	let day = "";
	return splits.map((s) => {
		const d = new Date(s * 1000);
		const date = `${d.getDate()}/${d.getMonth() + 1}`;
		const time = `${pad(d.getHours())}:${pad(d.getMinutes())}`;
		if (step >= 86400) return date;
		if (step < 60) return `${time}:${pad(d.getSeconds())}`;
		const changed = day !== "" && day !== date;
		day = date;
		return changed || (step >= 3600 && d.getHours() === 0 && d.getMinutes() === 0) ? date : time;
	});
}

function axisValue(v: number, unit: Unit): string {
	const text = format(Math.abs(v), unit);
	return text.replace(/([.,]0+)(?=\u202f|$)/, "").replace("\u202f", " ");
}

/** The scale of values: from zero where that is not far, with room for a threshold. */
export function valueRange(
	spec: { unit: Unit; max?: number },
	lo: number | null,
	hi: number | null,
	levels: readonly number[] = [],
): [number, number] {
	const low = Math.min(lo ?? levels[0] ?? 0, ...levels);
	const high = Math.max(hi ?? levels[0] ?? 0, ...levels);
	const bare = spec.unit === "none" || spec.unit === "celsius" || spec.unit === "volts";
	if (bare && spec.max === undefined && low > 0 && low > (high - low) / 2) {
		// Far from zero, zero would flatten them.
		const room = Math.max((high - low) * 0.15, high * 0.02);
		return [low - room, high + room];
	}
	const bottom = Math.min(low, 0);
	let top = Math.max(high, spec.max ?? 0);
	if (!(top > bottom)) top = bottom + 1;
	const room = (top - bottom) * 0.06;
	return [bottom < 0 ? bottom - room : bottom, top === spec.max ? top : top + room];
}

function colourOf(i: number): string {
	return colours.value.lines[i % LINE_COLOURS] ?? "#888888";
}

export function Chart(props: Props) {
	const { panel, rev, ready } = props;
	const { spec } = panel;
	const box = useRef<HTMLDivElement>(null);
	const legend = useRef<HTMLUListElement>(null);
	const summary = useRef<HTMLParagraphElement>(null);
	const hidden = useSignal<ReadonlySet<string>>(new Set());
	const latest = useRef(props);
	latest.current = props;
	const empty = useSignal(panel.empty);
	if (empty.peek() !== panel.empty) empty.value = panel.empty;

	useEffect(() => {
		const host = box.current;
		if (!host) return;
		const visible = spec.lines.map((l) => !hidden.value.has(l.key));
		const scheme = colours.value;
		let raw: (number | null | undefined)[][] = [];
		const order = spec.lines.map((_, i) => i);

		const data = (): uPlot.AlignedData => {
			const { panel: p } = latest.current;
			const [from, to] = latest.current.window();
			const joined = join(p.lines, from, to);
			raw = joined.avg;
			const sign = (c: (number | null | undefined)[], below: boolean | undefined) =>
				below ? c.map((v) => (typeof v === "number" ? -v : v)) : c;
			const shown = order.map((i) =>
				visible[i]
					? (joined.avg[i] ?? [])
					: new Array(joined.x.length).fill(spec.stacked ? 0 : null),
			);
			if (spec.stacked) return [joined.x, ...stack(shown)] as uPlot.AlignedData;
			const lines = shown.map((c, i) => sign(c, spec.lines[i]?.below));
			if (!band) return [joined.x, ...lines] as uPlot.AlignedData;
			const extremes = order.flatMap((i) =>
				visible[i]
					? [
							sign(joined.max[i] ?? [], spec.lines[i]?.below),
							sign(joined.min[i] ?? [], spec.lines[i]?.below),
						]
					: [shown[i] ?? [], shown[i] ?? []],
			);
			return [joined.x, ...lines, ...extremes] as uPlot.AlignedData;
		};

		// What lies between minimum and maximum, where a point stands for more than a sample.
		const band = !spec.stacked && panel.step > 1000 && spec.lines.length <= 6;
		const n = spec.lines.length;
		const series: uPlot.Series[] = [
			{},
			...spec.lines.map((_, i): uPlot.Series => {
				const c = colourOf(i);
				return {
					stroke: c,
					width: spec.stacked ? 1 : 1.5,
					points: { show: false },
					...(spec.stacked ? { fill: alpha(c, 0.45) } : n === 1 ? { fill: alpha(c, 0.12) } : {}),
				};
			}),
		];
		const bands: uPlot.Band[] = [];
		if (spec.stacked) for (let i = n; i > 1; i--) bands.push({ series: [i, i - 1] });
		if (band)
			for (let i = 0; i < n; i++) {
				series.push({ width: 0, points: { show: false } }, { width: 0, points: { show: false } });
				bands.push({
					series: [n + 1 + 2 * i, n + 2 + 2 * i],
					fill: alpha(colourOf(i), 0.18),
				});
			}

		const values = (idx: number | null | undefined) => {
			const cells = legend.current?.querySelectorAll<HTMLElement>("[data-value]");
			cells?.forEach((cell, i) => {
				const column = raw[i];
				let v: number | null | undefined;
				if (idx === null || idx === undefined) v = latest.current.panel.lines[i]?.last;
				else {
					// Series of other streams lie between: the last one that was known.
					let k = idx;
					while (k > 0 && column?.[k] === undefined && idx - k < 120) k--;
					v = column?.[k];
				}
				const text = typeof v === "number" ? format(v, spec.unit) : NONE;
				if (cell.textContent !== text) cell.textContent = text;
			});
		};

		const marks = () => {
			const [from, to] = latest.current.window();
			return (latest.current.marks ?? []).filter((m) => m.from < to && m.to > from);
		};
		const levels = () => [...new Set(marks().flatMap((m) => m.level ?? []))];

		const overlay = (u: uPlot) => {
			const { ctx, bbox } = u;
			const drawn: unknown[] = levels();
			ctx.save();
			ctx.beginPath();
			ctx.rect(bbox.left, bbox.top, bbox.width, bbox.height);
			ctx.clip();
			for (const m of marks()) {
				const a = u.valToPos(m.from / 1000, "x", true);
				const b = u.valToPos(m.to / 1000, "x", true);
				ctx.fillStyle = alpha(m.pending ? scheme.warn : scheme.bad, 0.13);
				ctx.fillRect(a, bbox.top, Math.max(1, b - a), bbox.height);
				drawn.push(m.pending ? "pending" : "firing");
			}
			ctx.strokeStyle = scheme.bad;
			ctx.lineWidth = devicePixelRatio;
			ctx.setLineDash([5 * devicePixelRatio, 4 * devicePixelRatio]);
			for (const level of levels()) {
				const y = u.valToPos(level, "y", true);
				ctx.beginPath();
				ctx.moveTo(bbox.left, y);
				ctx.lineTo(bbox.left + bbox.width, y);
				ctx.stroke();
			}
			ctx.restore();
			host.dataset.marks = drawn.join(" ");
		};

		const options: uPlot.Options = {
			width: Math.max(200, host.clientWidth),
			height: HEIGHT,
			legend: { show: false },
			padding: [8, 8, 0, 0],
			cursor: {
				sync: { key: SYNC, setSeries: false },
				drag: { x: true, y: false, setScale: false },
				points: { size: 6, show: true },
				y: false,
			},
			scales: {
				x: {
					time: false,
					range: () => {
						const [a, b] = latest.current.window();
						return [a / 1000, b / 1000];
					},
				},
				y: {
					range: (_, lo, hi) => valueRange(spec, lo, hi, levels()),
				},
			},
			axes: [
				{
					stroke: scheme.text,
					font: FONT,
					size: 26,
					gap: 4,
					space: 72,
					grid: { stroke: scheme.grid, width: 1 },
					ticks: { show: false },
					incrs: TIME_STEPS,
					splits: (_, __, min, max, step) => timeTicks(min, max, step),
					values: (_, splits, __, ___, step) => timeLabels(splits, step),
				},
				{
					stroke: scheme.text,
					font: FONT,
					size: 64,
					gap: 6,
					space: 32,
					grid: { stroke: scheme.grid, width: 1 },
					ticks: { show: false },
					values: (_, splits) => splits.map((v) => axisValue(v, spec.unit)),
					...(spec.unit.startsWith("bytes") ? { incrs: BYTE_STEPS } : {}),
				},
			],
			series,
			bands,
			hooks: {
				drawAxes: [overlay],
				setCursor: [
					(u) => values(u.cursor.left !== undefined && u.cursor.left >= 0 ? u.cursor.idx : null),
				],
				setSelect: [
					(u) => {
						if (u.select.width > 4) {
							const from = u.posToVal(u.select.left, "x") * 1000;
							const to = u.posToVal(u.select.left + u.select.width, "x") * 1000;
							latest.current.onZoom(from, to);
						}
						u.setSelect({ left: 0, top: 0, width: 0, height: 0 }, false);
					},
				],
			},
		};
		const u = new uPlot(options, data(), host);
		u.over.addEventListener("dblclick", () => latest.current.onZoomOut());

		let onScreen = true;
		const redraw = () => {
			if (!onScreen) return;
			u.setData(data());
			empty.value = latest.current.panel.empty;
			values(u.cursor.left !== undefined && u.cursor.left >= 0 ? u.cursor.idx : null);
		};
		const seen = new IntersectionObserver(
			(entries) => {
				onScreen = entries.at(-1)?.isIntersecting ?? true;
				redraw();
			},
			{ rootMargin: "200px" },
		);
		seen.observe(host);
		const size = new ResizeObserver(() => {
			if (host.clientWidth > 0 && Math.abs(host.clientWidth - u.width) > 1)
				u.setSize({ width: host.clientWidth, height: HEIGHT });
		});
		size.observe(host);
		const stop = rev.subscribe(redraw);
		const describe = () => {
			if (!summary.current) return;
			const list = spec.lines.map(
				(l, i) =>
					`${l.label} ${format(latest.current.panel.lines[i]?.last ?? Number.NaN, spec.unit)}`,
			);
			summary.current.textContent = t("panel.now", { title: spec.title, values: list.join(", ") });
		};
		describe();
		const timer = setInterval(describe, 10_000);
		return () => {
			clearInterval(timer);
			stop();
			seen.disconnect();
			size.disconnect();
			u.destroy();
		};
	}, [colours.value, hidden.value, spec, panel.step]);

	const toggle = (key: string) => {
		const next = new Set(hidden.value);
		if (!next.delete(key)) next.add(key);
		hidden.value = next;
	};
	const Heading = props.level === 3 ? "h3" : "h2";
	return (
		<section class="panel chart" aria-label={spec.title} data-panel={spec.id}>
			<header>
				<Heading>{spec.title}</Heading>
				{props.onRemove && (
					<button type="button" class="quiet" onClick={props.onRemove} title={t("node.unchart")}>
						<span aria-hidden="true">×</span>
						<span class="sr">{t("node.unchart")}</span>
					</button>
				)}
			</header>
			<p class="sr" ref={summary} />
			<div class="plot" ref={box} aria-hidden="true" />
			{(empty.value || !ready) && (
				<p class="overlay">{ready ? t("panel.empty") : t("panel.loading")}</p>
			)}
			<ul class="legend" ref={legend}>
				{spec.lines.map((l, i) => (
					<li key={l.key}>
						<button
							type="button"
							aria-pressed={!hidden.value.has(l.key)}
							onClick={() => toggle(l.key)}
						>
							<i class="swatch" style={{ background: colourOf(i) }} />
							<span class="label">{l.label}</span>
							<span class="value" data-value>
								{NONE}
							</span>
						</button>
					</li>
				))}
			</ul>
		</section>
	);
}
