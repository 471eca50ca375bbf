/* SPDX-License-Identifier: MIT */
/** The page's state. Signals say what changed; rows are plain data, drawn once a frame at most. */
import { batch, computed, type Signal, signal } from "@preact/signals";
import {
	type Alert,
	ApiError,
	api,
	type Config,
	type Dependency,
	type Fleet,
	type Session,
	setLoginHandler,
} from "./core/api";
import type { FeedMessage, NodeEvent } from "./core/feed";
import { COLUMNS, Row } from "./core/fleet";
import { chooseLanguage, setLanguage, t } from "./core/i18n";
import { keep, kept } from "./core/kept";
import type { Link } from "./core/link";
import { Quantiles } from "./core/quantiles";

export class LiveRow extends Row {
	/** Counts up when the row has something new to draw. */
	readonly rev: Signal<number> = signal(0);
}

export type Connection = "connecting" | "live" | "down";

export const session = signal<Session | null>(null);
export const config = signal<Config | null>(null);
export const connection = signal<Connection>("connecting");
export const status = signal<{ redis: Dependency; postgres: Dependency } | null>(null);
export const reconnects = signal(0);
export const tabs = signal(1);
export const skipped = signal(0);
export const paused = signal(false);
export const alerts = signal<readonly Alert[]>([]);
export const loadError = signal("");
/** What a screen reader is told. */
export const announcement = signal("");
/** The server's clock, ms; ticks once a second. */
export const now = signal(Date.now());

export const rows = new Map<string, LiveRow>();
/** Counts up when a row comes, goes, or changes its state or description. */
export const fleetRev = signal(0);
/** False until the first answer. */
export const fleetLoaded = signal(false);
/** Of the newest event that was drawn. */
export const newestEvent = signal(0);
export const events = signal(0);
export const eventRate = signal(0);
export const latency = new Quantiles(1000);
export const latencyRev = signal(0);
/** From sample to screen, of what was drawn last; smoothed, ms. */
export const lastLatency = signal(0);

export const needLogin = computed(
	() => session.value !== null && session.value.auth === "password" && session.value.user === null,
);
export const firing = computed(() => alerts.value.filter((a) => a.state === "firing"));

/** How far the server's clock is ahead of this one, ms. */
let offset = 0;
const offsets: number[] = [];

export function serverNow(): number {
	return Date.now() + offset;
}

export const clockOffset = () => offset;

/** The least delayed of the last ticks is nearest to the truth. */
function learnClock(serverMs: number, at: number): void {
	offsets.push(serverMs - at);
	if (offsets.length > 24) offsets.shift();
	offset = Math.max(...offsets);
}

// ---- drawing once a frame ----

const dirty = new Set<LiveRow>();
const drawers = new Set<() => void>();
let drawing = false;
let undrawn: number[] = [];

function frame(): void {
	drawing = false;
	const drawn = undrawn;
	undrawn = [];
	batch(() => {
		if (!paused.value) {
			for (const r of dirty) r.rev.value++;
			dirty.clear();
		}
		for (const d of drawers) d();
		drawers.clear();
	});
	if (drawn.length === 0 || paused.value) return;
	// A task queued in a frame runs after that frame was painted.
	setTimeout(() => {
		const at = serverNow();
		for (const time of drawn) latency.push(at - time);
		lastLatency.value += 0.3 * (at - Math.max(...drawn) - lastLatency.value);
		newestEvent.value = Math.max(newestEvent.value, ...drawn);
		latencyRev.value++;
	});
}

function schedule(): void {
	if (drawing) return;
	drawing = true;
	requestAnimationFrame(frame);
}

/** Runs `f` in the next frame, once however often it is asked for. */
export function draw(f: () => void): void {
	drawers.add(f);
	schedule();
}

// ---- the fleet ----

let columns: readonly string[] = COLUMNS;
let sparkPoints = 60;
let sparkStep = 5000;
let drawnStep = 0;
/** A row that the server no longer names goes when it was silent for so long. */
const FORGET_MS = 3_600_000;
let loading: Promise<void> | null = null;
/** Asked for before it is known who asks: who was logged in last time mostly still is. */
let early: Promise<Fleet> | null = null;
const KNOWN = "known";
let reload: ReturnType<typeof setTimeout> | undefined;

function countAlerts(): void {
	const firingOf = new Map<string, number>();
	for (const a of firing.value) {
		const source = alertSource(a);
		firingOf.set(source, (firingOf.get(source) ?? 0) + 1);
	}
	for (const r of rows.values()) {
		const n = firingOf.get(r.source) ?? 0;
		if (n === r.firing) continue;
		r.firing = n;
		dirty.add(r);
	}
	fleetRev.value++;
	schedule();
}

function takeFleet(f: Fleet): void {
	columns = f.columns;
	sparkStep = f.spark_step_ms;
	const seen = new Set<string>();
	for (const n of f.nodes) {
		seen.add(n.source);
		const points = Object.values(n.spark ?? {})[0]?.length ?? sparkPoints;
		sparkPoints = points;
		const before = rows.get(n.source);
		if (before && (before.time > n.seen_ms || before.bare)) {
			if (before.time > n.seen_ms) before.describe({ ...n, state: before.state });
			else before.take(n, columns);
			if (before.bare) before.remember(n, points, sparkStep, f.spark_end_ms);
			dirty.add(before);
			continue;
		}
		rows.set(n.source, new LiveRow(n, columns, points, sparkStep, f.spark_end_ms));
	}
	// A server that has just started does not know all of them yet; they are there again in a moment.
	for (const r of rows.values())
		if (!seen.has(r.source) && r.time < f.time_ms - FORGET_MS) rows.delete(r.source);
	newestEvent.value = Math.max(newestEvent.value, ...f.nodes.map((n) => n.seen_ms));
	fleetLoaded.value = true;
	countAlerts();
}

export function loadFleet(past = true): Promise<void> {
	loading ??= (early ?? api.nodes(past))
		.then((f) => {
			takeFleet(f);
			loadError.value = "";
		})
		.catch((e: unknown) => {
			if (e instanceof ApiError && e.status === 401) return;
			loadError.value = e instanceof Error ? e.message : String(e);
			// The banner is there; rows come when the server is.
			clearTimeout(reload);
			reload = setTimeout(loadFleet, 3000, true);
		})
		.finally(() => {
			loading = early = null;
			answered();
		});
	return loading;
}

// ---- alerts ----

/** The source that an alert is about. */
export function alertSource(a: { labels: Record<string, string>; source?: unknown }): string {
	return (typeof a.source === "string" && a.source) || a.labels.instance || "";
}

function isActive(a: Alert): boolean {
	return a.state === "firing" || a.state === "pending";
}

function setAlerts(list: Alert[]): void {
	const order = { firing: 0, pending: 1 } as Record<string, number>;
	alerts.value = list
		.filter(isActive)
		.sort(
			(a, b) =>
				(order[a.state] ?? 2) - (order[b.state] ?? 2) ||
				(a.labels.alertname ?? "").localeCompare(b.labels.alertname ?? "") ||
				alertSource(a).localeCompare(alertSource(b)),
		);
	countAlerts();
}

/** Counts up when an alert changed: lists of the history load again. */
export const alertRev = signal(0);

function takeAlert(a: Alert & { gone?: boolean }): void {
	const before = alerts.value.find((x) => x.fingerprint === a.fingerprint);
	const rest = alerts.value.filter((x) => x.fingerprint !== a.fingerprint);
	setAlerts(a.gone ? rest : [...rest, a]);
	alertRev.value++;
	const about = before ?? a;
	const values = { name: about.labels?.alertname ?? "", source: alertSource(about) };
	if (!a.gone && a.state === "firing" && before?.state !== "firing")
		announcement.value = t("alert.new", values);
	else if (before?.state === "firing" && (a.gone || !isActive(a)))
		announcement.value = t("alert.over", values);
}

// ---- what the stream says ----

type NodeListener = (e: NodeEvent) => void;
const listeners = new Map<string, Set<NodeListener>>();
const resyncs = new Set<() => void>();
let link: Link | null = null;
let openLink: () => Link;

export const transport = () => (link?.shared ? "shared" : "single");

function watchAll(): void {
	link?.watch([...listeners.keys()]);
}

const listening = new Map<string, () => void>();

/** When events of a source begin to come: what is asked for after that has no hole before them. */
export function heard(source: string): Promise<void> {
	return new Promise((done) => listening.set(source, done));
}

/** Every event of a source, until the returned function is called. `resync`: something was missed. */
export function watch(source: string, f: NodeListener, resync: () => void): () => void {
	let set = listeners.get(source);
	if (!set) {
		set = new Set();
		listeners.set(source, set);
	}
	set.add(f);
	resyncs.add(resync);
	watchAll();
	return () => {
		set.delete(f);
		resyncs.delete(resync);
		if (set.size === 0) {
			listeners.delete(source);
			listening.delete(source);
			watchAll();
		}
	};
}

/** The stream has spoken before. */
let met = false;
let again: ReturnType<typeof setTimeout> | undefined;
const AGAIN_MS = 2500;
let counted = 0;

export function receive(m: FeedMessage): void {
	switch (m.k) {
		case "up":
			connection.value = "live";
			reconnects.value = m.reconnects;
			learnClock(m.time_ms, Date.now());
			// The first one comes beside the first answer, which has everything.
			if (met && !m.resumed) {
				loadFleet();
				for (const f of resyncs) f();
			}
			met = true;
			if (m.resumed) break;
			// A server that has just started may have answered while it was still reading.
			clearTimeout(again);
			again = setTimeout(loadFleet, AGAIN_MS, true);
			break;
		case "down":
			connection.value = "down";
			break;
		case "login":
			askLogin();
			break;
		case "status": {
			// Down, or a server that has just started and was still reading what there is.
			const was = status.value?.redis.state ?? "ok";
			status.value = { redis: m.redis, postgres: m.postgres };
			if (was !== "ok" && m.redis.state === "ok") {
				loadFleet();
				for (const f of resyncs) f();
			}
			break;
		}
		case "source":
			for (const s of m.list) {
				const r = rows.get(s.source);
				if (!r) {
					loadSoon();
					continue;
				}
				r.describe(s);
				dirty.add(r);
			}
			fleetRev.value++;
			schedule();
			break;
		case "fleet":
			for (const row of m.rows) {
				const r = rows.get(row[0]);
				if (!r) {
					loadSoon();
					continue;
				}
				const was = r.state;
				if (!r.apply(row, columns, m.full)) continue;
				if (was !== r.state) fleetRev.value++;
				counted++;
				dirty.add(r);
				// What was only caught up says nothing about the way of an event.
				if (!m.full) undrawn.push(row[2]);
			}
			schedule();
			break;
		case "node":
			for (const f of listeners.get(m.e.source) ?? []) f(m.e);
			break;
		case "watching":
			for (const s of m.sources) listening.get(s)?.();
			break;
		case "alerts":
			setAlerts(m.active);
			alertRev.value++;
			break;
		case "alert":
			takeAlert(m.alert);
			break;
		case "tick":
			learnClock(m.time_ms, m.at);
			break;
		case "skip":
			skipped.value += m.events;
			for (const f of resyncs) f();
			break;
		case "tabs":
			tabs.value = m.n;
			break;
	}
}

let asked = false;

/** Sources that are new: their descriptions come with the next answer. */
function loadSoon(): void {
	if (!fleetLoaded.value || asked) return;
	asked = true;
	setTimeout(() => {
		asked = false;
		loadFleet();
	}, 300);
}

// ---- session ----

function askLogin(): void {
	const s = session.value;
	if (s) session.value = { ...s, auth: "password", user: null };
}

export async function logIn(user: string, password: string): Promise<void> {
	session.value = await api.login(user, password);
	await enter();
}

export async function logOut(): Promise<void> {
	session.value = { ...(await api.logout()), user: null };
	keep(KNOWN, "");
	rows.clear();
	fleetLoaded.value = false;
	alerts.value = [];
	fleetRev.value++;
}

/** After what is to be drawn now was painted. */
const painted = () =>
	new Promise((done) => {
		// A hidden tab paints nothing, and need not wait.
		if (document.hidden) done(0);
		else requestAnimationFrame(() => setTimeout(done));
	});

const isTable = () => /^\/(devices)?$/.test(location.pathname);

/** Loads everything that needs a session. */
async function enter(): Promise<void> {
	// First the table, then its pictures. The worker's thread takes its time to begin, and only charts wait for it.
	keep(KNOWN, "1");
	const first = rows.size === 0;
	const answers = Promise.allSettled([api.config(), loadFleet(!first)]);
	const seen = answers.then(painted);
	if (first) seen.then(() => loadFleet());
	if (isTable()) await seen;
	link ??= openLink();
	link.start();
	watchAll();
	const [c] = await answers;
	if (c.status !== "fulfilled") return;
	config.value = c.value;
	learnClock(c.value.server_ms, Date.now());
	if (c.value.language !== "auto") speak(c.value.language);
}

/** Sets the language of texts, numbers and of the document. */
export function speak(language: "en" | "es", locale: string = language): void {
	setLanguage(language, locale);
	document.documentElement.lang = language;
	fleetRev.value++;
}

/** An answer that is no; without any answer one tries again. */
function refused(e: ApiError): void {
	if (!e.status) throw e;
}

/** The first answer is there: what is drawn before it would be drawn twice. */
let answered: () => void = () => {};
/** But nobody looks at nothing for longer. */
const PATIENCE_MS = 200;

/**
 * `open` makes the tab's end of the stream, once, when it is needed; `show` draws the page, when there is something
 * on it.
 */
export async function boot(open: () => Link, show: () => void): Promise<void> {
	openLink = open;
	Promise.race([
		new Promise<void>((done) => {
			answered = done;
		}),
		new Promise((done) => setTimeout(done, isTable() ? PATIENCE_MS : 0)),
	]).then(show);
	if (!isTable()) link = open();
	setLoginHandler(askLogin);
	const wanted = navigator.languages ?? [navigator.language];
	const language = chooseLanguage(wanted);
	speak(language, wanted.find((w) => w.startsWith(language)) ?? language);
	setInterval(() => {
		now.value = serverNow();
		eventRate.value += 0.3 * (counted - eventRate.value);
		events.value += counted;
		counted = 0;
		let changed = false;
		// Rows move on also when nothing comes.
		const step = Math.floor(now.value / sparkStep);
		const moved = step !== drawnStep;
		drawnStep = step;
		for (const r of rows.values()) {
			if (moved) dirty.add(r);
			const state = r.ageState(now.value);
			if (state !== r.state) {
				r.state = state;
				dirty.add(r);
				changed = true;
			}
		}
		if (changed) fleetRev.value++;
		if (changed || moved) schedule();
	}, 1000);
	// The token of a share link; once it was tried it is of no more use in the address.
	const token = /^#share=([\w-]+)$/.exec(location.hash)?.[1];
	if (!token && kept(KNOWN)) {
		early = api.nodes(false);
		early.catch(() => {});
	}
	for (let wait = 300; ; wait = Math.min(2 * wait, 5000)) {
		try {
			const shared = token && (await api.share(token).catch(refused));
			if (token) history.replaceState(null, "", location.pathname + location.search);
			const s = shared || (await api.session());
			session.value = s;
			if (s.auth === "none" || s.user !== null) await enter();
			else {
				early = null;
				answered();
			}
			return;
		} catch (e) {
			connection.value = "down";
			loadError.value = e instanceof Error ? e.message : String(e);
			await new Promise((r) => setTimeout(r, wait));
		}
	}
}
