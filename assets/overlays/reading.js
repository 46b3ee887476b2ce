/*
 * What the rows and columns of a heatmap stand for: each a token of the run or, where tokens are left out or word
 * pieces merged, what its figure says (dashboard/views/attention/heatmap.py, `_told`).
 */
(window.dashboardParts = window.dashboardParts || []).push((app) => {
  "use strict";
  /** @type {{ meta: FigureMeta; info: Info | null; made: Reading } | null} */ let kept = null;

  /** What the figure's rows and columns stand for. */
  app.reading = function (meta) {
    const { info } = app.state;
    if (!kept || kept.meta !== meta || kept.info !== info) kept = { meta, info, made: made(meta) };
    return kept.made;
  };

  /** @returns {Reading} */
  function made(/** @type {FigureMeta} */ { reading, shape }) {
    const sides = [side(reading ? reading.rows : null, shape[0]), side(reading ? reading.columns : null, shape[1])];
    const names = reading ? reading.names : {};
    /** @type {Map<number, Map<string, number>>} */ const counts = new Map();

    function group(/** @type {Side} */ of, /** @type {number} */ index) {
      return sides[of].groups ? sides[of].groups[index] : [index];
    }
    function nameOf(/** @type {Side} */ of, /** @type {number} */ index) {
      const tokens = group(of, index);
      return tokens.length > 1 ? names[tokens[0]] : null;
    }
    function cut(/** @type {Side} */ of, /** @type {number} */ index, /** @type {number} */ most) {
      const name = nameOf(of, index);
      return name ? app.elided(name[0], most) : app.short(group(of, index)[0], most);
    }
    /* whether another row or column has the same label */
    function repeated(/** @type {Side} */ of, /** @type {number} */ index, /** @type {number} */ most) {
      if (!reading) return app.repeated(index, most);
      if (!counts.has(2 * most + of)) {
        /** @type {Map<string, number>} */ const found = new Map();
        for (let i = 0; i < shape[of]; i += 1) found.set(cut(of, i, most), (found.get(cut(of, i, most)) || 0) + 1);
        counts.set(2 * most + of, found);
      }
      return Number(/** @type {Map<string, number>} */ (counts.get(2 * most + of)).get(cut(of, index, most))) > 1;
    }
    return {
      at: (of, token) => sides[of].index(token),
      tokens: group,
      first: (of, index) => group(of, index)[0],
      /* of a word, the piece that is chosen already, or its first */
      chosen(of, index, ...now) {
        const tokens = group(of, index);
        return now.find((token) => typeof token === "number" && tokens.includes(token)) ?? tokens[0];
      },
      label(of, index, attributes, parent, most, numbered) {
        const name = nameOf(of, index);
        const suffix = numbered || repeated(of, index, most) ? ` ${group(of, index)[0]}` : "";
        if (!name) return app.svgToken(group(of, index)[0], attributes, parent, most, suffix);
        const node = app.svg("text", attributes, parent);
        const text = cut(of, index, most);
        app.svgLabel(node, text, Math.min(name[1], text.length));
        node.append(suffix);
        return node;
      },
      width: (of, index, most) => `${cut(of, index, most)} ${group(of, index)[0]}`.length,
      named(of, index) {
        const name = nameOf(of, index);
        return name ? [app.make("span", "tok", name[0])] : app.named(group(of, index)[0]);
      },
      position(of, index) {
        const tokens = group(of, index);
        return tokens.length > 1 ? `${tokens[0]}–${tokens[tokens.length - 1]}` : `${tokens[0]}`;
      },
      canRead(layer, row, column) {
        if (!reading) return app.canRead(layer, row, column);
        const [queries, keys] = [group(0, row), group(1, column)];
        const [kind, window] = reading.mask;
        const after = queries[0] - keys[keys.length - 1];
        const reach = queries[queries.length - 1] - keys[0];
        if (kind === "causal") return reach >= 0 && (window === null || Math.max(after, 0) < window);
        return window === null || Math.max(after, -reach, 0) <= window;
      },
      isCausal: (layer) => (reading ? reading.mask[0] : app.state.info?.masks[layer][0]) === "causal",
    };
  }

  /** The line over the heatmap: the selected head's pattern, or what else the figure is of. */
  app.sayReading = function (meta) {
    const box = app.byId("reading-line");
    const said = meta && meta.reading ? meta.reading.said : "";
    box.textContent = said;
    box.hidden = !said;
    /** @type {HTMLElement} */ (app.byId("one-head-pattern").parentElement).hidden = Boolean(said);
  };

  /* the groups of one side, and the index of each token; all tokens one by one if there are none */
  function side(/** @type {number[][] | null} */ groups, /** @type {number} */ count) {
    if (!groups) return { groups, index: (/** @type {number} */ token) => (token < count ? token : null) };
    /** @type {Map<number, number>} */ const places = new Map();
    groups.forEach((tokens, i) => tokens.forEach((token) => places.set(token, i)));
    return { groups, index: (/** @type {number} */ token) => places.get(token) ?? null };
  }
});
