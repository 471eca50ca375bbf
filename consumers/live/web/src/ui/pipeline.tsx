/* SPDX-License-Identifier: MIT */
/** The pipeline about itself: what is connected, how much comes, what is lost, how late it is on the screen. */
import { useSignal } from "@preact/signals";
import { useEffect } from "preact/hooks";
import {
	api,
	type Dependency,
	type Figure,
	type Part,
	type Pipeline,
	type Status,
} from "../core/api";
import { bytes, clock, duration, NONE, plain } from "../core/format";
import { type Key, t } from "../core/i18n";
import {
	clockOffset,
	config,
	eventRate,
	events,
	latency,
	latencyRev,
	now,
	reconnects,
	skipped,
	status,
	tabs,
	transport,
} from "../store";

const REFRESH_MS = 3000;

/** A figure as text; a dash for what is not known. */
const of = (v: Figure | undefined, as: (v: number) => string = plain) =>
	typeof v === "number" ? as(v) : NONE;
const ms = (v: number) => duration(v / 1000);

/** What it is, its value, and its name for those who look for it. */
type Fact = [string, string, string?];

function Facts({ title, list, d }: { title: string; list: Fact[]; d?: Dependency | undefined }) {
	const ok = d?.state === "ok";
	return (
		<section class={`panel health ${d?.state ?? ""}`}>
			<h2>{title}</h2>
			{d && (
				<>
					<p class="big">
						<span class="icon" aria-hidden="true">
							{ok ? "●" : "■"}
						</span>{" "}
						{d.state === "unknown" ? NONE : t(ok ? "pipe.up" : "pipe.down")}
					</p>
					<p class="dim">
						{d.since_ms ? `${t("alerts.since")} ${clock(d.since_ms)}` : ""} {d.error ?? ""}
					</p>
				</>
			)}
			<dl>
				{list.map(([k, v, name]) => (
					<div key={k}>
						<dt>{k}</dt>
						<dd data-fact={name}>{v}</dd>
					</div>
				))}
			</dl>
		</section>
	);
}

const COLUMNS: readonly [Key, (p: Part) => string][] = [
	["pipe.rate", (p) => of(p.events_per_s)],
	["pipe.dropped", (p) => of(p.dropped_per_s)],
	["pipe.rejected", (p) => of(p.rejected_per_s)],
	["pipe.retries", (p) => of(p.retries_per_s)],
	["pipe.waiting", (p) => of(p.waiting_events)],
	["pipe.queue", (p) => of(p.queue_bytes, bytes)],
	["pipe.lag", (p) => of(p.lag_messages)],
	["pipe.late", (p) => of(p.lag_seconds, duration)],
];

function Parts({ list }: { list: readonly Part[] }) {
	return (
		<section class="panel parts">
			<h2>{t("pipe.parts")}</h2>
			{list.length === 0 ? (
				<p class="dim">{t("pipe.noparts")}</p>
			) : (
				<div class="scroll">
					<table>
						<thead>
							<tr>
								<th scope="col">{t("pipe.part")}</th>
								<th scope="col">{t("col.state")}</th>
								<th scope="col">{t("pipe.host")}</th>
								{COLUMNS.map(([key]) => (
									<th key={key} scope="col" class="num">
										{t(key)}
									</th>
								))}
							</tr>
						</thead>
						<tbody>
							{list.map((p) => (
								<tr key={p.source} data-part={p.part} class={p.dropped_per_s ? "warn" : ""}>
									<th scope="row">{p.part}</th>
									<td>
										<span class={`age ${p.state}`}>
											{t(p.state === "live" ? "state.ok" : `state.${p.state}`)}
										</span>
									</td>
									<td>{p.host}</td>
									{COLUMNS.map(([key, text]) => (
										<td key={key} class="num">
											{text(p)}
										</td>
									))}
								</tr>
							))}
						</tbody>
					</table>
				</div>
			)}
		</section>
	);
}

export function PipelineView() {
	const server = useSignal<Status | null>(null);
	const pipeline = useSignal<Pipeline | null>(null);
	const error = useSignal("");
	useEffect(() => {
		let gone = false;
		const load = () =>
			Promise.all([api.status(), api.pipeline()]).then(
				([s, p]) => {
					if (gone) return;
					server.value = s;
					pipeline.value = p;
					error.value = "";
				},
				(e: unknown) => {
					if (!gone) error.value = e instanceof Error ? e.message : String(e);
				},
			);
		load();
		const timer = setInterval(load, REFRESH_MS);
		return () => {
			gone = true;
			clearInterval(timer);
		};
	}, []);
	latencyRev.value;
	const s = server.value;
	const p = pipeline.value;
	const { redis, postgres, live, broker } = p ?? {};
	const newest = live?.last_event_ms ?? Number.NaN;
	return (
		<>
			<div class="toolbar">
				<h1 tabIndex={-1}>{t("pipe.title")}</h1>
			</div>
			{error.value && <p class="error">{t("pipe.failed", { why: error.value })}</p>}
			<div class="grid cards">
				{typeof broker?.queued_messages === "number" && (
					<Facts
						title={t("pipe.broker")}
						list={[
							[t("pipe.lag"), plain(broker.queued_messages), "broker-queue"],
							[t("pipe.dropped"), of(broker.dropped_per_s), "broker-dropped"],
						]}
					/>
				)}
				<Facts
					title={t("pipe.redis")}
					d={status.value?.redis ?? redis}
					list={[
						[t("pipe.ping"), of(redis?.ping_ms, ms), "redis-ping"],
						[
							t("pipe.memory"),
							of(redis?.used_memory_bytes, bytes) +
								(redis?.max_memory_bytes ? ` / ${bytes(redis.max_memory_bytes)}` : ""),
						],
						[t("pipe.evicted"), of(redis?.evicted_total)],
						[t("pipe.connections"), of(redis?.connected_clients)],
						[t("pipe.commands"), of(redis?.commands_per_s)],
					]}
				/>
				<Facts
					title={t("pipe.postgres")}
					d={status.value?.postgres ?? postgres}
					list={[
						[t("pipe.ping"), of(postgres?.ping_ms, ms), "postgres-ping"],
						[t("pipe.size"), of(postgres?.database_bytes, bytes)],
						[t("pipe.connections"), of(postgres?.connections)],
						[t("pipe.commits"), of(postgres?.commits_per_s)],
						[
							t("pipe.behind"),
							of(postgres?.newest_ms, (v) => ms(Math.max(0, newest - v))),
							"store-behind",
						],
						[t("pipe.missing"), `${of(postgres?.missing_events)} · ${of(postgres?.gap_events)}`],
					]}
				/>
				<Facts
					title={t("pipe.server")}
					list={[
						[t("pipe.version"), config.value?.version ?? NONE],
						[t("pipe.uptime"), s ? duration((now.value - s.started_ms) / 1000) : NONE],
						[t("pipe.rate"), of(live?.events_per_s), "server-rate"],
						[t("pipe.events"), of(s?.events_total)],
						[t("pipe.clients"), of(s?.clients), "clients"],
						[t("pipe.lagging"), of(live?.clients_lagging)],
						[t("pipe.dropped"), of(live && live.lost_per_s + live.skipped_per_s), "dropped"],
						[t("pipe.skipped"), of(s?.skipped_total)],
						[
							`${t("state.late")} · ${t("state.stale")}`,
							`${of(p?.sources.late)} · ${of(p?.sources.stale)}`,
						],
					]}
				/>
				<Facts
					title={t("pipe.browser")}
					list={[
						[t("pipe.transport"), t(transport() === "shared" ? "pipe.shared" : "pipe.single")],
						[t("pipe.tabs"), plain(tabs.value), "tabs"],
						[t("pipe.rate"), plain(eventRate.value)],
						[t("pipe.events"), plain(events.value), "events"],
						[t("pipe.skipped"), plain(skipped.value)],
						[t("pipe.resumed"), plain(reconnects.value), "reconnects"],
						[
							t("pipe.latency"),
							`${ms(latency.quantile(0.5))} · ${ms(latency.quantile(0.99))}`,
							"latency",
						],
						[t("pipe.offset"), ms(clockOffset())],
					]}
				/>
			</div>
			{p && <Parts list={p.parts} />}
		</>
	);
}
