/* Overlays: each is registered with `draw` and `hit`; what a pointer and the page's changes make of them. */
const assert = require("node:assert/strict");
const { test } = require("node:test");
const { documentOf } = require("./elements");
const { load } = require("./scripts");

const PARTS = ["core", "components/labels", "overlays/plot", "overlays/label-placing", "overlays/space"];
const OVERLAYS = ["overlays/axes", "overlays/bars", "overlays/matrix", "overlays/points"];
const RUN = { run: "r", stamp: "s" };

/* an axis of Plotly's, from `first` on, so many pixels a unit */
const axis = (offset, length, first, unit) => ({
  _offset: offset,
  _length: length,
  l2p: (value) => (value - first) * unit,
  p2l: (pixel) => first + pixel / unit,
});

/** A page with one graph, 100 × 100 pixels of plane from (20, 10), on which these scripts were loaded. */
function page(view, figure, scripts = OVERLAYS) {
  const document = documentOf({ page: "div", tooltip: "div", [`${view}-figure`]: "div", [`${view}-graph`]: "div" });
  document.getElementById("page").dataset.views = JSON.stringify([{ name: "lens", selects: "axes" }]);
  const graph = document.createElement("div");
  graph.className = "js-plotly-plot";
  const heard = new Map();
  const listen = (name, act) => heard.set(name, [...(heard.get(name) || []), act]);
  Object.assign(graph, { on: listen, addEventListener: listen, ...figure });
  document.getElementById(`${view}-graph`).append(graph);
  const { dashboardApp: app } = load([...PARTS, ...scripts, "overlays/overlay"], [], document);
  const proposed = [];
  Object.assign(app, { isOpen: () => true, propose: (change) => proposed.push({ ...change }), asSecond() {} });
  app.history = { set() {} };
  app.notes = () => [];
  app.state.info = { ...RUN, counts: { token: 5, layer: 4, head: 2 }, labels: ["a", "b", "c", "d", "e"] };
  app.state.selection = { run: "r", token: 1, layer: 1, head: 0, second: null };
  const fire = async (name, event = {}) => {
    for (const act of heard.get(name) || []) await act({ buttons: 0, ...event });
  };
  return { app, document, graph, heard, fire, proposed };
}
const LENS = {
  layout: { meta: { ...RUN, axes: { x: "token", y: "layer" }, first_layer: -1 } },
  _fullLayout: { width: 140, height: 130, xaxis: axis(20, 100, -0.5, 20), yaxis: axis(10, 100, -0.5, 20) },
};

test("every overlay has a name, paints marks, and says what is under a pointer", () => {
  const { app } = page("lens", LENS);
  assert.deepEqual([...app.overlays.keys()].sort(), [
    "attention",
    "classes",
    "hidden",
    "lens",
    "norms",
    "path",
    "prediction",
  ]);
  for (const overlay of app.overlays.values())
    assert.deepEqual([typeof overlay.draw, typeof overlay.hit], ["function", "function"]);
});

test("marks are painted when there is a figure, and with each selection", async () => {
  const { app, document, fire } = page("lens", LENS);
  const column = () => {
    const marks = document.getElementById("lens-figure").querySelectorAll(".row");
    return marks.map((mark) => [mark.getAttribute("x"), mark.getAttribute("width")]);
  };
  await fire("plotly_afterplot");
  assert.deepEqual(column(), [["39", "22"]]); // the second of five tokens, 20 pixels wide, and one more on each side
  app.state.selection = { ...app.state.selection, token: 3 };
  app.paint("selection");
  assert.deepEqual(column(), [["79", "22"]]);
});

test("what a pointer is at is marked, and a click proposes it", async () => {
  const { app, fire, proposed, graph } = page("lens", LENS);
  await fire("mousemove", { clientX: 70, clientY: 60 });
  assert.deepEqual({ ...app.state.hover }, { token: 2, source: "lens" });
  assert.equal(graph.style.cursor, "pointer");
  await fire("click", { clientX: 70, clientY: 60 });
  assert.deepEqual(proposed, [{ token: 2, layer: 1 }]);
  await fire("click", { clientX: 70, clientY: 128 }); // below the cells
  assert.equal(proposed.length, 1);
  await fire("mouseleave");
  assert.equal(app.state.hover, null);
});

test("nothing is marked while a button is held", async () => {
  const { app, fire } = page("lens", LENS);
  await fire("mousemove", { clientX: 70, clientY: 60, buttons: 1 });
  assert.equal(app.state.hover, null);
});

const bar = (id, side) => ({ id, side, label: `t${id}`, known: true, probability: id / 10, logprob: -1, text: "" });
const names = [
  ["t1", 0, false],
  ["t2", 0, true],
];
const BARS = {
  data: [{ customdata: [bar(1), bar(2)] }],
  layout: { margin: { t: 0, b: 0 }, meta: { bars: { names, columns: [] } } },
  _fullLayout: { width: 140, height: 130, xaxis: axis(20, 100, 0, 1), yaxis: axis(10, 100, -0.5, 50) },
};
test("a bar is hit anywhere in its row, however short it is", async () => {
  const { document, fire } = page("prediction", BARS);
  const tip = document.getElementById("tooltip");
  await fire("mousemove", { clientX: 110, clientY: 85 });
  assert.equal(tip.textContent, "t2 · vocabulary id 2\nprobability 0.200000\nlog-probability -1.0000\u00a0nats");
  await fire("mousemove", { clientX: 110, clientY: 125 });
  assert.equal(tip.hidden, true);
});

test("of two bars in a row the nearer one is hit", () => {
  const data = [{ customdata: [bar(1, "after 3")] }, { customdata: [bar(1, "after 5")] }];
  const { app, graph } = page("prediction", { ...BARS, data });
  const { hit } = app.overlays.get("prediction");
  const side = (y) => hit({ graph }, { x: 50, y }).bar.side;
  assert.deepEqual([side(30), side(40)], ["after 3", "after 5"]);
});

test("a tooltip of what was there before a selection goes", async () => {
  const { app, document, fire } = page("prediction", BARS);
  await fire("mousemove", { clientX: 110, clientY: 35 });
  assert.equal(document.getElementById("tooltip").hidden, false);
  app.paint("selection");
  assert.equal(document.getElementById("tooltip").hidden, true);
});
