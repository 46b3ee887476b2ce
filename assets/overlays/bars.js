/*
 * Predictions and classes: the tokens and numbers beside the bars (dashboard/figures/bar_texts.py,
 * classes.py), and hover. Plotly draws the bars.
 */
(window.dashboardParts = window.dashboardParts || []).push((app) => {
  "use strict";
  const LEAST = 13; // pixels a row, at which its label and numbers stand clear of its neighbours'
  const USUAL = 10; // rows for which assets/style/parts/cards.css keeps room

  /** @param {SVGElement} svg @param {string} content @param {number} x @param {number} y @param {string} className */
  function text(svg, content, x, y, className) {
    app.svg("text", { x, y, "text-anchor": "end", class: className }, svg).append(content);
  }
  /** @param {SVGElement} svg @param {[string, number, boolean]} label @param {number} x @param {number} y */
  function name(svg, [label, marks, bold], x, y) {
    const node = app.svg("text", { x, y: y + 4, "text-anchor": "end", class: bold ? "strong" : "" }, svg);
    app.svgLabel(node, label, marks);
  }
  /* more rows than usual make the card higher */
  function grow(/** @type {Over} */ { graph, holder }, /** @type {number} */ rows) {
    const { t, b } = (graph.layout && graph.layout.margin) || { t: 0, b: 0 };
    holder.classList.toggle("many-rows", rows > USUAL);
    holder.style.minHeight = rows > USUAL ? `${t + b + LEAST * rows}px` : "";
  }
  const barsOf = (/** @type {Graph} */ { layout }) => layout && layout.meta && layout.meta.bars;

  /** @type {Overlay<any>} */ const overlay = {
    draw(over, what) {
      if (what !== "figure") return; // nothing here depends on the selection but the figure itself
      const { graph, svg } = over;
      const [bars, plane] = [barsOf(graph), app.plane(graph)];
      svg.replaceChildren();
      grow(over, bars ? bars.names.length : 0);
      if (!bars || !plane) return;
      const { x0: left, x1: right, y0 } = plane.box;
      bars.names.forEach((label, row) => name(svg, label, left - 8, plane.top(row)));
      for (const column of bars.columns) {
        if (column.head) text(svg, column.head, right + column.right, y0 - 4, "plain head");
        column.texts.forEach(([number, bold], row) =>
          text(svg, number, right + column.right, plane.top(row) + 4, bold ? "plain value strong" : "plain value"),
        );
      }
    },
    /* the bar in the pointer's row, of two bars the nearer one: some are too short to be pointed at themselves */
    hit({ graph }, { y }) {
      const [bars, plane] = [barsOf(graph), app.plane(graph)];
      if (!bars || !plane || !graph.data || y < plane.box.y0 || y > plane.box.y1) return null;
      const row = Math.max(0, Math.min(bars.names.length - 1, Math.round(plane.down(y))));
      const { customdata } = graph.data[graph.data.length > 1 && plane.down(y) > row ? 1 : 0];
      return customdata ? { bar: customdata[row], mark: null, cursor: "" } : null;
    },
    lines({ bar }) {
      if (bar.lines) return bar.lines;
      const lines = [`${app.isolated(bar.label)} · vocabulary id ${bar.id}`];
      if (bar.side) return [...lines, `${bar.side}: ${bar.known ? bar.probability.toPrecision(6) : bar.text}`];
      const log = bar.logprob === null ? "impossible" : `log-probability ${bar.logprob.toFixed(4)} nats`;
      return [...lines, `probability ${bar.probability.toPrecision(6)}`, log];
    },
  };
  for (const view of ["prediction", "classes"]) app.overlays.set(view, overlay);
});
