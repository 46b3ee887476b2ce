/* Elements from plain trees (dashboard/markup.py): the parts of the page that Dash need not know, and the views' words. */
(function () {
  "use strict";
  const painted = new Map(); // per view: the words that stand around it
  const SWITCHES = new Set(["hidden", "disabled"]);

  /** A text, or ["span", { class: "tok" }, child, …], as a node. */
  function element(node) {
    if (typeof node === "string") return document.createTextNode(node);
    const [tag, attributes, ...children] = node;
    const made = document.createElement(tag);
    for (const [name, value] of Object.entries(attributes)) {
      if (SWITCHES.has(name)) made[name] = Boolean(value);
      else if (name === "style") Object.assign(made.style, value);
      else made.setAttribute(name, value === true ? "" : String(value));
    }
    made.append(...children.map(element));
    return made;
  }
  function fill(box, nodes) { box.replaceChildren(...nodes.map(element)); }
  function look() {
    for (const box of document.querySelectorAll("[data-tree]:not([data-built])")) {
      box.dataset.built = "";
      fill(box, JSON.parse(box.dataset.tree));
    }
  }
  new MutationObserver(look).observe(document.documentElement, { childList: true, subtree: true });

  const PARTS = ["heading", "body", "footer"];

  /** What stands around a view's figure; what says the same as before is left as it is. */
  function words(told) {
    const { view, of } = told;
    const text = JSON.stringify(PARTS.concat("alternative", "table").map((name) => told[name]));
    const changed = painted.get(view) !== text;
    painted.set(view, text);
    for (const part of PARTS) {
      const box = document.getElementById(`${view}-${part}`);
      if (!box) continue;
      if (changed) fill(box, told[part]);
      box.dataset.of = of;
    }
    if (changed) explain(view);
    document.dispatchEvent(new CustomEvent("view-words", { detail: { ...told, changed } }));
  }
  /* the caption once more, behind the card's "?" */
  function explain(view) {
    const panel = document.getElementById(`${view}-panel`);
    const caption = panel && panel.querySelector(".heading .caption");
    if (!caption) return;
    panel.querySelector(".about-text").replaceChildren(...[...caption.cloneNode(true).childNodes]);
    panel.querySelector(".about").hidden = !caption.textContent;
  }
  /** A view's invitation again, as it was before the first run. */
  function invite(view) {
    if (!painted.delete(view)) return;
    for (const part of PARTS) {
      const box = document.getElementById(`${view}-${part}`);
      fill(box, JSON.parse(box.dataset.tree || "[]"));
      delete box.dataset.of;
    }
    document.dispatchEvent(new CustomEvent("view-words", { detail: { view, alternative: "", table: null, awaits: [], changed: true } }));
  }
  /** The Dash component of dashboard/components/card_text.py. */
  function CardText({ id, words: told }) {
    window.React.useLayoutEffect(() => { if (told) words(told); else invite(id.replace(/-text$/, "")); }, [id, told]);
    return null;
  }
  window.dashboard_components = Object.assign(window.dashboard_components || {}, { CardText });
  window.dashboardBuild = { fill };
})();
