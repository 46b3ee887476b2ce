const assert = require("node:assert/strict");
const { test } = require("node:test");
const { load } = require("./scripts");

const app = load(["core", "overlays/colours"]).dashboardApp;
const PALETTE = { "var(--ink)": "#111111", "var(--weight-0)": "#222222", "var(--selected)": "#333333" };
const valueOf = (name) => PALETTE[name] || name;
const plain = (value) => JSON.parse(JSON.stringify(value));

const figure = () => ({
  data: [
    {
      z: { dtype: "u1", bdata: "AAAA", shape: "1, 3" },
      colorscale: [
        [0, "rgba(0,0,0,0)"],
        [1, "var(--weight-0)"],
      ],
      hovertext: [["var(--ink)"]],
      customdata: [{ color: "var(--ink)" }],
    },
    {
      x: [1, 2],
      text: ["var(--ink)", "b"],
      marker: { color: ["var(--ink)", "#ABCDEF"], line: { color: "var(--ink)" } },
    },
    { x: new Float32Array(3), marker: { color: [1, 2, 3] } },
  ],
  layout: {
    font: { color: "var(--ink)", size: 11 },
    xaxis: {
      ticktext: ['<b style="color:var(--selected)">var(--ink)</b>'],
      range: [0, 1],
      title: { text: "var(--ink)" },
    },
    shapes: [{ line: { color: "var(--selected)" } }],
    meta: { color: "var(--ink)" },
  },
});

test("names of colours get their values where a colour stands, and texts stay", () => {
  const { data, layout } = plain(app.coloured(figure(), valueOf));
  const [cells, bars] = data;
  assert.deepEqual(cells.colorscale[1], [1, "#222222"]);
  assert.deepEqual([cells.hovertext, cells.customdata], [[["var(--ink)"]], [{ color: "var(--ink)" }]]);
  assert.deepEqual(bars.marker, { color: ["#111111", "#ABCDEF"], line: { color: "#111111" } });
  assert.deepEqual(bars.text, ["var(--ink)", "b"]);
  assert.deepEqual(layout.font, { color: "#111111", size: 11 });
  assert.deepEqual(layout.xaxis.ticktext, ['<b style="color:#333333">var(--ink)</b>']);
  assert.equal(layout.xaxis.title.text, "var(--ink)");
  assert.equal(layout.shapes[0].line.color, "#333333");
  assert.deepEqual(layout.meta, { color: "var(--ink)" });
});

test("what holds no name is not copied, and the figure itself stays as it was", () => {
  const before = figure();
  const found = app.coloured(before, valueOf);
  assert.deepEqual(plain(before), plain(figure()));
  assert.equal(found.data[0].z, before.data[0].z);
  assert.equal(found.data[0].hovertext, before.data[0].hovertext);
  assert.equal(found.data[2].x, before.data[2].x);
  assert.equal(found.data[2].marker, before.data[2].marker);
  assert.equal(found.layout.meta, before.layout.meta);
  assert.equal(app.coloured(before.data[2], valueOf), before.data[2]);
});

test("cells, texts and lists of a thousand tokens are handed on, not copied", () => {
  /** @type {any} */ const large = figure();
  large.data[0].z = { dtype: "u1", bdata: "A".repeat((4 * 1024 * 1024) / 3), shape: "1024, 1024" };
  large.data[0].hovertext = Array.from({ length: 30 }, () => new Array(1024).fill("a token and its layer"));
  large.data[0].customdata = Array.from({ length: 1024 }, (_, token) => ({ token }));
  large.data[0].x = Array.from({ length: 1024 }, (_, i) => i);
  const found = app.coloured(large, valueOf);
  assert.notEqual(found.data[0], large.data[0]); // its colours are resolved
  for (const name of ["z", "hovertext", "customdata", "x"]) {
    assert.equal(found.data[0][name], large.data[0][name], name);
  }
});
