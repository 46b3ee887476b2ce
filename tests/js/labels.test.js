/* How labels are cut and where they stand. */
const assert = require("node:assert/strict");
const { test } = require("node:test");
const { load } = require("./scripts");

const app = load(["core", "components/labels", "overlays/label-placing"]).dashboardApp;

function showing(labels) {
  app.state.info = { labels };
  return app;
}

test("a long label is cut, and its end is kept where another begins alike", () => {
  showing(["unbelievable", "short", "unbelievably"]);
  assert.equal(app.short(1, 6), "short");
  assert.deepEqual([app.short(0, 6), app.short(2, 6)], ["unb…le", "unb…ly"]);
  showing(["unbelievable", "unbelievable"]);
  assert.deepEqual([app.short(0, 6), app.short(1, 6)], ["unbel…", "unbel…"]);
  assert.equal(app.repeated(0, 6), true);
});

test("characters beyond the first plane are cut as one", () => {
  assert.equal(app.elided("😀😀😀😀", 3), "😀😀…");
});

test("a label from right to left is isolated in a sentence", () => {
  assert.equal(app.isolated("שלום"), "\u2068שלום\u2069");
  assert.equal(app.isolated("Mary"), "Mary");
});

test("punctuation is in quotation marks in a sentence", () => {
  const written = [".", "·(", "'s", "=", "😀", "⟨F0 9F⟩", "·"].map(app.isolated);
  assert.deepEqual([...written], ["“.”", "“·(”", "'s", "“=”", "😀", "⟨F0 9F⟩", "“·”"]);
});

for (const [text, whole] of [
  ["the model expects ·Mary, 10.8 %", "the model expects ·Mary, 10.8\u00a0%"],
  ["< 0.05 %", "<\u00a00.05\u00a0%"],
  ["30 states, 4 steps, 7 Bs", "30 states, 4 steps, 7 Bs"],
]) {
  test(`“${text}” parts no number from its unit`, () => assert.equal(app.unparted(text), whole));
}

test("every so many rows have a label, and a selected one pushes its neighbours out", () => {
  assert.deepEqual([...app.labelled(4, 20, [null], 13)], [0, 1, 2, 3]);
  assert.deepEqual([...app.labelled(12, 3, [], 13)], [0, 5, 10]);
  assert.deepEqual(
    [...app.labelled(12, 3, [6], 13)].sort((a, b) => a - b),
    [0, 6], // 5 and 10 would stand in the way of 6
  );
});

test("two labels too close for both are moved apart by what is lacking", () => {
  const moved = app.movedApart([1, 2], (row) => 4 * row, 13);
  assert.deepEqual(
    [...moved].map((pair) => [...pair]),
    [
      [1, -4.5],
      [2, 4.5],
    ],
  );
  assert.deepEqual([...app.movedApart([0, 1], (row) => 4 * row, 13, 2).values()], [2, 11]); // not above 2
  assert.equal(app.movedApart([1, 9], (row) => 4 * row, 13).size, 0);
  assert.equal(app.movedApart([1, null], (row) => 4 * row, 13).size, 0);
});

test("a box that is taken is hit, one beside it is not", () => {
  const place = app.placer([0, 0, 200, 200]);
  place.take([10, 10, 50, 30]);
  assert.equal(place.hit([49, 29, 60, 40]), true);
  assert.equal(place.hit([50, 10, 60, 30]), false);
  assert.equal(place.hit([120, 120, 130, 130]), false);
  assert.equal(place.inside([0, 0, 200, 200]), true);
  assert.equal(place.inside([-1, 0, 200, 200]), false);
});

test("a label stands right, left or above of its point", () => {
  const at = { x: 100, y: 50 };
  assert.deepEqual([...app.labelBox(at, [1, 0], 20, 5)], [105, 43.5, 125, 56.5]);
  assert.deepEqual([...app.labelBox(at, [-1, 0], 20, 5)], [75, 43.5, 95, 56.5]);
  assert.deepEqual([...app.labelBox(at, [0, -1], 20, 5)], [90, 35.5, 110, 48.5]);
});

test("labels that are repeated or of one character say where they stand", () => {
  assert.deepEqual([...app.suffixes({ labels: ["·the", "cat", "·the", "·a"] })], [" 0", "", " 2", " 3"]);
});
