/* Proposals become selections within a run's bounds; the second token and its way past the selected one. */
const assert = require("node:assert/strict");
const { test } = require("node:test");
const { FIELDS, load } = require("./scripts");

const PARTS = ["core", "components/labels", "state/selection", "state/several"];
/** A page that shows a run of 6 tokens, 3 layers and 2 heads. */
function page(selection = {}, order = PARTS) {
  const window = load(order, FIELDS);
  const app = window.dashboardApp;
  Object.assign(app, { history: { note() {} }, request() {} });
  app.state.info = { run: "r", counts: { token: 6, layer: 3, head: 2 } };
  app.state.selection = { run: "r", token: 2, layer: 1, head: 0, second: null, ...selection };
  return window;
}
const chosen = ({ dashboardApp: { state } }) => {
  const { token, layer, head, second } = state.selection;
  return [token, layer, head, second];
};

for (const [change, expected] of [
  [{ token: 5 }, [5, 1, 0, null]],
  [{ token: 99 }, [5, 1, 0, null]],
  [{ token: -3 }, [0, 1, 0, null]],
  [{ token: "4", layer: "2" }, [4, 2, 0, null]],
  [{ token: 2.5 }, [2, 1, 0, null]],
  [{ layer: "x" }, [2, 1, 0, null]],
  [{ step: "layer", by: 1 }, [2, 2, 0, null]],
  [{ step: "layer", by: 9 }, [2, 2, 0, null]],
  [{ step: "head", by: -1 }, [2, 1, 0, null]],
  [{ step: "run", by: 1 }, [2, 1, 0, null]],
  [{ second: 4 }, [2, 1, 0, 4]],
  [{ second: 2 }, [2, 1, 0, null]],
]) {
  test(`${JSON.stringify(change)} selects ${expected}`, () => {
    const window = page();
    window.dashboardApp.propose(change);
    assert.deepEqual(chosen(window), expected);
  });
}

test("no token is its own second one", () => {
  const window = page({ second: 4 });
  window.dashboardApp.propose({ token: 4 });
  assert.deepEqual(chosen(window), [4, 1, 0, null]);
});

test("arrows go past the second token, which is one again behind it", () => {
  const window = page({ second: 3 });
  for (const [change, expected] of [
    [{ step: "token", by: 1 }, [3, 1, 0, null]],
    [{ step: "token", by: 1 }, [4, 1, 0, 3]],
    [{ step: "token", by: -1 }, [3, 1, 0, null]],
    [{ step: "layer", by: 1 }, [3, 2, 0, null]],
    [{ step: "token", by: -1 }, [2, 2, 0, 3]],
    [{ step: "token", by: 1 }, [3, 2, 0, null]],
    [{ second: null }, [3, 2, 0, null]],
    [{ step: "token", by: 1 }, [4, 2, 0, null]],
  ]) {
    window.dashboardApp.propose(change);
    assert.deepEqual(chosen(window), expected);
  }
});

test("a choice of something else on the way forgets it", () => {
  const window = page({ second: 3 });
  window.dashboardApp.propose({ step: "token", by: 1 });
  window.dashboardApp.propose({ token: 5 });
  window.dashboardApp.propose({ step: "token", by: -1 });
  assert.deepEqual(chosen(window), [4, 1, 0, null]);
});

for (const [token, second, moves] of /** @type {[number, number | null, number[][]][]} */ ([
  [
    5,
    null,
    [
      [1, null],
      [1, null],
    ],
  ],
  [
    5,
    null,
    [
      [-1, 4],
      [-1, 3],
    ],
  ],
  [
    0,
    null,
    [
      [-1, null],
      [-1, null],
    ],
  ],
  [
    0,
    null,
    [
      [1, 1],
      [1, 2],
    ],
  ],
  [
    2,
    null,
    [
      [-1, 1],
      [-1, 0],
      [-1, 0],
    ],
  ],
  [
    4,
    3,
    [
      [1, 5],
      [-1, 3],
    ],
  ],
  [
    1,
    0,
    [
      [1, 2],
      [-1, 0],
      [-1, 0],
    ],
  ],
  [5, 4, [[1, 4]]],
  [0, 1, [[-1, 1]]],
])) {
  test(`of ${token} and ${second}, the second token moves to ${moves.map(([, to]) => to)}`, () => {
    const window = page({ token, second });
    for (const [by, to] of moves) {
      window.dashboardApp.moveSecond(by);
      assert.deepEqual(chosen(window), [token, 1, 0, to]);
    }
  });
}

test("a second token chosen once more is none", () => {
  const window = page({ second: 3 });
  window.dashboardApp.asSecond(3);
  assert.deepEqual(chosen(window), [2, 1, 0, null]);
});

/** The same page, whose selection has fields that hold several. */
function several(selection = {}) {
  const window = page(selection);
  const fields = [
    ...FIELDS,
    { name: "heads", of: null, optional: true, address: true, was: null, each: ["layer", "head"], most: 3 },
    { name: "tokens", of: null, optional: true, address: true, was: null, each: ["token"], most: 2 },
  ];
  const app = window.dashboardApp;
  app.fields = () => fields;
  app.say = (sentence) => window.said.push(sentence);
  window.said = [];
  return { window, app, added: () => [app.state.selection.heads ?? null, app.state.selection.tokens ?? null] };
}

for (const [change, expected] of [
  [{ heads: "0.0,2.1" }, ["0.0,2.1", null]],
  [{ heads: "0.0,0.0,3.0,1,1.2,x.1,0.1" }, ["0.0,0.1", null]],
  [{ heads: "0.0,0.1,1.0,1.1" }, ["0.0,0.1,1.0", null]],
  [{ tokens: "5,6,-1,5,0" }, [null, "5,0"]],
  [{ tokens: null }, [null, null]],
  [{ tokens: 3 }, [null, null]],
]) {
  test(`${JSON.stringify(change)} adds ${expected}, and selects nothing else`, () => {
    const { window, app, added } = several();
    app.propose(change);
    assert.deepEqual(added(), expected);
    assert.deepEqual(chosen(window), [2, 1, 0, null]);
  });
}

test("a head or token is added, removed when it comes again, and no more than there is room for", () => {
  const { window, app, added } = several();
  app.add("heads", "0.1");
  app.addSelected("heads");
  app.add("tokens", "4");
  assert.deepEqual(added(), ["0.1,1.0", "4"]);
  assert.equal(JSON.stringify(app.addedHeads()), "[[0,1],[1,0]]");
  app.propose({ layer: 2 });
  assert.deepEqual(added(), ["0.1,1.0", "4"]);
  app.add("heads", "0.1");
  assert.deepEqual(added(), ["1.0", "4"]);
  app.add("tokens", "5");
  app.add("tokens", "3");
  assert.deepEqual(added(), ["1.0", "4,5"]);
  assert.match(window.said[0], /^No more than 2 tokens/);
  app.clearAdded();
  assert.deepEqual(added(), [null, null]);
});

test("Dash is given what was added with the whole selection, and it stands in the address", () => {
  const { window, app } = several();
  app.add("heads", "0.1");
  window.later.forEach(([act]) => act());
  const [, { data }] = window.written.at(-1);
  assert.equal(data.heads, "0.1");
  assert.equal(data.tokens, null);
  const own = window.dash_clientside.dashboard;
  const before = { run: "r", token: 2, layer: 1, head: 0, second: null };
  const found = own.reduce(null, { heads: "1.1", tokens: "3", serial: 9 }, before);
  assert.deepEqual({ ...found }, { ...before, heads: "1.1", tokens: "3" });
});

test("nothing is proposed of a run that is not shown", () => {
  const window = page({ run: "another" });
  window.dashboardApp.propose({ token: 5 });
  assert.equal(window.dashboardApp.state.selection.token, 2);
});

test("the latest of several proposals counts, and Dash is given the whole selection", () => {
  const window = page();
  const own = window.dash_clientside.dashboard;
  const selection = { ...window.dashboardApp.state.selection };
  const found = own.reduce(null, { token: 4, serial: 2 }, { token: 5, serial: 1 }, null, selection);
  assert.deepEqual({ ...found }, { run: "r", token: 4, layer: 1, head: 0, second: null });
  assert.equal(own.reduce(null, { token: 2, serial: 3 }, selection), window.dash_clientside.no_update);
});

test("a kept selection of an earlier version has its second token", () => {
  const found = page().dashboardApp.selectionOf({ run: "r", token: 1, layer: 0, head: 1, other: 3 });
  assert.deepEqual({ ...found }, { run: "r", token: 1, layer: 0, head: 1, second: 3 });
});

test("scripts may come in any order", () => {
  for (const order of [PARTS, [...PARTS].reverse(), [PARTS[1], PARTS[3], PARTS[0], PARTS[2]]]) {
    const window = page({}, order);
    window.dashboardApp.propose({ token: 5 });
    assert.deepEqual(chosen(window), [5, 1, 0, null]);
  }
});
