/* SPDX-License-Identifier: MIT */
/** Small pictures of rows, on canvases: they are drawn only when their row is. */
import { useEffect, useRef } from "preact/hooks";
import { outages } from "../core/fleet";
import { t } from "../core/i18n";
import { type LiveRow, now } from "../store";
import { alpha, colours } from "../theme";

interface SparkProps {
	/** Oldest first; NaN = a gap. */
	values: ArrayLike<number>;
	/** A second line, of what goes the other way. */
	second?: ArrayLike<number> | undefined;
	/** Fixed top, 100 for percent; otherwise the largest value. */
	max?: number;
	colour: number;
	/** Changes when there is something to draw. */
	rev: number;
	width?: number;
}

const HEIGHT = 24;

type Draw = (ctx: CanvasRenderingContext2D, w: number, h: number) => void;

const waiting = new Map<HTMLCanvasElement, Draw>();

/** All that is drawn in one go is measured first: one layout then serves hundreds of canvases. */
function drawAll(): void {
	const sized = [...waiting].map(
		([canvas, draw]) => [canvas, draw, canvas.clientWidth, canvas.clientHeight] as const,
	);
	waiting.clear();
	const ratio = devicePixelRatio || 1;
	for (const [canvas, draw, w, h] of sized) {
		const ctx = canvas.getContext("2d");
		if (!ctx) continue;
		const width = Math.round(w * ratio);
		const height = Math.round(h * ratio);
		if (canvas.width !== width || canvas.height !== height) {
			canvas.width = width;
			canvas.height = height;
		}
		ctx.setTransform(ratio, 0, 0, ratio, 0, 0);
		ctx.clearRect(0, 0, w, h);
		draw(ctx, w, h);
	}
}

/** A canvas that is drawn anew when one of `inputs` is another. */
function useDrawing(draw: Draw, inputs: unknown[]) {
	const ref = useRef<HTMLCanvasElement>(null);
	useEffect(() => {
		if (!ref.current) return;
		if (waiting.size === 0) queueMicrotask(drawAll);
		waiting.set(ref.current, draw);
	}, inputs);
	return ref;
}

function drawLine(
	ctx: CanvasRenderingContext2D,
	v: ArrayLike<number>,
	top: number,
	w: number,
	h: number,
	colour: string,
	fill: boolean,
): void {
	const dx = w / Math.max(1, v.length - 1);
	const y = (x: number) => h - 1 - (Math.min(x, top) / top) * (h - 2);
	let start = -1;
	const stroke = (a: number, b: number) => {
		ctx.beginPath();
		ctx.moveTo(a * dx, y(v[a] as number));
		for (let i = a + 1; i <= b; i++) ctx.lineTo(i * dx, y(v[i] as number));
		if (a === b) ctx.lineTo(a * dx + 1, y(v[a] as number));
		ctx.strokeStyle = colour;
		ctx.lineWidth = 1.25;
		ctx.lineJoin = "round";
		ctx.stroke();
		if (!fill) return;
		ctx.lineTo(b * dx, h);
		ctx.lineTo(a * dx, h);
		ctx.closePath();
		ctx.fillStyle = alpha(colour, 0.16);
		ctx.fill();
	};
	for (let i = 0; i <= v.length; i++) {
		const there = i < v.length && Number.isFinite(v[i]);
		if (there && start < 0) start = i;
		else if (!there && start >= 0) {
			stroke(start, i - 1);
			start = -1;
		}
	}
}

export function SparkLine(p: SparkProps) {
	const { lines } = colours.value;
	const draw: Draw = (ctx, w, h) => {
		let top = p.max ?? 0;
		if (!top) {
			for (const v of [p.values, p.second ?? []])
				for (let i = 0; i < v.length; i++) if ((v[i] as number) > top) top = v[i] as number;
			top = top * 1.1 || 1;
		}
		drawLine(ctx, p.values, top, w, h, lines[p.colour - 1] ?? "", true);
		if (p.second) drawLine(ctx, p.second, top, w, h, lines[4] ?? "", false);
	};
	const ref = useDrawing(draw, [p.rev, p.values, lines, p.max, p.colour]);
	return <canvas ref={ref} class="spark" height={HEIGHT} aria-hidden="true" />;
}

/** One mark a step: came, fewer than planned, none, an outage. Shape says it too, not colour alone. */
export function BeatBar({ row }: { row: LiveRow }) {
	row.rev.value;
	row.beats.advance(now.peek(), row.interval);
	const text = outages(row.beats.text());
	const scheme = colours.value;
	const draw: Draw = (ctx, w, h) => {
		const n = text.length;
		const dx = w / n;
		for (let i = 0; i < n; i++) {
			const s = text[i];
			const [top, height, colour] =
				s === "l"
					? [h * 0.25, h * 0.5, scheme.lines[1] ?? ""]
					: s === "w"
						? [h * 0.1, h * 0.8, scheme.warn]
						: s === "m" || s === "d"
							? [0, s === "m" ? h * 0.45 : h, scheme.bad]
							: [h * 0.47, 1.5, scheme.text];
			ctx.fillStyle = s === "-" ? alpha(colour, 0.4) : colour;
			ctx.fillRect(i * dx, top, Math.max(1, dx - 1), height);
		}
	};
	const ref = useDrawing(draw, [text, scheme]);
	const count = (c: string) => text.split(c).length - 1;
	const label = t("beats.label", {
		min: Math.round((text.length * row.beats.step) / 60_000),
		ok: count("l"),
		late: count("w"),
		missing: count("m"),
		down: count("d"),
	});
	return <canvas ref={ref} class="beats" role="img" aria-label={label} title={label} />;
}
