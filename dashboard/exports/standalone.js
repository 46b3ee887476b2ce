/* Draws the figures of an exported page, light or dark as the reader's system is, and light on paper. */
(function () {
  "use strict";
  const dark = window.matchMedia("screen and (prefers-color-scheme: dark)");
  const read = (/** @type {string} */ id) =>
    JSON.parse(/** @type {HTMLElement} */ (document.getElementById(id)).textContent);
  /** @type {Record<Theme, Record<string, string>>} */ const colours = read("colours");
  const app = /** @type {App} */ ({});
  for (const part of /** @type {Part[]} */ (window.dashboardParts)) part(app); // assets/overlays/colours.js
  function draw(/** @type {HTMLElement} */ box, /** @type {Theme} */ theme) {
    const { figure, pictures } = read(box.dataset.figure);
    /** @type {Figure} */ const { data, layout } = app.coloured(figure, (name) => colours[theme][name] || name);
    const images = layout.images || [];
    (pictures[theme] || []).forEach((/** @type {string} */ source, /** @type {number} */ i) => {
      images[i].source = source;
    });
    delete layout.width;
    window.Plotly.react(
      box,
      data,
      { ...layout, autosize: true },
      { displaylogo: false, displayModeBar: false, responsive: true },
    );
  }
  function all(/** @type {boolean} */ isDark) {
    document.querySelectorAll(".plot").forEach((box) => draw(box, isDark ? "dark" : "light"));
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
