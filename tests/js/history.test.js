/* Which changes of what is shown are one step. */
const assert = require("node:assert/strict");
const { test } = require("node:test");
const { load } = require("./scripts");

const app = load(["core", "state/history-steps"]).dashboardApp;
const entry = (selection, options = {}) => ({ selection: { run: "r", token: 1, layer: 0, ...selection }, options });

test("a step is called by what differs", () => {
  assert.equal(app.stepKind(entry({ token: 2 }), entry({}), []), "token");
  assert.equal(app.stepKind(entry({ token: 2, layer: 3 }), entry({}), []), "token,layer");
  assert.equal(app.stepKind(entry({}, { k: 5 }), entry({}, { k: 10 }), ["k"]), "k");
  assert.equal(app.stepKind(entry({ run: "s" }), entry({}), []), "run");
  assert.equal(app.stepKind(entry({}), { selection: null, options: {} }, []), "run");
});

test("changes at once are one step, whatever they are of", () => {
  assert.equal(app.joins("token", { kind: "layer", at: 1000 }, 1099, false), true);
  assert.equal(app.joins("token", { kind: "layer", at: 1000 }, 1100, false), false);
});

test("a key held down is one step; another kind of change begins a new one", () => {
  assert.equal(app.joins("token", { kind: "token", at: 1000 }, 1599, true), true);
  assert.equal(app.joins("token", { kind: "token", at: 1000 }, 1600, true), false);
  assert.equal(app.joins("layer", { kind: "token", at: 1000 }, 1300, true), false);
  assert.equal(app.joins("token", { kind: "token", at: 1000 }, 1300, false), false);
});

test("another run is a step of its own, always", () => {
  assert.equal(app.joins("run", { kind: "run", at: 1000 }, 1001, true), false);
});
