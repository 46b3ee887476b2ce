/* The legend of Attention's Lines: a switch for each head. */
(window.dashboardParts = window.dashboardParts || []).push((app) => {
  "use strict";
  const nameOf = (/** @type {number[]} */ [layer, head]) => `${layer}.${head}`;

  let written = "";
  /** Write the legend; an option of the card remembers which heads are off. */
  app.linesLegend = function (told) {
    const box = app.byId("lines-legend");
    if (!box) return;
    const now = JSON.stringify(told && [told.heads, told.dashes]);
    if (now === written && box.children.length) return;
    written = now;
    const focused = /** @type {HTMLElement | null} */ (box.querySelector("button:focus"))?.dataset.head;
    box.replaceChildren(...(told ? told.heads.map((head, i) => entry(told, head, i)) : []));
    if (focused) /** @type {HTMLElement | null} */ (box.querySelector(`[data-head="${focused}"]`))?.focus();
  };
  /** @param {LinesTold} told @param {[number, number, number]} head @param {number} index */
  function entry(told, head, index) {
    const button = app.make("button", "line-switch");
    button.type = "button";
    button.dataset.head = nameOf(head);
    button.setAttribute("aria-pressed", String(Boolean(head[2])));
    const does = head[2] ? "drawn; click to leave it out" : "not drawn; click to draw it";
    button.title = `Layer ${head[0]}, head ${head[1]}: ${does}`;
    const swatch = app.svg("svg", { width: 28, height: 8, "aria-hidden": "true" });
    const line = app.svg(
      "line",
      { x1: 0, x2: 28, y1: 4, y2: 4, "stroke-width": 4, class: `weight-line line-of-${index % 3}` },
      swatch,
    );
    const dash = told.dashes[index % told.dashes.length];
    if (dash !== "solid") line.setAttribute("stroke-dasharray", dash.replaceAll("px", ""));
    button.append(swatch, nameOf(head));
    return button;
  }
  document.addEventListener("click", (event) => {
    const button = event.target.closest && event.target.closest("#lines-legend button");
    if (!button) return;
    const name = String(button.dataset.head);
    const here = [...document.querySelectorAll("#lines-legend button")].map(({ dataset }) => dataset.head);
    const off = String(app.state.options["lines-off"] || "")
      .split(/[ ,]+/)
      .filter((one) => here.includes(one)); // without those that are no longer selected
    const next = off.includes(name) ? off.filter((one) => one !== name) : [...off, name];
    app.history.set({ "lines-off": next.join(", ") });
  });
});
