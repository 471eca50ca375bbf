/* SPDX-License-Identifier: MIT */
import assert from "node:assert/strict";
import { test } from "node:test";
import { en } from "../src/core/en";
import { es } from "../src/core/es";
import { chooseLanguage, type Key, setLanguage, t } from "../src/core/i18n";

const holes = (s: string) => [...new Set(s.match(/\{\w+\}/g))].sort();

test("both languages have the same keys, the same holes, and nothing empty", () => {
	assert.deepEqual(Object.keys(es).sort(), Object.keys(en).sort());
	for (const key of Object.keys(en) as Key[]) {
		assert.ok(en[key].trim() && es[key].trim(), key);
		assert.deepEqual(holes(es[key]), holes(en[key]), key);
		assert.equal(es[key].includes("|"), en[key].includes("|"), key);
	}
});

test("whole sentences are translated, not copied", () => {
	for (const key of Object.keys(en) as Key[])
		if (en[key].split(" ").length > 3) assert.notEqual(es[key], en[key], key);
});

test("one and many", () => {
	setLanguage("en");
	assert.equal(t("fleet.nodes", { n: 1 }), "1 node");
	assert.equal(t("fleet.nodes", { n: 0 }), "0 nodes");
	setLanguage("es");
	assert.equal(t("fleet.nodes", { n: 2 }), "2 nodos");
	setLanguage("en");
});

test("the first language of the browser that is spoken here", () => {
	assert.equal(chooseLanguage(["de-DE", "es-MX", "en"]), "es");
	assert.equal(chooseLanguage(["en-GB", "es"]), "en");
	assert.equal(chooseLanguage(["fr"]), "en");
	assert.equal(chooseLanguage([]), "en");
});
