/* SPDX-License-Identifier: MIT */
/**
 * Server-sent events over fetch: as EventSource, but with the status of the answer (a session that
 * ended is not a broken line) and a chosen Last-Event-ID.
 */

export interface SseEvent {
	event: string;
	data: string;
	/** Last id seen, also of earlier events. */
	id: string;
}

/** Parser of text/event-stream, as the HTML standard has it (section 9.2.6). */
export class SseParser {
	private rest = "";
	private event = "";
	private data: string[] = [];
	id = "";

	push(chunk: string, emit: (e: SseEvent) => void): void {
		const text = this.rest + chunk;
		// A CR at the end may be the first half of CRLF.
		const end = text.endsWith("\r") ? text.length - 1 : text.length;
		const lines = text.slice(0, end).split(/\r\n|\n|\r/);
		this.rest = (lines.pop() ?? "") + text.slice(end);
		for (const line of lines) this.line(line, emit);
	}

	private line(line: string, emit: (e: SseEvent) => void): void {
		if (line === "") {
			if (this.data.length > 0)
				emit({ event: this.event || "message", data: this.data.join("\n"), id: this.id });
			this.event = "";
			this.data = [];
			return;
		}
		const colon = line.indexOf(":");
		if (colon === 0) return; // a comment
		const field = colon < 0 ? line : line.slice(0, colon);
		let value = colon < 0 ? "" : line.slice(colon + 1);
		if (value.startsWith(" ")) value = value.slice(1);
		if (field === "data") this.data.push(value);
		else if (field === "event") this.event = value;
		else if (field === "id" && !value.includes("\0")) this.id = value;
	}
}

/**
 * Reads a stream until it ends. Returns the HTTP status (200: it was open and ended). Throws when
 * there is no connection, it breaks, or nothing came for `silence` ms.
 */
export async function readStream(
	url: string,
	lastId: string,
	signal: AbortSignal,
	silence: number,
	emit: (e: SseEvent) => void,
): Promise<number> {
	const inner = new AbortController();
	const abort = () => inner.abort();
	signal.addEventListener("abort", abort);
	let timer = setTimeout(abort, silence);
	try {
		const headers: Record<string, string> = { Accept: "text/event-stream" };
		if (lastId) headers["Last-Event-ID"] = lastId;
		const response = await fetch(url, {
			headers,
			cache: "no-store",
			credentials: "same-origin",
			signal: inner.signal,
		});
		if (!response.ok || !response.body) return response.status;
		const reader = response.body.getReader();
		const decoder = new TextDecoder();
		const parser = new SseParser();
		parser.id = lastId;
		for (;;) {
			const { done, value } = await reader.read();
			if (done) return response.status;
			clearTimeout(timer);
			timer = setTimeout(abort, silence);
			parser.push(decoder.decode(value, { stream: true }), emit);
		}
	} finally {
		clearTimeout(timer);
		signal.removeEventListener("abort", abort);
		inner.abort();
	}
}
