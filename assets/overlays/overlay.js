/*
 * Overlays: what is drawn over a figure, and what a pointer finds there. Each is an object, registered by the name of
 * its view: `app.overlays.set("attention", { draw, hit, … })` (`Overlay` in types/page.d.ts). Here each gets its graph
 * and an SVG above it, and is called when there is something to do.
 */
(window.dashboardParts = window.dashboardParts || []).push((app) => {
  "use strict";
  /** @type {Map<string, Over>} */ const drawn = new Map(); // by the view's name
  /** @type {Hit | null} */ let under = null; // what is under the pointer

  const overlayOf = (/** @type {Over} */ { view }) => /** @type {Overlay} */ (app.overlays.get(view));

  /** @param {Over} over @param {MouseEvent} event */
  function hitAt(over, event) {
    const corner = over.graph.getBoundingClientRect();
    return overlayOf(over).hit(over, { x: event.clientX - corner.left, y: event.clientY - corner.top });
  }
  /** @param {Over} over @param {MouseEvent} event */
  async function point(over, event) {
    const { clientX, clientY, buttons } = event;
    const hit = buttons ? null : hitAt(over, event);
    const { lines } = overlayOf(over);
    under = hit;
    app.setCursor(over.graph, hit ? (hit.cursor ?? "pointer") : "");
    app.hover(hit && hit.mark);
    if (!hit || !lines) app.tip(null);
    else {
      const told = await lines(hit);
      if (under !== hit) return;
      if (told.length) app.tip(told, clientX, clientY);
      else app.tip(null);
    }
  }
  function leave() {
    under = null;
    app.hover(null);
    app.tip(null);
  }

  /** @param {string} view @param {Overlay} overlay @param {Graph} graph */
  function attach(view, overlay, graph) {
    const holder = app.byId(`${view}-figure`);
    const svg = app.svg("svg", { class: "over", "aria-hidden": "true" }, holder);
    const over = { view, graph, holder, svg };
    drawn.set(view, over);
    const draw = () => overlay.draw(over, "figure");
    graph.on("plotly_afterplot", draw);
    graph.on("plotly_relayout", draw);
    graph.addEventListener("mousemove", (event) => point(over, event));
    graph.addEventListener("mouseleave", leave);
    // Plotly's own click is lost within 50 ms of a quick move
    graph.addEventListener("click", (event) => {
      const hit = overlay.choose ? hitAt(over, event) : null;
      if (hit && overlay.choose) overlay.choose(over, hit, event);
    });
    if (overlay.attach) overlay.attach(over);
    draw();
  }
  app.whenAdded(() => {
    for (const [view, overlay] of app.overlays) {
      const graph = app.graphOf(`${view}-graph`);
      const known = drawn.get(view);
      if (graph && (!known || known.graph !== graph)) attach(view, overlay, graph);
    }
  });

  /** Draw the overlay of one view again. */
  app.redraw = function (view) {
    const over = drawn.get(view);
    if (over) overlayOf(over).draw(over, "figure");
  };
  app.onPaint((state, what) => {
    if ((what === "selection" || what === "run") && under) {
      under = null; // its tooltip described what was there before
      app.tip(null);
    }
    if (what === "selection" || what === "hover" || what === "size") {
      for (const over of drawn.values()) overlayOf(over).draw(over, what);
    }
  });
});
