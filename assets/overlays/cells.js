/*
 * The cells of a long text's heatmap, as pixels of the screen: one that holds several weights shows the largest of
 * them. The shades come packed in the figure (dashboard/figures/pixels.py); Plotly provides axes and zoom.
 */
(window.dashboardParts = window.dashboardParts || []).push((app) => {
  "use strict";
  const NEAR = 1e-6; // of a cell; smaller differences are rounding errors
  /** @type {HTMLCanvasElement} */ let canvas;
  /** @type {string | null} */ let source = null; // what is drawn, or is being unpacked
  /** @type {Uint8Array | null} */ let shades = null;
  /** @type {string | null} */ let unpacked = null; // the source of these shades
  let drawn = ""; // what the canvas shows: shades, range of cells and pixels
  let waiting = Promise.resolve();

  const unpack = (/** @type {string} */ text) => app.inflated(app.bytes(text));
  /*
   * first and last cell of each pixel between two places of an axis, whose cell i goes from i to i + 1; last < first:
   * none
   */
  /** @param {number} from @param {number} to @param {number} pixels @param {number} count */
  function spans(from, to, pixels, count) {
    const first = new Int32Array(pixels);
    const last = new Int32Array(pixels);
    const step = (to - from) / pixels;
    let most = 1;
    for (let p = 0; p < pixels; p += 1) {
      const a = from + p * step;
      const [low, high] =
        step <= 1
          ? [Math.floor(a + step / 2), Math.floor(a + step / 2)]
          : [Math.floor(a + NEAR), Math.ceil(a + step - NEAR) - 1];
      first[p] = Math.max(0, low);
      last[p] = Math.min(count - 1, high);
      most = Math.max(most, last[p] - first[p] + 1);
    }
    return { first, last, most };
  }
  /* the largest of each pixel's cells: first of its rows, then of its columns */
  /**
   * @param {Uint32Array} target @param {Spans} x @param {Spans} y @param {number} columns @param {Uint32Array} table
   */
  function fill(target, x, y, columns, table) {
    const wide = x.first.length;
    const row = new Uint8Array(columns);
    const all = /** @type {Uint8Array} */ (shades);
    const [left, right] = [x.first[0], x.last[wide - 1]];
    for (let q = 0; q < y.first.length; q += 1) {
      row.fill(0);
      for (let i = y.first[q]; i <= y.last[q]; i += 1) {
        const at = i * columns;
        for (let j = left; j <= right; j += 1) if (all[at + j] > row[j]) row[j] = all[at + j];
      }
      for (let p = 0; p < wide; p += 1) {
        let largest = 0;
        for (let j = x.first[p]; j <= x.last[p]; j += 1) if (row[j] > largest) largest = row[j];
        target[q * wide + p] = table[largest];
      }
    }
  }
  /* the box of the axes in whole pixels of the screen */
  function place(/** @type {Graph} */ graph, /** @type {Edges} */ box, /** @type {number} */ ratio) {
    const at = graph.getBoundingClientRect();
    const edge = (/** @type {number} */ value, /** @type {number} */ origin) => Math.round((value + origin) * ratio);
    const [x0, x1, y0, y1] = [edge(box.x0, at.left), edge(box.x1, at.left), edge(box.y0, at.top), edge(box.y1, at.top)];
    return {
      left: x0 / ratio - at.left,
      top: y0 / ratio - at.top,
      wide: Math.max(1, x1 - x0),
      high: Math.max(1, y1 - y0),
    };
  }
  /** @param {Graph} graph @param {Plane} plane @param {FigureMeta} shown */
  function draw(graph, { across: key, down: query, box }, shown) {
    const table = app.shadePixels();
    const [rows, columns] = shown.shape;
    const ratio = window.devicePixelRatio || 1;
    const { left, top, wide, high } = place(graph, box, ratio);
    const ends = [key(box.x0), key(box.x1), query(box.y0), query(box.y1)].map((cell) => cell + 0.5);
    const across = spans(ends[0], ends[1], wide, columns);
    const down = spans(ends[2], ends[3], high, rows);
    Object.assign(canvas.style, {
      left: `${left}px`,
      top: `${top}px`,
      width: `${wide / ratio}px`,
      height: `${high / ratio}px`,
    });
    const name = JSON.stringify([ends, wide, high, table[1]]);
    if (drawn !== name) {
      drawn = name;
      Object.assign(canvas, { width: wide, height: high });
      const paper = /** @type {CanvasRenderingContext2D} */ (canvas.getContext("2d"));
      const image = paper.createImageData(wide, high);
      fill(new Uint32Array(image.data.buffer), across, down, columns, table);
      paper.putImageData(image, 0, 0);
    }
    canvas.hidden = false;
    if (unpacked === source) Object.assign(canvas.dataset, { run: shown.run, layer: shown.layer, head: shown.head });
    return Math.max(across.most, down.most);
  }
  function none() {
    if (canvas) canvas.hidden = true;
    source = shades = unpacked = null;
    drawn = "";
    return 0;
  }
  /* new shades: the old ones stay until these are unpacked */
  function take(/** @type {Graph} */ graph, /** @type {{ shades: string }} */ cells) {
    source = cells.shades;
    waiting = unpack(source).then((found) => {
      if (source !== cells.shades) return;
      shades = found;
      unpacked = source;
      drawn = "";
      app.redraw("attention");
    });
  }

  app.cells = {
    /**
     * Draw the figure's cells; returns how many of them, at most, a pixel holds in one direction: 0 if Plotly draws
     * them.
     */
    paint(graph, g, shown) {
      if (!g || !shown || !shown.cells) return none();
      if (!canvas) {
        canvas = app.make("canvas", "cells");
        canvas.setAttribute("aria-hidden", "true");
        app.byId("attention-figure").prepend(canvas);
      }
      if (source !== shown.cells.shades) take(graph, shown.cells);
      if (!shades || shades.length !== shown.shape[0] * shown.shape[1]) {
        canvas.hidden = true;
        return 0;
      }
      return draw(graph, g, shown);
    },
    /** Resolves when the latest cells are drawn. */
    ready: () => waiting,
  };
});
