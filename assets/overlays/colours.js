/*
 * Colours of figures. A figure names its colours, "var(--ink)" (dashboard/figures/theme.py), so that it is the same in
 * both themes; here they get their values. Exported pages hold this script, too, with palettes of their own.
 */
(window.dashboardParts = window.dashboardParts || []).push((app) => {
  "use strict";
  /** @typedef {Record<string, unknown>} Part */
  const NAME = "var(--"; // how a name begins
  const COLOUR = /color/; // in the names of properties that are colours
  const MARKUP = /(style="color:)(var\(--[a-z0-9-]+\))/g;
  const ELSEWHERE = new Set(["meta", "customdata"]); // data of the page's own

  /**
   * A figure with `valueOf(name)` in place of each colour's name. What holds none is not copied: bytes and long lists
   * are the same objects as before.
   */
  app.coloured = function (figure, valueOf) {
    /** @type {(value: unknown) => unknown} */
    const ofColour = (value) => {
      if (Array.isArray(value)) return typeof value[0] === "number" && value.length > 2 ? value : value.map(ofColour);
      return typeof value === "string" && value.startsWith(NAME) ? valueOf(value) : value;
    };
    const ofMarkup = (/** @type {unknown} */ text) =>
      String(text).replace(MARKUP, (all, style, name) => style + valueOf(name));
    function ofList(/** @type {string} */ name, /** @type {unknown[]} */ list) {
      if (COLOUR.test(name)) return ofColour(list);
      if (name === "ticktext") return list.map(ofMarkup);
      const isOfParts = list.length && list[0] !== null && typeof list[0] === "object" && !Array.isArray(list[0]);
      return isOfParts ? /** @type {Part[]} */ (list).map(ofPart) : list;
    }
    /** @type {(name: string, value: unknown) => unknown} */
    function ofValue(name, value) {
      if (typeof value === "string") return value.startsWith(NAME) && COLOUR.test(name) ? valueOf(value) : value;
      if (value === null || typeof value !== "object" || ArrayBuffer.isView(value) || ELSEWHERE.has(name)) return value;
      return Array.isArray(value) ? ofList(name, value) : ofPart(/** @type {Part} */ (value));
    }
    function ofPart(/** @type {Part} */ part) {
      let copy = part;
      for (const name of Object.keys(part)) {
        const found = ofValue(name, part[name]);
        if (found === part[name]) continue;
        if (copy === part) copy = { ...part };
        copy[name] = found;
      }
      return copy;
    }
    return /** @type {typeof figure} */ (ofPart(/** @type {Part} */ (figure)));
  };

  /** @type {string | null} */ let theme = null;
  /** @type {Uint32Array | null} */ let shades = null;
  /** @type {Map<string, string>} */ const values = new Map();
  /* what was read of a theme's style sheet is kept until there is another one */
  function current() {
    const now = document.documentElement.dataset.theme;
    if (now === theme) return;
    theme = now;
    values.clear();
    shades = null;
  }
  /** A colour of the page, by its name "var(--ink)". */
  app.colour = function (name) {
    current();
    if (!values.has(name)) {
      const value = getComputedStyle(document.documentElement).getPropertyValue(name.slice("var(".length, -1));
      values.set(name, value.trim() || name);
    }
    return /** @type {string} */ (values.get(name));
  };
  /** 256 pixels, by shade: 0 is transparent, 1 … 255 run through the colours of weights. */
  app.shadePixels = function () {
    current();
    if (shades) return shades;
    const stops = Array.from({ length: 9 }, (_, i) => app.colour(`var(--weight-${i})`));
    const rgb = stops.map((colour) => [1, 3, 5].map((at) => parseInt(colour.slice(at, at + 2), 16)));
    shades = new Uint32Array(256);
    for (let shade = 1; shade < 256; shade += 1) {
      const at = ((shade - 1) / 254) * (rgb.length - 1);
      const low = Math.min(rgb.length - 2, Math.floor(at));
      const [r, g, b] = [0, 1, 2].map((i) => Math.round(rgb[low][i] + (at - low) * (rgb[low + 1][i] - rgb[low][i])));
      shades[shade] = ((255 << 24) | (b << 16) | (g << 8) | r) >>> 0;
    }
    return shades;
  };

  /* of a layout in a theme's colours: the theme, and the figure as it was answered */
  /** @type {WeakMap<FigureLayout, { theme: string | null; answer: Figure }>} */ const painted = new WeakMap();
  /** A figure in the page's colours, whether it names them or has those of the other theme. */
  app.inTheme = function (figure) {
    current();
    const known = painted.get(figure.layout);
    if (known && known.theme === theme) return figure;
    const { answer } = known || { answer: figure };
    const found = app.coloured(answer, app.colour);
    painted.set(found.layout, { theme, answer });
    return found;
  };
});
