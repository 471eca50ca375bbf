/* SPDX-License-Identifier: MIT */
/** What is firing stands above everything, on every page; on a node's page its own come first. */
import { plain } from "../core/format";
import { type Key, t } from "../core/i18n";
import { href, route } from "../nav";
import { alertSource, alerts } from "../store";

const MOST = 5;

export function Notices() {
	const { view, id } = route.value;
	// These show them anyway.
	if (view === "alerts" || view === "alert") return null;
	const here = (source: string) => Number(view === "node" && source === id);
	const list = alerts.value
		.filter((a) => a.state === "firing" || here(alertSource(a)))
		.sort((a, b) => here(alertSource(b)) - here(alertSource(a)));
	if (list.length === 0) return null;
	return (
		<ul class="notices" aria-label={t("alerts.active")}>
			{list.slice(0, MOST).map((a) => (
				<li key={a.fingerprint} class={a.state} data-notice={a.fingerprint}>
					<a href={href({ view: "alert", id: a.fingerprint })}>
						<span class="icon" aria-hidden="true">
							{a.state === "firing" ? "▲" : "△"}
						</span>
						<strong>{a.labels.alertname}</strong> {alertSource(a)} {t(`alert.${a.state}` as Key)}
						<span class="dim">
							{" "}
							{typeof a.value === "number" ? plain(a.value) : ""} {a.annotations?.summary ?? ""}
						</span>
					</a>
				</li>
			))}
			{list.length > MOST && (
				<li>
					<a href={href({ view: "alerts" })}>+ {list.length - MOST}</a>
				</li>
			)}
		</ul>
	);
}
