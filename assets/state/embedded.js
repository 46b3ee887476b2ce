/* The page inside another one, such as a notebook's cell. */
(window.dashboardParts = window.dashboardParts || []).push((app) => {
  "use strict";

  /** Whether this page stands inside another one, has no worker and takes no new text. */
  app.embedded = function () {
    return Boolean(app.byId("page") && app.byId("page").classList.contains("embedded"));
  };

  app.onPaint((state, what) => {
    if (what !== "run" || !app.embedded()) return;
    const { title, layers, heads, labels } = state.info;
    const tokens = labels.length === 1 ? "1 token" : `${labels.length.toLocaleString("en")} tokens`;
    /** @type {HTMLElement} */ (document.querySelector(".header h1")).textContent =
      `${title}: ${tokens}, ${layers} layers × ${heads} heads`;
  });
  document.addEventListener(
    "click",
    (event) => {
      // before the browser follows the link: to what is selected now
      const link = event.target.closest("#open-tab");
      if (link) link.setAttribute("href", window.location.href);
    },
    true,
  );
});
