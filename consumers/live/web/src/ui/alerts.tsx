/* SPDX-License-Identifier: MIT */
/** Alerts: what is wrong now, what was, and one of them explained. */
import { useMemo } from "preact/hooks";
import type { Alert } from "../core/api";
import { clock, duration, NONE, plain } from "../core/format";
import { type Key, t } from "../core/i18n";
import { devicePanels, nodePanels } from "../core/panels";
import type { Range } from "../core/route";
import { threshold } from "../core/rules";
import { matches } from "../core/series";
import { change, href, route } from "../nav";
import { alertSource, alerts, config, now } from "../store";
import {
	alertOf,
	type Episode,
	episodes,
	exprOf,
	forOf,
	ruleOf,
	silenceLink,
	timeOf,
	useHistory,
	valueText,
} from "./alertinfo";
import { concerns, marksFor } from "./marks";
import { ChartGrid, usePanels, useSource } from "./node";
import { ProcessesAt } from "./processes";

const DAY = 86_400_000;
const AROUND_MS = 600_000;

function word(state: string): string {
	return ["firing", "pending", "resolved", "cancelled"].includes(state)
		? t(`alert.${state}` as Key)
		: state;
}

function StateWord({ state }: { state: string }) {
	const icon = { firing: "▲", pending: "△", resolved: "✓" }[state] ?? "–";
	return (
		<span class={`alertstate ${state}`}>
			<span class="icon" aria-hidden="true">
				{icon}
			</span>{" "}
			{word(state)}
		</span>
	);
}

/** How long until a pending one fires. */
function Countdown({ alert }: { alert: Alert }) {
	const hold = forOf(alert);
	const since = timeOf(alert.activeAt);
	if (alert.state !== "pending" || Number.isNaN(hold) || Number.isNaN(since)) return null;
	const left = Math.max(0, since / 1000 + hold - now.value / 1000);
	return (
		<small class="countdown">{t("alerts.remaining", { d: duration(Math.round(left)) })}</small>
	);
}

function Silence({ labels }: { labels: Record<string, string> }) {
	const base = config.value?.alertmanager_url;
	if (!base || !/^https?:/.test(base)) return null;
	return (
		<a href={silenceLink(base, labels)} target="_blank" rel="noreferrer" class="silence">
			{t("alerts.silence")} <span aria-hidden="true">↗</span>
		</a>
	);
}

export function AlertsView() {
	const { filter, range } = route.value;
	const [from, to] = range.live
		? [Math.floor(now.peek() / 60_000) * 60_000 - 7 * DAY, 0]
		: [range.from, range.to];
	const fixed = useMemo(() => from, [range.live ? range.name : from]);
	const history = useHistory({
		from: String(fixed / 1000),
		...(to ? { to: String(to / 1000) } : {}),
	});
	const fits = (a: { labels: Record<string, string>; state: string }) =>
		!filter ||
		matches(filter, [a.state, ...Object.entries(a.labels).map(([k, v]) => `${k}=${v}`)].join(" "));
	const active = alerts.value.filter(fits);
	const past = history.list.value && episodes(history.list.value).filter(fits);
	return (
		<>
			<div class="toolbar">
				<h1 tabIndex={-1}>{t("alerts.title")}</h1>
				<label class="filter">
					<span class="sr">{t("fleet.filter")}</span>
					<input
						id="filter"
						type="search"
						placeholder={t("fleet.filter.hint")}
						value={filter}
						onInput={(e) => change({ filter: e.currentTarget.value })}
						autoComplete="off"
					/>
				</label>
			</div>
			<section class="panel" aria-labelledby="active">
				<header>
					<h2 id="active">{t("alerts.active")}</h2>
					<span class="dim">{active.length}</span>
				</header>
				{active.length === 0 ? (
					<p class="allwell">
						<span aria-hidden="true">✓</span> {t("alerts.none")}
					</p>
				) : (
					<ul class="alertlist" data-list="active">
						{active.map((a) => (
							<ActiveAlert key={a.fingerprint} alert={a} />
						))}
					</ul>
				)}
			</section>
			<section class="panel" aria-labelledby="history">
				<header>
					<h2 id="history">{t("alerts.history")}</h2>
					<span class="dim">{past?.length ?? ""}</span>
				</header>
				{history.error.value && (
					<p class="error">{t("alerts.failed", { why: history.error.value })}</p>
				)}
				{past && past.length === 0 && <p class="dim">{t("alerts.nohistory")}</p>}
				{past && past.length > 0 && <HistoryTable list={past} />}
			</section>
		</>
	);
}

function ActiveAlert({ alert }: { alert: Alert }) {
	const since = timeOf(alert.state === "firing" ? alert.startsAt : alert.activeAt);
	const expr = exprOf(alert);
	const limit = threshold(expr);
	const { annotations = {} } = alert;
	const source = alertSource(alert);
	return (
		<li class={alert.state} data-alert={alert.fingerprint}>
			<div class="what">
				<StateWord state={alert.state} />
				<a class="title" href={href({ view: "alert", id: alert.fingerprint })}>
					{alert.labels.alertname}
				</a>
				{source && <a href={href({ view: "node", id: source })}>{source}</a>}
				{alert.labels.severity && <span class="chip">{alert.labels.severity}</span>}
				<Countdown alert={alert} />
			</div>
			<p class="why">{annotations.summary ?? annotations.description ?? ""}</p>
			{expr && <code class="expr">{expr}</code>}
			<div class="meta dim">
				<span>
					{t("alerts.value")} <b class="value">{valueText(alert)}</b>
					{limit && ` ${limit.op} ${plain(limit.value)}`}
				</span>
				<span>
					{t("alerts.since")} {clock(since)}
					{Number.isNaN(since) ? "" : ` (${duration(Math.round((now.value - since) / 1000))})`}
				</span>
				<Silence labels={alert.labels} />
			</div>
		</li>
	);
}

function HistoryTable({ list }: { list: readonly Episode[] }) {
	return (
		<div class="scroll">
			<table data-list="history">
				<thead>
					<tr>
						<th scope="col">{t("alerts.state")}</th>
						<th scope="col">{t("alerts.name")}</th>
						<th scope="col">{t("alerts.source")}</th>
						<th scope="col">{t("alerts.started")}</th>
						<th scope="col">{t("alerts.ended")}</th>
						<th scope="col" class="num">
							{t("alerts.value")}
						</th>
					</tr>
				</thead>
				<tbody>
					{list.slice(0, 200).map((e) => (
						<tr key={`${e.fingerprint} ${e.active}`} data-alert={e.fingerprint}>
							<td>
								<StateWord state={e.state} />
							</td>
							<td>
								<a href={href({ view: "alert", id: e.fingerprint, range: around(e) })}>
									{e.labels.alertname}
								</a>
								<small class="dim"> {e.annotations.summary ?? ""}</small>
							</td>
							<td>
								<a href={href({ view: "node", id: alertSource(e), range: around(e) })}>
									{alertSource(e)}
								</a>
							</td>
							<td>{clock(e.active)}</td>
							<td>
								{Number.isNaN(e.ended)
									? NONE
									: `${clock(e.ended)} (${duration(Math.round((e.ended - e.active) / 1000))})`}
							</td>
							<td class="num">{valueText({ labels: e.labels, value: e.value })}</td>
						</tr>
					))}
				</tbody>
			</table>
		</div>
	);
}

/** Ten minutes before it began until ten minutes after it ended. */
function around(e: { active: number; ended: number }): Range {
	const end = Number.isNaN(e.ended) ? now.peek() : e.ended;
	const from = e.active - AROUND_MS;
	return { live: false, from, to: Math.min(end + AROUND_MS, from + 7 * DAY) };
}

export function AlertView({ fingerprint }: { fingerprint: string }) {
	const active = alerts.value.find((a) => a.fingerprint === fingerprint);
	const history = useHistory({ fingerprint });
	const past = episodes(history.list.value ?? []);
	const { range } = route.value;
	// With a window in the address it is about that time; otherwise about the newest.
	const episode = range.live
		? past[0]
		: (past.find((e) => e.active <= range.to && (e.ended || range.to) >= range.from) ?? past[0]);
	const alert: Alert | undefined = active ?? (episode && alertOf(episode));
	if (!alert)
		return (
			<div class="empty">
				<h1 tabIndex={-1}>{t("alerts.title")}</h1>
				<p>
					{history.error.value
						? t("alerts.failed", { why: history.error.value })
						: history.list.value
							? t("alerts.gone")
							: "…"}
				</p>
				<a href={href({ view: "alerts" })}>{t("alerts.all")}</a>
			</div>
		);
	const expr = exprOf(alert);
	const hold = forOf(alert);
	const limit = threshold(expr);
	const source = alertSource(alert);
	const { annotations = {} } = alert;
	const link = annotations.runbook_url ?? "";
	const runbook = /^https?:/.test(link) ? link : "";
	const facts: [string, string][] = [
		[t("alerts.value"), valueText(alert)],
		[t("alerts.threshold"), limit ? `${limit.op} ${plain(limit.value)}` : NONE],
		[t("alerts.for"), duration(hold)],
		[t("alerts.started"), clock(timeOf(alert.activeAt))],
		[
			t("alerts.ended"),
			active || Number.isNaN(timeOf(alert.endsAt)) ? NONE : clock(timeOf(alert.endsAt)),
		],
		[t("alerts.rule"), ruleOf(alert) || NONE],
	];
	return (
		<>
			<div class="nodehead">
				<p class="crumb">
					<a href={href({ view: "alerts" })}>{t("nav.alerts")}</a>
				</p>
				<h1 tabIndex={-1}>{alert.labels.alertname}</h1>
				<StateWord state={alert.state} />
				<Countdown alert={alert} />
				{source && <a href={href({ view: "node", id: source })}>{source}</a>}
				<Silence labels={alert.labels} />
			</div>
			<section class="panel explain">
				<p class="why">{annotations.summary ?? ""}</p>
				{annotations.description && <p class="dim">{annotations.description}</p>}
				{expr && <code class="expr">{expr}</code>}
				<dl>
					{facts.map(([k, v]) => (
						<div key={k}>
							<dt>{k}</dt>
							<dd>{v}</dd>
						</div>
					))}
				</dl>
				<p class="chips">
					{Object.entries(alert.labels).map(([k, v]) => (
						<span class="chip" key={k}>
							{k}={v}
						</span>
					))}
				</p>
				{runbook && (
					<a href={runbook} target="_blank" rel="noreferrer">
						{runbook}
					</a>
				)}
			</section>
			{source && <Around key={source} source={source} alert={alert} live={!!active} />}
		</>
	);
}

/** The node's charts around the alert; those that the rule is about come first. */
function Around({ source: name, alert, live }: { source: string; alert: Alert; live: boolean }) {
	const source = useSource(name);
	source.shapeRev.value;
	const detail = source.detail.value;
	const begin = timeOf(alert.activeAt);
	const end = timeOf(alert.endsAt);
	const minutes = Math.ceil((now.value - begin) / 60_000);
	const range: Range = useMemo(
		() =>
			live && minutes < 60
				? { live: true, name: "around", span: AROUND_MS + minutes * 60_000 }
				: around({ active: begin, ended: live ? Number.NaN : end }),
		[begin, live, live ? minutes : end],
	);
	const expr = exprOf(alert);
	const series = source.series();
	const key = series.map((s) => s.text).join("\n");
	const specs = useMemo(() => {
		if (!detail) return [];
		const usual = nodePanels(series, detail.cpus ?? 0, detail.memory_bytes ?? 0);
		const all = usual.length > 0 ? usual : devicePanels(series);
		return all.sort((a, b) => Number(concerns(b, expr)) - Number(concerns(a, expr)));
	}, [key, detail !== null, expr]);
	const set = usePanels(source, specs, range);
	return (
		<>
			<h2 class="section">{t("alerts.charts")}</h2>
			<ChartGrid
				source={source}
				set={set}
				specs={specs}
				range={range}
				level={3}
				marks={(spec) => marksFor(spec, [alert])}
			/>
			{detail && <ProcessesAt source={name} at={timeOf(alert.startsAt) || begin} />}
		</>
	);
}
