/*
 * Marks and clicks over figures that say what their axes are of: `layout.meta.axes` is { x: "token", "layer" or "head",
 * y: "layer" }, one unit each, and `first_layer` the layer at 0 (−1: the embeddings). dashboard/figures/lens.py,
 * layer_lines.py and head_scores.py draw such figures.
 */
(window.dashboardParts = window.dashboardParts || []).push((app) => {
  "use strict";
  const NEAR = 8; // pixels from the line of the selected layer at which it can be taken hold of
  /** @type {WeakMap<Graph, SVGElement>} */ const over = new WeakMap();
  /** @type {Map<string, Graph>} */ const graphs = new Map(); // by the view's name

  const metaOf = (/** @type {Graph} */ graph) =>
    graph.layout && graph.layout.meta && graph.layout.meta.axes ? /** @type {AxesMeta} */ (graph.layout.meta) : null;

  /** @returns {TokenAxes | null} */
  function geometry(/** @type {Graph} */ graph) {
    const meta = metaOf(graph);
    const { info } = app.state;
    if (!meta || !info || meta.run !== info.run || meta.stamp !== info.stamp) return null;
    const plane = app.plane(graph);
    return plane && { ...plane, meta };
  }

  /**
   * @param {SVGElement} svg @param {TokenAxes} g @param {number} x0 @param {number} y0 @param {number} x1
   * @param {number} y1 @param {string} className @param {number=} casing
   */
  function frame(svg, g, x0, y0, x1, y1, className, casing) {
    const [x, y] = [Math.max(g.box.x0, x0) - 1, Math.max(g.box.y0, y0) - 1];
    const at = { x, y, width: Math.min(g.box.x1, x1) + 1 - x, height: Math.min(g.box.y1, y1) + 1 - y };
    if (at.width <= 2 || at.height <= 2) return;
    if (casing) app.svg("rect", { ...at, class: "casing", "stroke-width": casing }, svg);
    app.svg("rect", { ...at, class: className }, svg);
  }
  /**
   * @param {SVGElement} svg @param {TokenAxes} g @param {number} token @param {string} className
   * @param {number=} casing
   */
  function column(svg, g, token, className, casing) {
    frame(svg, g, g.left(token - 0.5), g.box.y0, g.left(token + 0.5), g.box.y1, className, casing);
  }
  /* labels of what is selected, in the look of the heatmap's */
  /** @param {Graph} graph @param {AxesMeta} meta @param {Selection} selection */
  function emphasise(graph, { axes, first_layer: first }, selection) {
    const strong = axes.x === "head" ? "selected" : "second"; // a head is one cell, a layer a row
    const look = (/** @type {Bound} */ of, /** @type {number} */ value) => {
      if (of === "token" && value === selection.second && value !== selection.token) return "second";
      const at = of === "layer" ? value + first : value;
      return at !== selection[of] ? "" : of === "token" ? "selected" : strong;
    };
    for (const [name, of] of Object.entries(axes)) {
      for (const { value, text } of app.ticksOf(graph, name)) {
        const found = look(of, value);
        if (text) for (const kind of ["selected", "second"]) text.classList.toggle(`tick-${kind}`, found === kind);
      }
    }
  }
  function paint(/** @type {Graph} */ graph) {
    const svg = over.get(graph);
    if (!svg) return;
    svg.replaceChildren();
    const g = geometry(graph);
    const { selection, hover } = app.state;
    if (!g || !selection) return;
    emphasise(graph, g.meta, selection);
    const { axes, first_layer: first } = g.meta;
    const place = selection.layer - first;
    if (axes.x === "layer") {
      const x = g.left(place);
      app.svg("line", { x1: x, x2: x, y1: g.box.y0, y2: g.box.y1, class: "layer-line" }, svg);
    }
    if (axes.x === "head") {
      const { head } = selection;
      frame(svg, g, g.left(head - 0.5), g.top(place - 0.5), g.left(head + 0.5), g.top(place + 0.5), "row", 4);
      return;
    }
    const end = axes.x === "token" ? g.box.x1 : g.left(0.5); // of a column alone, what its cells say stands beside them
    if (axes.y === "layer") frame(svg, g, g.box.x0, g.top(place - 0.5), end, g.top(place + 0.5), "second-row", 3.5);
    if (axes.x === "token") {
      if (hover && hover.token !== undefined && hover.token !== selection.token) column(svg, g, hover.token, "thin");
      if (typeof selection.second === "number") column(svg, g, selection.second, "column", 3.5);
      column(svg, g, selection.token, "row", 4);
    }
  }

  /* token and layer at the pointer; beside the cells, where the labels stand, one of the two alone */
  function at(/** @type {Graph} */ graph, /** @type {MouseEvent} */ event) {
    const g = geometry(graph);
    if (!g) return null;
    const around = graph.getBoundingClientRect();
    const [px, py] = [event.clientX - around.left, event.clientY - around.top];
    const inX = px >= g.box.x0 && px <= g.box.x1;
    const inY = py >= g.box.y0 && py <= g.box.y1;
    const { axes, first_layer: first } = g.meta;
    const { counts } = /** @type {Shows} */ (app.state).info;
    const within = (/** @type {number} */ value, /** @type {number} */ low, /** @type {number} */ high) =>
      Math.max(low, Math.min(high, Math.round(value)));
    /** @type {Found} */ const found = { g, px };
    if (axes.x === "token" && inX && py <= g.box.y1) found.token = within(g.across(px), 0, counts.token - 1);
    if (axes.x === "head" && inX && py <= g.box.y1) found.head = within(g.across(px), 0, counts.head - 1);
    if (axes.x === "layer" && inX) found.layer = within(g.across(px) + first, first, counts.layer - 1);
    if (axes.y === "layer" && inY && px <= g.box.x1) found.layer = within(g.down(py) + first, first, counts.layer - 1);
    return (found.token ?? found.layer ?? found.head) === undefined ? null : found;
  }
  /* the embeddings are no layer: Hidden states shows them, and the layer stays */
  /** @param {string} name @param {Partial<Found>} found @param {boolean=} second */
  function choose(name, { token, layer, ...found }, second) {
    /** @type {Change} */ const change = {};
    if (token !== undefined) change[second ? "second" : "token"] = token;
    if (found.head !== undefined) change.head = found.head;
    if (found.g && found.g.meta.axes.x === "head" && layer !== undefined) change.layer = layer;
    else if (layer !== undefined && !second) {
      app.history.set(
        Object.fromEntries(["hidden-at", "path-at"].map((option) => [option, layer < 0 ? "embeddings" : "layer"])),
      );
      if (layer >= 0) change.layer = layer;
    }
    if (second && token !== undefined) app.asSecond(token, name);
    else if (Object.keys(change).length) app.propose(change, name);
  }

  function attach(/** @type {string} */ name, /** @type {Graph} */ graph) {
    graphs.set(name, graph);
    let moved = false; // the line of the selected layer was, so that the click at its end means nothing
    const ready = () => {
      if (metaOf(graph) && !over.has(graph)) {
        over.set(graph, app.svg("svg", { class: "over", "aria-hidden": "true" }, app.byId(`${name}-figure`)));
      }
      paint(graph);
    };
    const nearLine = (/** @type {Found | null} */ found) =>
      found &&
      found.g.meta.axes.x === "layer" &&
      Math.abs(found.px - found.g.left(/** @type {Shows} */ (app.state).selection.layer - found.g.meta.first_layer)) <
        NEAR;
    graph.on("plotly_afterplot", ready);
    graph.on("plotly_relayout", ready);
    /* while it is held, Plotly lays a cover over the page: the window hears what the graph does not */
    const drag = (/** @type {MouseEvent} */ { clientX }) => {
      const g = geometry(graph);
      const { info, selection } = /** @type {Shows} */ (app.state);
      if (!g) return;
      const place = g.across(clientX - graph.getBoundingClientRect().left);
      const layer = Math.max(0, Math.min(info.counts.layer - 1, Math.round(place) + g.meta.first_layer));
      if (layer === selection.layer) return;
      moved = true;
      choose(name, { layer });
    };
    const drop = () => {
      window.removeEventListener("pointermove", drag, true);
      window.removeEventListener("mousemove", drag, true);
    };
    graph.addEventListener(
      "pointerdown",
      (event) => {
        moved = false;
        if (!metaOf(graph) || !nearLine(at(graph, event))) return;
        window.addEventListener("pointermove", drag, true);
        window.addEventListener("mousemove", drag, true);
        ["pointerup", "mouseup", "pointercancel"].forEach((ends) =>
          window.addEventListener(ends, drop, { capture: true, once: true }),
        );
      },
      true,
    );
    graph.addEventListener(
      "pointermove",
      (event) => {
        if (!metaOf(graph)) return;
        const found = at(graph, event);
        graph.style.cursor = nearLine(found) ? "ew-resize" : found ? "pointer" : "";
        app.hover(found && found.token !== undefined && !event.buttons ? { token: found.token, source: name } : null);
      },
      true,
    );
    graph.addEventListener("pointerleave", () => {
      if (metaOf(graph)) app.hover(null);
    });
    graph.addEventListener("click", (event) => {
      const found = metaOf(graph) && !moved ? at(graph, event) : null;
      if (found) choose(name, withPoint(graph, found), event.shiftKey && found.g.meta.axes.x === "token");
    });
    ready();
  }
  /* of lines, the point under the pointer says which token it is of */
  function withPoint(/** @type {Graph} */ graph, /** @type {Found} */ found) {
    const point = app.hoveredPoint(graph);
    const told = point && point.customdata;
    return found.g.meta.axes.x === "layer" && told && told.token !== undefined ? { ...told } : found;
  }

  let followed = false;
  function follow() {
    // as soon as there is something to mark
    followed = true;
    for (const { name, selects } of JSON.parse(app.byId("page").dataset.views)) {
      if (selects === "axes") app.whenGraph(`${name}-graph`, (graph) => attach(name, graph));
    }
  }
  app.onPaint((state, what) => {
    if (!followed && state.selection) follow();
    if (what === "selection" || what === "hover" || what === "size") graphs.forEach((graph) => paint(graph));
  });
});
