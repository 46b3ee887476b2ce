/* A card's table in place of its figure, and its figure's words for who does not see it. */
(window.dashboardParts = window.dashboardParts || []).push((app) => {
  "use strict";
  /** @type {Record<string, string>} */ const spoken = {}; // per view: what the server says of its figure

  const tableOf = (/** @type {HTMLElement} */ node) => node.closest && node.closest(".table-box");
  const focusedRow = (/** @type {HTMLElement} */ box) => {
    const focused = document.activeElement;
    return focused instanceof HTMLElement && box.contains(focused) ? focused.dataset.row : undefined;
  };

  function show(/** @type {ViewWords} */ { view, table, of }) {
    const card = app.byId(`${view}-panel`);
    if (!card) return;
    const box = app.byId(`${view}-table`) || added(view);
    const opened = Boolean(table) && !card.classList.contains("as-table");
    card.classList.toggle("as-table", Boolean(table));
    const long = table && !Array.isArray(table) ? table : null;
    card.classList.toggle("as-rows", Boolean(long));
    app.longTable(view, long);
    if (!Array.isArray(table)) {
      box.replaceChildren();
      return;
    }
    const focused = focusedRow(box);
    const within = document.activeElement === box;
    const top = box.scrollTop;
    app.fill(box, table);
    box.dataset.of = of;
    box.tabIndex = 0;
    box.setAttribute("role", "region");
    const caption = /** @type {HTMLElement} */ (box.querySelector("caption"));
    box.setAttribute("aria-label", `Table of numbers. ${/** @type {Node} */ (caption.firstChild).textContent}`);
    for (const button of box.querySelectorAll("[data-row]")) button.tabIndex = -1;
    const marked = box.querySelector("tr.selected [data-row], tr.second [data-row]") || box.querySelector("[data-row]");
    if (marked) marked.tabIndex = 0;
    box.scrollTop = opened ? 0 : top;
    const again = focused === undefined ? null : box.querySelector(`[data-row="${focused}"]`) || marked;
    if (again) again.focus({ preventScroll: true });
    else if (within) box.focus({ preventScroll: true });
    inView(box, again ? again.closest("tr") : box.querySelector("tr.selected"));
    app.tellMore(box);
  }
  function added(/** @type {string} */ view) {
    const box = app.make("div", "table-box");
    box.id = `${view}-table`;
    app.byId(`${view}-figure`).after(box);
    new ResizeObserver(() => app.tellMore(box)).observe(box);
    return box;
  }
  /* scrolls the table alone, never the page */
  function inView(/** @type {HTMLElement} */ box, /** @type {HTMLElement | null} */ row) {
    if (!row) return;
    const head = /** @type {HTMLElement} */ (box.querySelector("thead")).offsetHeight;
    const top = row.offsetTop - head;
    if (top < box.scrollTop) box.scrollTop = top - row.offsetHeight;
    else if (row.offsetTop + row.offsetHeight > box.scrollTop + box.clientHeight) {
      box.scrollTop = row.offsetTop - (box.clientHeight - row.offsetHeight) / 2;
    }
  }

  /** What is selected, in words: the figures' alternative and the announcements say it alike. */
  app.selectedWords = function () {
    const { selection, info } = app.state;
    if (!selection || !info) return "";
    const name = (/** @type {number} */ index) => `${app.isolated(info.labels[index])} ${index}`;
    const second = typeof selection.second !== "number" ? "" : `, second token ${name(selection.second)}`;
    const added = app.addedWords();
    const place = `layer ${selection.layer}, head ${selection.head}`;
    return [`Token ${name(selection.token)}${second}`, place, added].filter(Boolean).join("; ");
  };
  /* Plotly's picture alone is the image: buttons may stand beside it; before a run the card says what will be drawn */
  function describe() {
    for (const graph of document.querySelectorAll(".figure > [id$=-graph]")) {
      const words = spoken[graph.id.slice(0, -"-graph".length)];
      const title = /** @type {HTMLElement} */ (graph.closest(".view")).querySelector("h2");
      const label = words
        ? `${words} Selected: ${app.selectedWords()}.`
        : `${title ? title.textContent : "Figure"}: nothing is drawn yet.`;
      graph.setAttribute("role", "img");
      if (graph.getAttribute("aria-label") !== label) graph.setAttribute("aria-label", label);
    }
  }
  /* a graph is put there, or put anew, when Plotly has been loaded */
  app.whenAdded(() => {
    if (document.querySelector(".figure > [id$=-graph]:not([role])")) describe();
  });

  document.addEventListener("view-words", ({ detail }) => {
    if (!detail.changed) return;
    spoken[detail.view] = detail.alternative;
    show(detail);
    describe();
  });
  document.addEventListener("click", (event) => {
    const box = tableOf(event.target);
    const row = box && event.target.closest("tbody tr");
    const button = row && row.querySelector("[data-row]");
    if (button) app.propose({ [String(button.dataset.rowIs)]: Number(button.dataset.rowToken ?? button.dataset.row) });
  });
  document.addEventListener("keydown", (event) => {
    const box = tableOf(event.target);
    const by = { ArrowUp: -1, ArrowDown: 1 }[event.key];
    if (
      !box ||
      !by ||
      event.target.dataset.row === undefined ||
      event.ctrlKey ||
      event.altKey ||
      event.shiftKey ||
      event.metaKey
    )
      return;
    event.preventDefault();
    const next = box.querySelector(`[data-row="${Number(event.target.dataset.row) + by}"]`);
    if (!next) return;
    event.target.tabIndex = -1;
    next.tabIndex = 0;
    next.focus({ preventScroll: true });
    inView(box, next.closest("tr"));
  });
});
