/*
 * A table of more than fifty rows in place of a figure: all its rows, which can be sorted and filtered. The server
 * sends its data (`long_table` of dashboard/views/shown.py); a row that is a token selects it.
 */
(window.dashboardParts = window.dashboardParts || []).push((app) => {
  "use strict";
  const [MEASURED, WIDEST] = [60, 150]; // rows that say how wide a column is at least, and the most pixels
  /** @typedef {{ id: string; index: number; cells: (number | string | null)[] }} Row */
  /** @typedef {{ value: number | string | null; data: Row }} Value */
  /** @typedef {LongTable["columns"][number]} Column */
  /** @type {Map<string, LongTable>} */ const wanted = new Map(); // per view: the table that is shown
  /** @type {Map<string, GridApi<Row>>} */ const grids = new Map();
  /** @type {Map<string, string>} */ const columns = new Map(); // per view: the columns that its grid has
  /** @type {Map<string, number>} */ const seen = new Map(); // per view: the selected row that was brought into view
  /** @type {Set<string>} */ const asked = new Set();

  /** A number with this many decimals, in scientific notation if it would round to 0, as in a short table. */
  app.numberText = function (value, decimals) {
    const small = value !== 0 && Math.abs(value) < 0.5 * 10 ** -decimals;
    const text = small ? value.toExponential(1).replace(/e([+-])(\d)$/, "e$10$2") : value.toFixed(decimals);
    return value < 0 ? text.replace("-", "−") : text;
  };
  const isNumber = (/** @type {unknown} */ value) => typeof value === "number";
  /* what is no number stands last, whichever comes first */
  /**
   * @param {number | string | null} a @param {number | string | null} b @param {unknown} one @param {unknown} other
   * @param {boolean} isDescending
   */
  function compare(a, b, one, other, isDescending) {
    if (typeof a === "number" && typeof b === "number") return a - b;
    if (isNumber(a) || isNumber(b)) return isNumber(b) === isDescending ? -1 : 1;
    return String(a ?? "").localeCompare(String(b ?? ""), undefined, { numeric: true });
  }
  /* of the heading's longest word, or of the longest cell */
  const widthOf = (/** @type {string} */ heading, /** @type {(string | number)[]} */ cells) =>
    Math.min(WIDEST, 11 + 6.3 * Math.max(...[...heading.split(" "), ...cells].map((text) => String(text).length)));
  function columnOf(
    /** @type {Column} */ { name, unit, number, decimals },
    /** @type {number} */ at,
    /** @type {LongTable["rows"]} */ rows,
  ) {
    const shown = (/** @type {Pick<Value, "value">} */ { value }) =>
      typeof value === "number" ? app.numberText(value, decimals) : (value ?? "");
    return {
      colId: String(at),
      headerName: unit ? `${name} (${unit})` : name,
      valueGetter: (/** @type {{ data: Row }} */ { data }) => data.cells[at],
      valueFormatter: shown,
      getQuickFilterText: shown,
      tooltipValueGetter: (/** @type {Value} */ { value }) => (typeof value === "number" ? String(value) : null),
      comparator: compare,
      sortingOrder: ["desc", "asc", null],
      minWidth: widthOf(
        unit ? `${name} (${unit})` : name,
        rows.slice(0, MEASURED).map((row) => shown({ value: row[at + 1] })),
      ),
      flex: 1,
      cellClass: number ? "ag-right-aligned-cell" : "token-cell",
      headerClass: number ? "ag-right-aligned-header" : "",
    };
  }

  function fill(/** @type {string} */ view) {
    const [api, table] = [grids.get(view), wanted.get(view)];
    if (!api || api.isDestroyed() || !table) return;
    const box = app.byId(`${view}-rows-box`);
    app.fill(box.querySelector(".rows-title") || titled(view, box), table.caption);
    box.dataset.rowIs = table.row_is;
    box.setAttribute("aria-label", `Table of numbers. ${table.title}`);
    const now = JSON.stringify(table.columns);
    if (columns.get(view) !== now) {
      columns.set(view, now);
      api.setGridOption(
        "columnDefs",
        table.columns.map((column, at) => columnOf(column, at, table.rows)),
      );
    }
    const rows = table.rows.map(([index, ...cells]) => ({ id: String(index), index: Number(index), cells }));
    api.setGridOption("rowData", rows);
    const [first] = table.selected;
    const chosen = api.getRowNode(String(first));
    if (chosen && seen.get(view) !== first) api.ensureNodeVisible(chosen); // or it stays as it was scrolled
    seen.set(view, first);
    mark(view);
  }
  /* the caption, and a filter */
  function titled(/** @type {string} */ view, /** @type {HTMLElement} */ box) {
    const title = app.make("p", "rows-title");
    const filter = app.make("input", "rows-filter");
    filter.type = "search";
    filter.placeholder = "Filter the rows";
    filter.maxLength = 80;
    filter.setAttribute("aria-label", "Filter the rows");
    filter.addEventListener("input", () => grids.get(view)?.setGridOption("quickFilterText", filter.value));
    const head = app.make("div", "rows-head");
    head.append(title, filter);
    box.prepend(head);
    return title;
  }
  /* rows come and go as the table is scrolled */
  function mark(/** @type {string} */ view) {
    const table = wanted.get(view);
    if (!table) return;
    for (const row of document.querySelectorAll(`#${view}-rows .ag-row[row-id]`)) {
      const at = table.selected.indexOf(Number(row.getAttribute("row-id")));
      const added = table.added.includes(Number(row.getAttribute("row-id")));
      const kind = at < 0 ? (added ? "added" : "") : at === 0 ? "selected" : "second";
      if ((row.getAttribute("data-mark") || "") !== kind) {
        row.setAttribute("data-mark", kind);
        if (at >= 0) row.setAttribute("aria-current", "true");
        else row.removeAttribute("aria-current");
      }
      row.classList.toggle("strong", table.strong.includes(Number(row.getAttribute("row-id"))));
    }
  }
  /* a sign at the right edge says that there are more columns */
  function tellMore(/** @type {string} */ view) {
    const cells = document.querySelector(`#${view}-rows .ag-center-cols-viewport`);
    if (!cells) return;
    const more = cells.scrollWidth - cells.clientWidth - cells.scrollLeft > 2;
    /** @type {HTMLElement} */ (cells.closest(".figure-column")).classList.toggle("more-right", more);
  }
  function choose(/** @type {string} */ view, /** @type {Row} */ { index }) {
    const table = wanted.get(view);
    if (table && table.row_is) app.propose({ [table.row_is]: table.tokens.length ? table.tokens[index] : index });
  }

  function attach(/** @type {string} */ view, /** @type {GridApi<Row>} */ api) {
    if (grids.get(view) === api) return;
    grids.set(view, api);
    columns.delete(view);
    new MutationObserver(() => mark(view)).observe(app.byId(`${view}-rows`), { childList: true, subtree: true });
    api.setGridOption("tabToNextCell", () => false); // one tab stop: arrows go about in the table
    api.setGridOption("tabToNextHeader", () => false);
    api.addEventListener("rowClicked", ({ data }) => choose(view, data));
    api.addEventListener("cellKeyDown", ({ event, data }) => {
      if (event.key === "Enter") choose(view, data);
    });
    for (const name of ["bodyScroll", "gridSizeChanged", "displayedColumnsChanged", "firstDataRendered"])
      api.addEventListener(name, () => requestAnimationFrame(() => tellMore(view)));
    fill(view);
  }
  app.whenAdded(() => {
    for (const view of wanted.keys()) {
      if (!document.querySelector(`#${view}-rows .ag-root`)) continue;
      const found = /** @type {GridApi<Row> | undefined} */ (
        /** @type {unknown} */ (window.dash_ag_grid.getApi(`${view}-rows`))
      );
      if (found) attach(view, found);
    }
  });

  /** Show a long table of a view in place of its figure; null: none. */
  app.longTable = async function (view, table) {
    if (!table) {
      wanted.delete(view);
      seen.delete(view);
      return;
    }
    wanted.set(view, table);
    fill(view);
    if (asked.has(view)) return;
    asked.add(view);
    const grid = JSON.parse(String(app.byId("page").dataset.rows).replaceAll("VIEW", view));
    if (!(await app.makeLate(`${view}-panel`, grid, "grid"))) asked.delete(view);
  };
});
