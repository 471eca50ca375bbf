/* SPDX-License-Identifier: MIT */
/** The overview: a row for each node and device. Only rows in sight are in the document. */
import { useComputed, useSignal } from "@preact/signals";
import { useEffect, useLayoutEffect, useRef } from "preact/hooks";
import { type SortKey, sortRows } from "../core/fleet";
import { age, bytesRate, duration, format, NONE, percent, unitOf } from "../core/format";
import { type Key, t } from "../core/i18n";
import { isCounterName } from "../core/rate";
import { matches } from "../core/series";
import { change, href, route } from "../nav";
import { fleetLoaded, fleetRev, type LiveRow, loadError, now, paused, rows } from "../store";
import { BeatBar, SparkLine } from "./spark";

const ROW_HEIGHT = 48;
const CARD_HEIGHT = 132;
const OVERSCAN = 6;
const SPARE = 2;
/** Up to these widths a column more is left out (css/narrow.css). */
const FEWER = [1500, 1240, 1240, 980];
const HOLD_MS = 4000;
const PHONE = "(max-width: 760px)";

interface Header {
	key: Key;
	sort?: SortKey;
	name: string;
}

const HEADERS: readonly Header[] = [
	{ key: "col.state", sort: "state", name: "state" },
	{ key: "col.name", sort: "name", name: "name" },
	{ key: "col.beats", name: "beats" },
	{ key: "col.cpu", sort: "cpu", name: "cpu" },
	{ key: "col.mem", sort: "mem", name: "mem" },
	{ key: "col.disk", sort: "disk", name: "disk" },
	{ key: "col.net", sort: "net", name: "net" },
	{ key: "col.load", sort: "load", name: "load" },
	{ key: "col.uptime", sort: "uptime", name: "uptime" },
	{ key: "col.age", sort: "age", name: "age" },
];

export function stateKey(r: LiveRow): "ok" | "late" | "stale" | "alert" {
	if (r.state !== "live") return r.state;
	return r.firing > 0 ? "alert" : "ok";
}

/** All that the filter looks at. */
function haystack(r: LiveRow): string {
	const state = stateKey(r);
	const labels = Object.entries(r.labels).map(([k, v]) => `${k}=${v}`);
	return [r.source, r.kind, state, t(`state.${state}`), ...labels].join(" ");
}

type Item = { kind: "row"; row: LiveRow } | { kind: "group"; name: string; count: number };

function arrange(sort: string, filter: string, group: string, only: "device" | ""): Item[] {
	const wanted = [...rows.values()].filter(
		(r) => (!only || r.kind === only) && (!filter || matches(filter, haystack(r))),
	);
	const sorted = sortRows(wanted, sort) as LiveRow[];
	if (!group) return sorted.map((row) => ({ kind: "row", row }));
	const groups = new Map<string, LiveRow[]>();
	for (const r of sorted) {
		const name = group === "kind" ? r.kind : (r.labels[group] ?? "");
		groups.set(name, [...(groups.get(name) ?? []), r]);
	}
	return [...groups.entries()]
		.sort(([a], [b]) => Number(a === "") - Number(b === "") || a.localeCompare(b))
		.flatMap(([name, list]): Item[] => [
			{ kind: "group", name, count: list.length },
			...list.map((row): Item => ({ kind: "row", row })),
		]);
}

function Age({ row }: { row: LiveRow }) {
	const seconds = (now.value - row.time) / 1000;
	row.rev.value;
	return <span class={`age ${row.state}`}>{age(Math.max(0, seconds))}</span>;
}

interface MeterProps {
	row: LiveRow;
	column: "cpu" | "mem" | "disk";
	colour: number;
	name: string;
}

function Meter({ row, column, colour, name }: MeterProps) {
	const v = row.values[column];
	const level = v >= 95 ? "bad" : v >= 80 ? "warn" : "";
	return (
		<td role="cell" class={`meter ${column}`}>
			<span class="tag">{name}</span>
			<span class={`value ${level}`} data-col={column}>
				{percent(v)}
			</span>
			<SparkLine values={row.sparks[column].values} max={100} colour={colour} rev={row.rev.value} />
			<span class="bar" aria-hidden="true">
				<i class={level} style={{ width: `${Math.min(100, v || 0)}%` }} />
			</span>
		</td>
	);
}

const STATE_ICONS = { ok: "●", late: "◐", stale: "○", alert: "▲", down: "■" };

function MachineCells({ row }: { row: LiveRow }) {
	const { rx, tx, load } = row.values;
	return (
		<>
			<Meter row={row} column="cpu" colour={1} name={t("col.cpu")} />
			<Meter row={row} column="mem" colour={3} name={t("col.mem")} />
			<Meter row={row} column="disk" colour={6} name={t("col.disk")} />
			<td role="cell" class="net">
				<span class="tag">{t("col.net")}</span>
				<span class="pair">
					<span data-col="rx">
						{bytesRate(rx)} <span aria-hidden="true">↓</span>
					</span>
					<span data-col="tx">
						{bytesRate(tx)} <span aria-hidden="true">↑</span>
					</span>
				</span>
				<SparkLine
					values={row.sparks.rx.values}
					second={row.sparks.tx.values}
					colour={2}
					rev={row.rev.value}
				/>
			</td>
			<td role="cell" class="load">
				<span class="tag">{t("col.load")}</span>
				<span class="value" data-col="load">
					{Number.isFinite(load) ? load.toFixed(2) : NONE}
				</span>
				<SparkLine values={row.sparks.load.values} colour={4} rev={row.rev.value} />
			</td>
			<td role="cell" class="uptime">
				<span class="tag">{t("col.uptime")}</span>
				{duration(now.peek() / 1000 - row.bootTime || Number.NaN)}
			</td>
		</>
	);
}

function DeviceCells({ row }: { row: LiveRow }) {
	const name = row.main.replace(/\{.*$/s, "");
	const unit = unitOf(name, undefined, isCounterName(name));
	return (
		<>
			<td role="cell" class="main" colSpan={3}>
				<span class="series">{row.main}</span>
				<span class="value" data-col="main">
					{Number.isNaN(row.values.main) ? NONE : format(row.values.main, unit)}
				</span>
				<SparkLine values={row.sparks.main.values} colour={5} rev={row.rev.value} />
			</td>
			{["net", "load", "uptime"].map((c) => (
				<td key={c} role="cell" class={c} />
			))}
		</>
	);
}

function RowView({ row, index, group }: { row: LiveRow; index: number; group: string }) {
	row.rev.value;
	const state = stateKey(row);
	const machine = !Number.isNaN(row.values.cpu) || !Number.isNaN(row.values.mem) || !row.main;
	const labels = Object.entries(row.labels).filter(([k]) => k !== group && k !== "release");
	for (const s of Object.values(row.sparks)) s.advance(now.peek());
	return (
		<tr role="row" class={`row ${state}`} aria-rowindex={index + 2} data-source={row.source}>
			<td role="cell" class={`state ${state}`}>
				<span class="icon" aria-hidden="true">
					{STATE_ICONS[state]}
				</span>
				<span>{t(`state.${state}`)}</span>
			</td>
			<td role="cell" class="name">
				<a href={href({ view: "node", id: row.source })}>{row.source}</a>
				<small>{labels.map(([, v]) => v).join(" · ")}</small>
			</td>
			<td role="cell" class="beat">
				<BeatBar row={row} />
			</td>
			{machine ? <MachineCells row={row} /> : <DeviceCells row={row} />}
			<td role="cell" class="aged">
				<span class="tag">{t("col.age")}</span>
				<Age row={row} />
			</td>
		</tr>
	);
}

/** Which items are in sight. */
function useSight(count: number) {
	const body = useRef<HTMLTableSectionElement>(null);
	const rowHeight = () => (matchMedia(PHONE).matches ? CARD_HEIGHT : ROW_HEIGHT);
	const height = useSignal(0);
	height.value ||= rowHeight();
	const columns = useSignal(0);
	// What can be in sight before one has scrolled, and a few: measuring finds nothing to add.
	const range = useSignal({ from: 0, to: Math.ceil(innerHeight / height.value) + SPARE });
	useLayoutEffect(() => {
		const look = () => {
			height.value = rowHeight();
			columns.value = HEADERS.length - FEWER.filter((width) => innerWidth <= width).length;
			const top = body.current?.getBoundingClientRect().top ?? 0;
			const first = Math.floor(-top / height.value);
			const last = Math.ceil((innerHeight - top) / height.value);
			const { from, to } = range.value;
			// Rows are added when few are left, several at a time.
			if (
				from > Math.max(0, first - SPARE) ||
				to < last + SPARE ||
				to - from > last - first + 4 * OVERSCAN
			)
				range.value = { from: Math.max(0, first - OVERSCAN), to: last + OVERSCAN };
		};
		look();
		addEventListener("scroll", look, { passive: true });
		addEventListener("resize", look);
		return () => {
			removeEventListener("scroll", look);
			removeEventListener("resize", look);
		};
	}, [count]);
	return { body, range, height, columns };
}

export function Fleet({ only = "" }: { only?: "device" | "" }) {
	const { sort, filter, group } = route.value;
	const moved = useRef(Number.NEGATIVE_INFINITY);
	const items = useRef<Item[]>([]);
	const arranged = useRef("");
	const turn = useComputed(() => Math.floor(now.value / 2000));

	fleetRev.value;
	turn.value;
	const key = [sort, filter, group, rows.size, only].join("\n");
	// Rows stay where they are under a pointer that moves, unless something else was asked for.
	const held = performance.now() - moved.current < HOLD_MS;
	if (key !== arranged.current || !(held || paused.value)) {
		arranged.current = key;
		items.current = arrange(sort, filter, group, only);
	} else {
		// The order stays, but a row may be another object since all were loaded again.
		items.current = items.current.map((i) =>
			i.kind === "row" ? { kind: "row", row: rows.get(i.row.source) ?? i.row } : i,
		);
	}
	const list = items.current;
	const { body, range, height, columns } = useSight(list.length);
	const { from, to } = range.value;
	const visible = list.slice(from, to);
	const shown = list.reduce((n, i) => n + (i.kind === "row" ? 1 : 0), 0);
	const all = only ? [...rows.values()].filter((r) => r.kind === only).length : rows.size;

	useKeyboardRows(list, height.value, body);

	const labels = [...new Set([...rows.values()].flatMap((r) => Object.keys(r.labels)))].sort();
	const current = sort.replace(/^-/, "") || "worst";
	const click = (key: SortKey) =>
		change({ sort: sort === key ? `-${key}` : sort === `-${key}` ? "" : key });
	const nodes = [...rows.values()].filter((r) => r.kind === "node").length;

	return (
		<>
			<div class="toolbar">
				<h1 tabIndex={-1}>{t(only ? "devices.title" : "fleet.title")}</h1>
				<label class="filter">
					<span class="sr">{t("fleet.filter")}</span>
					<input
						id="filter"
						type="search"
						placeholder={t("fleet.filter.hint")}
						value={filter}
						onInput={(e) => change({ filter: e.currentTarget.value })}
						autoComplete="off"
						spellcheck={false}
					/>
				</label>
				<label class="group">
					<span>{t("fleet.group")}</span>
					<select value={group} onChange={(e) => change({ group: e.currentTarget.value })}>
						<option value="">{t("fleet.group.none")}</option>
						{["kind", ...labels].map((l) => (
							<option key={l} value={l}>
								{l}
							</option>
						))}
					</select>
				</label>
				<p class="count" role="status">
					{filter
						? t("fleet.shown", { n: shown, m: all })
						: only
							? t("fleet.devices", { n: all })
							: `${t("fleet.nodes", { n: nodes })}, ${t("fleet.devices", { n: rows.size - nodes })}`}
				</p>
			</div>
			{!fleetLoaded.value && <Skeleton />}
			{fleetLoaded.value && all === 0 && (
				<div class="empty">
					<p>{t(only ? "devices.empty" : "fleet.empty")}</p>
					<p class="dim">{t(only ? "devices.how" : "fleet.empty.how")}</p>
					{only && (
						<pre>{`mosquitto_pub -q 1 -t latido/v1/devices/greenhouse/metrics -m '{"temperature":21.5}'`}</pre>
					)}
				</div>
			)}
			{fleetLoaded.value && all > 0 && shown === 0 && (
				<div class="empty">
					<p>{t("fleet.nomatch", { q: filter })}</p>
					<button type="button" onClick={() => change({ filter: "" })}>
						{t("fleet.clear")}
					</button>
				</div>
			)}
			{fleetLoaded.value && shown > 0 && (
				<table
					role="table"
					class="fleet"
					aria-rowcount={list.length + 1}
					aria-label={t(only ? "devices.title" : "fleet.title")}
					onMouseMove={() => {
						moved.current = performance.now();
					}}
				>
					<thead role="rowgroup">
						<tr role="row" aria-rowindex={1}>
							{HEADERS.map((h) => (
								<th
									key={h.key}
									role="columnheader"
									scope="col"
									class={h.name}
									aria-sort={
										h.sort !== current
											? undefined
											: sort.startsWith("-") === (h.sort === "name")
												? "descending"
												: sort.startsWith("-")
													? "ascending"
													: h.sort === "name"
														? "ascending"
														: "descending"
									}
								>
									{h.sort ? (
										<button type="button" onClick={() => click(h.sort as SortKey)}>
											{t(h.key)}
											<span class="arrow" aria-hidden="true">
												{h.sort === current ? (sort.startsWith("-") ? "↑" : "↓") : ""}
											</span>
										</button>
									) : (
										t(h.key)
									)}
								</th>
							))}
						</tr>
					</thead>
					<tbody role="rowgroup" ref={body}>
						{from > 0 && <tr aria-hidden="true" style={{ height: `${from * height.value}px` }} />}
						{visible.map((item, i) =>
							item.kind === "row" ? (
								<RowView key={item.row.source} row={item.row} index={from + i} group={group} />
							) : (
								<tr
									key={`group ${item.name}`}
									role="row"
									class="grouphead"
									aria-rowindex={from + i + 2}
								>
									<th role="rowheader" scope="rowgroup" colSpan={columns.value}>
										{item.name || t("fleet.other", { label: group })}
										<span class="dim"> {item.count}</span>
									</th>
								</tr>
							),
						)}
						{to < list.length && (
							<tr aria-hidden="true" style={{ height: `${(list.length - to) * height.value}px` }} />
						)}
					</tbody>
				</table>
			)}
			{loadError.value && <p class="error">{t("error.failed", { why: loadError.value })}</p>}
		</>
	);
}

/** Arrows move the focus from row to row, also to rows that are not in the document yet. */
function useKeyboardRows(
	list: readonly Item[],
	height: number,
	body: { current: HTMLTableSectionElement | null },
): void {
	const moves = useRef(0);
	const state = useRef({ list, height });
	state.current = { list, height };
	useEffect(() => {
		const move = (e: Event) => {
			const by = (e as CustomEvent<number>).detail;
			const sources = state.current.list.flatMap((i, at) =>
				i.kind === "row" ? [{ source: i.row.source, at }] : [],
			);
			if (sources.length === 0 || !body.current) return;
			const focused = document.activeElement?.closest<HTMLElement>("tr[data-source]");
			const here = sources.findIndex((s) => s.source === focused?.dataset.source);
			const next = sources[Math.min(sources.length - 1, Math.max(0, here + by))];
			if (!next) return;
			const top = body.current.getBoundingClientRect().top + next.at * state.current.height;
			if (top < 120) scrollBy(0, top - 120);
			else if (top + state.current.height > innerHeight - 8)
				scrollBy(0, top + state.current.height - innerHeight + 8);
			const mine = ++moves.current;
			const focus = () => {
				const link = body.current?.querySelector<HTMLElement>(
					`tr[data-source="${CSS.escape(next.source)}"] a`,
				);
				if (mine === moves.current) link?.focus({ preventScroll: true });
				return link;
			};
			// A row that was out of sight is in the document after the next drawing.
			if (!focus()) requestAnimationFrame(() => requestAnimationFrame(focus));
		};
		addEventListener("latido-move", move);
		return () => removeEventListener("latido-move", move);
	}, []);
}

function Skeleton() {
	return (
		<div class="skeleton" aria-hidden="true">
			{Array.from({ length: 8 }, (_, i) => (
				<div key={i} />
			))}
		</div>
	);
}
