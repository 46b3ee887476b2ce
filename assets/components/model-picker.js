/* Dash's list of models, by keyboard and by ear. */
(window.dashboardParts = window.dashboardParts || []).push((app) => {
  "use strict";
  /* what is typed into the picker's list is searched for, wherever in it the focus is */
  document.addEventListener(
    "keydown",
    (event) => {
      const list = event.target.closest(".dash-dropdown-content");
      if (!list || event.target.matches(".dash-dropdown-search") || event.ctrlKey || event.altKey || event.metaKey)
        return;
      if (event.key.length === 1 && event.key !== " ")
        /** @type {HTMLElement} */ (list.querySelector(".dash-dropdown-search")).focus();
    },
    true,
  );

  /*
   * Dash's picker hides a field that only hands the focus on; its button can take the focus itself, and its list has no
   * name
   */
  app.whenAdded(() => {
    for (const field of document.querySelectorAll(".dash-dropdown-focus-target:not([inert])")) {
      field.inert = true;
      const button = /** @type {HTMLElement} */ (field.parentElement).querySelector("button");
      if (button) button.tabIndex = 0;
    }
    for (const list of document.querySelectorAll(
      ".dash-dropdown-content:not([aria-label]), .dash-dropdown-content [role=listbox]:not([aria-label])",
    )) {
      list.setAttribute("aria-label", "Models");
    }
  });
});
