/*
 * Terms of the field, which dashboard/components/glossary.py marks: what one means is shown while the pointer is on it
 * or the focus, and a tap gives it the focus.
 */
(window.dashboardParts = window.dashboardParts || []).push((app) => {
  "use strict";
  /** @type {HTMLElement | null} */ let shown = null; // the term whose meaning is shown

  /** @type {Record<string, string> | null} */ let glossary = null;
  function meaning(/** @type {string} */ name) {
    const found = glossary || JSON.parse(app.byId("page").dataset.glossary);
    glossary = found;
    return found[name];
  }
  const termOf = (/** @type {Element | null} */ node) => (node && node.closest ? node.closest(".term") : null);

  function show(/** @type {HTMLElement} */ term) {
    if (shown && shown !== term) hide();
    const { left, bottom } = term.getBoundingClientRect();
    shown = term;
    term.setAttribute("aria-describedby", "tooltip");
    app.tip([meaning(term.dataset.term)], left - 12, bottom - 6);
  }
  function hide() {
    if (!shown) return;
    shown.removeAttribute("aria-describedby");
    shown = null;
    app.tip(null);
  }
  /* the one with the focus, once the pointer has left another */
  function back() {
    const focused = termOf(document.activeElement);
    if (focused && focused.matches(":focus-visible")) show(focused);
    else hide();
  }

  document.addEventListener("pointerover", ({ target }) => {
    const term = termOf(target);
    if (term) show(term);
  });
  document.addEventListener("pointerout", ({ target, relatedTarget }) => {
    const next = /** @type {Element | null} */ (relatedTarget);
    if (termOf(target) && termOf(target) !== termOf(next)) back();
  });
  document.addEventListener("focusin", ({ target }) => {
    if (termOf(target) === target) show(target);
  });
  document.addEventListener("focusout", ({ target }) => {
    if (termOf(target)) hide();
  });
  /* it stays with its term, which may have been replaced */
  function follow() {
    if (!shown) return;
    if (shown.isConnected && shown.offsetParent) show(shown);
    else hide();
  }
  for (const event of ["scroll", "resize"]) window.addEventListener(event, follow, true);
  /* Esc closes it alone, and what is open below it next */
  window.addEventListener(
    "keydown",
    (event) => {
      if (event.key !== "Escape" || !shown) return;
      event.stopPropagation();
      hide();
    },
    true,
  );
});
