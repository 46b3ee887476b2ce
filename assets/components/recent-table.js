/* Recent's table: its columns, what their cells show, and how a run is called there. */
(window.dashboardParts = window.dashboardParts || []).push((app) => {
  "use strict";
  const make = app.make;

  /* words */
  const UNITS = { day: 86400, hour: 3600, min: 60 };
  function ago(/** @type {number} */ seconds) {
    const past = Date.now() / 1000 - seconds;
    for (const [unit, size] of Object.entries(UNITS)) {
      const count = Math.floor(past / size);
      if (count >= 1)
        return unit === "day" && count > 30
          ? new Date(1000 * seconds).toLocaleDateString()
          : `${count} ${unit}${count > 1 && unit !== "min" ? "s" : ""} ago`;
    }
    return "just now";
  }
  const exact = (/** @type {number} */ seconds) => new Date(1000 * seconds).toLocaleString();
  const size = (/** @type {number} */ bytes) =>
    bytes < 1e6 ? `${Math.max(1, Math.round(bytes / 1e3))} kB` : `${(bytes / 1e6).toFixed(1)} MB`;
  const tokens = (/** @type {number} */ count) => (count === 1 ? "1 token" : `${count.toLocaleString("en")} tokens`);
  /* how it begins: its text, or both of a pair */
  const begins = (/** @type {RecentRun} */ { preview, pair }, /** @type {number} */ most) =>
    pair ? `${app.elided(preview, most / 2 - 2)} | ${app.elided(pair, most / 2 - 2)}` : app.elided(preview, most);
  const called = (/** @type {RecentRun} */ run) => run.name || begins(run, 60);
  const isShown = (/** @type {RecentRun} */ run) => app.state.info !== null && app.state.info.run === run.key;

  /* the table */
  class Cell {
    /** @type {HTMLElement | null} */ node = null;
    getGui() {
      return this.node;
    }
    refresh() {
      return false; // made anew
    }
  }
  class Title extends Cell {
    init(/** @type {{ data: RecentRun }} */ { data: run }) {
      const node = make("div", "recent-open");
      const title = make("span", "recent-title", called(run));
      title.dir = "auto";
      const first = make("span", "recent-line");
      if (run.pinned) first.append(make("span", "recent-pin", "Pinned"), " ");
      first.append(title);
      if (isShown(run)) node.setAttribute("aria-current", "true");
      const shown = isShown(run) ? "shown now" : "";
      const from = run.shell ? "from the shell" : run.uploaded ? "from a file" : "";
      const as = run.chat ? "chat message" : "";
      const facts = app.narrow()
        ? [as, from, run.title, app.unparted(tokens(run.tokens)), app.unparted(ago(run.opened)), shown]
        : [run.name && begins(run, 80), as, from, shown];
      const second = make("span", "recent-text", facts.filter(Boolean).join(" · "));
      second.dir = "auto";
      node.append(first, second);
      this.node = node;
    }
  }
  class Act extends Cell {
    init(/** @type {{ data: RecentRun; colDef: { colId: string; headerName: string } }} */ { data: run, colDef }) {
      if (run.shell) {
        this.node = make("span"); // once it is opened, it is in the list of this browser
        return;
      }
      const name = colDef.colId === "pin" && run.pinned ? "Unpin" : colDef.headerName;
      const node = make("button", "quiet", name);
      node.type = "button";
      node.tabIndex = -1; // arrows go to its cell
      node.setAttribute("aria-label", `${name} “${called(run)}”`);
      this.node = node;
    }
  }
  function columns() {
    const right = { cellClass: "ag-right-aligned-cell", headerClass: "ag-right-aligned-header" };
    const up = { sortingOrder: ["asc", "desc", null] }; // null: pinned ones first, then as they were opened
    const down = { sortingOrder: ["desc", "asc", null] };
    const act = (/** @type {string} */ headerName) => ({
      ...{ colId: headerName.toLowerCase(), headerName, width: 68, cellRenderer: Act, headerClass: "recent-act" },
      ...{ cellClass: "recent-acts", valueGetter: () => null, sortable: false },
    });
    return [
      {
        ...{ colId: "run", headerName: "Run", flex: 1, minWidth: 150, cellRenderer: Title },
        ...{ valueGetter: (/** @type {{ data: RecentRun }} */ { data }) => called(data).toLowerCase(), ...up },
      },
      { colId: "model", field: "title", headerName: "Model", width: 168, ...up },
      {
        ...{ colId: "tokens", field: "tokens", headerName: "Tokens", width: 68, ...right, ...down },
        valueFormatter: (/** @type {{ value: number }} */ { value }) => value.toLocaleString("en"),
      },
      {
        ...{ colId: "opened", field: "opened", headerName: "Opened", width: 96, ...down },
        valueFormatter: (/** @type {{ value: number }} */ { value }) => app.unparted(ago(value)),
        tooltipValueGetter: (/** @type {{ data: RecentRun }} */ { data }) =>
          `Opened ${exact(data.opened)}; created ${exact(data.created)}`,
      },
      {
        ...{ colId: "size", field: "bytes", headerName: "Size", width: 76, ...right, ...down },
        valueFormatter: (/** @type {{ value: number }} */ { value }) => app.unparted(size(value)),
      },
      ...["Pin", "Rename", "Delete"].map(act),
    ];
  }
  app.recentTable = { columns, called, isShown };
});
