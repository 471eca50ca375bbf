/* SPDX-License-Identifier: MIT */
import { effect } from "@preact/signals";
import { render } from "preact";
import { t } from "./core/i18n";
import { openLink } from "./core/link";
import { route } from "./nav";
import { boot, firing, needLogin, receive, session } from "./store";
import { AlertsView, AlertView } from "./ui/alerts";
import { Dialogs } from "./ui/dialogs";
import { Fleet } from "./ui/fleet";
import { Announcer, Banner, Header } from "./ui/header";
import { Login } from "./ui/login";
import { NodeView } from "./ui/node";
import { Notices } from "./ui/notices";
import { PipelineView } from "./ui/pipeline";
import "./keys";
import "./style.css";

/** The build puts the worker's name here. */
declare const WORKER_URL: string;

function View() {
	const { view, id } = route.value;
	switch (view) {
		case "fleet":
			return <Fleet />;
		case "devices":
			return <Fleet only="device" />;
		case "node":
			return <NodeView key={id} name={id} />;
		case "alerts":
			return <AlertsView />;
		case "alert":
			return <AlertView key={id} fingerprint={id} />;
		case "pipeline":
			return <PipelineView />;
		default:
			return (
				<div class="empty">
					<h1 tabIndex={-1}>{t("view.missing")}</h1>
				</div>
			);
	}
}

function App() {
	if (needLogin.value)
		return (
			<>
				<Banner />
				<Login />
			</>
		);
	return (
		<>
			<Header />
			<Banner />
			<Announcer />
			<main id="main">
				{session.value && (
					<>
						<Notices />
						<View />
					</>
				)}
			</main>
			<Dialogs />
		</>
	);
}

const TITLES = {
	fleet: "nav.fleet",
	devices: "nav.devices",
	alerts: "nav.alerts",
	pipeline: "nav.pipeline",
} as const;

/** The number of firing alerts is in the title and in the icon of the tab. */
effect(() => {
	const { view, id } = route.value;
	const n = firing.value.length;
	const name = session.value?.title || t("app.title");
	const what = view in TITLES ? t(TITLES[view as keyof typeof TITLES]) : id;
	document.title = `${n > 0 ? `(${n}) ` : ""}${what ? `${what} · ` : ""}${name}`;
	const icon = document.querySelector<HTMLLinkElement>('link[rel="icon"]');
	const file = n > 0 ? "/favicon-alert.svg" : "/favicon.svg";
	if (icon && icon.getAttribute("href") !== file) icon.setAttribute("href", file);
});

effect(() => {
	document.documentElement.classList.toggle("kiosk", route.value.kiosk);
});

const root = document.getElementById("app");
if (root) {
	boot(
		() => openLink(WORKER_URL, receive),
		() => render(<App />, root),
	);
}
