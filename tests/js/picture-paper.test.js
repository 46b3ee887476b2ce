/* Sizes of printed pictures, and the outlines of cells, against numbers worked out by hand. */
const assert = require("node:assert/strict");
const { test } = require("node:test");
const { load } = require("./scripts");

const app = load(["core", "components/picture-paper"]).dashboardApp;

test("a PNG for print has 300 dots an inch, one for the screen two for a pixel", () => {
  const { side, perMetre } = app.sizeOfPng({ width: 400, height: 600, millimetres: 85, dpi: 300 });
  assert.deepEqual([...side], [1004, 1506]); // 85 / 25.4 × 300
  assert.equal(perMetre, 11812); // 1004 over 0.085 m
  assert.deepEqual([...app.sizeOfPng({ width: 800, height: 400, millimetres: 170, dpi: 300 }).side], [2008, 1004]);
  const screen = app.sizeOfPng({ width: 720, height: 520, millimetres: null, dpi: 300 });
  assert.deepEqual([[...screen.side], screen.perMetre], [[1440, 1040], null]);
});

test("a picture that no browser could draw is drawn smaller, with the dots that it has", () => {
  const { side, perMetre } = app.sizeOfPng({ width: 400, height: 16000, millimetres: 85, dpi: 300 });
  assert.deepEqual([...side], [400, 16000]);
  assert.equal(perMetre, 4706); // 400 over 0.085 m
});

test("cells are set apart by their gap, and touch without one", () => {
  const columns = [10, 20, 30];
  const rows = [0, 5, 10];
  assert.equal(app.cellOutline([0, 3], columns, rows, 1), "M10.5 0.5H19.5V4.5H10.5ZM20.5 5.5H29.5V9.5H20.5Z");
  assert.equal(app.cellOutline([1], columns, rows, 0), "M20 0H30V5H20Z");
});

test("a drawing is as wide as its paper, in millimetres", () => {
  const set = {};
  const drawing = { setAttribute: (name, value) => (set[name] = value) };
  app.sizeDrawing(drawing, { width: 400, height: 602, millimetres: 85 });
  assert.deepEqual(set, { viewBox: "0 0 400 602", width: "85mm", height: "127.93mm" });
});
