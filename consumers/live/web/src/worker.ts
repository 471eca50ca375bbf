/* SPDX-License-Identifier: MIT */
/** SharedWorker: one stream for all tabs of a browser. */
import { Feed, type FeedMessage, type TabMessage } from "./core/feed";

export { Feed };

interface Tab {
	port: MessagePort;
	watches: string[];
	heard: number;
}

/** Background tabs run their timers once a minute; one that is silent for longer is gone. */
const SILENT_MS = 150_000;

const tabs = new Set<Tab>();

const feed = new Feed((m) => {
	for (const tab of tabs) tab.port.postMessage(m);
});

function update(): void {
	const all = new Set<string>();
	for (const tab of tabs) for (const s of tab.watches) all.add(s);
	feed.watch(all);
	if (tabs.size === 0) feed.stop();
	const m: FeedMessage = { k: "tabs", n: tabs.size };
	for (const tab of tabs) tab.port.postMessage(m);
}

addEventListener("connect", (event) => {
	const port = (event as MessageEvent).ports[0];
	if (!port) return;
	const tab: Tab = { port, watches: [], heard: Date.now() };
	const leave = () => {
		if (tabs.delete(tab)) update();
	};
	port.onmessage = ({ data }: MessageEvent<TabMessage>) => {
		tab.heard = Date.now();
		switch (data.k) {
			case "start":
				tabs.add(tab);
				feed.greet((m) => port.postMessage(m));
				update();
				feed.start();
				break;
			case "watch": {
				const before = new Set<string>();
				for (const t of tabs) for (const s of t.watches) before.add(s);
				tab.watches = data.sources;
				update();
				for (const s of data.sources) if (before.has(s)) feed.recall(s, (m) => port.postMessage(m));
				break;
			}
			case "lock":
				navigator.locks.request(data.lock, leave);
				break;
			case "bye":
				leave();
				break;
			case "alive":
				break;
		}
	};
});

setInterval(() => {
	const late = [...tabs].filter((t) => Date.now() - t.heard > SILENT_MS);
	for (const t of late) tabs.delete(t);
	if (late.length > 0) update();
}, 30_000);
