/*
 * Several heads or tokens at once: what is added beside the selected head and token, in the fields of the selection
 * that hold several ("24.4,10.8"; dashboard/contracts/selection.py). Ctrl-click adds and removes; `h` and `t` do so for
 * what is selected; one button clears all.
 */
(window.dashboardParts = window.dashboardParts || []).push((app) => {
  "use strict";
  /** @typedef {"heads" | "tokens"} Added */
  const SINGULAR = { heads: "head", tokens: "token" };

  /** The fields that hold several. */
  const fields = () => /** @type {SeveralField[]} */ (app.fields().filter(({ each }) => each));
  const split = (/** @type {unknown} */ text) => (typeof text === "string" && text ? text.split(",") : []);

  /** What a proposal makes of such a field: each item once, those alone that the run has, not too many. */
  function kept(/** @type {SeveralField} */ { each, most }, /** @type {unknown} */ value, /** @type {Info} */ info) {
    const fits = (/** @type {string} */ item) => {
      const parts = item.split(".");
      return (
        parts.length === each.length && parts.every((part, i) => /^\d+$/.test(part) && +part < info.counts[each[i]])
      );
    };
    return [...new Set(split(value).filter(fits))].slice(0, most).join(",") || null;
  }

  /** @type {Partial<App>} */
  const own = {
    /** The changes that a proposal asks for of the fields that hold several. */
    severalIn(change, info) {
      const asked = fields().filter(({ name }) => name in change);
      return Object.fromEntries(asked.map((field) => [field.name, kept(field, change[field.name], info)]));
    },
    /** The names of the fields that hold several. */
    severalNames: () => fields().map(({ name }) => name),
    /** The added heads, as [layer, head]. */
    addedHeads() {
      const { selection } = app.state;
      return split(selection && selection.heads).map((item) => {
        const [layer, head] = item.split(".").map(Number);
        return [layer, head];
      });
    },
    /** The heads that a figure or a selection is of, each once: the selected one and the added ones. */
    headsOf({ layer, head, heads }) {
      const names = [...new Set([`${layer}.${head}`, ...split(heads)])];
      return names.map((name) => name.split(".").map(Number));
    },
    /** The added tokens, by position. */
    addedTokens() {
      const { selection } = app.state;
      return split(selection && selection.tokens).map(Number);
    },
    /** Add a head ("24.4") or a token ("3") to the selected ones, or take it away; `view` as for `propose`. */
    add(name, item, view) {
      const { selection } = app.state;
      const field = fields().find((one) => one.name === name);
      if (!selection || !field) return;
      const held = split(selection[name]);
      if (!held.includes(item) && held.length >= field.most) {
        app.say(`No more than ${field.most} ${name} can be added. Remove one first.`);
        return;
      }
      const next = held.includes(item) ? held.filter((one) => one !== item) : [...held, item];
      app.propose({ [name]: next.join(",") || null }, view);
    },
    /** Add what is selected, or take it away from what was added. */
    addSelected(name) {
      const { selection } = app.state;
      if (!selection) return;
      app.add(name, name === "heads" ? `${selection.layer}.${selection.head}` : `${selection.token}`);
    },
    /** Take away all added heads and tokens. */
    clearAdded() {
      app.propose(Object.fromEntries(fields().map(({ name }) => [name, null])));
    },
    /** Frame the added heads in the grid; `around` puts a frame around a head. */
    frameAdded(inner, around) {
      for (const one of inner.querySelectorAll(".head-frame.added")) one.remove();
      for (const one of inner.querySelectorAll("button[aria-description]")) one.removeAttribute("aria-description");
      for (const [layer, head] of app.addedHeads()) {
        const frame = app.make("div", "head-frame added");
        around(frame, layer, head);
        inner.append(frame);
        const button = inner.querySelector(`button[data-layer="${layer}"][data-head="${head}"]`);
        if (button) button.setAttribute("aria-description", "added");
      }
    },
    /** The added heads and tokens in words; "" if there are none. */
    addedWords() {
      const { info } = app.state;
      const heads = app.addedHeads().map((pair) => pair.join("."));
      const tokens = app.addedTokens().map((token) => `${app.isolated(info ? info.labels[token] : "")} ${token}`);
      return /** @type {[Added, string[]][]} */ ([
        ["heads", heads],
        ["tokens", tokens],
      ])
        .filter(([, items]) => items.length)
        .map(([name, items]) => `added ${items.length > 1 ? name : SINGULAR[name]} ${items.join(", ")}`)
        .join("; ");
    },
  };
  Object.assign(app, own);

  /* the selection bar's part */
  function bar() {
    const item = app.byId("added");
    if (!item) return;
    const [heads, tokens] = [app.addedHeads(), app.addedTokens()];
    item.hidden = !heads.length && !tokens.length;
    const slot = app.byId("added-items");
    slot.replaceChildren();
    if (heads.length) slot.append(app.make("span", "", heads.map((pair) => pair.join(".")).join(" ")));
    for (const token of tokens) slot.append(app.label(token, 12), String(token));
    slot.title = app.addedWords();
  }
  app.onPaint((state, what) => {
    if (what === "selection") bar();
  });
  document.addEventListener("click", (event) => {
    if (event.target.closest("#clear-added")) app.clearAdded();
  });
  /* Ctrl-click on a token of the strip or a head of the grid; before their own listeners */
  document.addEventListener(
    "click",
    (event) => {
      if (!(event.ctrlKey || event.metaKey) || !app.state.selection || !event.target.closest) return;
      const button = event.target.closest("#tokens [data-token], #attention-heads button");
      if (!button) return;
      event.stopImmediatePropagation();
      const { token, layer, head } = button.dataset;
      if (token !== undefined) app.add("tokens", token);
      else app.add("heads", `${layer}.${head}`);
    },
    true,
  );
});
