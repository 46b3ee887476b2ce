/*
 * What overlays need to know of a figure that Plotly has drawn: its box, and pixels from values and back. Plotly has no
 * public interface for this, so this is the only place that reads its private parts.
 */
(window.dashboardParts = window.dashboardParts || []).push((app) => {
  "use strict";

  /** Width and height as they were drawn last; null where nothing was drawn. */
  app.drawnSize = function (graph) {
    const layout = graph._fullLayout;
    return layout ? { width: layout.width, height: layout.height } : null;
  };

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
});
