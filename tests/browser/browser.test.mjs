// SPDX-License-Identifier: MIT
// The page in a real browser, on the whole real pipeline: node --test tests/browser
// One stack and one browser for all; the order counts.
import "./site.mjs";
import "./login.mjs";
import "./fleet.mjs";
import "./node.mjs";
import "./alerts.mjs";
import "./failures.mjs";
import "./people.mjs";
import "./smooth.mjs";
