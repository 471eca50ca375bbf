/* SPDX-License-Identifier: MIT */
/** The pipeline about itself: what is connected, how much comes, how late it is on the screen. */
import { useSignal } from "@preact/signals";
import { useEffect } from "preact/hooks";
import { api, type Dependency, type Status } from "../core/api";
import { clock, duration, NONE, plain } from "../core/format";
import { t } from "../core/i18n";
import {
	clockOffset,
	config,
	eventRate,
	events,
	latency,
	latencyRev,
	now,
	reconnects,
	rows,
	skipped,
	status,
	tabs,
	transport,
} from "../store";

const REFRESH_MS = 5000;

function Health({ title, d }: { title: string; d: Dependency | undefined }) {
	const ok = d?.state === "ok";
	const text = !d || d.state === "unknown" ? NONE : t(ok ? "pipe.up" : "pipe.down");
	return (
		<section class={`panel health ${d?.state ?? "unknown"}`}>
			<h2>{title}</h2>
			<p class="big">
				<span class="icon" aria-hidden="true">
					{ok ? "●" : "■"}
				</span>{" "}
				{text}
			</p>
			<p class="dim">
				{d?.since_ms ? `${t("alerts.since")} ${clock(d.since_ms)}` : ""} {d?.error ?? ""}
			</p>
		</section>
	);
}

function Facts({ title, list }: { title: string; list: [string, string, string?][] }) {
	return (
		<section class="panel">
			<h2>{title}</h2>
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

export function PipelineView() {
	const server = useSignal<Status | null>(null);
	const error = useSignal("");
	useEffect(() => {
		let gone = false;
		const load = () =>
			api.status().then(
				(s) => {
					if (gone) return;
					server.value = s;
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
	const p50 = latency.quantile(0.5);
	const p99 = latency.quantile(0.99);
	const late = [...rows.values()].filter((r) => r.state !== "live").length;
	return (
		<>
			<div class="toolbar">
				<h1 tabIndex={-1}>{t("pipe.title")}</h1>
			</div>
			{error.value && <p class="error">{t("pipe.failed", { why: error.value })}</p>}
			<div class="grid cards">
				<Health title={t("pipe.redis")} d={status.value?.redis ?? s?.redis} />
				<Health title={t("pipe.postgres")} d={status.value?.postgres ?? s?.postgres} />
				<Facts
					title={t("pipe.server")}
					list={[
						[t("pipe.version"), config.value?.version ?? NONE],
						[t("pipe.uptime"), s ? duration((now.value - s.started_ms) / 1000) : NONE],
						[t("pipe.events"), s ? plain(s.events_total) : NONE],
						[t("pipe.clients"), s ? plain(s.clients) : NONE, "clients"],
						[t("pipe.skipped"), s ? plain(s.skipped_total) : NONE],
						[`${t("state.late")} / ${t("state.stale")}`, `${late} / ${rows.size}`],
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
						[t("pipe.latency"), `${duration(p50 / 1000)} · ${duration(p99 / 1000)}`, "latency"],
						[t("pipe.offset"), duration(clockOffset() / 1000)],
					]}
				/>
			</div>
		</>
	);
}
