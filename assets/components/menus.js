/* Menus stand where they fit into the window; menus and tables that hold more than they show say so. */
(window.dashboardParts = window.dashboardParts || []).push((app) => {
  "use strict";
  const EDGE = 8; // pixels that stay free at the window's edge
  const LEAST = 160; // pixels that a menu has in the lowest window
  const COLUMNS = ["two", "three"]; // classes of a menu

  /** Marks a box that scrolls where more is below or at the right (assets/style/parts/tables.css). */
  app.tellMore = function (box) {
    const below = box.scrollHeight - box.clientHeight - box.scrollTop > 2;
    const right = box.scrollWidth - box.clientWidth - box.scrollLeft > 2;
    if (box.matches(".menu")) box.classList.toggle("more-below", below);
    else {
      const parent = /** @type {HTMLElement} */ (box.parentElement);
      parent.classList.toggle("more-right", right);
      parent.style.setProperty("--bar", `${box.offsetWidth - box.clientWidth}px`);
    }
  };

  /* below its button, or above it where there is more room; a card's options in columns before they scroll */
  function place(/** @type {HTMLElement} */ box) {
    const menu = box.querySelector(":scope > .menu");
    if (!menu) return;
    menu.classList.remove(...COLUMNS, "upwards", "more-below");
    menu.style.maxHeight = "none";
    const below = window.innerHeight - menu.getBoundingClientRect().top - EDGE;
    const above = menu.matches(".options, .about-text") ? box.getBoundingClientRect().top - 4 - EDGE : 0;
    const most = Math.max(below, above);
    const fits = (/** @type {number} */ room) => menu.offsetHeight <= room;
    if (menu.matches(".options") && !app.narrow()) {
      for (const columns of COLUMNS) {
        if (fits(most)) break;
        menu.classList.remove(...COLUMNS);
        menu.classList.add(columns);
      }
      if (!fits(most)) menu.classList.remove(...COLUMNS);
    }
    const upwards = !fits(below) && above > below;
    menu.classList.toggle("upwards", upwards);
    menu.style.maxHeight = `${Math.max(LEAST, upwards ? above : below)}px`;
    app.tellMore(menu);
  }
  app.placeMenu = place;
  const all = () => document.querySelectorAll("details.menu-box[open]");
  document.addEventListener(
    "toggle",
    ({ target }) => {
      if (target.matches("details.menu-box[open]")) place(target);
    },
    true,
  );
  document.addEventListener(
    "scroll",
    ({ target }) => {
      if (target.matches && target.matches(".menu, .table-box")) app.tellMore(target);
    },
    true,
  );
  window.addEventListener("resize", () => all().forEach(place));

  /* menus: arrows go through them; they close when the focus leaves */
  const items = (/** @type {HTMLElement} */ menu) =>
    [...menu.querySelectorAll("button, a[href], input")].filter(
      (node) => node.offsetParent && !node.matches(":disabled"),
    );
  document.addEventListener("keydown", (event) => {
    const by = { ArrowDown: 1, ArrowUp: -1 }[event.key];
    const menu = by && event.target.closest && event.target.closest("details.menu-box[open]");
    if (!menu || event.target.matches("input[type=radio], input[type=text], textarea") || event.shiftKey) return;
    const all = items(menu);
    const at = all.indexOf(event.target);
    const next = all[at < 0 ? (by > 0 ? 0 : all.length - 1) : (at + by + all.length) % all.length];
    if (!next) return;
    event.preventDefault();
    next.focus();
  });
  /* a card's explanation is about the selection: it stays while another token, head or cell is chosen */
  const stays = (/** @type {Element} */ menu, /** @type {Element} */ next) =>
    menu.contains(next) || (menu.matches(".about") && Boolean(next.closest(".tokens, .heads, .figure")));
  document.addEventListener("focusout", (event) => {
    const menu = event.target.closest && event.target.closest("details.menu-box[open]");
    const next = /** @type {Element | null} */ (event.relatedTarget);
    if (menu && next && !stays(menu, next)) menu.removeAttribute("open");
  });
  document.addEventListener("click", ({ target }) => {
    for (const menu of all()) if (!stays(menu, target)) menu.removeAttribute("open");
  });
});
