/* Draws the figures of an exported page, light or dark as the reader's system is, and light on paper. */
(function () {
  "use strict";
  const dark = window.matchMedia("screen and (prefers-color-scheme: dark)");
  const read = (/** @type {string} */ id) =>
    JSON.parse(/** @type {HTMLElement} */ (document.getElementById(id)).textContent);
  /** @type {Record<string, string>} */ const swap = read("colours");
  /** @type {(value: unknown, inside: boolean, key: string) => any} */
  function painted(value, inside, key) {
    if (typeof value === "string") return inside && key !== "ticktext" && swap[value] ? swap[value] : value;
    if (Array.isArray(value)) return value.map((item) => painted(item, inside, key));
    if (value && typeof value === "object") {
      return Object.fromEntries(
        Object.entries(value).map(([name, item]) => [
          name,
          painted(item, /color/i.test(name) || (inside && name !== "ticktext"), name),
        ]),
      );
    }
    return value;
  }
  function inMarkup(/** @type {string[]} */ texts) {
    return texts.map((text) =>
      text.replace(/style="color:(#[0-9A-F]{6})"/g, (all, colour) => `style="color:${swap[colour] || colour}"`),
    );
  }
  function draw(/** @type {HTMLElement} */ box, /** @type {boolean} */ isDark) {
    const stored = read(box.dataset.figure);
    /** @type {Figure} */ let { data, layout } = stored.figure;
    if (isDark) {
      [data, layout] = [painted(data, false, ""), painted(layout, false, "")];
      for (const axis of [layout.xaxis, layout.yaxis])
        if (axis && Array.isArray(axis.ticktext)) axis.ticktext = inMarkup(axis.ticktext);
      /** @type {string[]} */ (stored.dark_images || []).forEach((source, i) => {
        /** @type {{ source: string }[]} */ (layout.images)[i].source = source;
      });
    }
    delete layout.width;
    window.Plotly.react(
      box,
      data,
      { ...layout, autosize: true },
      { displaylogo: false, displayModeBar: false, responsive: true },
    );
  }
  function all(/** @type {boolean} */ isDark) {
    document.querySelectorAll(".plot").forEach((box) => draw(box, isDark));
  }
  all(dark.matches);
  dark.addEventListener("change", () => all(dark.matches));
  /** @type {HTMLDetailsElement[]} */ let shut = [];
  window.addEventListener("beforeprint", () => {
    shut = /** @type {HTMLDetailsElement[]} */ ([...document.querySelectorAll("details:not([open])")]);
    shut.forEach((part) => {
      part.open = true;
    });
    all(false);
  });
  window.addEventListener("afterprint", () => {
    shut.forEach((part) => {
      part.open = false;
    });
    all(dark.matches);
  });
})();
