/*
 * Marks and clicks over figures that describe their axes: `layout.meta.axes` is { x: "token", "layer" or "head",
 * y: "layer" }, one unit each, and `first_layer` the layer at 0 (−1: the embeddings). dashboard/figures/lens.py,
 * layer_lines.py and head_scores.py draw such figures.
 */
(window.dashboardParts = window.dashboardParts || []).push((app) => {
  "use strict";
  const NEAR = 8; // pixels from the selected layer's line within which it can be dragged
  let moved = false; // whether the selected layer's line was dragged: the click that ends a drag selects nothing

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
  /* labels of the selection, in the style of the heatmap's */
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
  function draw(/** @type {Over} */ { graph, svg }) {
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
    const end = axes.x === "token" ? g.box.x1 : g.left(0.5); // a single column has its texts beside its cells
    if (axes.y === "layer") frame(svg, g, g.box.x0, g.top(place - 0.5), end, g.top(place + 0.5), "second-row", 3.5);
    if (axes.x === "token") {
      if (hover && hover.token !== undefined && hover.token !== selection.token) column(svg, g, hover.token, "thin");
      if (typeof selection.second === "number") column(svg, g, selection.second, "column", 3.5);
      column(svg, g, selection.token, "row", 4);
    }
  }

  /* token and layer at the pointer; over the labels beside the cells, only one of the two */
  /** @param {Over} over @param {Point} at @returns {(Found & Hit) | null} */
  function hit({ view, graph }, { x, y }) {
    const g = geometry(graph);
    if (!g) return null;
    const inX = x >= g.box.x0 && x <= g.box.x1;
    const inY = y >= g.box.y0 && y <= g.box.y1;
    const { axes, first_layer: first } = g.meta;
    const { counts } = /** @type {Shows} */ (app.state).info;
    const within = (/** @type {number} */ value, /** @type {number} */ low, /** @type {number} */ high) =>
      Math.max(low, Math.min(high, Math.round(value)));
    /** @type {Found} */ const found = { axes };
    if (axes.x === "token" && inX && y <= g.box.y1) found.token = within(g.across(x), 0, counts.token - 1);
    if (axes.x === "head" && inX && y <= g.box.y1) found.head = within(g.across(x), 0, counts.head - 1);
    if (axes.x === "layer" && inX) found.layer = within(g.across(x) + first, first, counts.layer - 1);
    if (axes.y === "layer" && inY && x <= g.box.x1) found.layer = within(g.down(y) + first, first, counts.layer - 1);
    if ((found.token ?? found.layer ?? found.head) === undefined) return null;
    const mark = found.token === undefined ? null : { token: found.token, source: view };
    return { ...found, mark, cursor: isNearLine(g, x) ? "ew-resize" : "pointer" };
  }
  /* the line of the selected layer, which can be dragged */
  function isNearLine(/** @type {TokenAxes} */ g, /** @type {number} */ x) {
    const place = /** @type {Shows} */ (app.state).selection.layer - g.meta.first_layer;
    return g.meta.axes.x === "layer" && Math.abs(x - g.left(place)) < NEAR;
  }
  /* the embeddings are not a layer: Hidden states shows them, and the selected layer stays */
  /** @param {string} view @param {Found} found @param {boolean=} second */
  function select(view, { axes, token, layer, head }, second) {
    /** @type {Change} */ const change = {};
    if (token !== undefined) change[second ? "second" : "token"] = token;
    if (head !== undefined) change.head = head;
    if (axes.x === "head" && layer !== undefined) change.layer = layer;
    else if (layer !== undefined && !second) {
      app.history.set(
        Object.fromEntries(["hidden-at", "path-at"].map((option) => [option, layer < 0 ? "embeddings" : "layer"])),
      );
      if (layer >= 0) change.layer = layer;
    }
    if (second && token !== undefined) app.asSecond(token, view);
    else if (Object.keys(change).length) app.propose(change, view);
  }

  /** @param {Over} over @param {Found} found @param {MouseEvent} event */
  function choose({ view, graph }, found, event) {
    if (!moved) select(view, { ...found, ...tokenOfLine(graph, found) }, event.shiftKey && found.axes.x === "token");
  }
  /* in a figure of lines, the point under the pointer says which token it belongs to */
  function tokenOfLine(/** @type {Graph} */ graph, /** @type {Found} */ { axes }) {
    const point = axes.x === "layer" ? app.hoveredPoint(graph) : null;
    return point && point.customdata && point.customdata.token !== undefined ? point.customdata : {};
  }

  /* let the line of the selected layer be dragged */
  function attach(/** @type {Over} */ { view, graph }) {
    /* meanwhile Plotly covers the page, so the window gets the events, not the graph */
    const drag = (/** @type {MouseEvent} */ { clientX }) => {
      const g = geometry(graph);
      const { info, selection } = /** @type {Shows} */ (app.state);
      if (!g) return;
      const place = g.across(clientX - graph.getBoundingClientRect().left);
      const layer = Math.max(0, Math.min(info.counts.layer - 1, Math.round(place) + g.meta.first_layer));
      if (layer === selection.layer) return;
      moved = true;
      select(view, { axes: g.meta.axes, layer });
    };
    const drop = () => {
      window.removeEventListener("pointermove", drag, true);
      window.removeEventListener("mousemove", drag, true);
    };
    graph.addEventListener(
      "pointerdown",
      ({ clientX }) => {
        moved = false;
        const g = geometry(graph);
        if (!g || !isNearLine(g, clientX - graph.getBoundingClientRect().left)) return;
        window.addEventListener("pointermove", drag, true);
        window.addEventListener("mousemove", drag, true);
        ["pointerup", "mouseup", "pointercancel"].forEach((ends) =>
          window.addEventListener(ends, drop, { capture: true, once: true }),
        );
      },
      true,
    );
  }

  /** @type {Overlay<any>} */ const axes = { attach, draw, hit, choose };
  /**
   * A view whose figures are bars or have axes (a classifier's labels, or where an answer starts and ends).
   *
   * @param {Overlay} bars @returns {Overlay<any>}
   */
  const either = (bars) => ({
    attach,
    draw(over, what) {
      bars.draw(over, what); // or clears what was there
      if (geometry(over.graph)) draw(over);
    },
    hit: (over, at) => (geometry(over.graph) ? hit(over, at) : bars.hit(over, at)),
    lines: (found) => (found.bar && bars.lines ? bars.lines(found) : []),
    choose(over, found, event) {
      if (found.axes) choose(over, found, event);
    },
  });

  let registered = false;
  app.whenAdded(() => {
    const page = app.byId("page");
    if (!page || registered) return;
    registered = true;
    for (const { name, selects } of JSON.parse(page.dataset.views)) {
      const other = app.overlays.get(name);
      if (selects === "axes") app.overlays.set(name, other ? either(other) : axes);
    }
  });
});
