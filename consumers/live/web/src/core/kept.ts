/* SPDX-License-Identifier: MIT */
/** What this browser keeps; nothing, where that is forbidden. */
export function kept(key: string): string | null {
	try {
		return localStorage.getItem(`latido-${key}`);
	} catch {
		return null;
	}
}

export function keep(key: string, value: string): void {
	try {
		localStorage.setItem(`latido-${key}`, value);
	} catch {
		// not kept, then
	}
}
