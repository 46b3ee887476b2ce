/*
 * Lines of Attention: two columns of tokens with a line for each weight, or arcs beside one column where there is no
 * room for two; hover and clicks. The figure's `meta.lines` says what to draw
 * (dashboard/figures/attention_lines.py).
 */
(window.dashboardParts = window.dashboardParts || []).push((app) => {
  "use strict";
  const VIEW = "lines";
  const NARROW = 420; // pixels of the figure below which it is drawn as arcs
  const CHARACTER = 6.65;
  const LEAST = 12.5; // pixels between two labels
  const TALLEST = 30; // pixels of a row
  const NUMBERS = 50; // pixels of the column of exact weights
  const REACH = 5; // pixels from a line within which it is pointed at
  const STEPS = 24; // places of a line that are compared with the pointer
  const WIDEST = { to: 13, from: 13, all: 6 }; // pixels of a line of weight 1 (dashboard/figures/attention_lines.py)

  const width = (/** @type {LinesTold} */ { direction }, /** @type {number} */ weight) =>
    Math.max(1, WIDEST[direction] * weight);
  const opacity = (/** @type {number} */ weight) => 0.4 + 0.55 * Math.min(1, weight);
  const nameOf = (/** @type {number[]} */ [layer, head]) => `${layer}.${head}`;

  /** @returns {LinesTold | null} */
  function toldOf(/** @type {Graph} */ graph) {
    const meta = graph.layout && graph.layout.meta;
    const { info } = app.state;
    return meta && meta.lines && info && meta.run === info.run && meta.stamp === info.stamp ? meta.lines : null;
  }

  /** Where everything is, in pixels. @returns {LinesPlan | null} */
  function planOf(/** @type {Over} */ { graph, holder }) {
    const [told, plane] = [toldOf(graph), app.plane(graph)];
    if (!told || !plane) return null;
    const { info } = /** @type {Shows} */ (app.state);
    const { x0, x1, y0, y1 } = plane.box;
    const arcs = holder.clientWidth < NARROW;
    const most = arcs ? 8 : 12;
    const units = app.lineUnits(told);
    const always = told.tokens.length < units.count || info.labels.length > 80;
    const suffix = (/** @type {number} */ token) => (always || units.repeated(token, most) ? ` ${token}` : "");
    const wide = (/** @type {number} */ token) =>
      CHARACTER * (Array.from(units.short(token, most)).length + suffix(token).length);
    const room = Math.max(arcs ? 30 : 84, ...told.tokens.map(wide)) + 14;
    const from = told.direction === "from";
    const numbers = told.direction === "all" ? 0 : NUMBERS;
    const left = x0 + room + (from && !arcs ? numbers : 0);
    const right = arcs ? x1 - numbers : Math.min(x1 - room - (from ? 0 : numbers), left + 560);
    const pitch = Math.min(TALLEST, (y1 - y0 - (arcs ? 14 : 0)) / Math.max(1, told.tokens.length));
    const rows = new Map(told.tokens.map((token, row) => [token, row]));
    const y = (/** @type {number} */ token) => y0 + pitch * (Number(rows.get(token)) + 0.5);
    const ends = { edge: x1, start: x0 };
    return { told, units, arcs, most, suffix, wide, left, right, pitch, y, top: y0, rows, from, numbers, ...ends };
  }

  /** The path of a line, and places along it. @param {LinesPlan} plan @param {LineDrawn} line */
  function curve(plan, [, query, key]) {
    const { arcs, left, right, pitch } = plan;
    const [a, b] = [plan.y(query), plan.y(key)];
    const share = Math.abs(a - b) / (pitch * Math.max(1, plan.told.tokens.length));
    const bulge = (4 / 3) * (right - left) * (0.06 + 0.9 * share);
    const lift = arcs && query === key ? Math.min(5, pitch / 3) : 0; // of a token to itself: a small loop
    const end = arcs ? left : right;
    const middle = arcs ? left + bulge : (left + right) / 2;
    const [p, q] = [a - lift, b + lift];
    /** @param {number} t @returns {[number, number]} */
    const at = (t) => {
      const s = 1 - t;
      const [m0, m1, m2, m3] = [s * s * s, 3 * s * s * t, 3 * s * t * t, t * t * t];
      return [m0 * left + (m1 + m2) * middle + m3 * end, (m0 + m1) * p + (m2 + m3) * q];
    };
    return {
      path: `M${left} ${p}C${middle} ${p} ${middle} ${q} ${end} ${q}`,
      places: Array.from({ length: STEPS + 1 }, (_, i) => at(i / STEPS)),
      end: [end, q],
    };
  }

  function drawLines(/** @type {LinesPlan} */ plan, /** @type {SVGElement} */ svg) {
    const { hover } = app.state;
    const { told, units, rows, arcs } = plan;
    const marked = hover && { token: Number(units.at(hover.token)), key: units.at(hover.key) };
    const isMarked = marked !== null && rows.has(marked.token);
    for (const line of told.drawn) {
      const [head, query, key, weight] = line;
      const touched =
        !isMarked ||
        (typeof marked.key === "number"
          ? query === marked.token && key === marked.key
          : [query, key].includes(marked.token));
      const { path, end } = curve(plan, line);
      const strength = opacity(weight) * (touched ? 1 : 0.2);
      const look = {
        class: `weight-line line-of-${head % 3}`,
        "stroke-width": width(told, weight),
        "stroke-opacity": strength,
      };
      const node = app.svg("path", { d: path, ...look }, svg);
      const dash = told.dashes[head % told.dashes.length];
      if (dash !== "solid") node.setAttribute("stroke-dasharray", dash.replaceAll("px", ""));
      if (arcs) app.svg("circle", { cx: end[0], cy: end[1], r: 2.5, class: `key-end line-of-${head % 3}` }, svg);
    }
  }

  /* the tokens whose labels come first where there is no room for all */
  /** @returns {number[]} */
  function order(/** @type {LinesPlan} */ { told, units, rows }) {
    const { selection, hover } = /** @type {Shows} */ (app.state);
    const ends = [...told.drawn].reverse().flatMap(([, query, key]) => [query, key]);
    const first = [selection.token, hover && hover.token, selection.second, ...told.chosen, ...ends, ...told.tokens];
    const wanted = new Set(first.map((token) => units.at(token)));
    return [...wanted].flatMap((token) => (token !== null && rows.has(token) ? [token] : []));
  }
  function emphasis(/** @type {LineUnits} */ units, /** @type {number} */ token, /** @type {boolean} */ faint) {
    const { selection, hover } = /** @type {Shows} */ (app.state);
    if (token === units.at(selection.token)) return "selected";
    if (token === units.at(selection.second)) return "second";
    if (hover && token === units.at(hover.token)) return "hovered";
    const isAdded = app.addedTokens().some((one) => token === units.at(one));
    return isAdded ? "added" : faint ? "faint" : "";
  }
  /** One column of labels. @param {LinesPlan} plan @param {SVGElement} svg @param {"query" | "key"} side */
  function drawLabels(plan, svg, side) {
    const { told, units, left, right } = plan;
    const isLeft = side === "query" || plan.arcs;
    const far = (told.direction === "from") === (side === "query"); // where the lines from the chosen tokens end
    /** @type {number[]} */ const taken = [];
    for (const token of order(plan)) {
      const y = plan.y(token);
      const readable = Boolean(told.readable[Number(plan.rows.get(token))]);
      const kind = emphasis(
        units,
        token,
        plan.arcs ? !readable : far ? !readable : !told.chosen.includes(token) && told.direction !== "all",
      );
      if (taken.some((other) => Math.abs(other - y) < LEAST)) continue;
      taken.push(y);
      const wide = plan.wide(token);
      const x = isLeft ? left - 8 : right + 8;
      units.label(
        token,
        { x, y: y + 4, "text-anchor": isLeft ? "end" : "start", class: kind },
        svg,
        plan.most,
        plan.suffix(token),
      );
      const near = far ? "second" : "selected"; // what is framed: the token that the lines begin at, and the second one
      const isFramed = told.direction === "all" || plan.arcs ? ["selected", "second"].includes(kind) : kind === near;
      if (isFramed && plan.pitch >= LEAST) {
        const box = { x: isLeft ? x - wide - 4 : x - 4, y: y - 8, width: wide + 8, height: 16, rx: 3 };
        app.svg("rect", { ...box, class: kind === "selected" ? "row" : "column" }, svg);
      }
    }
  }
  /** The exact weights of the first head, at the far ends. @param {LinesPlan} plan @param {SVGElement} svg */
  function drawNumbers(plan, svg) {
    const { told, units, from, arcs } = plan;
    const { selection } = /** @type {Shows} */ (app.state);
    const first = told.heads.findIndex(([, , on]) => on);
    if (first < 0 || !plan.numbers) return;
    const x =
      from && !arcs
        ? plan.start + NUMBERS - 8
        : arcs
          ? plan.edge
          : Math.min(plan.edge, plan.right + plan.left - plan.start + NUMBERS - 6);
    /** @type {number[]} */ const taken = [];
    for (const [head, query, key, weight] of [...told.drawn].reverse()) {
      const [near, far] = from ? [key, query] : [query, key];
      if (head !== first || near !== units.at(selection.token)) continue;
      const y = plan.y(far);
      if (taken.some((other) => Math.abs(other - y) < LEAST)) continue;
      taken.push(y);
      app.svg("text", { x, y: y + 4, "text-anchor": "end", class: "plain value" }, svg).textContent = weight.toFixed(3);
    }
    app.svg("text", { x, y: plan.top - 6, "text-anchor": "end", class: "plain head" }, svg).textContent = nameOf(
      told.heads[first],
    );
  }
  function drawHeadings(/** @type {LinesPlan} */ plan, /** @type {SVGElement} */ svg) {
    const write = (
      /** @type {string} */ text,
      /** @type {number} */ x,
      /** @type {number} */ y,
      /** @type {string} */ anchor,
    ) => {
      app.svg("text", { x, y, "text-anchor": anchor, class: "plain head" }, svg).textContent = text;
    };
    if (plan.arcs) {
      write(
        "dot: the token that is attended to",
        plan.start,
        plan.top + plan.pitch * plan.told.tokens.length + 12,
        "start",
      );
      return;
    }
    write("attends (query)", plan.left - 8, plan.top - 6, "end");
    write("is attended to (key)", plan.right + 8, plan.top - 6, plan.numbers && !plan.from ? "end" : "start");
  }

  /** @type {LinesPlan | null} */ let plan = null;
  function draw(/** @type {Over} */ over) {
    over.svg.replaceChildren();
    plan = app.isOpen(VIEW) && app.state.selection ? planOf(over) : null;
    app.linesLegend(toldOf(over.graph));
    if (!plan) return;
    drawHeadings(plan, over.svg);
    drawLines(plan, over.svg);
    drawLabels(plan, over.svg, "query");
    if (!plan.arcs) drawLabels(plan, over.svg, "key");
    drawNumbers(plan, over.svg);
  }

  /* the token of a label, or the nearest line */
  /** @param {Over} _ @param {Point} at @returns {LinesHit | null} */
  function hit(_, { x, y }) {
    if (!plan) return null;
    const { told, units, left, right, pitch, top } = plan;
    const row = Math.floor((y - top) / pitch);
    const { token: selected, second } = /** @type {Shows} */ (app.state).selection;
    const token = told.tokens[row] === undefined ? undefined : units.chosen(told.tokens[row], selected, second);
    if (x < left - 2 || (!plan.arcs && x > right + 2))
      return token === undefined ? null : { token, mark: { token, source: VIEW } };
    let [best, away] = [/** @type {LineDrawn | null} */ (null), Infinity];
    for (const line of told.drawn) {
      const far = Math.min(...curve(plan, line).places.map((place) => Math.hypot(place[0] - x, place[1] - y)));
      const beyond = Math.max(0, far - width(told, line[3]) / 2);
      if (beyond <= away) [best, away] = [line, beyond];
    }
    if (!best || away > REACH + (right - left) / STEPS / 4) return null;
    return { line: best, mark: { token: best[1], key: best[2], source: VIEW } };
  }
  function lines(/** @type {LinesHit} */ { token, line }) {
    const { told, units } = /** @type {LinesPlan} */ (plan);
    if (!line) {
      const at = Number(units.at(token));
      if (units.isWord(at)) return [[...units.named(at), ` ${units.position(at)}`]];
      return [[app.label(at), ` ${at}`], ...app.notes(at)];
    }
    const [head, query, key, weight] = line;
    const place = told.heads[head];
    const named = (/** @type {number} */ one) => [...units.named(one), ` (${units.position(one)})`];
    const pair = [...named(query), " attends to ", ...named(key)];
    return [pair, [`layer ${place[0]}, head ${place[1]}: weight `, app.make("b", "", app.precise(weight))]];
  }
  /** @param {Over} _ @param {LinesHit} found @param {MouseEvent} event */
  function choose(_, { token, line }, event) {
    if (line) {
      const { units, from } = /** @type {LinesPlan} */ (plan);
      const { token: selected, second } = /** @type {Shows} */ (app.state).selection;
      const near = units.chosen(from ? line[2] : line[1], selected, second);
      const far = line[1] === line[2] ? near : units.chosen(from ? line[1] : line[2], second, selected);
      app.propose(near === far ? { token: near } : { token: near, second: far }, VIEW);
    } else if (event.ctrlKey || event.metaKey) app.add("tokens", `${token}`, VIEW);
    else if (event.shiftKey) app.asSecond(Number(token), VIEW);
    else app.propose({ token }, VIEW);
  }
  app.overlays.set(VIEW, { draw, hit, lines, choose });
});
