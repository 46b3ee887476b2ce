/* Hidden states and predictions: labels and marks over the points, hover and clicks. */
(function () {
  "use strict";
  const app = window.dashboardApp;
  const DIRECTIONS = [[1, 0], [-1, 0], [0, -1], [0, 1], [1, -1], [-1, -1], [1, 1], [-1, 1]];
  const CHARACTER = 6.65;
  const HEIGHT = 13;
  const REACH = 20; // pixels from a point at which a click still means it
  let graph = null;
  let over = null;
  let names = null;

  /* repeated and one-character labels add their position */
  function suffixes(info) {
    if (names && names.info === info) return names.list;
    const counts = new Map();
    for (const label of info.labels) counts.set(label, (counts.get(label) || 0) + 1);
    const list = info.labels.map((label, i) => (counts.get(label) > 1 || label.replace(/·/g, "").length <= 1 ? " " + i : ""));
    names = { info, list };
    return list;
  }
  function points() {
    const layout = graph && graph._fullLayout;
    const trace = graph && graph.data && graph.data[0];
    if (!layout || !layout.xaxis || !trace || !trace.customdata || !app.state.info) return [];
    if (layout.meta && layout.meta.run !== app.state.info.run) return [];
    const { xaxis: x, yaxis: y } = layout;
    const data = graph.calcdata && graph.calcdata[0];
    if (!data) return [];
    return data.map((point, i) => ({
      token: trace.customdata[i].token,
      x: x._offset + x.l2p(point.x),
      y: y._offset + y.l2p(point.y),
    })).filter((p) => p.x >= x._offset - 2 && p.x <= x._offset + x._length + 2 && p.y >= y._offset - 2 && p.y <= y._offset + y._length + 2);
  }

  /* greedy placement in eight directions on a coarse grid of taken boxes */
  function placer(bounds) {
    const size = 40;
    const cells = new Map();
    const each = (box, visit) => {
      for (let cx = Math.floor(box[0] / size); cx <= Math.floor(box[2] / size); cx += 1) {
        for (let cy = Math.floor(box[1] / size); cy <= Math.floor(box[3] / size); cy += 1) if (visit(`${cx},${cy}`)) return true;
      }
      return false;
    };
    const hit = (box) => each(box, (name) => (cells.get(name) || []).some((b) => box[0] < b[2] && box[2] > b[0] && box[1] < b[3] && box[3] > b[1]));
    const take = (box) => each(box, (name) => { if (!cells.has(name)) cells.set(name, []); cells.get(name).push(box); return false; });
    const inside = (box) => box[0] >= bounds[0] && box[2] <= bounds[2] && box[1] >= bounds[1] && box[3] <= bounds[3];
    return { hit, take, inside };
  }
  function labelBox(p, [dx, dy], wide, gap) {
    const x0 = dx > 0 ? p.x + gap : dx < 0 ? p.x - gap - wide : p.x - wide / 2;
    const y = p.y + dy * (dx ? gap : gap + 3);
    return [x0, y - HEIGHT / 2, x0 + wide, y + HEIGHT / 2];
  }
  function drawLabels(all, state) {
    const { selection, hover, info } = state;
    const ends = suffixes(info);
    const most = app.narrow() ? 8 : 12;
    const { xaxis: x, yaxis: y } = graph._fullLayout;
    const place = placer([x._offset, y._offset - 4, graph.clientWidth, y._offset + y._length + 2]);
    for (const p of all) place.take([p.x - 4, p.y - 4, p.x + 4, p.y + 4]);
    const first = [selection.token, selection.other, hover ? hover.token : null];
    const order = [...first.map((token) => all.find((p) => p.token === token)), ...all.filter((p) => !first.includes(p.token))];
    const done = new Set();
    for (const p of order) {
      if (!p || done.has(p.token)) continue;
      done.add(p.token);
      const always = p.token === selection.token || p.token === selection.other;
      const suffix = always ? " " + p.token : ends[p.token];
      const wide = (Math.min(most, Array.from(info.labels[p.token]).length) + suffix.length) * CHARACTER;
      const gap = always ? 12 : 7;
      let box = DIRECTIONS.map((d) => labelBox(p, d, wide, gap)).find((b) => place.inside(b) && !place.hit(b));
      if (!box && always) box = DIRECTIONS.map((d) => labelBox(p, d, wide, gap)).find(place.inside) || labelBox(p, [1, 0], wide, gap);
      if (!box) continue;
      place.take(box);
      const kind = p.token === selection.token ? "selected" : p.token === selection.other ? "second" : hover && p.token === hover.token ? "hovered" : "";
      app.svgToken(p.token, { x: box[0], y: box[1] + 10, class: kind }, over, most, suffix);
    }
  }
  function paint() {
    if (!over) return;
    over.replaceChildren();
    const { selection, hover, info } = app.state;
    if (!selection || !info) return;
    const all = points();
    if (!all.length) return;
    drawLabels(all, app.state);
    const find = (token) => all.find((p) => p.token === token);
    const hovered = hover && find(hover.token);
    if (hovered) app.svg("circle", { cx: hovered.x, cy: hovered.y, r: 7, class: "thin" }, over);
    const second = selection.other !== null && find(selection.other);
    if (second) {
      app.svg("rect", { x: second.x - 7.5, y: second.y - 7.5, width: 15, height: 15, class: "square" }, over);
      app.svg("circle", { cx: second.x, cy: second.y, r: 3.5, class: "dot2" }, over);
    }
    const selected = find(selection.token);
    if (selected) {
      app.svg("circle", { cx: selected.x, cy: selected.y, r: 8, class: "casing", "stroke-width": 4 }, over);
      app.svg("circle", { cx: selected.x, cy: selected.y, r: 8, class: "ring" }, over);
      app.svg("circle", { cx: selected.x, cy: selected.y, r: 4, class: "dot" }, over);
    }
  }

  function nearest(event) {
    const box = graph.getBoundingClientRect();
    const away = (p) => Math.hypot(p.x - (event.clientX - box.left), p.y - (event.clientY - box.top));
    const best = points().reduce((found, p) => (found === null || away(p) < away(found) ? p : found), null);
    return best !== null && away(best) <= REACH ? best.token : null;
  }

  app.whenGraph("hidden-graph", (found) => {
    graph = found;
    over = app.svg("svg", { class: "over", "aria-hidden": "true" }, app.byId("hidden-figure"));
    graph.on("plotly_afterplot", paint);
    graph.addEventListener("click", (event) => { // Plotly's own click is lost within 50 ms of a quick move
      const { selection } = app.state;
      const token = nearest(event);
      if (token === null || !selection) return;
      if (event.shiftKey) app.propose({ other: selection.other === token ? null : token }); else app.propose({ token });
    });
    graph.on("plotly_hover", ({ points: [point], event }) => {
      if (!point || !point.customdata) return;
      const { token } = point.customdata;
      app.hover({ token, source: "points" });
      app.tip([[app.label(token), ` ${token}`], `PC 1 ${number(point.x)}, PC 2 ${number(point.y)}`], event.clientX, event.clientY);
    });
    graph.on("plotly_unhover", () => { app.hover(null); app.tip(null); });
    paint();
  });
  const number = (value) => Number(value).toPrecision(4);
  app.onPaint((state, what) => { if (what === "selection" || what === "hover" || what === "size") paint(); });

  app.whenGraph("prediction-graph", (bars) => {
    bars.on("plotly_hover", ({ points: [point], event }) => {
      const bar = point && point.customdata;
      if (!bar) return;
      app.tip([`${bar.label} · vocabulary id ${bar.id}`, `probability ${bar.probability.toPrecision(6)}`, `log-probability ${bar.logprob.toFixed(4)} nats`], event.clientX, event.clientY);
    });
    bars.on("plotly_unhover", () => app.tip(null));
  });
})();
