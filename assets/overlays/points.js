/* Map and Path of hidden states: labels and marks over the points, hover and clicks. */
(window.dashboardParts = window.dashboardParts || []).push((app) => {
  "use strict";
  const DIRECTIONS = [
    [1, 0],
    [-1, 0],
    [0, -1],
    [0, 1],
    [1, -1],
    [-1, -1],
    [1, 1],
    [-1, 1],
  ];
  const CHARACTER = 6.65;
  const REACH = 20; // pixels from a point within which a click still selects it

  /* over the graph of one view */
  function overlay(/** @type {string} */ view) {
    /** @type {Graph} */ let graph;
    /** @type {ReturnType<App["turning"]>} */ let hands;
    /* the places of all tokens in pixels, from Plotly or from the figure's own data (assets/overlays/space.js) */
    function points(/** @type {Space | null} */ space) {
      const plane = app.plane(graph);
      const trace = plane && graph.data && graph.data[0];
      if (!trace || !app.state.info) return [];
      const { meta } = /** @type {FigureLayout} */ (graph.layout);
      if (meta && meta.run !== app.state.info.run) return [];
      const { x0, x1, y0, y1 } = plane.box;
      const found = space ? spots(space) : plotted(trace, plane);
      return found.filter((p) => p.x >= x0 - 2 && p.x <= x1 + 2 && p.y >= y0 - 2 && p.y <= y1 + 2);
    }
    /** @param {{ customdata?: { token: number }[] }} trace @param {Plane} plane */
    function plotted(trace, plane) {
      const places = app.pointsOf(graph);
      if (!trace.customdata || !places.length) return [];
      return trace.customdata.map(({ token }, i) => {
        const { x, y } = places[i];
        return { token, at: [x, y], x: plane.left(x), y: plane.top(y) };
      });
    }
    function spots(/** @type {Space} */ space) {
      const found = [];
      for (let token = 0; token < space.tokens; token += 1) {
        const p = space.spot(space.at, token);
        if (p) found.push({ token, at: space.coordinates(space.at, token), ...p });
      }
      return found;
    }
    /* the places of the selected and the second token's paths */
    function stops(/** @type {Space | null} */ space) {
      const { selection } = /** @type {Shows} */ (app.state);
      if (!space || !space.path) return [];
      return [selection.token, selection.second]
        .filter((token) => typeof token === "number")
        .flatMap((token) => way(space, token));
    }
    function way(/** @type {Space} */ space, /** @type {number} */ token) {
      const found = [];
      for (let place = 0; place < space.places; place += 1) {
        const p = space.spot(place, token);
        if (p) found.push({ token, place, at: space.coordinates(place, token), ...p });
      }
      return found;
    }

    /** @param {Dot[]} all @param {Shows} state @param {Dot[]} path @param {Element} parent */
    function drawLabels(all, state, path, parent) {
      const { selection, hover, info } = state;
      const ends = app.suffixes(info);
      const most = app.narrow() ? 8 : 12;
      const { box, width } = /** @type {Plane} */ (app.plane(graph));
      const place = app.placer([box.x0, box.y0 - 4, width, box.y1 + 2]);
      for (const p of all) place.take([p.x - 4, p.y - 4, p.x + 4, p.y + 4]);
      const added = app.addedTokens();
      const first = [selection.token, selection.second, hover ? hover.token : null, ...added];
      const done = new Set();
      const draw = (/** @type {Dot | undefined} */ p) => {
        if (!p || done.has(p.token)) return;
        done.add(p.token);
        const always = p.token === selection.token || p.token === selection.second;
        const suffix = always ? " " + p.token : ends[p.token];
        const wide = (Array.from(app.short(p.token, most)).length + suffix.length) * CHARACTER;
        const gap = always ? 12 : 7;
        let box = DIRECTIONS.map((d) => app.labelBox(p, d, wide, gap)).find((b) => place.inside(b) && !place.hit(b));
        if (!box && always)
          box =
            DIRECTIONS.map((d) => app.labelBox(p, d, wide, gap)).find(place.inside) ||
            app.labelBox(p, [1, 0], wide, gap);
        if (!box) return;
        place.take(box);
        const kind =
          p.token === selection.token
            ? "selected"
            : p.token === selection.second
              ? "second"
              : hover && p.token === hover.token
                ? "hovered"
                : added.includes(p.token)
                  ? "added"
                  : "";
        app.svgToken(p.token, { x: box[0], y: box[1] + 10, class: kind }, parent, most, suffix);
      };
      for (const token of first) draw(all.find((p) => p.token === token));
      layerNumbers(path, place, parent);
      for (const p of all) draw(p);
    }
    /* the layers along the selected token's path, as many as fit */
    /** @param {Dot[]} path @param {ReturnType<App["placer"]>} place @param {Element} parent */
    function layerNumbers(path, place, parent) {
      const order = [...path].sort((a, b) => importance(b, path.length) - importance(a, path.length));
      for (const p of order) {
        const text = p.place ? String(p.place - 1) : "E";
        const box = DIRECTIONS.map((d) => app.labelBox(p, d, text.length * CHARACTER, 5)).find(
          (b) => place.inside(b) && !place.hit(b),
        );
        if (!box) continue;
        place.take(box);
        app.svg("text", { x: box[0], y: box[1] + 10, class: "plain stop-number" }, parent).textContent = text;
      }
    }
    function importance(/** @type {Dot} */ { place = 0 }, /** @type {number} */ count) {
      return place === 0 || place === count - 1 ? 3 : (place - 1) % 5 === 0 ? 2 : 1;
    }

    function line(/** @type {Dot[]} */ way, /** @type {string} */ className, /** @type {Element} */ parent) {
      if (way.length > 1)
        app.svg(
          "polyline",
          { points: way.map((p) => `${p.x.toFixed(1)},${p.y.toFixed(1)}`).join(" "), class: className },
          parent,
        );
    }
    /* the box, the other tokens' paths and the dots, if Plotly draws none */
    function drawSpace(/** @type {Space} */ space, /** @type {Dot[]} */ all, /** @type {Element} */ parent) {
      const { selection } = /** @type {Shows} */ (app.state);
      const depth = ({ depth: away = 0 }) => away;
      if (space.dimensions === 3) app.spaceBox(space, parent);
      for (const token of space.quiet) {
        if (token !== selection.token && token !== selection.second) line(way(space, token), "quiet", parent);
      }
      const far = Math.max(...all.map(depth));
      const range = far - Math.min(...all.map(depth)) || 1;
      const size = all.length <= 80 ? 3.5 : all.length <= 400 ? 3 : 2.5;
      for (const p of [...all].sort((a, b) => depth(b) - depth(a))) {
        const close = space.dimensions === 3 ? (far - depth(p)) / range : 1;
        app.svg(
          "circle",
          { cx: p.x, cy: p.y, r: size * (0.75 + 0.25 * close), opacity: 0.5 + 0.5 * close, class: "dot0" },
          parent,
        );
      }
      for (const [token, name] of /** @type {[number | null, string][]} */ ([
        [selection.second, "path second-path"],
        [selection.token, "path"],
      ])) {
        if (token === null || token === undefined || !space.path) continue;
        const found = way(space, token);
        line(found, name, parent);
        for (const p of found)
          app.svg("circle", { cx: p.x, cy: p.y, r: 2, class: token === selection.token ? "dot" : "dot2" }, parent);
      }
    }
    /** @param {Space} space @param {number} token @param {string} className @param {Element} parent */
    function stem(space, token, className, parent) {
      const [top, floor] = [space.spot(space.at, token), space.floor(space.at, token)];
      if (top) app.svg("line", { x1: top.x, y1: top.y, x2: floor.x, y2: floor.y, class: className }, parent);
    }
    /* while a large figure is being turned, only the selected tokens have labels */
    /** @param {Over} over @param {What | "figure" | "turning"} what */
    function draw({ svg, holder }, what) {
      if (!app.isOpen(view)) return;
      svg.replaceChildren();
      const state = /** @type {Shows} */ (app.state);
      const { selection, info } = state;
      const space = app.space(graph);
      const spatial = space !== null && space.dimensions === 3;
      holder.classList.toggle("spatial", spatial);
      if (!selection || !info) return;
      const all = points(space);
      if (space) drawSpace(space, all, svg);
      if (spatial) {
        if (selection.second !== null) stem(space, selection.second, "stem", svg);
        stem(space, selection.token, "stem", svg);
      }
      if (!all.length) return;
      const named =
        what === "turning" && all.length > 80
          ? all.filter((p) => [selection.token, selection.second, ...app.addedTokens()].includes(p.token))
          : all;
      drawLabels(named, state, space && space.path ? way(space, selection.token) : [], svg);
      marks(all, svg);
    }
    function marks(/** @type {Dot[]} */ all, /** @type {Element} */ parent) {
      const { selection, hover } = /** @type {Shows} */ (app.state);
      const find = (/** @type {number} */ token) => all.find((p) => p.token === token);
      const hovered = hover && find(hover.token);
      if (hovered) app.svg("circle", { cx: hovered.x, cy: hovered.y, r: 7, class: "thin" }, parent);
      for (const p of app.addedTokens().map(find)) {
        if (!p || p.token === selection.token) continue;
        app.svg("circle", { cx: p.x, cy: p.y, r: 6.5, class: "added-ring" }, parent);
        app.svg("circle", { cx: p.x, cy: p.y, r: 3.5, class: "dot" }, parent);
      }
      const second = selection.second !== null && find(selection.second);
      if (second) {
        app.svg("rect", { x: second.x - 7.5, y: second.y - 7.5, width: 15, height: 15, class: "square" }, parent);
        app.svg("circle", { cx: second.x, cy: second.y, r: 3.5, class: "dot2" }, parent);
      }
      const selected = find(selection.token);
      if (selected) {
        app.svg("circle", { cx: selected.x, cy: selected.y, r: 8, class: "casing", "stroke-width": 4 }, parent);
        app.svg("circle", { cx: selected.x, cy: selected.y, r: 8, class: "ring" }, parent);
        app.svg("circle", { cx: selected.x, cy: selected.y, r: 4, class: "dot" }, parent);
      }
    }

    /* the token's point, or else the place on a path, nearest to the pointer */
    /** @param {Over} _ @param {Point} at @returns {(Dot & Hit) | null} */
    function hit(_, { x, y }) {
      const away = (/** @type {Dot} */ p) => Math.hypot(p.x - x, p.y - y);
      const space = app.space(graph);
      /** @type {Dot[]} */ const all = [...points(space), ...stops(space)];
      const best = all.reduce(
        (found, p) => (found === null || away(p) < away(found) - 0.5 ? p : found),
        /** @type {Dot | null} */ (null),
      );
      if (best === null || away(best) > REACH) return null;
      return { ...best, mark: best.place === undefined ? { token: best.token, source: "points" } : null };
    }
    function lines(/** @type {Dot} */ { token, place, at }) {
      const where = place === undefined ? "" : place === 0 ? ", embeddings" : `, after layer ${place - 1}`;
      const coordinates = [...at].map((v, i) => `PC ${i + 1} ${number(v)}`).join(", ");
      return [[app.label(token), ` ${token}${where}`], coordinates, ...app.notes(token)];
    }
    /** @param {Over} _ @param {Dot} dot @param {MouseEvent} event */
    function choose(_, { token, place }, event) {
      if (!app.state.selection || hands.wasTurn()) return;
      if (place !== undefined) goTo(place);
      else if (event.shiftKey) app.asSecond(token, view);
      else app.propose({ token }, view);
    }
    /* a place on a path is a layer, or the embeddings, which are an option of the card */
    function goTo(/** @type {number} */ place) {
      const space = app.space(graph);
      if (space && space.follows === (place === 0)) {
        window.dash_clientside.set_props(`${view}-at`, { value: place === 0 ? "embeddings" : "layer" });
      }
      if (place > 0) app.propose({ layer: place - 1 }, view);
    }
    function attach(/** @type {Over} */ over) {
      graph = over.graph;
      hands = app.turning(
        graph,
        over.holder,
        () => over.holder.classList.contains("spatial"),
        (moving) => draw(over, moving ? "turning" : "figure"),
      );
    }
    app.overlays.set(view, { attach, draw, hit, lines, choose });
  }
  const number = (/** @type {number} */ value) => Number(value).toPrecision(4);
  for (const view of ["hidden", "path"]) overlay(view);
});
