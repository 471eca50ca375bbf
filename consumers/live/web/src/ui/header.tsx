/* SPDX-License-Identifier: MIT */
/** What stands on every page: where to go, how live it is, what is firing, what is broken. */
import { effect, signal } from "@preact/signals";
import { age } from "../core/format";
import { type Key, t } from "../core/i18n";
import type { View } from "../core/route";
import { href, route } from "../nav";
import {
	announcement,
	connection,
	firing,
	lastLatency,
	logOut,
	newestEvent,
	now,
	paused,
	session,
	skipped,
	status,
} from "../store";
import { toggleTheme } from "../theme";
import { dialog } from "./dialogs";

/** The name says it: a heartbeat. */
export function Mark() {
	return (
		<svg class="mark" viewBox="0 0 32 32" aria-hidden="true">
			<path d="M2 17h6l3-9 5 17 4-12 2 4h8" />
		</svg>
	);
}

const TABS: readonly [View, Key][] = [
	["fleet", "nav.fleet"],
	["devices", "nav.devices"],
	["alerts", "nav.alerts"],
	["pipeline", "nav.pipeline"],
];

const LATE_MS = 5_000;
const STALE_MS = 15_000;

/** "live · 0.8 s behind"; amber from 5 s, grey from 15 s. */
function LiveChip() {
	const behind = now.value - newestEvent.value;
	let text: string;
	let state = "live";
	if (connection.value === "connecting") [text, state] = [t("live.connecting"), "late"];
	else if (connection.value === "down") [text, state] = [t("live.reconnecting"), "stale"];
	else if (paused.value) [text, state] = [t("live.paused"), "late"];
	else if (newestEvent.value === 0) [text, state] = [t("live.idle"), "stale"];
	else {
		state = behind > STALE_MS ? "stale" : behind > LATE_MS ? "late" : "live";
		// While events come it is their way to the screen that counts, not the wait for the next.
		const shown = state === "live" ? lastLatency.peek() : behind;
		const s = age(Math.max(0, shown) / 1000);
		text = `${t("live.live")} · ${t("live.behind", { s })}`;
	}
	return (
		<span class={`livechip ${state}`} title={text}>
			<i aria-hidden="true" />
			<span>{text}</span>
		</span>
	);
}

export function Header() {
	const { view } = route.value;
	const count = firing.value.length;
	const at = view === "node" ? "fleet" : view === "alert" ? "alerts" : view;
	return (
		<header class="top">
			<a class="skip" href="#main">
				{t("app.skip")}
			</a>
			<a class="brand" href={href({ view: "fleet" })}>
				<Mark />
				<span>{session.value?.title || t("app.title")}</span>
			</a>
			<nav aria-label={t("nav.label")}>
				{TABS.map(([v, key]) => (
					<a key={v} href={href({ view: v })} aria-current={at === v ? "page" : undefined}>
						{t(key)}
						{v === "alerts" && count > 0 && (
							<span class="count" data-firing={count}>
								<span aria-hidden="true">{count}</span>
								<span class="sr">, {t("nav.firing", { n: count })}</span>
							</span>
						)}
					</a>
				))}
			</nav>
			<div class="tools">
				<LiveChip />
				<button
					type="button"
					class="icon"
					onClick={() => dialog("palette")}
					title={`${t("nav.search")} (Ctrl-K)`}
				>
					<svg viewBox="0 0 20 20" aria-hidden="true">
						<circle cx="9" cy="9" r="5.5" />
						<path d="m13 13 4 4" />
					</svg>
					<span class="sr">{t("nav.search")}</span>
				</button>
				<button type="button" class="icon" onClick={toggleTheme} title={`${t("nav.theme")} (d)`}>
					<svg viewBox="0 0 20 20" aria-hidden="true">
						<circle cx="10" cy="10" r="6.5" />
						<path class="solid" d="M10 3.5a6.5 6.5 0 0 1 0 13z" />
					</svg>
					<span class="sr">{t("nav.theme")}</span>
				</button>
				<button
					type="button"
					class="icon help"
					onClick={() => dialog("help")}
					title={`${t("nav.help")} (?)`}
				>
					<span aria-hidden="true">?</span>
					<span class="sr">{t("nav.help")}</span>
				</button>
				{session.value?.auth === "password" && (
					<button type="button" class="logout" onClick={() => logOut()}>
						{t("nav.logout")}
					</button>
				)}
			</div>
		</header>
	);
}

/** The connection has just come back: said for a moment. */
const back = signal(false);
let wasDown = false;
effect(() => {
	if (connection.value === "down") {
		wasDown = true;
		back.value = false;
	} else if (connection.value === "live" && wasDown) {
		wasDown = false;
		back.value = true;
		setTimeout(() => {
			back.value = false;
		}, 4000);
	}
});

/** What is broken, in words; heals by itself. */
export function Banner() {
	const s = status.value;
	const lines: [string, string][] = [];
	if (connection.value === "down") lines.push(["server", t("banner.server")]);
	else {
		if (s?.redis.state === "down") lines.push(["redis", t("banner.redis")]);
		if (s?.postgres.state === "down") lines.push(["postgres", t("banner.postgres")]);
		if (skipped.value > 0) lines.push(["skipped", t("banner.skipped", { n: skipped.value })]);
	}
	return (
		<div class="banners" role="status" aria-live="polite">
			{lines.map(([key, text]) => (
				<p key={key} class={`banner ${key}`} data-banner={key}>
					<span class="icon" aria-hidden="true">
						■
					</span>{" "}
					{text}
					{key === "skipped" && (
						<button
							type="button"
							class="quiet"
							onClick={() => {
								skipped.value = 0;
							}}
						>
							<span aria-hidden="true">×</span>
							<span class="sr">{t("help.close")}</span>
						</button>
					)}
				</p>
			))}
			{back.value && lines.length === 0 && (
				<p class="banner good" data-banner="back">
					<span class="icon" aria-hidden="true">
						●
					</span>{" "}
					{t("banner.back")}
				</p>
			)}
		</div>
	);
}

export function Announcer() {
	return (
		<p class="sr" role="alert" aria-live="assertive">
			{announcement.value}
		</p>
	);
}
