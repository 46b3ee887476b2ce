/*
 * The namespace of all scripts, and what each of them needs: painting, elements, plain trees, the tooltip.
 *
 * Every other script is a part: it pushes a function into `dashboardParts`, which is called with `app` once this script
 * has been loaded, so scripts may be loaded in any order.
 */
(function () {
  "use strict";
  /** @type {((state: State, what: What) => void)[]} */ const painters = [];

  const app = /** @type {App} */ ({
    state: { selection: null, info: null, hover: null, working: false, outcome: null },
    /** What is drawn over figures, by the names of their views (assets/overlays/overlay.js). */
    overlays: new Map(),
    prefix: "/",
    /** The state of the browser's history entry before any part wrote to it; null for a new visit. */
    entryAtStart: window.history.state,

    /**
     * Register a function that is called with (state, what) whenever what changes: "run", "selection", "hover",
     * "options" (of the cards), "history", "theme", "size", "model" (another one was chosen, before a run), "nothing"
     * (the empty page again).
     */
    onPaint(painter) {
      painters.push(/** @type {(state: State, what: What) => void} */ (painter));
    },
    paint(what) {
      for (const painter of painters) painter(app.state, what);
    },

    /** Mark a token everywhere; null takes the mark away. No server call. */
    hover(mark) {
      const old = app.state.hover;
      if (
        old === mark ||
        (old && mark && old.token === mark.token && old.key === mark.key && old.source === mark.source)
      )
        return;
      app.state.hover = mark;
      app.paint("hover");
    },

    url(path) {
      return app.prefix + path;
    },
    /**
     * The stamp of the run that was opened last, and that run: if a run is computed again, its stamp tells which
     * capture this page shows.
     */
    stamp: null,
    stamped: null,

    make(tag, className, text) {
      const node = document.createElement(tag);
      if (className) node.className = className;
      if (text !== undefined) node.textContent = text;
      return node;
    },
    svg(tag, attributes, parent) {
      const node = document.createElementNS("http://www.w3.org/2000/svg", tag);
      for (const name in attributes) node.setAttribute(name, String(attributes[name]));
      if (parent) parent.append(node);
      return node;
    },

    /** The bytes of a base64 text. A loop, because `Uint8Array.from` takes thirty times as long. */
    bytes(text) {
      const letters = atob(text);
      const found = new Uint8Array(letters.length);
      for (let i = 0; i < found.length; i += 1) found[i] = letters.charCodeAt(i);
      return found;
    },

    byId(id) {
      return document.getElementById(id);
    },
    /** Whether a dialog or the side panel covers the page and takes its keys. */
    isCovered() {
      return Boolean(document.querySelector("dialog[open], .offcanvas"));
    },
    narrow() {
      return window.matchMedia("(max-width: 767px)").matches;
    },

    /** Show the tooltip at a point of the window; `lines` are nodes or texts. */
    tip(/** @type {Line[] | null} */ lines, /** @type {number} */ x, /** @type {number} */ y) {
      const box = app.byId("tooltip");
      if (!box) return;
      if (!lines) {
        box.hidden = true;
        return;
      }
      box.replaceChildren();
      const whole = (/** @type {string | Node} */ part) => (typeof part === "string" ? app.unparted(part) : part);
      lines.forEach((line, i) => {
        if (i) box.append("\n");
        box.append(...(Array.isArray(line) ? line : [line]).map(whole));
      });
      box.hidden = false;
      const { width, height } = box.getBoundingClientRect();
      box.style.left = Math.max(4, Math.min(x + 12, window.innerWidth - width - 4)) + "px";
      box.style.top = Math.max(4, y + 16 + height > window.innerHeight ? y - height - 8 : y + 12) + "px";
    },
  });

  // elements from plain trees (dashboard/components/markup.py): the parts of the page that Dash does not manage

  const SWITCHES = new Set(["hidden", "disabled"]);

  /** A text, or ["span", { class: "tok" }, child, …], as a node. */
  function element(/** @type {Tree} */ node) {
    if (typeof node === "string") return document.createTextNode(node);
    const [tag, attributes, ...children] = node;
    const made = document.createElement(tag);
    for (const [name, value] of Object.entries(attributes)) {
      if (SWITCHES.has(name)) Object.assign(made, { [name]: Boolean(value) });
      else if (name === "style") Object.assign(made.style, value);
      else made.setAttribute(name, value === true ? "" : String(value));
    }
    made.append(...children.map(element));
    return made;
  }
  function fill(/** @type {Element} */ box, /** @type {Tree[]} */ nodes) {
    box.replaceChildren(...nodes.map(element));
  }
  function look() {
    for (const box of document.querySelectorAll("[data-tree]:not([data-built])")) {
      box.dataset.built = "";
      fill(box, JSON.parse(box.dataset.tree));
    }
  }
  const looks = [look];
  /** Call `act` now and whenever elements are added to the page; SVG does not count. */
  function whenAdded(/** @type {() => void} */ act) {
    looks.push(act);
    act();
  }
  const isElement = (/** @type {Node} */ node) =>
    node.nodeType === Node.ELEMENT_NODE &&
    /** @type {Element} */ (node).namespaceURI === document.documentElement.namespaceURI;
  new MutationObserver((changes) => {
    if (changes.some(({ addedNodes }) => [...addedNodes].some(isElement))) for (const act of looks) act();
  }).observe(document.documentElement, { childList: true, subtree: true });
  /** What zlib has packed. */
  app.inflated = async function (packed) {
    const stream = new Blob([packed]).stream().pipeThrough(new DecompressionStream("deflate"));
    return new Uint8Array(await new Response(stream).arrayBuffer());
  };
  app.fill = fill;
  app.whenAdded = whenAdded;

  const config = () => JSON.parse(/** @type {HTMLElement} */ (document.getElementById("_dash-config")).textContent);
  document.addEventListener("DOMContentLoaded", () => {
    app.prefix = config().requests_pathname_prefix || "/";
  });

  let resizing = 0;
  window.addEventListener("resize", () => {
    cancelAnimationFrame(resizing);
    resizing = requestAnimationFrame(() => app.paint("size"));
  });

  /** The Plotly graph inside the element `id`; null until Plotly has made it. */
  app.graphOf = function (id) {
    const graph = document.querySelector(`#${id} .js-plotly-plot`);
    return graph && typeof graph.on === "function" ? graph : null;
  };
  /** Call `attach(graph)` once for the Plotly graph inside the element `id`, whenever it appears. */
  app.whenGraph = function (id, attach) {
    const attached = new WeakSet();
    const look = () => {
      const graph = app.graphOf(id);
      if (!graph || attached.has(graph)) return;
      attached.add(graph);
      attach(graph);
    };
    app.whenAdded(look);
  };

  window.dash_clientside = window.dash_clientside || /** @type {DashClientside} */ ({});
  window.dash_clientside.dashboard = window.dash_clientside.dashboard || /** @type {Callbacks} */ ({});
  window.dashboardApp = app;
  const parts = /** @type {Part[]} */ (window.dashboardParts || []);
  window.dashboardParts = { push: (part) => part(app) };
  for (const part of parts) part(app);
})();
