/* SPDX-License-Identifier: MIT */
/** One node or device: its charts, its processes, and every series it sends. */
import { useComputed, useSignal } from "@preact/signals";
import { useEffect, useMemo } from "preact/hooks";
import { age, clock, duration, NONE, plain } from "../core/format";
import { t } from "../core/i18n";
import type { PanelSpec, SeriesInfo } from "../core/lines";
import { devicePanels, nodePanels, seriesPanel } from "../core/panels";
import type { Range } from "../core/route";
import { change, href, route } from "../nav";
import { type PanelSet, Source } from "../source";
import { now, paused, rows, serverNow } from "../store";
import { useAlertsOf } from "./alertinfo";
import { Chart, type Mark } from "./chart";
import { stateKey } from "./fleet";
import { marksFor } from "./marks";
import { Processes } from "./processes";
import { RangeBar } from "./range";
import { SeriesList } from "./serieslist";
import { BeatBar } from "./spark";

/** The live source that a view shows; closed when the view goes. */
export function useSource(name: string): Source {
	const source = useMemo(() => new Source(name), [name]);
	useEffect(() => () => source.close(), [source]);
	return source;
}

/** Where the charts' window ends: frozen while paused. */
let frozen = 0;
export function windowOf(range: Range): [number, number] {
	if (!range.live) return [range.from, range.to];
	if (!paused.peek()) frozen = serverNow();
	return [frozen - range.span, frozen];
}

function useSeriesKey(source: Source): string {
	// The charts' lines are made anew only when names came or went.
	return useComputed(() => {
		source.shapeRev.value;
		return source
			.series()
			.map((s) => s.text)
			.join("\n");
	}).value;
}

export function usePanels(source: Source, specs: PanelSpec[], range: Range): PanelSet | null {
	const current = useSignal<PanelSet | null>(null);
	const key = specs.map((s) => `${s.id}:${s.lines.map((l) => l.key).join(",")}`).join(";");
	const rangeKey = range.live ? range.name : `${range.from}-${range.to}`;
	useEffect(() => {
		if (specs.length === 0) {
			current.value = null;
			return;
		}
		const set = source.panels(specs, range);
		const before = current.peek();
		// What is drawn stays until the new is there: no flash.
		const stop = set.ready.subscribe((ready) => {
			if (ready || !before) current.value = set;
		});
		return () => {
			stop();
			source.drop(set);
		};
	}, [source, key, rangeKey]);
	return current.value;
}

export function zoom(from: number, to: number): void {
	paused.value = false;
	if (to - from < 2000) return;
	change({ range: { live: false, from: Math.round(from), to: Math.round(to) } }, false);
}

export function zoomOut(): void {
	const r = route.value.range;
	const [from, to] = windowOf(r);
	const half = (to - from) / 2;
	const end = Math.min(to + half, serverNow());
	change({ range: { live: false, from: Math.round(end - 4 * half), to: Math.round(end) } }, false);
}

interface GridProps {
	source: Source;
	set: PanelSet | null;
	specs: PanelSpec[];
	range: Range;
	marks?: (spec: PanelSpec) => Mark[];
	onRemove?: (spec: PanelSpec) => void;
	level?: 2 | 3;
}

export function ChartGrid({ source, set, specs, range, marks, onRemove, level }: GridProps) {
	// Charts move on, and gaps grow, also when nothing comes.
	const rev = useComputed(() => source.rev.value + now.value);
	if (!set) return null;
	return (
		<div class="grid">
			{set.error.value && (
				<p class="error wide" role="status">
					{t("panel.failed", { why: set.error.value })}
				</p>
			)}
			{set.panels.map((panel) => {
				const spec = specs.find((s) => s.id === panel.spec.id);
				if (!spec) return null;
				return (
					<Chart
						key={panel.spec.id}
						panel={panel}
						rev={rev}
						ready={set.ready.value}
						window={() => windowOf(range)}
						marks={marks?.(panel.spec)}
						onZoom={zoom}
						onZoomOut={zoomOut}
						onRemove={onRemove && (() => onRemove(spec))}
						level={level ?? 2}
					/>
				);
			})}
		</div>
	);
}

export function NodeView({ name }: { name: string }) {
	const source = useSource(name);
	const { range, charts } = route.value;
	const key = useSeriesKey(source);
	const detail = source.detail.value;
	const row = rows.get(name);
	const cpus = detail?.cpus ?? row?.cpus ?? 0;
	const memory = detail?.memory_bytes ?? row?.memory ?? 0;

	const specs = useMemo(() => {
		if (!detail) return [];
		const series = source.series();
		const usual = nodePanels(series, cpus, memory);
		return usual.length > 0 ? usual : devicePanels(series);
	}, [key, detail !== null, cpus, memory]);

	const chosen = useMemo(() => {
		const byText = new Map<string, SeriesInfo>(source.series().map((s) => [s.text, s]));
		return charts.flatMap((c) => {
			const s = byText.get(c);
			return s ? [seriesPanel(s)] : [];
		});
	}, [key, charts.join("\n")]);

	const set = usePanels(source, specs, range);
	const chosenSet = usePanels(source, chosen, range);

	if (source.missing.value)
		return (
			<div class="empty">
				<h1 tabIndex={-1}>{t("node.unknown", { name })}</h1>
				<a href={href({ view: "fleet" })}>{t("node.back")}</a>
			</div>
		);

	const about = useAlertsOf(name);
	return (
		<>
			<NodeHead name={name} source={source} />
			<RangeBar />
			{source.error.value && <p class="error">{t("error.failed", { why: source.error.value })}</p>}
			{!detail && !source.error.value && (
				<div class="grid" aria-busy="true">
					{Array.from({ length: 6 }, (_, i) => (
						<div class="panel ghost" key={i} />
					))}
				</div>
			)}
			{chosen.length > 0 && (
				<>
					<h2 class="section">{t("node.pinned")}</h2>
					<ChartGrid
						source={source}
						set={chosenSet}
						specs={chosen}
						range={range}
						level={3}
						onRemove={(spec) => change({ charts: charts.filter((c) => `series ${c}` !== spec.id) })}
					/>
				</>
			)}
			<ChartGrid
				source={source}
				set={set}
				specs={specs}
				range={range}
				marks={(spec) => marksFor(spec, about)}
			/>
			{detail && <Processes source={source} />}
			{detail && <SeriesList source={source} />}
		</>
	);
}

function NodeHead({ name, source }: { name: string; source: Source }) {
	source.rev.value;
	const detail = source.detail.value;
	const row = rows.get(name);
	row?.rev.value;
	const state = row ? stateKey(row) : "ok";
	const boot = detail?.boot_time_s ?? Number.NaN;
	const seconds = row ? (now.value - row.time) / 1000 : Number.NaN;
	const facts = detail
		? [
				...Object.entries(detail.labels).map(([, v]) => v),
				detail.cpus ? t("node.cpus", { n: detail.cpus }) : "",
				boot ? t("node.since", { d: duration(now.value / 1000 - boot) }) : "",
				detail.interval_ms ? t("node.every", { d: duration(detail.interval_ms / 1000) }) : "",
				t("node.series", { n: plain(source.series().length) }),
			].filter(Boolean)
		: [];
	return (
		<div class="nodehead">
			<p class="crumb">
				<a href={href({ view: "fleet" })}>{t("nav.fleet")}</a>
			</p>
			<h1 tabIndex={-1}>{name}</h1>
			<p class={`statechip ${state}`}>
				<span class="icon" aria-hidden="true">
					●
				</span>
				{t(`state.${state}`)}
				<span class={`age ${row?.state ?? ""}`} title={row ? clock(row.time) : NONE}>
					{age(seconds)}
				</span>
			</p>
			{row && <BeatBar row={row} />}
			<p class="facts dim">{facts.join(" · ")}</p>
		</div>
	);
}
