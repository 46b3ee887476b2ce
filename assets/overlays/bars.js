/*
 * Predictions: the tokens and numbers beside the bars (dashboard/figures/bar_texts.py), and hover. Plotly draws the
 * bars.
 */
(window.dashboardParts = window.dashboardParts || []).push((app) => {
  "use strict";
  const LEAST = 13; // pixels a row, at which its label and numbers stand clear of its neighbours'
  const USUAL = 10; // rows for which assets/style/parts/cards.css keeps room
  /** @type {Graph} */ let graph;
  /** @type {SVGElement} */ let over;

  /** @param {string} content @param {number} x @param {number} y @param {string} className */
  function text(content, x, y, className) {
    app.svg("text", { x, y, "text-anchor": "end", class: className }, over).append(content);
  }
  /** @param {[string, number, boolean]} label @param {number} x @param {number} y */
  function name([label, marks, bold], x, y) {
    const node = app.svg("text", { x, y: y + 4, "text-anchor": "end", class: bold ? "strong" : "" }, over);
    app.svgLabel(node, label, marks);
  }
  /* more rows than usual make the card higher */
  function grow(/** @type {number} */ rows) {
    const figure = app.byId("prediction-figure");
    const { t, b } = (graph.layout && graph.layout.margin) || { t: 0, b: 0 };
    figure.classList.toggle("many-rows", rows > USUAL);
    figure.style.minHeight = rows > USUAL ? `${t + b + LEAST * rows}px` : "";
  }
  function paint() {
    over.replaceChildren();
    const plane = app.plane(graph);
    const told = graph.layout && graph.layout.meta && graph.layout.meta.bars;
    grow(told ? told.names.length : 0);
    if (!told || !plane) return;
    const { x0: left, x1: right, y0 } = plane.box;
    told.names.forEach((one, row) => name(one, left - 8, plane.top(row)));
    for (const column of told.columns) {
      if (column.head) text(column.head, right + column.right, y0 - 4, "plain head");
      column.texts.forEach(([number, bold], row) =>
        text(number, right + column.right, plane.top(row) + 4, bold ? "plain value strong" : "plain value"),
      );
    }
  }
  function hover(/** @type {{ points: PlotlyPoint[]; event: MouseEvent }} */ { points: [point], event }) {
    const bar = point && point.customdata;
    if (!bar) return;
    const lines = [`${app.isolated(bar.label)} · vocabulary id ${bar.id}`];
    if (bar.side) lines.push(`${bar.side}: ${bar.known ? bar.probability.toPrecision(6) : bar.text}`);
    else
      lines.push(
        `probability ${bar.probability.toPrecision(6)}`,
        bar.logprob === null ? "impossible" : `log-probability ${bar.logprob.toFixed(4)} nats`,
      );
    app.tip(lines, event.clientX, event.clientY);
  }

  app.whenGraph("prediction-graph", (found) => {
    graph = found;
    over = app.svg("svg", { class: "over", "aria-hidden": "true" }, app.byId("prediction-figure"));
    graph.on("plotly_afterplot", paint);
    graph.on("plotly_hover", hover);
    graph.on("plotly_unhover", () => app.tip(null));
    paint();
  });
});
