/*
 * The selected head's heatmap, and that of norms: labels, frames, hover with exact numbers, and clicks. Plotly draws
 * the cells.
 */
(window.dashboardParts = window.dashboardParts || []).push((app) => {
  "use strict";
  const STEPS = [1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 2000, 5000];
  const LEAST = 13;
  const POSITIONS_ABOVE = 80;
  const FREE = 6; // pixels from the plane's corner at which a label is clear of the words there
  const CHARACTER = 6.8; // pixels of one character of a label
  const APART = 10; // pixels between two labels above the columns
  const SMALL = 5.6; // pixels of one character of a note
  /** What the figure at hand shows. @type {FigureMeta | null} */ let shown = null;
  let pixels = 0; // the most cells, one way, that a pixel of it holds

  /** @returns {Cells | null} */
  function geometry(/** @type {Over} */ { graph, svg }) {
    const { info } = app.state;
    if (!shown || !shown.shape || !info || shown.run !== info.run || shown.stamp !== info.stamp) return null;
    const plane = app.plane(graph);
    if (!plane) return null;
    return {
      ...plane,
      svg,
      cell: plane.left(1) - plane.left(0),
      rows: shown.shape[0],
      columns: shown.shape[1],
      key: (px) => Math.round(plane.across(px)),
      query: (px) => Math.round(plane.down(px)),
    };
  }

  /** @param {number} index @param {Selection} selection @param {Hover | null} hover */
  function emphasis(index, selection, hover) {
    if (index === selection.token) return "selected";
    if (index === selection.second) return "second";
    return hover && (index === hover.token || index === hover.key) ? "hovered" : "";
  }

  function drawLabels(/** @type {Cells} */ g, /** @type {Shows} */ state) {
    const { selection, hover } = state;
    const most = app.narrow() ? 8 : 12;
    /** @type {InView} */ const inView = (px, from, to) => px >= from - 1 && px <= to + 1;
    /** @type {[number, number | null]} */ const strong = [selection.token, selection.second];
    const apart = app.movedApart(strong, g.top, LEAST, g.box.y0 + FREE);
    for (const i of app.labelled(g.rows, g.cell, strong, apart.size ? 2 * LEAST : LEAST)) {
      if (!inView(g.top(i), g.box.y0, g.box.y1)) continue;
      const y = g.top(i) + (apart.get(i) || 0);
      const position = g.rows > POSITIONS_ABOVE || app.repeated(i, most) ? " " + i : "";
      app.svgToken(
        i,
        { x: g.box.x0 - 6, y: y + 4, "text-anchor": "end", class: emphasis(i, selection, hover) },
        g.svg,
        most,
        position,
      );
    }
    if (g.columns > POSITIONS_ABOVE) positions(g, state, strong, inView);
    else {
      const angle = g.cell >= 19 ? -45 : -90;
      const beside = app.movedApart(strong, g.left, LEAST, g.box.x0 + FREE);
      for (const i of app.labelled(g.columns, g.cell, strong, beside.size ? 2 * LEAST : LEAST)) {
        if (!inView(g.left(i), g.box.x0, g.box.x1)) continue;
        const x = g.left(i) + (beside.get(i) || 0) + (angle === -90 ? 4 : 2);
        const y = g.box.y0 - 6;
        const position = app.repeated(i, most) ? " " + i : "";
        app.svgToken(
          i,
          { x, y, transform: `rotate(${angle} ${x} ${y})`, class: emphasis(i, selection, hover) },
          g.svg,
          most,
          position,
        );
      }
    }
    drawNotes(g);
    const tight = g.columns > POSITIONS_ABOVE;
    const corner = { x: g.box.x0 - (tight ? 12 : 6), "text-anchor": "end", class: "plain" };
    const first = tight ? 13 : 6;
    app.svg("text", { ...corner, y: g.box.y0 - first - 13 }, g.svg).textContent = "key →";
    app.svg("text", { ...corner, y: g.box.y0 - first }, g.svg).textContent = "query ↓";
  }
  /*
   * below the cells, as far as there is room: that a pixel shows the largest of several weights, and how many labels
   * are skipped
   */
  function drawNotes(/** @type {Cells} */ g) {
    const what = (shown && shown.what) || "weight";
    const largest = pixels > 1 ? `Each pixel shows the largest of up to ${pixels} × ${pixels} ${what}s` : "";
    const note = (/** @type {string} */ text, /** @type {number} */ x, /** @type {string} */ anchor) => {
      app.svg("text", { x, y: g.box.y1 + 13, "text-anchor": anchor, class: "plain note-text" }, g.svg).textContent =
        text;
    };
    if (largest) note(largest, g.box.x0, "start");
    const step = STEPS.find((s) => s * g.cell >= LEAST) || STEPS[STEPS.length - 1];
    if (step === 1) return;
    ticks(g);
    const room = g.box.x1 - g.box.x0 - SMALL * largest.length - (largest ? 16 : 0);
    const every = `Every ${ordinal(step)} token is labelled`;
    const text = [`${every}; hover for the rest`, every].find((words) => SMALL * words.length <= room);
    if (text) note(text, g.box.x1, "end");
    else if (!largest) note(every, g.box.x0, "start"); // it is wider than the cells and ends beside them
  }
  /* if not every row and column has a label: a tick for each */
  function ticks(/** @type {Cells} */ g) {
    /** @param {number[]} ends */
    const tick = (...[x1, y1, x2, y2]) => app.svg("line", { x1, y1, x2, y2, class: "skip-tick" }, g.svg);
    if (g.cell < 3) return;
    for (let y = 0; y < g.rows; y += 1)
      if (g.top(y) >= g.box.y0 && g.top(y) <= g.box.y1) tick(g.box.x0 - 4, g.top(y), g.box.x0 - 2, g.top(y));
    for (let x = 0; x < g.columns; x += 1)
      if (g.left(x) >= g.box.x0 && g.left(x) <= g.box.x1) tick(g.left(x), g.box.y0 - 4, g.left(x), g.box.y0 - 2);
  }
  const ordinal = (/** @type {number} */ step) => step + (step === 2 ? "nd" : "th");
  /** @param {Cells} g @param {Shows} state @param {(number | null)[]} strong @param {InView} inView */
  function positions(g, state, strong, inView) {
    const step = STEPS.find((s) => s * g.cell >= 30) || 5000;
    for (let i = 0; i < g.columns; i += step) {
      if (inView(g.left(i), g.box.x0, g.box.x1))
        app.svg("text", { x: g.left(i), y: g.box.y0 - 6, "text-anchor": "middle", class: "plain" }, g.svg).textContent =
          `${i}`;
    }
    /* the names of the selected and the second token: over their columns, but not over the corner or each other */
    /** @type {[number, number] | null} */ let taken = null;
    for (const i of strong) {
      if (i === null || i === undefined || !inView(g.left(i), g.box.x0, g.box.x1)) continue;
      const wide = CHARACTER * `${app.elided(state.info.labels[i], 12)} ${i}`.length;
      let x = Math.max(g.box.x0, Math.min(g.box.x1 - wide, g.left(i) - wide / 2));
      if (taken && x < taken[1] + APART && x + wide > taken[0] - APART) {
        const before = taken[0] - APART - wide;
        const isLeft = 2 * g.left(i) < taken[0] + taken[1];
        const fits = isLeft ? before >= g.box.x0 : taken[1] + APART + wide > g.box.x1;
        x = fits ? before : taken[1] + APART;
      }
      taken = [x, x + wide];
      app.svgToken(i, { x, y: g.box.y0 - 20, class: emphasis(i, state.selection, null) }, g.svg, 12, " " + i);
    }
  }

  /** @type {FrameCells} */
  function frame(g, x0, y0, x1, y1, className, casing) {
    const [x, y] = [Math.max(g.box.x0 - 1.5, x0 - 1), Math.max(g.box.y0 - 1.5, y0 - 1)];
    const at = { x, y, width: Math.min(g.box.x1 + 1.5, x1 + 1) - x, height: Math.min(g.box.y1 + 1.5, y1 + 1) - y };
    if (at.width <= 2 || at.height <= 2) return;
    if (casing) app.svg("rect", { ...at, class: "casing", "stroke-width": casing }, g.svg);
    app.svg("rect", { ...at, class: className }, g.svg);
  }
  /** @param {Cells} g @param {number} query @param {string} className @param {number=} casing */
  function row(g, query, className, casing) {
    const { layer } = /** @type {Shows} */ (app.state).selection;
    const [first, last] = app.span(g.columns, (key) => app.canRead(layer, query, key), Math.min(query, g.columns - 1));
    frame(g, g.left(first - 0.5), g.top(query - 0.5), g.left(last + 0.5), g.top(query + 0.5), className, casing);
  }
  /** @param {Cells} g @param {number} key @param {string} className @param {number=} casing */
  function column(g, key, className, casing) {
    const { layer } = /** @type {Shows} */ (app.state).selection;
    const [first, last] = app.span(g.rows, (query) => app.canRead(layer, query, key), Math.min(key, g.rows - 1));
    frame(g, g.left(key - 0.5), g.top(first - 0.5), g.left(key + 0.5), g.top(last + 0.5), className, casing);
  }

  /** Whether the figure belongs to the selected head; until that figure arrives, the old one is shown pale. */
  function isCurrent() {
    const { info, selection } = app.state;
    if (!shown || !selection || !info || shown.stamp !== info.stamp) return false;
    const reads = shown.reads || ["head", "heads"];
    const differs = (/** @type {"head" | "heads"} */ name) =>
      reads.includes(name) && (shown?.[name] ?? null) !== (selection[name] ?? null);
    return shown.run === selection.run && shown.layer === selection.layer && !differs("head") && !differs("heads");
  }
  /** @param {Over} over @param {What | "figure"} what */
  function draw(over, what) {
    const meta = over.graph.layout && over.graph.layout.meta;
    if (what === "figure") shown = meta && meta.run ? meta : null;
    over.holder.classList.toggle("stale", Boolean(shown) && !isCurrent());
    const g = geometry(over);
    over.svg.replaceChildren();
    // placing the cells costs a layout, which is not needed if only marks may have changed
    if (shown && shown.block) pixels = shown.block;
    else if (what === "figure" || what === "size") pixels = app.cells.paint(over.graph, g, shown);
    if (!g) return;
    const state = /** @type {Shows} */ (app.state);
    const { selection, hover } = state;
    drawLabels(g, state);
    if (hover && hover.token !== selection.token) row(g, hover.token, "thin");
    if (typeof selection.second === "number") {
      if (selection.second !== selection.token) row(g, selection.second, "second-row", 3.5);
      column(g, selection.second, "column", 3.5);
    }
    row(g, selection.token, "row", 4);
  }

  /* the query token and the key token; over a label, only its token */
  function cellAt(/** @type {Cells} */ g, /** @type {Point} */ { x, y }) {
    const within = (/** @type {number} */ index, /** @type {number} */ count) =>
      index >= 0 && index < count ? { token: index, key: null } : null;
    if (x < g.box.x0 && y >= g.box.y0 && y <= g.box.y1) return within(g.query(y), g.rows); // a row's label
    if (y < g.box.y0 && y > 0 && x >= g.box.x0) {
      // a column's, along its slope
      const slope = g.columns <= POSITIONS_ABOVE && g.cell >= 19 ? g.box.y0 - 6 - y : 0;
      return x - slope <= g.box.x1 ? within(g.key(x - slope), g.columns) : null;
    }
    if (x < g.box.x0 || x > g.box.x1 || y < g.box.y0 || y > g.box.y1) return null;
    const cell = { token: g.query(y), key: g.key(x) };
    return cell.token >= 0 && cell.key >= 0 && cell.token < g.rows && cell.key < g.columns ? cell : null;
  }
  /** @param {Over} over @param {Point} at */
  function hit(over, at) {
    const g = geometry(over);
    const cell = g && cellAt(g, at);
    return cell && { ...cell, mark: { ...cell, source: "matrix" } };
  }
  /** The tooltip. @param {{ token: number; key: number | null }} cell @returns {Promise<Line[]>} */
  async function lines({ token, key }) {
    if (key === null) return [[app.label(token), ` ${token}`], ...app.notes(token)];
    const of = /** @type {FigureMeta} */ (shown);
    const { info } = /** @type {Shows} */ (app.state);
    const named = (/** @type {string} */ verb) => [
      ...app.named(token),
      ` (${token}) ${verb} `,
      ...app.named(key),
      ` (${key})`,
    ];
    const heads = app.headsOf(of);
    if (!heads.some(([layer]) => app.canRead(layer, token, key))) {
      const later = key > token && info.masks[of.layer][0] === "causal";
      return [named("cannot attend to"), later ? "it comes later" : "it is outside the layer's window"];
    }
    if (of.what) return [named("and"), number(of, token, key)];
    try {
      const weights = await Promise.all(heads.map(([layer, head]) => app.exact({ ...of, layer, head }, token)));
      const mean = weights.reduce((sum, weight) => sum + weight(key), 0) / heads.length;
      const what = heads.length > 1 ? `mean weight of ${heads.length} heads ` : "weight ";
      return [named("attends to"), [what, app.make("b", "", app.precise(mean))]];
    } catch {
      return [named("attends to"), "the exact weight could not be fetched"];
    }
  }
  /* the exact norm of a pair, which a figure holds if it is small enough */
  /** @param {FigureMeta} of @param {number} token @param {number} key @returns {Line} */
  function number(of, token, key) {
    if (!of.exact) return `Click for the exact ${of.what}.`;
    const values = new Float32Array(app.bytes(of.exact).buffer);
    return [`${of.what} `, app.make("b", "", app.precise(values[token * of.shape[1] + key]))];
  }
  /** @param {string} view @param {{ token: number; key: number | null }} cell @param {MouseEvent} event */
  function choose(view, { token, key }, event) {
    if (event.shiftKey)
      app.asSecond(key === null ? token : key, view); // the selected token stays
    else app.propose(key === null ? { token } : { token, second: key }, view);
  }
  /** @param {string} view @returns {Overlay} */
  function overlay(view) {
    /** @type {[FigureMeta | null, number]} */ let mine = [null, 0];
    const enter = () => ([shown, pixels] = mine);
    return {
      draw(over, what) {
        enter();
        draw(over, what);
        mine = [shown, pixels];
      },
      hit(over, at) {
        enter();
        return hit(over, at);
      },
      lines(cell) {
        enter();
        return lines(cell);
      },
      choose: (_over, cell, event) => choose(view, cell, event),
    };
  }
  for (const view of ["attention", "norms"]) app.overlays.set(view, overlay(view));
});
