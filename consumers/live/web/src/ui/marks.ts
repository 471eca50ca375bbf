/* SPDX-License-Identifier: MIT */
/** What an alert draws into a chart: its threshold, and when it was pending and firing. */
import type { Alert } from "../core/api";
import type { PanelSpec } from "../core/lines";
import { metricsOf, threshold } from "../core/rules";
import { alertTimes, exprOf } from "./alertinfo";
import type { Mark } from "./chart";

/** Is the chart about what the rule looks at? */
export function concerns(spec: PanelSpec, expr: string): boolean {
	const names = metricsOf(expr);
	return spec.lines.some((l) => l.parts.some((p) => names.includes(p.name)));
}

/** The rule's threshold in the chart's unit, where it has one there. */
function level(spec: PanelSpec, expr: string): number | undefined {
	const limit = threshold(expr);
	if (!limit) return undefined;
	const { value } = limit;
	if (spec.id === "cpu") return value <= 1 ? 100 * value : value;
	if (spec.id === "mem") {
		// "Available below 20 %" is drawn as "used above 80 %".
		if (!spec.max || !/MemAvailable/.test(expr)) return undefined;
		const share = value <= 1 ? value : value / 100;
		return share <= 1 && /MemTotal/.test(expr) ? (1 - share) * spec.max : spec.max - value;
	}
	if (spec.id === "disk") {
		const share = value <= 1 ? 100 * value : value;
		return limit.op.startsWith("<") ? 100 - share : share;
	}
	return spec.unit === "percent" && value <= 1 ? 100 * value : value;
}

export function marksFor(spec: PanelSpec, alerts: readonly Alert[]): Mark[] {
	return alerts
		.filter((a) => concerns(spec, exprOf(a)))
		.flatMap((a) => alertTimes(a).map((m) => ({ ...m, level: level(spec, exprOf(a)) })));
}
