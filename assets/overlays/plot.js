/*
 * What overlays need to know of a figure that Plotly has drawn: its box, and pixels from values and back. Plotly has no
 * public interface for this. Only this script reads its private parts (tests/unit/test_scripts.py).
 */
(window.dashboardParts = window.dashboardParts || []).push((app) => {
  "use strict";

  /**
   * The plane of a graph in pixels from its corner: its `box`, `left` and `top` of values, `across` and `down` of
   * pixels; null where there is no plane.
   */
  app.plane = function (graph) {
    const layout = graph && graph._fullLayout;
    if (!layout || !layout.xaxis || !layout.yaxis) return null;
    const { xaxis: x, yaxis: y } = layout;
    if (!x._length || !y._length) return null;
    return {
      box: { x0: x._offset, x1: x._offset + x._length, y0: y._offset, y1: y._offset + y._length },
      width: layout.width,
      left: (value) => x._offset + x.l2p(value),
      top: (value) => y._offset + y.l2p(value),
      across: (pixel) => x.p2l(pixel - x._offset),
      down: (pixel) => y.p2l(pixel - y._offset),
    };
  };

  /** Values of the first trace's points, [{ x, y }]: of no point at all, Plotly makes one that has no place. */
  app.pointsOf = (graph) => (graph.calcdata && graph.calcdata[0]) || [];

  /** The ticks of an axis, "x" or "y": the value of each, and the element that is its text. */
  app.ticksOf = (graph, axis) =>
    [...graph.querySelectorAll(`g.${axis}tick`)].map((tick) => ({
      value: tick.__data__ ? tick.__data__.x : NaN,
      text: tick.querySelector("text"),
    }));

  /** The point that the pointer is at. */
  app.hoveredPoint = (graph) => (graph._hoverdata || [])[0] || null;

  /** Set the pointer's shape over a graph; "" leaves it to Plotly. */
  app.setCursor = function (graph, shape) {
    const inside = graph.querySelector(".nsewdrag"); // what Plotly lays over the plane
    for (const node of [graph, inside]) if (node) node.style.cursor = shape;
  };

  /** Fit every figure to its box at once, where Plotly would do so some time later. */
  app.refit = function () {
    if (!app.state.info || !window.Plotly) return;
    for (const graph of document.querySelectorAll(".figure .js-plotly-plot")) {
      const box = graph.getBoundingClientRect();
      const { width, height } = graph._fullLayout || box;
      if (box.height && (Math.abs(width - box.width) > 1 || Math.abs(height - box.height) > 1))
        window.Plotly.relayout(graph, { autosize: true });
    }
  };
});
