/* Which options the menus offer: assets/components/options.js. */
const { test } = require("node:test");
const assert = require("node:assert/strict");
const { documentOf } = require("./elements");
const { load } = require("./scripts");

/** A page of these fields, each the facts of one control; `shown`: the names of those that are offered. */
function page(fields, info = {}, options = {}) {
  const document = documentOf({ page: "div" });
  for (const facts of fields) {
    const field = document.createElement("fieldset");
    Object.assign(field.dataset, { kinds: "causal encoder masked", ...facts });
    document.documentElement.append(field);
  }
  const app = load(["core", "components/options"], [], document).dashboardApp;
  app.state.info = { kind: "causal", offers: [], ...info };
  app.state.options = options;
  app.isOpen = (view) => view === "attention";
  document.fire("options-made", document.documentElement);
  const found = document.querySelectorAll("fieldset[data-kinds]").filter((field) => !field.hidden);
  return found.map((field) => field.dataset.setting);
}

test("options of another kind of model are not offered", () => {
  const fields = [
    { setting: "a", kinds: "masked" },
    { setting: "b", kinds: "masked causal" },
  ];
  assert.deepEqual(page(fields), ["b"]);
});

test("an option that needs what the text lacks is not offered", () => {
  const fields = [{ setting: "a", needs: "pair" }, { setting: "b", needs: "special" }, { setting: "c" }];
  assert.deepEqual(page(fields, { offers: ["special"] }), ["b", "c"]);
});

test("an option that depends on another follows it, and is not offered if the other is not", () => {
  const fields = [
    { setting: "of" },
    { setting: "special", needs: "special" },
    { setting: "share", when: JSON.stringify([["of", ["rollout"]]]) },
    { setting: "sums", when: JSON.stringify([["special", ["on"]]]) },
  ];
  assert.deepEqual(page(fields, {}, { of: "head", special: true }), ["of"]);
  assert.deepEqual(page(fields, {}, { of: "rollout", special: true }), ["of", "share"]);
  const all = page(fields, { offers: ["special"] }, { of: "rollout", special: true });
  assert.deepEqual(all, ["of", "special", "share", "sums"]);
});

test("a shared option is offered in the views that take it", () => {
  assert.deepEqual(page([{ setting: "a", views: "attention lines" }]), ["a"]);
  assert.deepEqual(page([{ setting: "a", views: "heads" }]), []);
});
