// SPDX-License-Identifier: MIT
// What the page weighs on the wire: node size.mjs FOLDER [LIMIT]
import { readdirSync, statSync } from "node:fs";
import { join } from "node:path";

const [folder, limit = "0"] = process.argv.slice(2);
const totals = { gz: 0, br: 0 };
for (const file of readdirSync(folder, { recursive: true })) {
	const form = /\.(gz|br)$/.exec(file)?.[1];
	if (!form) continue;
	const size = statSync(join(folder, file)).size;
	totals[form] += size;
	if (form === "gz") console.log(`${String(size).padStart(7)}  ${file}`);
}
console.log(`${String(totals.gz).padStart(7)}  bytes as gzip, ${totals.br} as brotli`);
if (Number(limit) && Math.max(totals.gz, totals.br) > Number(limit)) {
	console.error(`size: more than ${limit} bytes`);
	process.exit(1);
}
