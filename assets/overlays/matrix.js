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
      of: app.reading(shown),
      cell: plane.left(1) - plane.left(0),
      rows: shown.shape[0],
      columns: shown.shape[1],
      key: (px) => Math.round(plane.across(px)),
      query: (px) => Math.round(plane.down(px)),
    };
  }

  /**
   * @param {Cells} g @param {Side} side @param {number} index @param {Selection} selection
   * @param {Hover | null} hover
   */
  function emphasis(g, side, index, selection, hover) {
    const tokens = g.of.tokens(side, index);
    const holds = (/** @type {number | null | undefined} */ token) =>
      typeof token === "number" && tokens.includes(token);
    if (holds(selection.token)) return "selected";
    if (holds(selection.second)) return "second";
    return hover && (holds(hover.token) || holds(hover.key)) ? "hovered" : "";
  }
  /** The rows or columns of the selected and the second token, as far as they are shown. */
  function strongOf(/** @type {Cells} */ g, /** @type {Side} */ side, /** @type {Selection} */ { token, second }) {
    const [first, other] = [token, second].map((one) => (one === null ? null : g.of.at(side, one)));
    return /** @type {number[]} */ ([...new Set([first, other])].filter((at) => at !== null));
  }
  /** @param {number[]} strong @param {(index: number) => number} at @param {number} first */
  function apartOf(strong, at, first) {
    return strong.length < 2 ? new Map() : app.movedApart([strong[0], strong[1]], at, LEAST, first);
  }

  function drawLabels(/** @type {Cells} */ g, /** @type {Shows} */ state) {
    const { selection, hover } = state;
    const most = app.narrow() ? 8 : 12;
    /** @type {InView} */ const inView = (px, from, to) => px >= from - 1 && px <= to + 1;
    const strong = strongOf(g, 0, selection);
    const apart = apartOf(strong, g.top, g.box.y0 + FREE);
    for (const i of app.labelled(g.rows, g.cell, strong, apart.size ? 2 * LEAST : LEAST)) {
      if (!inView(g.top(i), g.box.y0, g.box.y1)) continue;
      const y = g.top(i) + (apart.get(i) || 0);
      const place = { x: g.box.x0 - 6, y: y + 4, "text-anchor": "end", class: emphasis(g, 0, i, selection, hover) };
      g.of.label(0, i, place, g.svg, most, g.rows > POSITIONS_ABOVE);
    }
    const over = strongOf(g, 1, selection);
    if (g.columns > POSITIONS_ABOVE) positions(g, state, over, inView);
    else {
      const angle = g.cell >= 19 ? -45 : -90;
      const beside = apartOf(over, g.left, g.box.x0 + FREE);
      for (const i of app.labelled(g.columns, g.cell, over, beside.size ? 2 * LEAST : LEAST)) {
        if (!inView(g.left(i), g.box.x0, g.box.x1)) continue;
        const x = g.left(i) + (beside.get(i) || 0) + (angle === -90 ? 4 : 2);
        const y = g.box.y0 - 6;
        const turned = `rotate(${angle} ${x} ${y})`;
        g.of.label(1, i, { x, y, transform: turned, class: emphasis(g, 1, i, selection, hover) }, g.svg, most, false);
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
  /** @param {Cells} g @param {Shows} state @param {number[]} strong @param {InView} inView */
  function positions(g, state, strong, inView) {
    const step = STEPS.find((s) => s * g.cell >= 30) || 5000;
    for (let i = 0; i < g.columns; i += step) {
      if (inView(g.left(i), g.box.x0, g.box.x1))
        app.svg("text", { x: g.left(i), y: g.box.y0 - 6, "text-anchor": "middle", class: "plain" }, g.svg).textContent =
          `${g.of.first(1, i)}`;
    }
    /* the names of the selected and the second token: over their columns, but not over the corner or each other */
    /** @type {[number, number] | null} */ let taken = null;
    for (const i of strong) {
      if (!inView(g.left(i), g.box.x0, g.box.x1)) continue;
      const wide = CHARACTER * g.of.width(1, i, 12);
      let x = Math.max(g.box.x0, Math.min(g.box.x1 - wide, g.left(i) - wide / 2));
      if (taken && x < taken[1] + APART && x + wide > taken[0] - APART) {
        const before = taken[0] - APART - wide;
        const isLeft = 2 * g.left(i) < taken[0] + taken[1];
        const fits = isLeft ? before >= g.box.x0 : taken[1] + APART + wide > g.box.x1;
        x = fits ? before : taken[1] + APART;
      }
      taken = [x, x + wide];
      const place = { x, y: g.box.y0 - 20, class: emphasis(g, 1, i, state.selection, null) };
      g.of.label(1, i, place, g.svg, 12, true);
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
    const inside = app.first(g.columns, (key) => g.of.canRead(layer, query, key), Math.min(query, g.columns - 1));
    const [first, last] = app.span(g.columns, (key) => g.of.canRead(layer, query, key), inside);
    frame(g, g.left(first - 0.5), g.top(query - 0.5), g.left(last + 0.5), g.top(query + 0.5), className, casing);
  }
  /** @param {Cells} g @param {number} key @param {string} className @param {number=} casing */
  function column(g, key, className, casing) {
    const { layer } = /** @type {Shows} */ (app.state).selection;
    const inside = app.first(g.rows, (query) => g.of.canRead(layer, query, key), Math.min(key, g.rows - 1));
    const [first, last] = app.span(g.rows, (query) => g.of.canRead(layer, query, key), inside);
    frame(g, g.left(key - 0.5), g.top(first - 0.5), g.left(key + 0.5), g.top(last + 0.5), className, casing);
  }

  /** Whether the figure belongs to the selected head; until that figure arrives, the old one is shown pale. */
  function isCurrent() {
    const { info, selection } = app.state;
    if (!shown || !selection || !info || shown.stamp !== info.stamp) return false;
    const reads = (/** @type {string} */ field) => /** @type {FigureMeta} */ (shown).reads.includes(field);
    const same = (/** @type {"layer" | "head" | "heads"} */ field) =>
      !reads(field) || (shown?.[field] ?? null) === (selection[field] ?? null);
    return shown.run === selection.run && same("layer") && same("head") && same("heads");
  }
  /** @param {Over} over @param {What | "figure"} what */
  function draw(over, what) {
    const meta = over.graph.layout && over.graph.layout.meta;
    if (what === "figure") {
      shown = meta && meta.run ? meta : null;
      if (over.view === "attention") app.sayReading(shown);
    }
    over.holder.classList.toggle("stale", Boolean(shown) && !isCurrent());
    const g = geometry(over);
    over.svg.replaceChildren();
    // placing the cells costs a layout, which is not needed if only marks may have changed
    if (over.view !== "attention")
      pixels = (shown && shown.block) || 0; // the canvas is the heatmap's
    else if (what === "figure" || what === "size") pixels = app.cells.paint(over.graph, g, shown);
    if (!g) return;
    const state = /** @type {Shows} */ (app.state);
    const { selection, hover } = state;
    drawLabels(g, state);
    const token = g.of.at(0, selection.token);
    const hovered = hover ? g.of.at(0, hover.token) : null;
    if (hovered !== null && hovered !== token) row(g, hovered, "thin");
    if (typeof selection.second === "number") {
      const [second, key] = [g.of.at(0, selection.second), g.of.at(1, selection.second)];
      if (second !== null && second !== token) row(g, second, "second-row", 3.5);
      if (key !== null) column(g, key, "column", 3.5);
    }
    if (token !== null) row(g, token, "row", 4);
  }

  /* the row and the column; over a label, only its own */
  function cellAt(/** @type {Cells} */ g, /** @type {Point} */ { x, y }) {
    const within = (/** @type {number} */ index, /** @type {number} */ count) => index >= 0 && index < count;
    if (x < g.box.x0 && y >= g.box.y0 && y <= g.box.y1)
      return within(g.query(y), g.rows) ? { row: g.query(y), column: null } : null; // a row's label
    if (y < g.box.y0 && y > 0 && x >= g.box.x0) {
      // a column's, along its slope
      const slope = g.columns <= POSITIONS_ABOVE && g.cell >= 19 ? g.box.y0 - 6 - y : 0;
      const key = g.key(x - slope);
      return x - slope <= g.box.x1 && within(key, g.columns) ? { row: null, column: key } : null;
    }
    if (x < g.box.x0 || x > g.box.x1 || y < g.box.y0 || y > g.box.y1) return null;
    const cell = { row: g.query(y), column: g.key(x) };
    return within(cell.row, g.rows) && within(cell.column, g.columns) ? cell : null;
  }
  /** @param {Over} over @param {Point} at */
  function hit(over, at) {
    const g = geometry(over);
    const cell = g && cellAt(g, at);
    if (!g || !cell) return null;
    const { token: selected, second } = /** @type {Shows} */ (app.state).selection;
    const query = cell.row === null ? null : g.of.chosen(0, cell.row, selected, second);
    const key = cell.column === null ? null : g.of.chosen(1, cell.column, second, selected);
    // over a label, only its token
    const mark = query === null ? { token: Number(key), key: null } : { token: query, key };
    return { ...cell, ...mark, mark: { ...mark, source: "matrix" } };
  }
  /** The tooltip. @param {Cell} cell @returns {Promise<Line[]>} */
  async function lines({ row: query, column: key, token }) {
    const meta = /** @type {FigureMeta} */ (shown);
    const of = app.reading(meta);
    if (query === null || key === null) {
      const [side, index] = /** @type {[Side, number]} */ (query === null ? [1, key] : [0, query]);
      const position = ` ${of.position(side, index)}`;
      if (of.tokens(side, index).length > 1) return [[...of.named(side, index), position]];
      return [[app.label(token), position], ...app.notes(token)];
    }
    const named = (/** @type {string} */ verb) => [
      ...of.named(0, query),
      ` (${of.position(0, query)}) ${verb} `,
      ...of.named(1, key),
      ` (${of.position(1, key)})`,
    ];
    if (!of.canRead(meta.layer, query, key)) {
      const later = of.first(1, key) > of.first(0, query) && of.isCausal(meta.layer);
      return [named("cannot attend to"), later ? "it comes later" : "it is outside the layer's window"];
    }
    if (meta.what) return [named("and"), number(meta, token, key)];
    try {
      const weight = await app.exact(meta, query);
      return [
        named("attends to"),
        [`${meta.reading ? meta.reading.what : "weight"} `, app.make("b", "", app.precise(weight(key)))],
      ];
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
