/* Loads scripts of assets/ as the page does: classic scripts that share one `window`, here without a browser. */
const fs = require("node:fs");
const path = require("node:path");
const vm = require("node:vm");

const ASSETS = path.join(__dirname, "..", "..", "assets");

/* the fields of a selection, as dashboard/contracts/selection.py declares them */
const FIELDS = [
  { name: "run", of: null, optional: false, address: true },
  { name: "token", of: "token", optional: false, address: true },
  { name: "layer", of: "layer", optional: false, address: true },
  { name: "head", of: "head", optional: false, address: true },
  { name: "second", of: "token", optional: true, address: true, was: "other" },
];

/** An element that notes what is done to it, as far as a script does it while it is loaded. */
function element() {
  return { addEventListener() {}, classList: { add() {}, remove() {}, toggle() {} }, dataset: {}, children: [] };
}

/**
 * The `window` of a page on which these scripts were loaded, in this order.
 *
 * @param {string[]} names - below assets/, without ".js".
 * @param {object} fields - the selection's fields: `FIELDS`, or none.
 * @param {object | null} page - its document (elements.js); without one there is none to speak of.
 * @returns {any}
 */
function load(names, fields = [], page = null) {
  const byId = { page: { ...element(), dataset: { fields: JSON.stringify(fields) } } };
  /** @type {any} */ const window = {
    addEventListener() {},
    matchMedia: () => ({ matches: false }),
    performance: { now: () => window.time },
    history: { state: null },
    location: { hash: "", search: "" },
    time: 0,
    written: [],
    later: [], // [act, milliseconds]: what waits, for a test to call
    dash_clientside: {
      no_update: Symbol("no_update"),
      set_props: (id, props) => window.written.push([id, props]),
      callback_context: { triggered: [] },
    },
  };
  const document = page || {
    addEventListener() {},
    documentElement: { dataset: {} },
    getElementById: (id) => byId[id] || null,
    querySelectorAll: () => [],
    querySelector: () => null,
  };
  const nothing = class {
    observe() {}
  };
  const shared = {
    window,
    document,
    performance: window.performance,
    MutationObserver: nothing,
    Node: {},
    URLSearchParams,
  };
  const setTimeout = (...one) => window.later.push(one);
  const never = { clearTimeout() {}, requestAnimationFrame: () => 1, cancelAnimationFrame() {} };
  const context = vm.createContext({ ...shared, setTimeout, ...never });
  for (const name of names)
    vm.runInContext(fs.readFileSync(path.join(ASSETS, `${name}.js`), "utf-8"), context, { filename: `${name}.js` });
  return window;
}

module.exports = { FIELDS, load };
