/* SPDX-License-Identifier: MIT */
import { useSignal } from "@preact/signals";
import { useEffect, useRef } from "preact/hooks";
import { ApiError } from "../core/api";
import { duration } from "../core/format";
import { t } from "../core/i18n";
import { logIn, session } from "../store";
import { Mark } from "./header";

export function Login() {
	const user = useRef<HTMLInputElement>(null);
	const password = useRef<HTMLInputElement>(null);
	const error = useSignal("");
	const busy = useSignal(false);
	useEffect(() => user.current?.focus(), []);
	const submit = async (e: Event) => {
		e.preventDefault();
		if (busy.value) return;
		busy.value = true;
		error.value = "";
		try {
			await logIn(user.current?.value ?? "", password.current?.value ?? "");
		} catch (x) {
			const status = x instanceof ApiError ? x.status : 0;
			if (status === 401) error.value = t("login.wrong");
			else if (status === 429)
				error.value = t("login.limited", { s: duration((x as ApiError).retryAfter || 60) });
			else error.value = status ? (x as ApiError).message : t("login.failed");
			if (password.current) {
				password.current.value = "";
				password.current.focus();
			}
		} finally {
			busy.value = false;
		}
	};
	return (
		<main class="login" id="main">
			<form onSubmit={submit}>
				<Mark />
				<h1>{session.value?.title || t("app.title")}</h1>
				<label>
					{t("login.user")}
					<input
						ref={user}
						name="user"
						autoComplete="username"
						autoCapitalize="none"
						spellcheck={false}
						required
						maxLength={64}
					/>
				</label>
				<label>
					{t("login.password")}
					<input
						ref={password}
						name="password"
						type="password"
						autoComplete="current-password"
						required
						maxLength={1024}
						aria-describedby="login-error"
					/>
				</label>
				<p class="error" id="login-error" role="alert">
					{error.value}
				</p>
				<button type="submit" class="primary" aria-disabled={busy.value}>
					{t(busy.value ? "login.busy" : "login.submit")}
				</button>
			</form>
		</main>
	);
}
