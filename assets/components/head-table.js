/*
 * The table of all heads: rows and columns come with the figure of the Heads tab (dashboard/views/attention/heads.py),
 * order, filter and colours are its options. A row selects its layer and head, and the selected head marks its row.
 */
(window.dashboardParts = window.dashboardParts || []).push((app) => {
  "use strict";
  const ID = "heads-rows";
  const ASCENDING = ["head", "group"]; // begin with 0.0, and with the first group
  /** @type {GridApi} */ let api; // the grid's, when it is there
  /** @type {HeadScores | null} */ let shown = null; // what the figure says: { run, stamp, columns, rows }
  let filled = ""; // what the grid has: run, and filter
  /** @type {string | null} */ let typed = null; // a filter that is not an option yet

  const option = (/** @type {string} */ name) => /** @type {string | undefined} */ (app.state.options[`heads-${name}`]);
  const set = (/** @type {Options} */ values) =>
    app.history.set(Object.fromEntries(Object.entries(values).map(([name, value]) => [`heads-${name}`, value])));

  /** The scores of the shown run's heads, { columns, rows }; null where they are not there. */
  app.headScores = () =>
    shown && app.state.info && shown.run === app.state.info.run && shown.stamp === app.state.info.stamp ? shown : null;

  /* "layer 1" is not "layer 12": a number at either end is whole */
  app.fitsHeads = function (query) {
    const words = query.trim().toLowerCase().replace(/\s+/g, " ");
    if (!words) return () => true;
    const literal = words.replace(/[.*+?^${}()|[\]\\]/g, "\\$&");
    const found = new RegExp(`(^|[ .])${literal}${/\d$/.test(words) ? "(?!\\d)" : ""}`);
    return ([layer, head, pattern]) => found.test(`${layer}.${head} layer ${layer} head ${head} ${pattern}`);
  };

  function cellStyle(/** @type {Score} */ { weight, most }) {
    return (/** @type {GridCell} */ { value, column, data }) => {
      if (!column.getSort() || data.index < 0) return { backgroundImage: "none", fontWeight: 400 };
      const share = value === null ? 0 : Math.max(0, Math.min(1, weight ? value : value / (most || 1)));
      const end = `${(100 * share).toFixed(1)}%`;
      return {
        backgroundImage: `linear-gradient(to right, var(--score-bar) ${end}, transparent ${end})`,
        fontWeight: 600,
      };
    };
  }
  /* heads without a number stand last, whichever comes first */
  /**
   * @param {number | null} a @param {number | null} b @param {unknown} one @param {unknown} other
   * @param {boolean} isDescending
   */
  function compare(a, b, one, other, isDescending) {
    if (a === null || b === null) return a === b ? 0 : (a === null) === isDescending ? -1 : 1;
    return a - b;
  }
  /* of its longest word: a heading may have two lines */
  const widthOf = (/** @type {string} */ heading) =>
    Math.max(42, Math.max(...heading.split(" ").map((word) => word.length)) * 6 + 12);
  const [PATTERN, TIGHT] = [124, 90]; // pixels of the second column, and its least
  const FIXED = 44; // and of the first
  let laid = ""; // for which width the columns are
  const AROUND = 64; // gaps and a scroll bar
  const sum = (/** @type {Score[]} */ columns, /** @type {"name" | "short"} */ by) =>
    columns.reduce((all, one) => all + widthOf(one[by]), FIXED + PATTERN);
  const listed = (/** @type {HeadScores} */ { columns }) => columns.filter((one) => one.listed);
  /** Pixels that the table needs beside the grid, so that it need not be scrolled sideways. */
  app.headsTable = () => (shown ? sum(listed(shown), "short") + AROUND : 524);
  /** @returns {{ by: "name" | "short"; fits: boolean }} whether long headings fit, and whole patterns */
  function widths(/** @type {HeadScores} */ found) {
    const wide = app.byId(ID).clientWidth - AROUND / 4;
    const fits = (/** @type {"name" | "short"} */ by) => sum(listed(found), by) <= wide;
    return { by: fits("name") ? "name" : "short", fits: fits("short") };
  }
  /* another width, another choice of headings; the selected row stays in view */
  function resized() {
    const found = app.headScores();
    if (!found) return;
    const { by, fits } = widths(found);
    if (laid !== `${by} ${fits}`) filled = "";
    fill();
    mark();
  }
  function columnsOf(/** @type {HeadScores} */ found) {
    const right = { cellClass: "ag-right-aligned-cell", headerClass: "ag-right-aligned-header" };
    const { by, fits } = widths(found);
    laid = `${by} ${fits}`;
    return [
      {
        colId: "head",
        headerName: "Head",
        valueGetter: (/** @type {GridCell} */ { data }) => data.index,
        valueFormatter: (/** @type {GridCell} */ { data }) => (data.index < 0 ? "" : data.id),
        sortingOrder: ["asc", "desc"],
        width: 44,
        cellClass: "head-name",
      },
      {
        colId: "pattern",
        field: "pattern",
        headerName: "Pattern",
        sortable: false,
        minWidth: fits ? PATTERN : TIGHT,
        flex: 2,
      },
      ...found.columns.map((one) => ({
        colId: one.id,
        field: one.id,
        headerName: one[by],
        headerTooltip: one.name,
        hide: !one.listed,
        ...(ASCENDING.includes(one.id) ? { sortingOrder: ["asc", "desc"] } : {}),
        comparator: compare,
        minWidth: widthOf(one[by]),
        flex: 1,
        ...right,
        cellStyle: cellStyle(one),
        valueFormatter: (/** @type {Pick<GridCell, "value">} */ { value }) =>
          value === null ? "–" : value.toFixed(one.digits),
      })),
    ];
  }
  function rowsOf(/** @type {HeadScores} */ { columns, rows }, /** @type {string} */ query) {
    const fit = app.fitsHeads(query);
    const { heads } = /** @type {Shows} */ (app.state).info;
    return rows.filter(fit).map(([layer, head, pattern, ...scores]) => ({
      id: `${layer}.${head}`,
      index: layer * heads + head,
      layer,
      head,
      pattern,
      ...Object.fromEntries(columns.map(({ id }, i) => [id, scores[i]])),
    }));
  }

  /* what chance would give, above all heads */
  const chanceOf = (/** @type {HeadScores} */ { columns }) => ({
    id: "chance",
    index: -1,
    pattern: "by chance",
    ...Object.fromEntries(columns.map(({ id, chance }) => [id, chance])),
  });

  function fill() {
    const found = app.headScores();
    if (!api || !found) return;
    const query = typed ?? option("filter") ?? "";
    const of = `${found.run} ${found.stamp} ${found.of}`;
    const key = JSON.stringify([of, query]);
    if (key === filled) return;
    if (!filled || JSON.parse(filled)[0] !== of) {
      api.setGridOption("columnDefs", columnsOf(found));
      api.setGridOption("pinnedTopRowData", [chanceOf(found)]);
      requestAnimationFrame(() => requestAnimationFrame(mark)); // once that row has its height
      sort();
    }
    filled = key;
    const rows = rowsOf(found, query);
    api.setGridOption("rowData", rows);
    const all = found.rows.length;
    app.byId("heads-count").textContent =
      `${rows.length === all ? "" : `${rows.length} of `}${all} ${all === 1 ? "head" : "heads"}`;
    mark();
  }
  function sort() {
    const colId = option("sort");
    if (!api || !colId) return;
    const down = (option("order") === "most") === !ASCENDING.includes(colId);
    const wanted = down ? "desc" : "asc";
    const now = sorted();
    if (now && now.colId === colId && now.sort === wanted) return;
    api.applyColumnState({ state: [{ colId, sort: wanted }], defaultState: { sort: null } });
  }
  const sorted = () => api.getColumnState().find((column) => column.sort);
  /* the selected head's row, in view; the table alone scrolls */
  function mark() {
    const { selection } = app.state;
    if (!api || !selection) return;
    const node = api.getRowNode(`${selection.layer}.${selection.head}`);
    if (node) api.ensureNodeVisible(node);
    tag();
  }
  /* rows come and go as the table is scrolled */
  function tag() {
    const { selection } = app.state;
    const wanted = selection && `${selection.layer}.${selection.head}`;
    for (const row of document.querySelectorAll(`#${ID} .ag-row[row-id]`)) {
      const is = row.getAttribute("row-id") === wanted;
      if (is !== row.hasAttribute("aria-current")) {
        if (is) row.setAttribute("aria-current", "true");
        else row.removeAttribute("aria-current");
      }
    }
  }
  function lines() {
    const line = document.querySelector(".head-line");
    if (!line) return;
    const box = line.querySelector("input") || made(line);
    const select = app.byId("heads-colour-box");
    if (document.activeElement !== box) box.value = option("filter") || "";
    const colour = option("colour");
    if (colour) select.value = colour;
    const source = option("scores");
    if (source) app.byId("heads-scores-box").value = source;
  }
  function made(/** @type {HTMLElement} */ line) {
    const box = app.make("input");
    box.type = "search";
    box.placeholder = line.dataset.placeholder;
    box.maxLength = 80;
    box.setAttribute("aria-label", line.dataset.placeholder);
    /** @type {HTMLElement} */ (line.querySelector(".head-filter-slot")).append(box);
    box.addEventListener("input", () => {
      typed = box.value;
      fill();
    });
    box.addEventListener("change", () => {
      typed = null;
      set({ filter: box.value.replace(/\s+/g, " ") });
    });
    box.addEventListener("blur", () => {
      typed = null;
      lines();
      fill();
    }); // typed and taken back is no change
    const colours = app.byId("heads-colour-box");
    colours.addEventListener("change", () => set({ colour: colours.value }));
    const sources = app.byId("heads-scores-box");
    sources.addEventListener("change", () => set({ scores: sources.value }));
    return box;
  }

  function attach(/** @type {GridApi} */ found) {
    if (api === found) return;
    api = found;
    filled = "";
    new MutationObserver(tag).observe(app.byId(ID), { childList: true, subtree: true });
    api.setGridOption("tabToNextCell", () => false); // one tab stop: arrows go about in the table
    api.setGridOption("tabToNextHeader", () => false);
    const choose = (/** @type {GridRow} */ { layer, head, index }) => {
      if (index >= 0) app.propose({ layer, head }, "heads");
    };
    api.addEventListener("gridSizeChanged", resized);
    api.addEventListener("rowClicked", ({ data }) => choose(data));
    api.addEventListener("cellKeyDown", ({ event, data }) => {
      if (event.key === "Enter") choose(data);
    });
    api.addEventListener("sortChanged", ({ source }) => {
      const now = sorted();
      api.refreshCells({ force: true });
      if (!now) {
        sort();
        return;
      }
      // who sorts wants to see the first
      if (source === "uiColumnSorted" && api.getDisplayedRowCount()) api.ensureIndexVisible(0, "top");
      const most = (now.sort === "desc") === !ASCENDING.includes(now.colId);
      const values = { sort: now.colId, order: most ? "most" : "least" };
      if (values.sort !== option("sort") || values.order !== option("order")) set(values);
    });
    fill();
  }
  app.whenAdded(() => {
    if (!document.querySelector(`#${ID} .ag-root`)) return;
    const found = window.dash_ag_grid.getApi(ID);
    if (found) attach(found);
  });

  app.whenGraph("heads-graph", (graph) => {
    const take = () => {
      const meta = graph.layout && graph.layout.meta;
      if (!meta || !meta.head_rows) return;
      shown = { run: meta.run, stamp: meta.stamp, ...meta.head_rows };
      fill();
      app.colourHeads();
    };
    graph.on("plotly_afterplot", take);
    take();
  });
  app.onPaint((state, what) => {
    if (what === "options") {
      lines();
      fill();
      sort();
    }
    if (what === "run") fill();
    if (what === "selection") mark();
    if (what === "nothing") {
      filled = "";
      typed = null;
      if (api) api.setGridOption("rowData", []);
      if (api) api.setGridOption("pinnedTopRowData", []);
    }
  });
});
