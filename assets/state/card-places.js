/* The places of the cards: one is large, the others stand beside it. A tab that is opened makes its figure fit. */
(window.dashboardParts = window.dashboardParts || []).push((app) => {
  "use strict";
  let open = "";

  function place() {
    const { large } = app.state.options;
    const box = app.byId("cards");
    if (!box || !large) return;
    const moved = box.dataset.large !== large;
    box.dataset.large = String(large);
    for (const button of box.querySelectorAll("[data-enlarge]")) {
      const is = button.dataset.enlarge === large;
      button.setAttribute("aria-pressed", String(is));
      button.hidden = is;
    }
    const tabs = [...box.querySelectorAll(".view.active")].map(({ id }) => id).join();
    // what is drawn over a figure was not, while it was closed
    if (moved || tabs !== open) requestAnimationFrame(() => app.paint("size"));
    open = tabs;
  }
  /* where the cards begin: below it a low window has room for the large one (assets/style/parts/cards.css) */
  function measure() {
    const box = app.byId("cards");
    if (box) box.style.setProperty("--cards-top", `${Math.round(box.getBoundingClientRect().top + window.scrollY)}px`);
  }
  document.addEventListener("DOMContentLoaded", () => {
    new ResizeObserver(measure).observe(document.body);
  });
  document.addEventListener("click", (event) => {
    const button = event.target.closest("[data-enlarge]");
    if (!button) return;
    window.dash_clientside.set_props("large", { data: button.dataset.enlarge });
    const card = /** @type {HTMLElement} */ (button.closest(".card-of-views"));
    const tab = /** @type {HTMLElement} */ (card.querySelector(".card-tab.active"));
    setTimeout(() => tab.focus(), 0); // the button goes
  });
  app.onPaint((state, what) => {
    if (what === "options") place();
    if (what === "run" || what === "size") requestAnimationFrame(measure);
  });
});
