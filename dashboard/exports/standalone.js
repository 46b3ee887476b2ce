/* Draws the figures of an exported page, light or dark as the reader's system is, and light on paper. */
(function () {
  "use strict";
  const dark = window.matchMedia("screen and (prefers-color-scheme: dark)");
  const read = (id) => JSON.parse(document.getElementById(id).textContent);
  const colours = read("colours");
  const app = {};
  for (const part of window.dashboardParts) part(app); // assets/overlays/colours.js
  function draw(box, theme) {
    const { figure, pictures } = read(box.dataset.figure);
    const { data, layout } = app.coloured(figure, (name) => colours[theme][name] || name);
    (pictures[theme] || []).forEach((source, i) => {
      layout.images[i].source = source;
    });
    delete layout.width;
    window.Plotly.react(
      box,
      data,
      { ...layout, autosize: true },
      { displaylogo: false, displayModeBar: false, responsive: true },
    );
  }
  function all(isDark) {
    document.querySelectorAll(".plot").forEach((box) => draw(box, isDark ? "dark" : "light"));
  }
  all(dark.matches);
  dark.addEventListener("change", () => all(dark.matches));
  let shut = [];
  window.addEventListener("beforeprint", () => {
    shut = [...document.querySelectorAll("details:not([open])")];
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
