/*
 * Hidden states that the browser places itself: paths in the plane, and everything in three components.
 */
(window.dashboardParts = window.dashboardParts || []).push((app) => {
  "use strict";
  const START = { yaw: -0.55, pitch: 0.27, zoom: 1 };
  const STEP = Math.PI / 12;
  const camera = { ...START };
  /** @type {WeakMap<Told, Float32Array>} */ const read = new WeakMap();

  function numbers(/** @type {Told} */ told) {
    if (!read.has(told)) read.set(told, new Float32Array(app.bytes(told.coordinates).buffer));
    return /** @type {Float32Array} */ (read.get(told));
  }

  /**
   * The figure's data on places, with `spot(place, token)` in pixels; null if Plotly draws the points itself.
   */
  app.space = function (graph) {
    const { info, selection } = app.state;
    const plane = app.plane(graph);
    const meta = plane && graph && graph.layout && graph.layout.meta;
    if (!meta || !meta.space || !info || !selection || meta.run !== info.run) return null;
    const told = meta.space;
    const [places, tokens, dimensions] = told.shape;
    const { box } = plane;
    const values = numbers(told);
    const lens =
      dimensions === 3
        ? perspective(box, told.ranges)
        : (/** @type {ArrayLike<number>} */ c) => ({ x: plane.left(c[0]), y: plane.top(c[1]), depth: 0 });
    const coordinates = (/** @type {number} */ place, /** @type {number} */ token) => {
      const start = (place * tokens + token) * dimensions;
      return values.subarray(start, start + dimensions);
    };
    return {
      box,
      places,
      tokens,
      dimensions,
      coordinates,
      path: told.path,
      quiet: told.quiet,
      follows: told.follows,
      titles: told.titles,
      ranges: told.ranges,
      at: told.follows ? selection.layer + 1 : told.at,
      layer: told.follows ? selection.layer : meta.layer,
      /* where a token is after some layer (place 0: the embeddings); null where it was left out */
      spot(place, token) {
        const c = coordinates(place, token);
        return Number.isNaN(c[0]) ? null : lens(c);
      },
      floor(place, token) {
        return lens([...coordinates(place, token).slice(0, 2), told.ranges[2][0]]);
      },
      lens,
    };
  };

  /* three components to pixels: parallel lines stay parallel, so that lengths along one axis can be compared */
  function perspective(/** @type {Edges} */ { x0, x1, y0, y1 }, /** @type {[number, number][]} */ ranges) {
    const wide = Math.max(1, Math.min(1.8, (0.62 * (x1 - x0)) / (y1 - y0)));
    const [cy, sy, cp, sp] = [
      Math.cos(camera.yaw),
      Math.sin(camera.yaw),
      Math.cos(camera.pitch),
      Math.sin(camera.pitch),
    ];
    const high = Math.abs(cp) + wide * 1.3 * Math.abs(sp) + 0.12;
    const scale = camera.zoom * Math.min((y1 - y0) / 2 / high, (x1 - x0) / 2 / (wide * 1.42 + 0.35));
    return (/** @type {ArrayLike<number>} */ c) => {
      const [a, b, up] = ranges.map(([low, top], i) => ((2 * (c[i] - low)) / (top - low) - 1) * (i < 2 ? wide : 1));
      const away = b * cy - a * sy;
      return {
        x: (x0 + x1) / 2 + scale * (a * cy + b * sy),
        y: (y0 + y1) / 2 - scale * (up * cp + away * sp),
        depth: away * cp - up * sp,
      };
    };
  }

  function ticks(/** @type {[number, number]} */ [low, high]) {
    const rough = (high - low) / 4;
    const power = 10 ** Math.floor(Math.log10(rough));
    const step = [1, 2, 5, 10].map((m) => m * power).find((s) => s >= rough) || rough;
    const found = [];
    for (let value = Math.ceil(low / step) * step; value <= high; value += step)
      found.push(Math.abs(value) < step / 1e6 ? 0 : value);
    return found;
  }
  const short = (/** @type {number} */ value) => String(Number(value.toPrecision(6))).replace("-", "−");

  /** The box around three components: its floor with a grid, the far edges, and the axes nearest to the viewer. */
  app.spaceBox = function (space, parent) {
    const { ranges, lens } = space;
    const line = (/** @type {number[]} */ a, /** @type {number[]} */ b, /** @type {string} */ name) => {
      const [p, q] = [lens(a), lens(b)];
      app.svg("line", { x1: p.x, y1: p.y, x2: q.x, y2: q.y, class: name }, parent);
    };
    const [low, high] = [0, 1].map((side) => ranges.map((range) => range[side]));
    const depth = (/** @type {number} */ i, /** @type {number} */ value) => {
      const c = ranges.map(([a, b]) => (a + b) / 2);
      c[i] = value;
      return lens(c).depth;
    };
    const near = [0, 1].map((i) => (depth(i, low[i]) < depth(i, high[i]) ? low[i] : high[i]));
    const bottom = low[2];
    for (const value of ticks(ranges[0])) line([value, low[1], bottom], [value, high[1], bottom], "grid");
    for (const value of ticks(ranges[1])) line([low[0], value, bottom], [high[0], value, bottom], "grid");
    for (const a of [low[0], high[0]]) line([a, low[1], bottom], [a, high[1], bottom], "edge");
    for (const b of [low[1], high[1]]) line([low[0], b, bottom], [high[0], b, bottom], "edge");
    const corners = [low[0], high[0]].flatMap((a) => [low[1], high[1]].map((b) => [a, b]));
    for (const [a, b] of corners) if (a !== near[0] || b !== near[1]) line([a, b, bottom], [a, b, high[2]], "edge");
    const left = corners.reduce((best, corner) =>
      lens([...corner, bottom]).x < lens([...best, bottom]).x ? corner : best,
    );
    scale(space, 0, (value) => [value, near[1], bottom], parent);
    scale(space, 1, (value) => [near[0], value, bottom], parent);
    scale(space, 2, (value) => [...left, value], parent);
  };
  /* numbers and title along one axis, on the side away from the middle */
  /** @param {Space} space @param {number} index @param {(value: number) => number[]} on @param {Element} parent */
  function scale({ ranges, titles, lens, box }, index, on, parent) {
    const [low, high] = ranges[index];
    const [start, end] = [lens(on(low)), lens(on(high))];
    const length = Math.hypot(end.x - start.x, end.y - start.y);
    const middle = { x: (start.x + end.x) / 2, y: (start.y + end.y) / 2 };
    const centre = { x: (box.x0 + box.x1) / 2, y: (box.y0 + box.y1) / 2 };
    const upright = index === 2;
    const side = Math.sign(middle.x - centre.x) || 1;
    const anchor = upright ? "end" : Math.abs(end.y - start.y) < 12 ? "middle" : side < 0 ? "end" : "start";
    if (length > 50) {
      for (const value of ticks(ranges[index])) {
        const at = lens(on(value));
        app.svg(
          "text",
          {
            x: at.x + (upright ? -6 : anchor === "middle" ? 0 : 4 * side),
            y: at.y + (upright ? 4 : 13),
            "text-anchor": anchor,
            class: "plain tick",
          },
          parent,
        ).textContent = short(value);
      }
    }
    const name = titles[index].replace(" of variance", "");
    if (upright)
      app.svg(
        "text",
        { x: end.x, y: Math.max(box.y0 + 10, end.y - 8), "text-anchor": "middle", class: "plain" },
        parent,
      ).textContent = name;
    else if (length > 50) {
      const wide = name.length * 6.2;
      const aside = middle.x + (anchor === "middle" ? 0 : 44 * side);
      const x =
        anchor === "end" ? Math.max(box.x0 + wide, aside) : anchor === "start" ? Math.min(box.x1 - wide, aside) : aside;
      app.svg(
        "text",
        { x, y: Math.min(box.y1 - 2, middle.y + 30), "text-anchor": anchor, class: "plain" },
        parent,
      ).textContent = name;
    }
  }

  /** Let a person turn the figure by dragging or with its buttons; `redraw(moving)` paints it. */
  app.turning = function (graph, holder, active, redraw) {
    /** @type {{ x: number; y: number; far: number } | null} */ let from = null;
    let asked = 0;
    const later = (/** @type {boolean} */ moving) => {
      cancelAnimationFrame(asked);
      asked = requestAnimationFrame(() => redraw(moving));
    };
    const turn = (/** @type {number} */ yaw, /** @type {number} */ pitch, moving = false) => {
      camera.yaw += yaw;
      camera.pitch = Math.max(-1.5, Math.min(1.5, camera.pitch + pitch));
      later(moving);
    };
    const nearer = (/** @type {number} */ factor) => {
      camera.zoom = Math.max(0.5, Math.min(8, camera.zoom * factor));
      later(false);
    };
    const reset = () => {
      Object.assign(camera, START);
      later(false);
    };
    graph.addEventListener(
      "mousedown",
      (event) => {
        if (active()) event.stopPropagation();
      },
      true,
    );
    graph.addEventListener("pointerdown", (event) => {
      turned = false;
      if (active() && event.button === 0) from = { x: event.clientX, y: event.clientY, far: 0 };
    });
    window.addEventListener("pointermove", (event) => {
      if (!from || !event.buttons) return;
      const [dx, dy] = [event.clientX - from.x, event.clientY - from.y];
      from = { x: event.clientX, y: event.clientY, far: from.far + Math.abs(dx) + Math.abs(dy) };
      if (from.far > 4) turn(-dx * 0.01, dy * 0.01, true);
    });
    for (const name of ["pointerup", "pointercancel"])
      window.addEventListener(name, () => {
        if (from) {
          turned = from.far > 4;
          from = null;
          later(false);
        }
      });
    graph.addEventListener("dblclick", () => {
      if (active()) reset();
    });
    let turned = false;
    const keys = app.make("div", "turners");
    /** @type {[sign: string, name: string, act: () => void][]} */
    const buttons = [
      ["‹", "Turn left", () => turn(STEP, 0)],
      ["›", "Turn right", () => turn(-STEP, 0)],
      ["˄", "Tilt up", () => turn(0, STEP)],
      ["˅", "Tilt down", () => turn(0, -STEP)],
      ["+", "Nearer", () => nearer(1.25)],
      ["−", "Farther", () => nearer(0.8)],
      ["↺", "Reset the view", reset],
    ];
    for (const [sign, name, act] of buttons) {
      const button = app.make("button", "", sign);
      button.type = "button";
      button.title = name;
      button.setAttribute("aria-label", name);
      button.addEventListener("click", act);
      keys.append(button);
    }
    holder.append(keys);
    return {
      keys,
      /* whether the current click ends a turn */
      wasTurn: () => turned,
    };
  };
});
