/* The token strip and the selection bar: what they show of a run, and what clicks and keys in them select. */
const assert = require("node:assert/strict");
const { test } = require("node:test");
const { chosen, page } = require("./strip");

test("each token is a button with its label and its surprisal", () => {
  const { byId, tokens } = page();
  assert.deepEqual(
    tokens().map((node) => [node.tagName, node.textContent]),
    [
      ["BUTTON", "<s>–"],
      ["BUTTON", "·Mary11.9"],
      ["BUTTON", "↵0.0"],
      ["BUTTON", "·had∞"],
    ],
  );
  assert.deepEqual(
    tokens().map((node) => node.children[0].className),
    ["chip", "chip surprisal-6", "chip surprisal-0", "chip surprisal-6"],
  );
  assert.deepEqual(
    tokens().map((node) => node.classList.contains("special")),
    [true, false, false, false],
  );
  const all = byId("tokens").children.map((node) => node.className.split(" ")[0]);
  assert.deepEqual(all, ["token", "token", "token", "line-break", "token"]);
});

test("a token whose marks mean something says so to those who do not see it", () => {
  const { token } = page();
  assert.equal(token(2).getAttribute("aria-label"), "↵, 0.0, a line break");
  assert.equal(token(1).getAttribute("aria-label"), null);
});

test("above 32 tokens the numbers are on hover alone", () => {
  const labels = Array.from({ length: 33 }, (_, i) => `t${i}`);
  const many = { labels, leads: labels.map(() => 0), surprisal: labels.map(() => 1.5), impossible: [], breaks: [] };
  const { byId, token } = page({ ...many, notes: {}, special: [] });
  assert.equal(token(1).textContent, "t1");
  assert.equal(byId("tokens").classList.contains("plain"), true);
  assert.match(byId("strip-caption").textContent, /; hover for the number$/);
});

test("one token is pressed and one can be reached by Tab: the selected one", () => {
  const { app, tokens } = page({}, { second: 3 });
  const pressed = () => tokens().map((node) => node.getAttribute("aria-pressed") === "true");
  const inOrder = () => tokens().map((node) => node.tabIndex === 0);
  const marked = (name) => tokens().map((node) => node.classList.contains(name));
  assert.deepEqual(pressed(), [false, true, false, false]);
  assert.deepEqual(inOrder(), [false, true, false, false]);
  assert.deepEqual(marked("second"), [false, false, false, true]);
  app.propose({ token: 2 });
  assert.deepEqual(pressed(), [false, false, true, false]);
  assert.deepEqual(inOrder(), [false, false, true, false]);
  assert.deepEqual(marked("selected"), [false, false, true, false]);
});

test("a click selects, with Shift a second token, once more none", () => {
  const shown = page();
  const { document, token } = shown;
  document.fire("click", token(3).children[0]);
  assert.deepEqual(chosen(shown), [3, 1, 0, null]);
  document.fire("click", token(0), { shiftKey: true });
  assert.deepEqual(chosen(shown), [3, 1, 0, 0]);
  document.fire("click", token(0), { shiftKey: true });
  assert.deepEqual(chosen(shown), [3, 1, 0, null]);
  document.fire("click", token(3), { shiftKey: true });
  assert.deepEqual(chosen(shown), [3, 1, 0, null]);
});

test("Clear takes the second token away and is there only with one", () => {
  const shown = page({}, { second: 3 });
  const { document, byId } = shown;
  assert.equal(byId("clear-second").hidden, false);
  assert.equal(byId("second-token").textContent, "·had3");
  document.fire("click", byId("clear-second"));
  assert.deepEqual(chosen(shown), [1, 1, 0, null]);
  assert.equal(byId("clear-second").hidden, true);
  assert.equal(byId("second-token").textContent, "None. Shift-click a token to compare.");
});

for (const [focused, key, expected] of [
  [1, "ArrowRight", 2],
  [1, "ArrowLeft", 0],
  [1, "ArrowDown", 2],
  [1, "ArrowUp", 0],
  [3, "ArrowRight", 3],
  [0, "ArrowLeft", 0],
  [3, "ArrowLeft", 2],
]) {
  test(`${key} on token ${focused} selects token ${expected} and goes there`, () => {
    const shown = page();
    assert.equal(shown.document.fire("keydown", shown.token(focused), { key }), true);
    assert.deepEqual(chosen(shown), [expected, 1, 0, null]);
    assert.equal(shown.document.activeElement, shown.token(expected));
  });
}

for (const modifier of ["ctrlKey", "altKey", "shiftKey", "metaKey"]) {
  test(`an arrow with ${modifier} is left to others`, () => {
    const shown = page();
    assert.equal(shown.document.fire("keydown", shown.token(1), { key: "ArrowRight", [modifier]: true }), false);
    assert.deepEqual(chosen(shown), [1, 1, 0, null]);
  });
}

test("steppers step by one and are disabled at the ends", () => {
  const shown = page();
  const { document, byId } = shown;
  const disabled = () => ["layer-down", "layer-up", "head-down", "head-up"].map((id) => byId(id).disabled);
  assert.deepEqual(disabled(), [false, false, true, false]);
  assert.deepEqual([byId("layer-range").textContent, byId("head-range").textContent], ["0–2", "0–1"]);
  document.fire("click", byId("layer-up"));
  document.fire("click", byId("head-up"));
  assert.deepEqual(chosen(shown), [1, 2, 1, null]);
  assert.deepEqual(disabled(), [false, true, false, true]);
  assert.equal(document.fire("keydown", byId("layer"), { key: "ArrowDown" }), true);
  assert.deepEqual(chosen(shown), [1, 1, 1, null]);
});

for (const [typed, layer] of [
  ["2", 2],
  [" 0 ", 0],
  ["002", 2],
]) {
  test(`“${typed}” and Enter choose layer ${layer}`, () => {
    const shown = page();
    const field = Object.assign(shown.byId("layer"), { value: typed });
    shown.document.fire("keydown", field, { key: "Enter" });
    assert.deepEqual(chosen(shown), [1, layer, 0, null]);
    assert.equal(shown.byId("announcer").textContent, "");
  });
}

for (const [name, typed, last, said = typed] of [
  ["layer", "3", 2],
  ["layer", "-1", 2],
  ["layer", "1.5", 2],
  ["layer", "1e0", 2],
  ["layer", "x", 2],
  ["layer", "<b>", 2],
  ["head", "2", 1],
  ["head", "999999999", 1],
  ["head", "1000000000000", 1, "10000000000…"],
]) {
  test(`${name} “${typed}” is refused in words for four seconds, and the field shows what it was`, () => {
    const shown = page();
    const { byId, window } = shown;
    const field = Object.assign(byId(name), { value: typed });
    window.later.length = 0;
    shown.document.fire("focusout", field);
    assert.deepEqual(chosen(shown), [1, 1, 0, null]);
    const there = `this model has ${name}s 0 to ${last}`;
    const words = `There is no ${name} ${said}: ${there}. Layer 1, head 0 is still selected.`;
    assert.equal(byId("announcer").textContent, words);
    assert.equal(byId("tooltip").textContent, words);
    assert.equal(byId(`${name}-range`).getAttribute("title"), words);
    assert.equal(field.closest(".bar-item").classList.contains("refused"), true);
    for (const [act, milliseconds] of window.later) if (milliseconds <= 4000) act();
    assert.equal(byId(`${name}-range`).getAttribute("title"), null);
    assert.equal(field.closest(".bar-item").classList.contains("refused"), false);
    const value = { layer: "1", head: "0" }[name];
    assert.equal(field.value, value);
    assert.deepEqual(JSON.parse(JSON.stringify(window.written.at(-1))), [name, { value }]);
  });
}

test("an emptied field is filled again without a word", () => {
  const { byId, document, window } = page();
  window.later.length = 0;
  document.fire("focusout", byId("layer"));
  for (const [act] of window.later) act();
  assert.equal(byId("layer").value, "1");
  assert.equal(byId("announcer").textContent, "");
});

test("Undo and Redo go one step, and are disabled where there is none", () => {
  const { byId, document, steps } = page();
  assert.deepEqual([byId("undo").disabled, byId("redo").disabled], [false, true]);
  document.fire("click", byId("undo"));
  document.fire("click", byId("redo"));
  assert.deepEqual(steps, [-1, 1]);
});

test("the pointer on a token marks it and says what it is, until it leaves", () => {
  const { app, byId, document, token } = page();
  document.fire("mouseover", token(2).children[0]);
  assert.deepEqual({ ...app.state.hover }, { token: 2, source: "strip" });
  assert.equal(token(2).classList.contains("hovered"), true);
  assert.equal(byId("tooltip").textContent, "↵ 2\nsurprisal 0.04\u00a0nats\na line break");
  document.fire("mouseout", token(2).children[0]);
  assert.equal(app.state.hover, null);
  assert.equal(token(2).classList.contains("hovered"), false);
  assert.equal(byId("tooltip").hidden, true);
});

test("a token that the model thought impossible, and one without a surprisal", () => {
  const { app, byId, document, token } = page();
  assert.deepEqual([app.surprisal(0), app.surprisal(1), app.surprisal(3)], [null, 11.9, Infinity]);
  document.fire("mouseover", token(3));
  assert.equal(byId("tooltip").textContent, "·had 3\nimpossible: surprisal ∞");
  document.fire("mouseover", token(0));
  assert.equal(byId("tooltip").textContent, "<s> 0");
});

test("the caption says what colours and numbers are, where there are any", () => {
  const { byId } = page();
  assert.equal(
    byId("strip-caption").textContent,
    "colour and number: surprisal, in nats (how unexpected the token was)",
  );
  assert.equal(byId("strip-marks").textContent, "· a space · ↵ a line break");
  assert.equal(byId("strip-legend").hidden, false);
  const plain = page({ surprisal: null, legend: [] });
  assert.equal(plain.byId("strip-caption").textContent, "click a token to select it, shift-click for a second");
  assert.equal(plain.byId("strip-marks").hidden, true);
  assert.equal(plain.byId("strip-legend").hidden, true);
});

test("of a strip that scrolls, the caption says which lines are in view", () => {
  const { app, byId, tokens } = page();
  const strip = byId("tokens");
  // two tokens a line, 30 pixels from line to line; of seven lines three are in view
  tokens().forEach((node, i) => Object.assign(node, { offsetTop: 4 + 30 * Math.floor(i / 2), offsetHeight: 26 }));
  strip.querySelector(".line-break").offsetTop = 34;
  Object.assign(strip, { clientHeight: 90, scrollHeight: 218 });
  const caption = (top) => {
    strip.scrollTop = top;
    app.stripCaption("");
    return byId("strip-caption").textContent;
  };
  assert.equal(caption(0), "colour: surprisal · lines 1–3 of 7; follows the selected token");
  assert.equal(caption(62), "colour: surprisal · lines 3–5 of 7; follows the selected token");
  assert.equal(caption(128), "colour: surprisal · lines 5–7 of 7; follows the selected token");
});

test("pieces stand with the piece before them where attention is read word by word", () => {
  const { app, byId, token } = page();
  assert.deepEqual(
    [1, 3].map((index) => token(index).classList.contains("continues")),
    [false, true],
  );
  assert.equal(byId("tokens").classList.contains("words"), false);
  app.state.options = { "attention-words": true };
  app.paint("options");
  assert.equal(byId("tokens").classList.contains("words"), true);
});

test("values that are not finite are said", () => {
  const { notices } = page({ warning: "Layer 2 is not finite." });
  assert.deepEqual(JSON.parse(JSON.stringify(notices)), [
    { lead: "Not finite.", text: "Layer 2 is not finite.", from: "values" },
  ]);
  assert.deepEqual(page().notices, []);
});

test("a divider stands before the second text, and is no token", () => {
  const { byId, tokens } = page({ pair: "had", divider: 3 });
  const all = byId("tokens").children.map((node) => node.className.split(" ")[0]);
  assert.deepEqual(all, ["token", "token", "token", "line-break", "second-begins", "token"]);
  const [line] = byId("tokens").querySelectorAll("[role=separator]");
  assert.equal(line.getAttribute("aria-label"), "Second text");
  assert.equal(tokens().length, 4);
});

test("a typed separator leads to the second box, in a model that takes pairs", () => {
  const { notices, app } = page({ separator: "[SEP]" });
  assert.equal(notices.length, 1);
  assert.match(notices[0].text, /^“\u2068?\[SEP\]\u2069?” in the text does not make a pair: .* Add a second text /);
  app.modelOf = () => ({ pairs: false });
  app.paint("run");
  assert.equal(notices.length, 1);
  assert.deepEqual(page().notices, []);
});

test("a classifier's tokens have a colour, a word, and both in the legend", () => {
  const classes = {
    what: "each token’s most likely class",
    groups: ["PER", "LOC", "a", "b", "c", "d", "e", "f"],
    colours: ["", "0", "more", "1"],
    below: ["", "B-PER", "e", "LOC"],
    said: ["class O, 50.0 %", "class B-PER, 91.0 %", "class e, 40.0 %", "class LOC, 60.0 %"],
  };
  const { token, byId, app } = page({ classes, surprisal: null, impossible: [] });
  const chips = [0, 1, 2, 3].map((i) => token(i).querySelector(".chip").className);
  assert.deepEqual(chips, ["chip", "chip class-0", "chip class-more", "chip class-1"]);
  assert.deepEqual(
    [1, 2].map((i) => token(i).querySelector(".value").textContent),
    ["B-PER", "e"],
  );
  assert.equal(byId("strip-caption").textContent, "colour and word: each token’s most likely class");
  assert.equal(byId("strip-legend").hidden, true);
  assert.equal(byId("strip-classes").hidden, false);
  const names = [...byId("strip-classes").childNodes].map((one) => one.textContent);
  assert.deepEqual(names, ["PER", "LOC", "a", "b", "c", "d", "e, f"]);
  assert.equal(app.tokenMark(1).said, "class B-PER, 91.0 %");
});
