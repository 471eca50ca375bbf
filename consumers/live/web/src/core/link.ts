/* SPDX-License-Identifier: MIT */
/** A tab's end of the stream: through the SharedWorker, or a stream of its own. */
import type { Feed, FeedMessage, TabMessage } from "./feed";

export interface Link {
	readonly shared: boolean;
	start(): void;
	watch(sources: string[]): void;
}

/** A hidden tab gives its own stream back after this long; it resumes when it is seen again. */
const HIDDEN_MS = 20_000;
const ALIVE_MS = 20_000;
const LOAD_AGAIN_MS = 5_000;

function sharedLink(url: string, receive: (m: FeedMessage) => void, failed: () => void): Link {
	const worker = new SharedWorker(url, { name: `latido ${url}`, type: "module" });
	let watched: string[] = [];
	const send = (m: TabMessage) => worker.port.postMessage(m);
	worker.onerror = failed;
	worker.port.onmessage = (e: MessageEvent<FeedMessage>) => receive(e.data);
	addEventListener("pagehide", () => send({ k: "bye" }));
	addEventListener("pageshow", (e) => {
		if (!e.persisted) return; // only when it comes back from the cache
		send({ k: "start" });
		send({ k: "watch", sources: watched });
	});
	setInterval(() => send({ k: "alive" }), ALIVE_MS);
	// Held for as long as there is this tab, however it ends: who gets it next knows that it is gone.
	const lock = `latido ${Math.random()}`;
	navigator.locks?.request(lock, () => {
		send({ k: "lock", lock });
		return new Promise(() => {});
	});
	return {
		shared: true,
		start: () => send({ k: "start" }),
		watch(sources) {
			watched = sources;
			send({ k: "watch", sources });
		},
	};
}

/** The worker's script is a module like any other: here its feed runs in the tab. */
function ownLink(url: string, receive: (m: FeedMessage) => void): Link {
	let feed: Feed | undefined;
	let started = false;
	let watched: string[] = [];
	let timer: ReturnType<typeof setTimeout> | undefined;
	const go = () => {
		feed?.watch(new Set(watched));
		if (started) feed?.start();
	};
	const load = () =>
		import(url).then(
			(worker: typeof import("../worker")) => {
				feed = new worker.Feed(receive);
				go();
			},
			() => setTimeout(load, LOAD_AGAIN_MS),
		);
	load();
	document.addEventListener("visibilitychange", () => {
		clearTimeout(timer);
		if (document.hidden) timer = setTimeout(() => feed?.stop(), HIDDEN_MS);
		else go();
	});
	return {
		shared: false,
		start() {
			started = true;
			go();
		},
		watch(sources) {
			watched = sources;
			go();
		},
	};
}

/** `url`: of the worker's script. */
export function openLink(url: string, receive: (m: FeedMessage) => void): Link {
	if (typeof SharedWorker === "undefined") return ownLink(url, receive);
	let own: Link | null = null;
	let started = false;
	let watched: string[] = [];
	const shared = sharedLink(url, receive, () => {
		// The script could not be loaded (blocked, or of a version that is gone).
		if (own) return;
		own = ownLink(url, receive);
		own.watch(watched);
		if (started) own.start();
	});
	return {
		get shared() {
			return own === null;
		},
		start() {
			started = true;
			(own ?? shared).start();
		},
		watch(sources) {
			watched = sources;
			(own ?? shared).watch(sources);
		},
	};
}
