/*
 * The Dash component of dashboard/components/view_panel.py: what a tab shows. Its figure and options are Dash's; the
 * words around the figure are written here, from plain trees.
 */
(window.dashboardParts = window.dashboardParts || []).push((app) => {
  "use strict";
  /** @type {Map<string, string>} */ const painted = new Map(); // per view: the words that stand around it
  /** @type {WeakMap<HTMLElement, Tree[][]>} */ const abouts = new WeakMap(); // per card's "?": the three sentences
  /** @type {("heading" | "body" | "footer")[]} */ const PARTS = ["heading", "body", "footer"];

  /** What stands around a view's figure; what says the same as before is left as it is. */
  function words(/** @type {Words} */ told) {
    const { view, of } = told;
    const all = /** @type {(keyof Words)[]} */ (PARTS).concat("about", "alternative", "table");
    const text = JSON.stringify(all.map((name) => told[name]));
    const changed = painted.get(view) !== text;
    painted.set(view, text);
    for (const part of PARTS) {
      const box = app.byId(`${view}-${part}`);
      if (changed) app.fill(box, told[part]);
      box.dataset.of = of;
    }
    if (changed) explain(view, told.about);
    document.dispatchEvent(new CustomEvent("view-words", { detail: { ...told, changed } }));
  }
  /* what is behind the card's "?", written when it opens: three sentences, and the caption, which a small card hides */
  function explain(/** @type {string} */ view, /** @type {Tree[][]} */ about) {
    const box = /** @type {HTMLDetailsElement} */ (document.querySelector(`#${view}-panel .about`));
    box.hidden = !about.length;
    if (box.hidden) box.open = false;
    if (box.open) writeAbout(box, about);
    else textOf(box).replaceChildren(); // never of another selection, not for a moment
    abouts.set(box, about);
  }
  const textOf = (/** @type {HTMLElement} */ box) => /** @type {HTMLElement} */ (box.querySelector(".about-text"));
  function writeAbout(/** @type {HTMLDetailsElement} */ box, /** @type {Tree[][]} */ about) {
    const text = textOf(box);
    const focused = [...text.querySelectorAll(".term")].findIndex((term) => term === document.activeElement);
    app.fill(
      text,
      about.map((sentence) => ["p", {}, ...sentence]),
    );
    const caption = /** @type {HTMLElement} */ (box.closest(".view")).querySelector(".heading .caption");
    if (caption && caption.textContent) {
      const copy = app.make("p", "about-caption");
      copy.append(...[...caption.cloneNode(true).childNodes]);
      text.append(copy);
    }
    app.placeMenu(box);
    const next = text.querySelectorAll(".term")[focused] || box.querySelector("summary");
    if (focused >= 0) next.focus();
  }
  document.addEventListener(
    "toggle",
    ({ target }) => {
      const about = target.open && abouts.get(target);
      if (about) writeAbout(target, about);
    },
    true,
  );
  /** A view's invitation, as before the first run; while a run is shown, its title alone until its words have come. */
  function invite(/** @type {string} */ view, /** @type {PanelParts} */ parts) {
    const invites = !app.state.selection;
    for (const part of PARTS) {
      const box = app.byId(`${view}-${part}`);
      app.fill(box, (invites || part === "heading") && parts[part] ? parts[part] : []);
      delete box.dataset.of;
    }
    explain(view, []);
    if (painted.delete(view)) {
      document.dispatchEvent(
        new CustomEvent("view-words", { detail: { view, alternative: "", table: null, awaits: [], changed: true } }),
      );
    }
  }

  /** A box whose content is the browser's. */
  function Tree(/** @type {{ nodes: Tree[] } & Record<string, unknown>} */ { nodes, ...attributes }) {
    const { createElement, useLayoutEffect, useRef } = window.React;
    const box = useRef(/** @type {Element | null} */ (null));
    useLayoutEffect(() => {
      if (nodes && box.current) app.fill(box.current, nodes);
    }, [nodes]);
    return createElement("div", { ...attributes, ref: box });
  }
  /** A card's options, made when their menu is first about to open. */
  function Options(/** @type {Record<"fields" | "files", unknown>} */ { fields, files }) {
    const { createElement: make, useLayoutEffect, useState } = window.React;
    const [made, setMade] = useState(false);
    useLayoutEffect(() => {
      document.dispatchEvent(new CustomEvent("options-made"));
    }, [made]);
    const comes = () => setMade(true);
    const summary = make("summary", { onPointerDown: comes, onFocus: comes }, "Options");
    const menu = make(
      "div",
      { className: "menu options" },
      made ? fields : null,
      made ? make("div", { className: "shared-options" }) : null, // filled by assets/components/card-tabs.js
      make(Tree, { className: "export-groups", nodes: files }),
    );
    return make("details", { className: "menu-box options-box", onToggle: comes }, summary, menu);
  }
  function ViewPanel(/** @type {ViewPanelProps} */ { id, view, tab, parts, words: told, options, grid, children }) {
    const { createElement: make, useLayoutEffect } = window.React;
    useLayoutEffect(() => {
      if (told) words(told);
      else invite(view, parts);
    }, [told]);
    const about = make(
      "details",
      { className: "menu-box about" },
      make("summary", { title: "What this shows", "aria-label": "What this shows" }, "?"),
      make("div", { className: "menu about-text" }),
    );
    const tools = make(
      "div",
      { className: "card-tools" },
      about,
      make(Options, { fields: options, files: parts.export }),
    );
    const heading = make("div", { id: `${view}-heading`, className: "heading" });
    const head = make("div", { className: "card-head" }, heading, tools);
    const figure = make("div", { className: "figure", id: `${view}-figure` }, children);
    const column = make(
      "div",
      { className: "figure-column" },
      parts.above.length ? make(Tree, { className: "above", nodes: parts.above }) : null,
      figure,
      grid ? make("div", { className: "rows-box", id: `${view}-rows-box`, role: "region" }, grid) : null,
    );
    const middle = make(
      "div",
      { className: "card-middle" },
      parts.beside.length ? make(Tree, { className: "beside", nodes: parts.beside }) : null,
      column,
      make("div", { id: `${view}-body`, className: "card-side" }),
    );
    const footer = make("div", { id: `${view}-footer`, className: "card-footer-line" });
    return make(
      "div",
      { id, className: `view view-${view}`, role: "tabpanel", "aria-labelledby": tab },
      head,
      middle,
      footer,
    );
  }
  window.dashboard_components = Object.assign(window.dashboard_components || {}, { ViewPanel });
});
