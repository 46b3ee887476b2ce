/* Words in the token strip, where word pieces are merged: the real scripts of assets/ in a small page (strip.js). */
const assert = require("node:assert/strict");
const { test } = require("node:test");
const { page } = require("./strip");

test("a word is hovered as a whole, and named over the piece under the pointer", () => {
  const { app, byId, token } = page();
  const hovered = () => [0, 1, 2, 3].filter((index) => token(index).classList.contains("hovered"));
  app.hover({ token: 2, source: "strip" });
  assert.deepEqual(hovered(), [2]);
  app.state.options = { "attention-words": true };
  app.hover({ token: 3, source: "strip" });
  assert.deepEqual(hovered(), [2, 3]);
  app.hover({ token: 0, source: "strip" });
  assert.deepEqual(hovered(), [0]);
  app.tip(app.wordLines(3), 0, 0);
  assert.equal(byId("tooltip").textContent, "word: ↵·had (2–3)");
  assert.deepEqual([...app.wordLines(1)], []);
});
