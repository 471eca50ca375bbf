/* SPDX-License-Identifier: MIT */
/** The list of keys, and the palette that goes anywhere. */
import { signal, useSignal } from "@preact/signals";
import { useLayoutEffect, useRef } from "preact/hooks";
import { t } from "../core/i18n";
import { buildRoute, type Route, type View } from "../core/route";
import { matches } from "../core/series";
import { go } from "../nav";
import { alertSource, alerts, fleetRev, rows } from "../store";

export type Dialog = "" | "help" | "palette";
export const openDialog = signal<Dialog>("");

export function dialog(d: Dialog): void {
	openDialog.value = d;
}

function Modal({ label, children }: { label: string; children: preact.ComponentChildren }) {
	const ref = useRef<HTMLDialogElement>(null);
	// At once: what is typed next is meant for it.
	useLayoutEffect(() => {
		const before = document.activeElement as HTMLElement | null;
		ref.current?.showModal();
		return () => before?.focus?.();
	}, []);
	return (
		<dialog
			ref={ref}
			aria-label={label}
			// Told later than it happens: another one may be open by then.
			onClose={() => ref.current && dialog("")}
			onClick={(e) => {
				if (e.target === ref.current) dialog("");
			}}
		>
			{children}
		</dialog>
	);
}

function Help() {
	const keys: [string[], string][] = [
		[["/"], t("help.slash")],
		[["↓ ↑", "j k"], t("help.arrows")],
		[["Enter"], t("help.enter")],
		[["Esc"], t("help.esc")],
		[["g n", "g d", "g a", "g p"], t("help.g")],
		[["t"], t("help.t")],
		[["Space"], t("help.space")],
		[["d"], t("help.d")],
		[["Ctrl K"], t("help.palette")],
		[["?"], t("help.help")],
	];
	return (
		<Modal label={t("help.title")}>
			<h2>{t("help.title")}</h2>
			<dl class="keys">
				{keys.map(([k, what]) => (
					<div key={what}>
						<dt>
							{k.map((x) => (
								<kbd key={x}>{x}</kbd>
							))}
						</dt>
						<dd>{what}</dd>
					</div>
				))}
			</dl>
			<button type="button" class="primary" onClick={() => dialog("")}>
				{t("help.close")}
			</button>
		</Modal>
	);
}

interface Target {
	text: string;
	hint: string;
	to: Partial<Route> & { view: View };
}

const MOST = 12;

function Palette() {
	const query = useSignal("");
	const at = useSignal(0);
	fleetRev.value;
	const targets: Target[] = [
		...(["fleet", "devices", "alerts", "pipeline"] as const).map((view) => ({
			text: t(`nav.${view}`),
			hint: "",
			to: { view },
		})),
		...alerts.value.map((a) => ({
			text: a.labels.alertname ?? "",
			hint: `${t("nav.alerts")} · ${alertSource(a)}`,
			to: { view: "alert" as const, id: a.fingerprint },
		})),
		...[...rows.values()].map((r) => ({
			text: r.source,
			hint: Object.values(r.labels).join(" · "),
			to: { view: "node" as const, id: r.source },
		})),
	];
	const found = targets
		.filter((x) => !query.value || matches(query.value, `${x.text} ${x.hint}`))
		.slice(0, MOST);
	const chosen = Math.min(at.value, found.length - 1);
	const open = (x: Target | undefined) => {
		if (!x) return;
		dialog("");
		go(x.to);
	};
	const key = (e: KeyboardEvent) => {
		if (e.key === "ArrowDown" || e.key === "ArrowUp") {
			e.preventDefault();
			const by = e.key === "ArrowDown" ? 1 : -1;
			at.value = (chosen + by + found.length) % Math.max(1, found.length);
		} else if (e.key === "Enter") {
			e.preventDefault();
			open(found[chosen]);
		}
	};
	return (
		<Modal label={t("nav.search")}>
			<input
				class="palette"
				role="combobox"
				list={undefined}
				aria-expanded="true"
				aria-controls="palette-list"
				aria-activedescendant={found.length > 0 ? `palette-${chosen}` : undefined}
				aria-label={t("palette.hint")}
				placeholder={t("palette.hint")}
				value={query.value}
				onInput={(e) => {
					query.value = e.currentTarget.value;
					at.value = 0;
				}}
				onKeyDown={key}
				autoComplete="off"
				spellcheck={false}
			/>
			<ul class="palette" id="palette-list" role="listbox" aria-label={t("nav.search")}>
				{found.map((x, i) => (
					<li
						key={buildRoute(x.to)}
						id={`palette-${i}`}
						role="option"
						aria-selected={i === chosen}
						onMouseDown={() => open(x)}
					>
						{x.text} <small class="dim">{x.hint}</small>
					</li>
				))}
			</ul>
			{found.length === 0 && <p class="dim">{t("palette.none")}</p>}
		</Modal>
	);
}

export function Dialogs() {
	if (openDialog.value === "help") return <Help />;
	if (openDialog.value === "palette") return <Palette />;
	return null;
}
