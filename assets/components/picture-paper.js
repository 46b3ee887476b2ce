/*
 * A picture's paper: what there is to choose, the size in print, and a rectangle for each cell of a heatmap, of which
 * Plotly makes an image.
 */
(window.dashboardParts = window.dashboardParts || []).push((app) => {
  "use strict";
  const IMAGES = { trace: ".heatmaplayer image", image: ".imagelayer image" };
  const INCH = 25.4; // millimetres
  const SCREEN_SCALE = 2; // pixels of a PNG for one of the page
  const LARGEST_PNG = 16000; // pixels of a side that every browser can draw
  const KEPT = "export"; // in localStorage
  const WIDTHS = ["screen", "170mm", "85mm"];

  /** @type {ExportChoices} */ const choices = { ground: false, attention: false, bare: false, width: "screen" };
  /** @type {Record<string, (boolean | string)[]>} */
  const remembered = { ground: [false, true], bare: [false, true], width: WIDTHS };

  function recall() {
    let kept = null;
    try {
      kept = JSON.parse(window.localStorage.getItem(KEPT) || "null");
    } catch {
      /* private window, or not ours */
    }
    for (const name in remembered) if (kept && remembered[name].includes(kept[name])) choices[name] = kept[name];
  }
  function remember() {
    const kept = Object.fromEntries(Object.keys(remembered).map((name) => [name, choices[name]]));
    try {
      window.localStorage.setItem(KEPT, JSON.stringify(kept));
    } catch {
      /* private window: until the page is left */
    }
  }

  /** How files are made; set with `choose`, which keeps it for the next visit. */
  app.exportChoices = choices;
  app.chooseExport = function (name, value) {
    choices[name] = value;
    if (name in remembered) remember();
  };

  const short = (/** @type {number} */ value) => String(Math.round(value * 100) / 100);

  /** The outline of cells: their indices row by row, the edges in pixels, and the pixels between two cells. */
  app.cellOutline = function (indices, columns, rows, gap) {
    const across = columns.length - 1;
    return indices
      .map((index) => {
        const column = index % across;
        const row = Math.floor(index / across);
        const [left, right] = [columns[column] + gap / 2, columns[column + 1] - gap / 2].map(short);
        const [top, bottom] = [rows[row] + gap / 2, rows[row + 1] - gap / 2].map(short);
        return `M${left} ${top}H${right}V${bottom}H${left}Z`;
      })
      .join("");
  };

  /** Put a path of each colour in the place of the images whose cells are known. */
  app.drawCells = function (drawing, cells) {
    const images = Object.fromEntries(
      Object.entries(IMAGES).map(([of, where]) => [of, [...drawing.querySelectorAll(where)]]),
    );
    for (const { of, index, columns, rows, gap, colours } of cells) {
      const image = images[of][index];
      const at = (/** @type {string} */ name) => Number(image.getAttribute(name));
      const xs = columns.map((share) => at("x") + share * at("width"));
      const ys = rows.map((share) => at("y") + share * at("height"));
      const group = drawing.ownerDocument.createElementNS(drawing.namespaceURI, "g");
      group.setAttribute("class", "cells");
      group.setAttribute("shape-rendering", "crispEdges"); // else a viewer may show seams between neighbours
      for (const colour in colours) {
        const path = drawing.ownerDocument.createElementNS(drawing.namespaceURI, "path");
        path.setAttribute("fill", colour);
        path.setAttribute("d", app.cellOutline(colours[colour], xs, ys, gap));
        group.append(path);
      }
      image.replaceWith(group);
    }
  };

  /** Give the drawing its size in print; on the screen it keeps its pixels. */
  app.sizeDrawing = function (drawing, { width, height, millimetres }) {
    if (!millimetres) return;
    drawing.setAttribute("viewBox", `0 0 ${width} ${height}`);
    drawing.setAttribute("width", `${millimetres}mm`);
    drawing.setAttribute("height", `${short((height * millimetres) / width)}mm`);
  };

  /** [width, height] of the PNG, and its pixels for a metre of print; none for the screen. */
  app.sizeOfPng = function ({ width, height, millimetres, dpi }) {
    const wanted = millimetres ? Math.round((millimetres / INCH) * dpi) / width : SCREEN_SCALE;
    const scale = Math.min(wanted, LARGEST_PNG / Math.max(width, height));
    const side = [width, height].map((length) => Math.round(length * scale));
    return { side, perMetre: millimetres ? Math.round((side[0] / millimetres) * 1000) : null };
  };

  recall();
});
