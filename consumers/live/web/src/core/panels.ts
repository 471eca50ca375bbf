/* SPDX-License-Identifier: MIT */
/** Which charts a source gets: the usual ones where it has the series, and any series by itself. */

import { unitOf } from "./format";
import { t } from "./i18n";
import type { LineSpec, PanelSpec, SeriesInfo } from "./lines";
import { isCounter } from "./rate";
import { isRealFilesystem, isVirtualInterface } from "./series";

/** More lines than this tell nobody anything. */
const MOST_LINES = 12;
/** Charts that a device gets without being asked. */
const MOST_DEVICE_PANELS = 24;

const CPU_MODES = ["user", "nice", "system", "irq", "softirq", "steal", "iowait"] as const;

function distinct(series: readonly SeriesInfo[], name: string, label: string): string[] {
	const out = new Set<string>();
	for (const s of series) if (s.name === name && s.labels[label]) out.add(s.labels[label]);
	return [...out].sort();
}

function has(series: readonly SeriesInfo[], name: string): boolean {
	return series.some((s) => s.name === name);
}

function cpu(series: readonly SeriesInfo[], cpus: number): PanelSpec | null {
	const name = "node_cpu_seconds_total";
	const modes = new Set(distinct(series, name, "mode"));
	if (modes.size === 0) return null;
	const scale = 100 / Math.max(1, cpus || distinct(series, name, "cpu").length);
	return {
		id: "cpu",
		title: t("panel.cpu"),
		unit: "percent",
		stacked: true,
		max: 100,
		by: ["mode"],
		lines: CPU_MODES.filter((m) => modes.has(m)).map((mode) => ({
			key: mode,
			label: mode,
			parts: [{ name, match: { mode } }],
			combine: ([v]) => scale * (v as number),
		})),
	};
}

function memory(series: readonly SeriesInfo[], bytes: number): PanelSpec | null {
	const total = { name: "node_memory_MemTotal_bytes" };
	const available = { name: "node_memory_MemAvailable_bytes" };
	const free = { name: "node_memory_MemFree_bytes" };
	if (![total, available, free].every((p) => has(series, p.name))) return null;
	const difference = ([a, b]: readonly number[]) => (a as number) - (b as number);
	return {
		id: "mem",
		title: t("panel.mem"),
		unit: "bytes",
		stacked: true,
		...(bytes > 0 ? { max: bytes } : {}),
		lines: [
			{ key: "used", label: t("mem.used"), parts: [total, available], combine: difference },
			{ key: "cache", label: t("mem.cache"), parts: [available, free], combine: difference },
			{ key: "free", label: t("mem.free"), parts: [free] },
		],
	};
}

/** In above zero, out below it, for each device. */
function inAndOut(
	devices: readonly string[],
	names: readonly [string, string],
	labels: readonly ["net.rx" | "io.read", "net.tx" | "io.write"],
): LineSpec[] {
	const lines: LineSpec[] = [];
	for (const device of devices.slice(0, MOST_LINES / 2)) {
		for (const way of [0, 1] as const) {
			lines.push({
				key: `${device} ${way}`,
				label: t(labels[way], { dev: device }),
				parts: [{ name: names[way], match: { device } }],
				below: way === 1,
			});
		}
	}
	return lines;
}

function network(series: readonly SeriesInfo[]): PanelSpec | null {
	const names = ["node_network_receive_bytes_total", "node_network_transmit_bytes_total"] as const;
	const all = distinct(series, names[0], "device");
	const real = all.filter((d) => !isVirtualInterface(d));
	const lines = inAndOut(real.length > 0 ? real : all, names, ["net.rx", "net.tx"]);
	if (lines.length === 0) return null;
	return { id: "net", title: t("panel.net"), unit: "bytes/s", lines };
}

function diskIo(series: readonly SeriesInfo[]): PanelSpec | null {
	const names = ["node_disk_read_bytes_total", "node_disk_written_bytes_total"] as const;
	const devices = distinct(series, names[0], "device").filter((d) => !/^(loop|ram|zram)/.test(d));
	const lines = inAndOut(devices, names, ["io.read", "io.write"]);
	if (lines.length === 0) return null;
	return { id: "diskio", title: t("panel.diskio"), unit: "bytes/s", lines };
}

function diskSpace(series: readonly SeriesInfo[]): PanelSpec | null {
	const lines: LineSpec[] = [];
	for (const s of series) {
		if (s.name !== "node_filesystem_size_bytes") continue;
		const { mountpoint = "", fstype = "", device = "" } = s.labels;
		if (!isRealFilesystem(fstype) && mountpoint !== "/") continue;
		if (lines.some((l) => l.key === mountpoint)) continue;
		const match = { mountpoint, device };
		lines.push({
			key: mountpoint,
			label: mountpoint,
			parts: ["size", "free", "avail"].map((n) => ({ name: `node_filesystem_${n}_bytes`, match })),
			// As df(1) counts: reserved blocks are neither used nor available.
			combine: ([size, free, avail]) => {
				const used = (size as number) - (free as number);
				return (100 * used) / (used + (avail as number));
			},
		});
	}
	if (lines.length === 0) return null;
	lines.sort((a, b) => a.key.length - b.key.length);
	return {
		id: "disk",
		title: t("panel.disk"),
		unit: "percent",
		max: 100,
		lines: lines.slice(0, MOST_LINES),
	};
}

function load(series: readonly SeriesInfo[]): PanelSpec | null {
	if (!has(series, "node_load1")) return null;
	return {
		id: "load",
		title: t("panel.load"),
		unit: "none",
		max: 1,
		lines: (["1", "5", "15"] as const).map((m) => ({
			key: m,
			label: t(`load.${m}`),
			parts: [{ name: `node_load${m}` }],
		})),
	};
}

function pressure(series: readonly SeriesInfo[]): PanelSpec | null {
	const all = [
		["cpu", "cpu_waiting"],
		["io", "io_waiting"],
		["iofull", "io_stalled"],
		["mem", "memory_waiting"],
		["memfull", "memory_stalled"],
	] as const;
	const lines = all
		.map(([key, name]) => ({
			key,
			label: t(`pressure.${key}`),
			parts: [{ name: `node_pressure_${name}_seconds_total` }],
			combine: ([v]: readonly number[]) => 100 * (v as number),
		}))
		.filter((l) => has(series, l.parts[0]?.name ?? ""));
	if (lines.length === 0) return null;
	return { id: "pressure", title: t("panel.pressure"), unit: "percent", max: 5, lines };
}

function temperatures(series: readonly SeriesInfo[]): PanelSpec | null {
	const sensors = new Map<string, string>();
	for (const s of series)
		if (s.name === "node_hwmon_sensor_label")
			sensors.set(`${s.labels.chip} ${s.labels.sensor}`, s.labels.label ?? "");
	const lines: LineSpec[] = [];
	for (const s of series) {
		if (s.name === "node_hwmon_temp_celsius") {
			const { chip = "", sensor = "" } = s.labels;
			const named = sensors.get(`${chip} ${sensor}`);
			const label = named || `${chip.replace(/^.*_/, "")} ${sensor}`;
			lines.push({ key: s.text, label, parts: [{ name: s.name, match: s.labels }] });
		} else if (s.name === "node_thermal_zone_temp") {
			const label = `${s.labels.type ?? ""} ${s.labels.zone ?? ""}`.trim();
			lines.push({ key: s.text, label, parts: [{ name: s.name, match: s.labels }] });
		}
	}
	if (lines.length === 0) return null;
	return {
		id: "temp",
		title: t("panel.temp"),
		unit: "celsius",
		lines: lines.slice(0, MOST_LINES),
	};
}

/** The charts of a machine; empty for what is none. */
export function nodePanels(
	series: readonly SeriesInfo[],
	cpus: number,
	memoryBytes: number,
): PanelSpec[] {
	return [
		cpu(series, cpus),
		memory(series, memoryBytes),
		load(series),
		network(series),
		diskIo(series),
		diskSpace(series),
		pressure(series),
		temperatures(series),
	].filter((p) => p !== null);
}

/** What is special about one series among those of its name. */
function shortLabel(s: SeriesInfo, all: readonly SeriesInfo[]): string {
	const keys = Object.keys(s.labels).filter((k) =>
		all.some((o) => o.labels[k] !== s.labels[k] || all.length === 1),
	);
	return keys.map((k) => s.labels[k]).join(" · ") || s.name;
}

/** A chart of all series of one name. */
export function familyPanel(name: string, series: readonly SeriesInfo[]): PanelSpec {
	const all = series.filter((s) => s.name === name);
	const counter = all[0] ? isCounter(name, all[0].kind) : false;
	return {
		id: `family ${name}`,
		title: name,
		unit: unitOf(name, undefined, counter),
		lines: all.slice(0, MOST_LINES).map((s) => ({
			key: s.text,
			label: shortLabel(s, all),
			parts: [{ name, match: s.labels }],
		})),
	};
}

/** A chart of one series. */
export function seriesPanel(s: SeriesInfo): PanelSpec {
	return {
		id: `series ${s.text}`,
		title: s.text,
		unit: unitOf(s.name, undefined, isCounter(s.name, s.kind)),
		lines: [{ key: s.text, label: s.name, parts: [{ name: s.name, match: s.labels }] }],
	};
}

/** What a device sends, drawn without being told what it is: a chart for each name. */
export function devicePanels(series: readonly SeriesInfo[]): PanelSpec[] {
	const names = [...new Set(series.map((s) => s.name))];
	return names.slice(0, MOST_DEVICE_PANELS).map((n) => familyPanel(n, series));
}
