/* SPDX-License-Identifier: MIT */
/** Everything a source sends, searchable; each of them can be drawn. */
import { useComputed, useSignal } from "@preact/signals";
import { format, plain, unitOf } from "../core/format";
import { t } from "../core/i18n";
import { isCounter } from "../core/rate";
import { matches } from "../core/series";
import { change, route } from "../nav";
import type { Source } from "../source";
import { paused } from "../store";

/** Rows that are shown without searching. */
const SHOWN = 24;
const FOUND = 200;

interface Entry {
	text: string;
	value: string;
}

export function SeriesList({ source }: { source: Source }) {
	const query = useSignal("");
	const held = useSignal<Entry[]>([]);
	const count = useSignal(0);
	const list = useComputed(() => {
		source.rev.value;
		if (paused.value) return held.value;
		const found: Entry[] = [];
		let n = 0;
		for (const stream of source.streams.values())
			stream.series.forEach((s, i) => {
				if (query.value && !matches(query.value, s.text)) return;
				n++;
				if (found.length >= (query.value ? FOUND : SHOWN)) return;
				const unit = unitOf(s.name, undefined, isCounter(s.name, s.kind));
				found.push({ text: s.text, value: format(source.value(stream, i), unit) });
			});
		queueMicrotask(() => {
			count.value = n;
			held.value = found;
		});
		return found;
	});
	const { charts } = route.value;
	const toggle = (text: string) =>
		change({
			charts: charts.includes(text) ? charts.filter((c) => c !== text) : [...charts, text],
		});
	return (
		<section class="panel series">
			<header>
				<h2>{t("node.all")}</h2>
				<label class="filter">
					<span class="sr">{t("node.all.hint")}</span>
					<input
						id="series-filter"
						type="search"
						placeholder={t("node.all.hint")}
						value={query.value}
						onInput={(e) => {
							query.value = e.currentTarget.value;
						}}
						autoComplete="off"
						spellcheck={false}
					/>
				</label>
			</header>
			<table>
				<thead>
					<tr>
						<th scope="col">{t("col.series")}</th>
						<th scope="col" class="num">
							{t("col.value")}
						</th>
						<th scope="col">
							<span class="sr">{t("node.chart")}</span>
						</th>
					</tr>
				</thead>
				<tbody>
					{list.value.map((e) => (
						<tr key={e.text}>
							<td class="mono">{e.text}</td>
							<td class="num">{e.value}</td>
							<td class="act">
								<button
									type="button"
									aria-pressed={charts.includes(e.text)}
									onClick={() => toggle(e.text)}
								>
									{t("node.chart")}
									<span class="sr"> {e.text}</span>
								</button>
							</td>
						</tr>
					))}
				</tbody>
			</table>
			{list.value.length === 0 && <p class="dim">{t("node.all.none")}</p>}
			{count.value > list.value.length && (
				<p class="dim">{t("node.all.more", { n: plain(count.value - list.value.length) })}</p>
			)}
		</section>
	);
}
