/*
 * Predictions and classes: the tokens and numbers beside the bars (dashboard/figures/bar_texts.py,
 * classes.py), and hover. Plotly draws the bars.
 */
(window.dashboardParts = window.dashboardParts || []).push((app) => {
  "use strict";
  const LEAST = 13; // pixels a row, at which its label and numbers stand clear of its neighbours'
  const USUAL = 10; // rows for which assets/style/parts/cards.css keeps room
  /** @typedef {{ graph: Graph; over: SVGElement; figure: HTMLElement }} Bars */

  /** @param {SVGElement} over @param {string} content @param {number} x @param {number} y @param {string} className */
  function text(over, content, x, y, className) {
    app.svg("text", { x, y, "text-anchor": "end", class: className }, over).append(content);
  }
  /** @param {SVGElement} over @param {[string, number, boolean]} label @param {number} x @param {number} y */
  function name(over, [label, marks, bold], x, y) {
    const node = app.svg("text", { x, y: y + 4, "text-anchor": "end", class: bold ? "strong" : "" }, over);
    app.svgLabel(node, label, marks);
  }
  /* more rows than usual make the card higher */
  function grow(/** @type {Bars} */ { graph, figure }, /** @type {number} */ rows) {
    const { t, b } = (graph.layout && graph.layout.margin) || { t: 0, b: 0 };
    figure.classList.toggle("many-rows", rows > USUAL);
    figure.style.minHeight = rows > USUAL ? `${t + b + LEAST * rows}px` : "";
  }
  function paint(/** @type {Bars} */ bars) {
    const { graph, over } = bars;
    over.replaceChildren();
    const plane = app.plane(graph);
    const told = graph.layout && graph.layout.meta && graph.layout.meta.bars;
    grow(bars, told ? told.names.length : 0);
    if (!told || !plane) return;
    const { x0: left, x1: right, y0 } = plane.box;
    told.names.forEach((one, row) => name(over, one, left - 8, plane.top(row)));
    for (const column of told.columns) {
      if (column.head) text(over, column.head, right + column.right, y0 - 4, "plain head");
      column.texts.forEach(([number, bold], row) =>
        text(over, number, right + column.right, plane.top(row) + 4, bold ? "plain value strong" : "plain value"),
      );
    }
  }
  function hover(/** @type {{ points: PlotlyPoint[]; event: MouseEvent }} */ { points: [point], event }) {
    const bar = point && point.customdata;
    if (!bar) return;
    if (bar.lines) {
      app.tip(bar.lines, event.clientX, event.clientY);
      return;
    }
    const lines = [`${app.isolated(bar.label)} · vocabulary id ${bar.id}`];
    if (bar.side) lines.push(`${bar.side}: ${bar.known ? bar.probability.toPrecision(6) : bar.text}`);
    else
      lines.push(
        `probability ${bar.probability.toPrecision(6)}`,
        bar.logprob === null ? "impossible" : `log-probability ${bar.logprob.toFixed(4)} nats`,
      );
    app.tip(lines, event.clientX, event.clientY);
  }

  for (const view of ["prediction", "classes"]) {
    app.whenGraph(`${view}-graph`, (graph) => {
      const figure = app.byId(`${view}-figure`);
      const bars = { graph, figure, over: app.svg("svg", { class: "over", "aria-hidden": "true" }, figure) };
      graph.on("plotly_afterplot", () => paint(bars));
      graph.on("plotly_hover", hover);
      graph.on("plotly_unhover", () => app.tip(null));
      paint(bars);
    });
  }
});
