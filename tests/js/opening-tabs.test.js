/* The tabs that a run opens with, and those that stay open. */
const assert = require("node:assert/strict");
const { test } = require("node:test");
const { load } = require("./scripts");

const CONTROLS = [
  { id: "prediction-tabs", property: "active_tab", name: "prediction", standard: "prediction" },
  { id: "classes-order", property: "value", name: "classes-order", standard: "likeliest" },
];
const CLASSIFIER = { opens: { prediction: "classes" } };
const OTHER = { opens: {} };

/** A page whose Predictions shows this tab; `set` holds what was opened. */
function page(tab) {
  const window = load(["core", "state/address", "state/opening-tabs"]);
  const app = window.dashboardApp;
  const set = [];
  app.history = { set: (tabs) => set.push({ ...tabs }) };
  app.state.options = { prediction: tab, "classes-order": "model" };
  const come = (info) => {
    const options = app.openTabs(info, CONTROLS);
    if (options) app.state.options = options;
    for (const [act] of window.later.splice(0)) act();
    return options && { ...options };
  };
  return { app, come, set };
}

test("a classifier opens its classes, and another model's run closes them again", () => {
  const { come, set } = page("lens");
  assert.deepEqual(come(CLASSIFIER), { prediction: "classes", "classes-order": "model" });
  assert.equal(come(CLASSIFIER), null, "they are open");
  assert.deepEqual(come(OTHER), { prediction: "prediction", "classes-order": "model" });
  assert.deepEqual(set, [{ prediction: "classes" }, { prediction: "prediction" }]);
});

test("a tab that someone has chosen stays open", () => {
  const { app, come } = page("prediction");
  come(CLASSIFIER);
  app.state.options.prediction = "lens";
  assert.equal(come(CLASSIFIER), null, "another text of the same kind");
  assert.equal(come(OTHER), null, "another kind, which has this tab too");
  assert.equal(page("through").come(OTHER), null);
});

test("what a link asks for is what opens, and is remembered", () => {
  const { come, set } = page("prediction");
  const asked = { prediction: "classes" };
  assert.deepEqual(come({ ...CLASSIFIER, options: asked }), asked);
  assert.deepEqual(come(OTHER).prediction, "prediction");
  assert.deepEqual(set, [{ prediction: "prediction" }], "a link's options are set by Dash");
});
