const assert = require("node:assert/strict");
const { test } = require("node:test");
const { load } = require("./scripts");

const app = load(["core", "components/long-tables"]).dashboardApp;

/* the cases of tests/unit/views/test_shown.py: both tables write a number alike */
for (const [value, decimals, text] of [
  [0.25, 6, "0.250000"],
  [-33.329, 3, "−33.329"],
  [1.5e-9, 6, "1.5e-09"],
  [-1.5e-9, 6, "−1.5e-09"],
  [1.5e-120, 6, "1.5e-120"],
  [0, 6, "0.000000"],
  [12, 0, "12"],
])
  test(`${value} with ${decimals} decimals is ${text}`, () => assert.equal(app.numberText(value, decimals), text));
