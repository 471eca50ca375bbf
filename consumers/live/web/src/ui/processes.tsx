/* SPDX-License-Identifier: MIT */
/** Processes by state, and those that use most where the agent publishes them. */
import { type Signal, useSignal } from "@preact/signals";
import { useEffect, useMemo, useRef } from "preact/hooks";
import { api, type NodeAt, num } from "../core/api";
import { bytes, clock, NONE, percent, plain } from "../core/format";
import { type Key, t } from "../core/i18n";
import type { PanelSpec, SeriesInfo } from "../core/lines";
import { DEFAULT_RANGE } from "../core/route";
import { matches } from "../core/series";
import type { Source } from "../source";
import { usePanels } from "./node";
import { SparkLine } from "./spark";

/** States of ps(1), in the order in which they are of interest. */
const STATES: readonly [string, Key][] = [
	["R", "proc.running"],
	["S", "proc.sleeping"],
	["D", "proc.disk"],
	["I", "proc.idle"],
	["T", "proc.stopped"],
	["Z", "proc.zombie"],
];

/** Where the numbers of each state come from: ours and node_exporter's, or the first users' document. */
const DOCUMENT: Record<string, string> = {
	R: "procesos_corriendo",
	S: "procesos_durmiendo",
	Z: "procesos_zombie",
	T: "procesos_parados",
};

/** Of the processes that use most of either, in the agent's stream of them. */
const CPU = "latido_process_cpu_ratio";
const RSS = "latido_process_resident_memory_bytes";

function trendSpec(states: readonly string[]): PanelSpec {
	return {
		id: "processes",
		title: "",
		unit: "none",
		lines: states.map((state) => ({
			key: state,
			label: state,
			parts: [
				{ name: "node_processes_state", match: { state } },
				...(state === "T" ? [{ name: "node_processes_state", match: { state: "t" } }] : []),
				...(DOCUMENT[state] ? [{ name: DOCUMENT[state] }] : []),
			],
		})),
	};
}

interface Process {
	pid: number;
	comm: string;
	cpu: number;
	rss: number;
}

interface Snapshot {
	states: Map<string, number>;
	threads: number;
	top: Process[];
}

/** Name, labels and value of each series. */
type Values = Iterable<readonly [string, Readonly<Record<string, string>>, number]>;

function look(values: Values): Snapshot {
	const states = new Map<string, number>();
	const top = new Map<string, Process>();
	let threads = Number.NaN;
	const process = ({ pid = "", comm = "" }: Readonly<Record<string, string>>) => {
		let p = top.get(pid);
		if (!p) {
			p = { pid: +pid, comm, cpu: Number.NaN, rss: Number.NaN };
			top.set(pid, p);
		}
		return p;
	};
	const sum = (a: number, b: number) => (Number.isNaN(a) ? b : a + b);
	for (const [name, labels, v] of values)
		switch (name) {
			case "node_processes_state": {
				// Traced is a way of being stopped.
				const state = (labels.state ?? "").replace("t", "T");
				states.set(state, sum(states.get(state) ?? Number.NaN, v));
				break;
			}
			case "node_processes_threads":
				threads = v;
				break;
			case CPU:
				process(labels).cpu = 100 * v;
				break;
			case RSS:
				process(labels).rss = v;
				break;
			default:
				for (const [state, doc] of Object.entries(DOCUMENT)) if (name === doc) states.set(state, v);
				break;
		}
	return { states, threads, top: [...top.values()] };
}

function* newest(source: Source): Values {
	for (const stream of source.streams.values())
		for (let i = 0; i < stream.series.length; i++) {
			const s = stream.series[i] as SeriesInfo;
			yield [s.name, s.labels, source.value(stream, i)];
		}
}

/** What `look` reads. */
const NAMES = [
	"node_processes_state",
	"node_processes_threads",
	CPU,
	RSS,
	...Object.values(DOCUMENT),
];

function* valuesAt(at: NodeAt): Values {
	for (const e of at.events)
		for (const [i, [name, labels]] of e.series.entries()) yield [name, labels, num(e.values[i])];
}

/** The processes as they were, beside an alert. */
export function ProcessesAt({ source, at }: { source: string; at: number }) {
	const snapshot = useSignal<Snapshot | null>(null);
	const time = useSignal(at);
	const error = useSignal("");
	useEffect(() => {
		let gone = false;
		api
			.at(source, NAMES, at)
			.then((a) => {
				if (gone) return;
				time.value = a.time_ms;
				snapshot.value = look(valuesAt(a));
			})
			.catch((e: unknown) => {
				if (!gone) error.value = e instanceof Error ? e.message : String(e);
			});
		return () => {
			gone = true;
		};
	}, [source, at]);
	if (error.value) return <p class="error">{t("proc.noat", { why: error.value })}</p>;
	if (!snapshot.value) return null;
	return <Table title={t("proc.at", { at: clock(time.value) })} snapshot={snapshot.value} />;
}

export function Processes({ source }: { source: Source }) {
	source.rev.value;
	const held = useSignal(false);
	const frozen = useRef<Snapshot | null>(null);

	const fresh = look(newest(source));
	const names = [...fresh.states.keys()].sort().join("");
	const specs = useMemo(() => (names ? [trendSpec([...names])] : []), [names]);
	const set = usePanels(source, specs, DEFAULT_RANGE);
	const trend = (state: string) => {
		const panel = set?.panels[0];
		const i = panel?.spec.lines.findIndex((l) => l.key === state) ?? -1;
		return <SparkLine values={panel?.lines[i]?.avg ?? []} colour={2} rev={source.rev.value} />;
	};
	if (!held.value || !frozen.current) frozen.current = fresh;
	return <Table title={t("proc.title")} snapshot={frozen.current} trend={trend} held={held} />;
}

interface TableProps {
	title: string;
	snapshot: Snapshot;
	trend?: (state: string) => preact.ComponentChildren;
	/** The pointer is here: rows keep still. */
	held?: Signal<boolean>;
}

function Table({ title, snapshot, trend, held }: TableProps) {
	const { states, threads, top } = snapshot;
	if (states.size === 0 && top.length === 0) return null;
	const hold = (on: boolean) => () => {
		if (held) held.value = on;
	};
	const shown = [...states.values()].reduce((a, b) => a + (b || 0), 0);
	// States without a process keep their row, so that nothing jumps.
	const known = STATES.map(([s, key]) => [s, t(key), states.get(s) ?? 0] as const);
	const others = [...states.keys()].filter((s) => !STATES.some(([k]) => k === s));
	const list = [
		...known,
		...others.map((s) => [s, t("proc.other", { s }), states.get(s) ?? 0] as const),
	];

	return (
		<section class="panel processes" onMouseEnter={hold(true)} onMouseLeave={hold(false)}>
			<header>
				<h2>{title}</h2>
				{held?.value && <span class="dim held">{t("proc.held")}</span>}
			</header>
			{states.size > 0 && (
				<table>
					<thead>
						<tr>
							<th scope="col">{t("proc.state")}</th>
							<th scope="col" class="num">
								{t("proc.count")}
							</th>
							<th scope="col" class="num">
								{t("proc.share")}
							</th>
							{trend && <th scope="col">{t("proc.trend")}</th>}
						</tr>
					</thead>
					<tbody>
						{list.map(([state, word, n]) => (
							<tr key={state} class={state === "Z" && n > 0 ? "warn" : ""} data-state={state}>
								<th scope="row">
									<code>{state}</code> {word}
								</th>
								<td class="num">{plain(n)}</td>
								<td class="num">{percent((100 * n) / shown)}</td>
								{trend && <td>{trend(state)}</td>}
							</tr>
						))}
					</tbody>
					<tfoot>
						<tr data-state="total">
							<th scope="row">{t("proc.total")}</th>
							<td class="num">{plain(shown)}</td>
							<td class="num dim">
								{Number.isNaN(threads) ? "" : t("proc.threads", { n: plain(threads) })}
							</td>
							{trend && <td />}
						</tr>
					</tfoot>
				</table>
			)}
			{top.length > 0 && <Top top={top} />}
		</section>
	);
}

type Sort = keyof Process;

/** The processes that use most: sorted, filtered, ten at a time. */
function Top({ top }: { top: Process[] }) {
	const sort = useSignal<Sort>("cpu");
	const query = useSignal("");
	const key = sort.value;
	const list = top
		.filter((p) => !query.value || matches(query.value, p.comm))
		.sort((a, b) => (key === "comm" ? a.comm.localeCompare(b.comm) : (b[key] || 0) - (a[key] || 0)))
		.slice(0, 10);
	const head = (k: Sort, text: string) => (
		<th
			scope="col"
			class={k === "comm" ? "" : "num"}
			aria-sort={key === k ? "descending" : undefined}
		>
			<button
				type="button"
				onClick={() => {
					sort.value = k;
				}}
			>
				{text}
			</button>
		</th>
	);
	return (
		<>
			<header>
				<h3>{t("proc.top")}</h3>
				<label class="filter">
					<span class="sr">{t("fleet.filter")}</span>
					<input
						type="search"
						placeholder={t("fleet.filter")}
						value={query.value}
						onInput={(e) => {
							query.value = e.currentTarget.value;
						}}
					/>
				</label>
			</header>
			<table>
				<thead>
					<tr>
						{head("comm", t("proc.name"))}
						{head("pid", "PID")}
						{head("cpu", t("col.cpu"))}
						{head("rss", t("proc.rss"))}
					</tr>
				</thead>
				<tbody>
					{list.map((p) => (
						<tr key={p.pid}>
							<th scope="row">{p.comm}</th>
							<td class="num">{p.pid}</td>
							<td class="num">{percent(p.cpu)}</td>
							<td class="num">{Number.isNaN(p.rss) ? NONE : bytes(p.rss)}</td>
						</tr>
					))}
				</tbody>
			</table>
		</>
	);
}
