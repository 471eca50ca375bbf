/* SPDX-License-Identifier: MIT */
/** One control for the time of all charts; what it says is in the address. */
import { useSignal } from "@preact/signals";
import { clock } from "../core/format";
import { type Key, t } from "../core/i18n";
import { RANGES } from "../core/route";
import { change, route } from "../nav";
import { paused } from "../store";
import { windowOf, zoomOut } from "./node";

/** Local time as <input type="datetime-local"> has it. */
function local(ms: number): string {
	const d = new Date(ms - new Date(ms).getTimezoneOffset() * 60_000);
	return d.toISOString().slice(0, 19);
}

export function nextRange(): void {
	const r = route.value.range;
	const i = r.live ? RANGES.findIndex(([name]) => name === r.name) : -1;
	const [name, span] = RANGES[(i + 1) % RANGES.length] as [string, number];
	change({ range: { live: true, name, span } }, false);
}

export function RangeBar() {
	const { range } = route.value;
	const custom = useSignal(false);
	const from = useSignal("");
	const to = useSignal("");
	const bad = useSignal(false);
	const open = () => {
		const [a, b] = windowOf(range);
		from.value = local(a);
		to.value = local(b);
		bad.value = false;
		custom.value = !custom.value;
	};
	const apply = (e: Event) => {
		e.preventDefault();
		const a = new Date(from.value).getTime();
		const b = new Date(to.value).getTime();
		bad.value = !(b > a);
		if (bad.value) return;
		custom.value = false;
		paused.value = false;
		change({ range: { live: false, from: a, to: b } }, false);
	};
	return (
		<div class="rangebar">
			<fieldset class="segments">
				<legend class="sr">{t("range.label")}</legend>
				{RANGES.map(([name, span]) => (
					<button
						key={name}
						type="button"
						aria-pressed={range.live && range.name === name}
						onClick={() => {
							paused.value = false;
							change({ range: { live: true, name, span } }, false);
						}}
					>
						{t(`range.${name}` as Key)}
					</button>
				))}
				<button
					type="button"
					aria-pressed={!range.live}
					aria-expanded={custom.value}
					onClick={open}
				>
					{t("range.custom")}
				</button>
			</fieldset>
			{range.live ? (
				<button
					type="button"
					class="pause"
					aria-pressed={paused.value}
					onClick={() => {
						paused.value = !paused.value;
					}}
				>
					<span aria-hidden="true">{paused.value ? "▶" : "❚❚"}</span>{" "}
					{t(paused.value ? "range.resume" : "range.pause")}
				</button>
			) : (
				<>
					<span class="window">
						{clock(range.from)} – {clock(range.to)}
					</span>
					<button type="button" onClick={zoomOut}>
						{t("range.zoomout")}
					</button>
					<button
						type="button"
						class="golive"
						onClick={() => {
							const [name, span] = RANGES[0] as [string, number];
							change({ range: { live: true, name, span } }, false);
						}}
					>
						<span aria-hidden="true">▶</span> {t("range.resume")}
					</button>
				</>
			)}
			{custom.value && (
				<form class="custom" onSubmit={apply}>
					<label>
						{t("range.from")}
						<input
							type="datetime-local"
							step="1"
							required
							value={from.value}
							onInput={(e) => {
								from.value = e.currentTarget.value;
							}}
						/>
					</label>
					<label>
						{t("range.to")}
						<input
							type="datetime-local"
							step="1"
							required
							value={to.value}
							onInput={(e) => {
								to.value = e.currentTarget.value;
							}}
						/>
					</label>
					<button type="submit" class="primary">
						{t("range.apply")}
					</button>
					{bad.value && (
						<span class="error" role="alert">
							{t("range.bad")}
						</span>
					)}
				</form>
			)}
		</div>
	);
}
