/* Which of the cards' options are offered: those that change something for the run and with the other options. */
(window.dashboardParts = window.dashboardParts || []).push((app) => {
  "use strict";
  const text = (/** @type {OptionValue | undefined} */ value) =>
    typeof value === "boolean" ? (value ? "on" : "off") : String(value);

  function arrange() {
    const { info } = app.state;
    if (!info) return;
    /** @type {Set<string>} */ const offered = new Set();
    // in their order: what another option depends on comes before it
    document.querySelectorAll("fieldset[data-kinds]").forEach((field) => {
      const { kinds, needs, when, views, setting } = field.dataset;
      const conditions = /** @type {[string, string[]][]} */ (JSON.parse(when || "[]"));
      const fits = kinds.split(" ").includes(info.kind) && (!needs || info.offers.includes(needs));
      const chosen = conditions.some(
        ([name, values]) => offered.has(name) && values.includes(text(app.state.options[name])),
      );
      const taken = !views || views.split(" ").some((view) => app.isOpen(view));
      field.hidden = !(fits && taken && (!conditions.length || chosen));
      if (!field.hidden) offered.add(setting);
    });
  }
  app.onPaint((state, what) => {
    if (what === "run" || what === "options") arrange();
  });
  document.addEventListener("options-made", arrange);
  document.addEventListener("shared-options-made", arrange);
});
