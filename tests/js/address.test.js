/* What an address says of the page: the selection, and the options that are not at their default. */
const assert = require("node:assert/strict");
const { test } = require("node:test");
const { FIELDS, load } = require("./scripts");

const CONTROLS = [
  { id: "hidden-first", property: "value", name: "hidden-first", standard: "auto" },
  { id: "prediction-count", property: "value", name: "prediction-count", standard: 10 },
  { id: "path-quiet", property: "value", name: "path-quiet", standard: false },
];

function page() {
  const app = load(["core", "state/selection", "state/several", "state/address"], FIELDS).dashboardApp;
  app.address.controls = CONTROLS;
  return app;
}
const plain = (value) => JSON.parse(JSON.stringify(value));

test("options at their default, and fields that hold nothing, are left out", () => {
  const { given } = page().address;
  assert.deepEqual(plain(given({ "hidden-first": "auto", "prediction-count": 20, "path-quiet": false })), {
    "prediction-count": 20,
  });
  assert.deepEqual(plain(given({ "prediction-count": null, "path-quiet": true })), { "path-quiet": true });
  assert.deepEqual(plain(given({ "prediction-count": Infinity, other: 1 })), {});
});

test("a card's first tab is said of a run that opens another", () => {
  const { address } = page();
  address.controls = [{ id: "prediction-tabs", property: "active_tab", name: "prediction", standard: "prediction" }];
  assert.deepEqual(plain(address.given({ prediction: "prediction" })), {});
  address.opens = { prediction: "classes" };
  assert.deepEqual(plain(address.given({ prediction: "prediction" })), { prediction: "prediction" });
});

test("a step is written as text, without a second token where there is none", () => {
  const { of } = page().address;
  const selection = { run: "r", token: 0, layer: 3, head: 1, second: null };
  const options = { "prediction-count": 20, "path-quiet": true };
  const text = { run: "r", token: "0", layer: "3", head: "1", "prediction-count": "20", "path-quiet": "on" };
  assert.deepEqual(plain(of({ selection, options })), text);
  assert.deepEqual(plain(of({ selection: { ...selection, second: 2 }, options: {} })).second, "2");
  assert.deepEqual(plain(of({ selection: null, options: { "path-quiet": false } })), { "path-quiet": "off" });
});
