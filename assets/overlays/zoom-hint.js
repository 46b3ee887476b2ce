/* A figure in which dragging zooms says so, below it: whether it does is the figure's own answer (`dragmode`). */
(window.dashboardParts = window.dashboardParts || []).push((app) => {
  "use strict";
  const WORDS = "Drag to zoom; double-click to show all again.";

  function tell(/** @type {Graph} */ graph) {
    const figure = graph.closest(".figure");
    if (!figure) return;
    const zooms = graph.layout && graph.layout.dragmode === "zoom";
    const card = /** @type {HTMLElement} */ (figure.parentElement);
    const told = card.querySelector(":scope > .zoom-hint");
    if (zooms && !told) card.append(app.make("p", "zoom-hint", WORDS));
    if (!zooms && told) told.remove();
  }
  for (const view of ["attention", "hidden", "path", "prediction"]) {
    app.whenGraph(`${view}-graph`, (graph) => {
      graph.on("plotly_afterplot", () => tell(graph));
      tell(graph);
    });
  }
});
