/*
 * What an address says of the page: the selection's fields, and the cards' options that are not at their default, by
 * name and as text. A card whose run opens another tab than its first has its tab said, whichever it is.
 */
(window.dashboardParts = window.dashboardParts || []).push((app) => {
  "use strict";
  const text = (/** @type {OptionValue} */ value) =>
    typeof value === "boolean" ? (value ? "on" : "off") : String(value);

  app.address = {
    controls: [],
    opens: {},

    isEmpty: ({ standard }, value) =>
      (value ?? null) === null || (typeof standard === "number" && !Number.isFinite(value)),
    given(options) {
      const says = (/** @type {Control} */ one) =>
        one.name in options &&
        !app.address.isEmpty(one, options[one.name]) &&
        (options[one.name] !== one.standard || one.name in app.address.opens);
      return Object.fromEntries(app.address.controls.filter(says).map(({ name }) => [name, options[name]]));
    },

    ofOptions: (options) => Object.fromEntries(Object.entries(options).map(([name, value]) => [name, text(value)])),
    ofSelection(selection) {
      const held = app.fields().filter(({ name, address: stands }) => stands && (selection[name] ?? null) !== null);
      return Object.fromEntries(held.map(({ name }) => [name, String(selection[name])]));
    },
    of({ selection, options }) {
      return { ...(selection && app.address.ofSelection(selection)), ...app.address.ofOptions(options) };
    },
    now: () => app.address.of({ selection: app.state.selection, options: app.history.options() || {} }),

    link() {
      const query = app.state.selection ? "?" + new URLSearchParams(app.address.now()) : "";
      return window.location.origin + window.location.pathname + query;
    },
  };

  /** What the address bar asks for when the page is opened: called by Dash. */
  window.dash_clientside.dashboard.openAddress = function () {
    const values = Object.fromEntries(new URLSearchParams(window.location.search));
    delete values.via;
    return "run" in values ? values : window.dash_clientside.no_update;
  };
});
