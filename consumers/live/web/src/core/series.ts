/* SPDX-License-Identifier: MIT */
/** Names of series: text and parts, as in Prometheus. */

export type Labels = Readonly<Record<string, string>>;

const ESCAPES: Record<string, string> = { "\\": "\\\\", '"': '\\"', "\n": "\\n" };

/** node_cpu_seconds_total{cpu="0",mode="idle"}: labels sorted, without braces when there are none. */
export function seriesText(name: string, labels: Labels): string {
	const keys = Object.keys(labels).sort();
	if (keys.length === 0) return name;
	const parts = keys.map(
		(k) => `${k}="${(labels[k] ?? "").replace(/[\\"\n]/g, (c) => ESCAPES[c] ?? c)}"`,
	);
	return `${name}{${parts.join(",")}}`;
}

/** The other way; null when it is no series text. */
export function parseSeries(text: string): { name: string; labels: Labels } | null {
	const head = /^([a-zA-Z_:][a-zA-Z0-9_:]*)(?:\{(.*)\})?$/s.exec(text);
	if (!head?.[1]) return null;
	const labels: Record<string, string> = {};
	let rest = head[2] ?? "";
	while (rest) {
		const m = /^([a-zA-Z_][a-zA-Z0-9_]*)="((?:[^"\\]|\\.)*)"(?:,|$)/s.exec(rest);
		if (!m?.[1]) return null;
		labels[m[1]] = (m[2] ?? "").replace(/\\(.)/gs, (_, c: string) => (c === "n" ? "\n" : c));
		rest = rest.slice(m[0].length);
	}
	return { name: head[1], labels };
}

/** Does the text contain every word of the query? Case does not matter. */
export function matches(query: string, text: string): boolean {
	const hay = text.toLowerCase();
	return query
		.toLowerCase()
		.split(/\s+/)
		.every((word) => hay.includes(word));
}

const VIRTUAL = /^(lo$|veth|docker|br-|cni|flannel|cali|virbr|vmbr|tap|fwbr|fwpr|fwln|ifb|dummy)/;
const NO_DISK = /^(tmpfs|ramfs|devtmpfs|squashfs|iso9660|overlay|efivarfs)$/;

/** Interfaces whose traffic others carry already, or that never leaves the machine. */
export function isVirtualInterface(device: string): boolean {
	return VIRTUAL.test(device);
}

export function isRealFilesystem(fstype: string): boolean {
	return !NO_DISK.test(fstype);
}
