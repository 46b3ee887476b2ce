/* What a copied link carries behind its #: text and model, where the server allows it and they are not too long. */
const assert = require("node:assert/strict");
const { test } = require("node:test");
const { load } = require("./scripts");

const LINK = "http://127.0.0.1/?run=" + "a".repeat(64);

function carried(info, allowed = "1") {
  const app = load(["core", "state/link-text"]).dashboardApp;
  app.byId("page").dataset.textInLinks = allowed;
  app.state.info = info;
  return app.withText(LINK);
}

test("text, second text, model and tokenizer stand in the part that browsers do not send", () => {
  const info = { plain: true, text: "a & b", pair: "c#d", model: "m", tokenizer: "t", chat: false };
  const [before, after] = carried(info).split("#");
  assert.equal(before, LINK);
  assert.deepEqual(Object.fromEntries(new URLSearchParams(after)), {
    text: "a & b",
    pair: "c#d",
    model: "m",
    tokenizer: "t",
  });
  assert.match(carried({ ...info, chat: true }), /&chat=1$/);
});

test("a link has at most 2,000 characters, and is whole without its text", () => {
  const room = 2000 - `${LINK}#text=&model=m`.length;
  assert.equal(carried({ plain: true, text: "x".repeat(room), model: "m" }).length, 2000);
  assert.equal(carried({ plain: true, text: "x".repeat(room + 1), model: "m" }), LINK);
  assert.equal(carried({ plain: true, text: "é".repeat(room / 3), model: "m" }), LINK, "é takes six characters there");
});

test("a server can forbid it, and a run that the form cannot ask for has none", () => {
  assert.equal(carried({ plain: true, text: "x", model: "m" }, "0"), LINK);
  assert.equal(carried({ plain: false, text: "x", model: "m" }), LINK);
  assert.equal(carried(null), LINK);
});
