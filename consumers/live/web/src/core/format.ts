/* SPDX-License-Identifier: MIT */
/** Numbers for people. A narrow no-break space stands between number and unit. */

const SPACE = "\u202f";
export const NONE = "–";

export type Unit =
	| "bytes"
	| "bytes/s"
	| "percent"
	| "ratio"
	| "seconds"
	| "time"
	| "celsius"
	| "volts"
	| "amperes"
	| "watts"
	| "hertz"
	| "rpm"
	| "/s"
	| "none";

let locale = "en";
const formats = new Map<string, Intl.NumberFormat>();

export function setFormatLocale(l: string): void {
	locale = l;
	formats.clear();
}

function number(v: number, min: number, max: number): string {
	const key = `${min}.${max}`;
	let f = formats.get(key);
	if (!f) {
		f = new Intl.NumberFormat(locale, { minimumFractionDigits: min, maximumFractionDigits: max });
		formats.set(key, f);
	}
	return f.format(v);
}

/** Three significant digits where there is a fraction; never an exponent below 10^15. */
export function plain(v: number): string {
	if (!Number.isFinite(v)) return Number.isNaN(v) ? NONE : v > 0 ? "∞" : "−∞";
	const a = Math.abs(v);
	if (a >= 1e15 || (a > 0 && a < 1e-6)) return v.toExponential(2);
	if (a >= 100 || a === 0) return number(v, 0, a >= 1000 || Number.isInteger(v) ? 0 : 1);
	if (a >= 10) return number(v, 0, 1);
	if (a >= 1) return number(v, 0, 2);
	return number(v, 0, a >= 0.1 ? 3 : a >= 0.001 ? 4 : 6);
}

const BINARY = ["B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB"];
const DECIMAL = ["", "k", "M", "G", "T", "P"];

function scaled(v: number, base: number, names: readonly string[]): [string, string] {
	let a = Math.abs(v);
	let i = 0;
	// 999.6 would be shown as 1 000: the next unit is due from there.
	while (a >= base - 0.5 * (base / 1000) && i < names.length - 1) {
		a /= base;
		i++;
	}
	const s = v < 0 ? -a : a;
	const digits =
		i === 0 ? (Number.isInteger(v) || a >= 10 ? 0 : 1) : a >= 100 ? 0 : a >= 10 ? 1 : 2;
	return [number(s, i === 0 ? 0 : Math.min(digits, 1), digits), names[i] ?? ""];
}

/** 1.50 GiB */
export function bytes(v: number): string {
	if (!Number.isFinite(v)) return NONE;
	const [n, u] = scaled(v, 1024, BINARY);
	return n + SPACE + u;
}

/** 1.50 MiB/s */
export function bytesRate(v: number): string {
	return Number.isFinite(v) ? `${bytes(v)}/s` : NONE;
}

/** v is 0 … 100. */
export function percent(v: number): string {
	if (!Number.isFinite(v)) return NONE;
	const a = Math.abs(v);
	return number(v, a < 99.95 ? 1 : 0, a < 0.1 && a > 0 ? 2 : a < 99.95 ? 1 : 0) + SPACE + "%";
}

const SPANS: readonly [number, string][] = [
	[86400, "d"],
	[3600, "h"],
	[60, "min"],
	[1, "s"],
];

/** A length of time: 3 d 4 h, 2 min 5 s, 1.5 s, 20 ms. Two parts at most. */
export function duration(seconds: number): string {
	if (!Number.isFinite(seconds)) return NONE;
	const sign = seconds < 0 ? "−" : "";
	let s = Math.abs(seconds);
	if (s === 0) return `0${SPACE}s`;
	if (s < 1e-3) return `${sign}${plain(s * 1e6)}${SPACE}µs`;
	if (s < 0.9995) return `${sign}${plain(s * 1e3)}${SPACE}ms`;
	if (s < 10) return `${sign}${number(s, 0, 1)}${SPACE}s`;
	s = Math.round(s);
	const out: string[] = [];
	for (const [size, name] of SPANS) {
		const n = Math.floor(s / size);
		if (n > 0) {
			out.push(`${number(n, 0, 0)}${SPACE}${name}`);
			s -= n * size;
			if (out.length === 2) break;
		} else if (out.length > 0) break;
	}
	return sign + out.join(" ");
}

/** How long ago, in one part: 0.4 s, 12 s, 3 min, 2 h, 5 d. */
export function age(seconds: number): string {
	if (!Number.isFinite(seconds)) return NONE;
	const s = Math.max(0, seconds);
	if (s < 9.95) return `${number(s, 1, 1)}${SPACE}s`;
	if (s < 119.5) return `${number(Math.round(s), 0, 0)}${SPACE}s`;
	if (s < 7200) return `${number(Math.floor(s / 60), 0, 0)}${SPACE}min`;
	if (s < 172800) return `${number(Math.floor(s / 3600), 0, 0)}${SPACE}h`;
	return `${number(Math.floor(s / 86400), 0, 0)}${SPACE}d`;
}

/** Local date and time with seconds; today's without the date. */
export function clock(ms: number, now = Date.now()): string {
	if (!Number.isFinite(ms)) return NONE;
	const d = new Date(ms);
	const time = d.toLocaleTimeString(locale, { hour12: false });
	if (d.toDateString() === new Date(now).toDateString()) return time;
	return `${d.toLocaleDateString(locale, { year: "numeric", month: "short", day: "numeric" })} ${time}`;
}

function si(v: number, unit: string): string {
	if (!Number.isFinite(v)) return NONE;
	if (Math.abs(v) < 1000) return plain(v) + (unit && SPACE) + unit;
	const [n, p] = scaled(v, 1000, DECIMAL);
	return `${n}${SPACE}${p}${unit}`;
}

const SUFFIX: Partial<Record<Unit, string>> = {
	celsius: "°C",
	volts: "V",
	amperes: "A",
	watts: "W",
	hertz: "Hz",
	rpm: "rpm",
};

export function format(v: number, unit: Unit): string {
	switch (unit) {
		case "bytes":
			return bytes(v);
		case "bytes/s":
			return bytesRate(v);
		case "percent":
			return percent(v);
		case "ratio":
			return percent(v * 100);
		case "seconds":
			return duration(v);
		case "time":
			return clock(v * 1000);
		case "celsius":
			return Number.isFinite(v) ? number(v, 1, 1) + SPACE + "°C" : NONE;
		case "rpm":
			return Number.isFinite(v) ? number(v, 0, 0) + SPACE + "rpm" : NONE;
		case "/s":
			return Number.isFinite(v) ? `${si(v, "")}/s` : NONE;
		case "none":
			return si(v, "");
		default:
			return si(v, SUFFIX[unit] ?? "");
	}
}

const UCUM: Record<string, [Unit, Unit]> = {
	By: ["bytes", "bytes/s"],
	s: ["seconds", "ratio"],
	Cel: ["celsius", "/s"],
	"%": ["percent", "/s"],
	V: ["volts", "/s"],
	A: ["amperes", "/s"],
	W: ["watts", "/s"],
	J: ["none", "watts"],
	Hz: ["hertz", "/s"],
};

const NAMES: readonly [RegExp, Unit, Unit][] = [
	[/(_time|_timestamp|boot_time|_start_time)_seconds$/, "time", "/s"],
	[/_bytes(_total)?$|_bytes_/, "bytes", "bytes/s"],
	[/_seconds(_total|_sum)?$/, "seconds", "ratio"],
	[/(_celsius|^temperature|_temperature|_temp|^temp)$/, "celsius", "/s"],
	[/_ratio$/, "ratio", "/s"],
	[/(_percent|_pct|^porcentaje_.*|^humidity|_humidity)$/, "percent", "/s"],
	[/(_volts|^voltage|_voltage)$/, "volts", "/s"],
	[/_amp(ere)?s$/, "amperes", "/s"],
	[/(_watts|^power|_power)$/, "watts", "/s"],
	[/_joules?_total$/, "none", "watts"],
	[/_hertz$/, "hertz", "/s"],
	[/_rpm$/, "rpm", "/s"],
];

/** The unit a series is shown in: from what the sender says (UCUM), else from its name. */
export function unitOf(name: string, ucum: string | undefined, counter: boolean): Unit {
	const said = ucum ? UCUM[ucum] : undefined;
	if (said) return said[counter ? 1 : 0];
	for (const [re, gauge, rate] of NAMES) if (re.test(name)) return counter ? rate : gauge;
	return counter ? "/s" : "none";
}
