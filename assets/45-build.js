/* Elements from plain trees (dashboard/components/markup.py): the parts of the page that Dash need not know. */
(function () {
  "use strict";
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
  const looks = [look];
  /** Call `act` now and whenever elements have come into the page; what is drawn (SVG) is none. */
  function whenAdded(act) { looks.push(act); act(); }
  const isElement = (node) => node.nodeType === Node.ELEMENT_NODE && node.namespaceURI === document.documentElement.namespaceURI;
  new MutationObserver((changes) => {
    if (changes.some(({ addedNodes }) => [...addedNodes].some(isElement))) for (const act of looks) act();
  }).observe(document.documentElement, { childList: true, subtree: true });

  window.dashboardBuild = { fill, whenAdded };
})();
