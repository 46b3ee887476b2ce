/* Light or dark: as the system has it, or as chosen. */
(window.dashboardParts = window.dashboardParts || []).push((app) => {
  "use strict";
  /* theme: as the system has it, or as chosen */
  const dark = window.matchMedia("(prefers-color-scheme: dark)");
  // where nothing can be stored: a private window, or a page inside another site's
  /** @type {string | null} */ let kept = null;
  function themeChoice() {
    try {
      return kept || window.localStorage.getItem("theme") || "system";
    } catch {
      return "system";
    }
  }
  function effectiveTheme() {
    const choice = themeChoice();
    return choice === "system" ? (dark.matches ? "dark" : "light") : choice;
  }
  app.applyTheme = applyTheme;
  function applyTheme() {
    const theme = effectiveTheme();
    document.documentElement.dataset.theme = theme;
    document.documentElement.dataset.bsTheme = theme;
    const button = app.byId("theme-switch");
    if (button) button.textContent = "Theme: " + themeChoice();
    return theme;
  }
  applyTheme();
  dark.addEventListener("change", () => {
    applyTheme();
    app.paint("theme");
  });
  function switchTheme() {
    const order = ["system", "light", "dark"];
    const next = order[(order.indexOf(themeChoice()) + 1) % 3];
    try {
      window.localStorage.setItem("theme", next);
    } catch {
      kept = next;
    }
    applyTheme();
    app.paint("theme");
  }

  document.addEventListener("click", (event) => {
    if (event.target.closest("#theme-switch")) switchTheme();
  });
});
