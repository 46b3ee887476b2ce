/*
 * Recent: the runs that this browser has opened, in a panel beside the page (dashboard/web/recent_panel.py); to sort,
 * search, open, rename, pin and delete.
 */
(window.dashboardParts = window.dashboardParts || []).push((app) => {
  "use strict";
  const make = app.make;
  const box = {}; // parts of the open panel
  let api = null; // its table's
  let [asked, typing, found] = [0, 0, null];

  /* what the server says */
  async function ask(method, path, body) {
    const headers = body ? { "Content-Type": "application/json" } : {};
    let reply;
    try {
      reply = await fetch(app.url("recent" + path), { method, headers, body: body && JSON.stringify(body) });
    } catch {
      throw new Error("The server does not answer. Try again when it does.");
    }
    if (!reply.ok) throw new Error(await reply.text());
    return reply.json();
  }
  async function list() {
    asked += 1;
    const mine = asked;
    const words = box.search.value.trim();
    try {
      const reply = await ask("GET", "?" + new URLSearchParams({ search: words }));
      if (mine !== asked) return;
      found = { ...reply, words };
      draw();
    } catch (error) {
      if (mine === asked) say(error.message, true);
    }
  }
  function say(text, wrong) {
    const said = app.byId("recent-said");
    if (!said) return;
    said.textContent = text;
    said.classList.toggle("wrong", Boolean(wrong));
  }

  /* words */
  const UNITS = { day: 86400, hour: 3600, min: 60 };
  function ago(seconds) {
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
  const exact = (seconds) => new Date(1000 * seconds).toLocaleString();
  const size = (bytes) =>
    bytes < 1e6 ? `${Math.max(1, Math.round(bytes / 1e3))} kB` : `${(bytes / 1e6).toFixed(1)} MB`;
  const tokens = (count) => (count === 1 ? "1 token" : `${count.toLocaleString("en")} tokens`);
  const called = (run) => run.name || app.elided(run.preview, 60);
  const isShown = (run) => Boolean(app.state.info) && app.state.info.run === run.key;

  /* the table */
  class Cell {
    getGui() {
      return this.node;
    }
    refresh() {
      return false; // made anew
    }
  }
  class Title extends Cell {
    init({ data: run }) {
      this.node = make("div", "recent-open");
      const title = make("span", "recent-title", called(run));
      title.dir = "auto";
      const first = make("span", "recent-line");
      if (run.pinned) first.append(make("span", "recent-pin", "Pinned"), " ");
      first.append(title);
      if (isShown(run)) this.node.setAttribute("aria-current", "true");
      const shown = isShown(run) ? "shown now" : "";
      const facts = app.narrow()
        ? [run.title, app.unparted(tokens(run.tokens)), app.unparted(ago(run.opened)), shown]
        : [run.name && app.elided(run.preview, 80), shown];
      const second = make("span", "recent-text", facts.filter(Boolean).join(" · "));
      second.dir = "auto";
      this.node.append(first, second);
    }
  }
  class Act extends Cell {
    init({ data: run, colDef }) {
      const name = colDef.colId === "pin" && run.pinned ? "Unpin" : colDef.headerName;
      this.node = make("button", "quiet", name);
      this.node.type = "button";
      this.node.tabIndex = -1; // arrows go to its cell
      this.node.setAttribute("aria-label", `${name} “${called(run)}”`);
    }
  }
  function columns() {
    const right = { cellClass: "ag-right-aligned-cell", headerClass: "ag-right-aligned-header" };
    const up = { sortingOrder: ["asc", "desc", null] }; // null: pinned ones first, then as they were opened
    const down = { sortingOrder: ["desc", "asc", null] };
    const act = (headerName) => ({
      ...{ colId: headerName.toLowerCase(), headerName, width: 68, cellRenderer: Act, headerClass: "recent-act" },
      ...{ cellClass: "recent-acts", valueGetter: () => null, sortable: false },
    });
    return [
      {
        ...{ colId: "run", headerName: "Run", flex: 1, minWidth: 150, cellRenderer: Title },
        ...{ valueGetter: ({ data }) => called(data).toLowerCase(), ...up },
      },
      { colId: "model", field: "title", headerName: "Model", width: 150, ...up },
      {
        ...{ colId: "tokens", field: "tokens", headerName: "Tokens", width: 68, ...right, ...down },
        valueFormatter: ({ value }) => value.toLocaleString("en"),
      },
      {
        ...{ colId: "opened", field: "opened", headerName: "Opened", width: 96, ...down },
        valueFormatter: ({ value }) => app.unparted(ago(value)),
        tooltipValueGetter: ({ data }) => `Opened ${exact(data.opened)}; made ${exact(data.created)}`,
      },
      {
        ...{ colId: "size", field: "bytes", headerName: "Size", width: 76, ...right, ...down },
        valueFormatter: ({ value }) => app.unparted(size(value)),
      },
      ...["Pin", "Rename", "Delete"].map(act),
    ];
  }
  function draw() {
    if (!api || !found || !box.search) return;
    const { runs, known, words } = found;
    api.setGridOption("rowData", runs);
    api.refreshCells({ force: true });
    box.search.hidden = box.label.hidden = !runs.length && !words;
    app.byId("recent-rows").hidden = !runs.length;
    if (runs.length) say(words ? `${runs.length} found` : runs.length === 1 ? "1 run" : `${runs.length} runs`);
    else if (words) say(`No matching runs: nothing has “${app.elided(words, 40)}” in its name, text or model.`);
    else if (!known)
      say("This browser keeps no cookie of this page, so it has no list of runs. A link to a run still opens it.");
    else say("Runs that you make or open in this browser will be listed here: their text, model, time and size.");
    if (box.search.hidden && box.search.parentElement.contains(document.activeElement)) closer().focus();
  }
  const closer = () => app.byId("recent-dialog").querySelector(".btn-close");
  function focus(key, column) {
    const node = api && (api.getRowNode(key) || api.getDisplayedRowAtIndex(0));
    if (!node) return closer().focus();
    api.ensureNodeVisible(node);
    requestAnimationFrame(() => api.setFocusedCell(node.rowIndex, column));
  }
  async function change(method, run, body, after, column) {
    try {
      await ask(method, "/" + run.key, body);
      if (body && "name" in body && isShown(run)) app.retitle(body.name);
      if (method === "DELETE") app.history.forget(run.key);
      if (method === "DELETE" && isShown(run))
        app.notify({
          lead: "Deleted.",
          text:
            "The run below is gone from your list, and from the server unless others have it. " +
            "Run computes its text again.",
          plain: true,
        });
      answered();
      await list();
      say(after);
      focus(run.key, column);
    } catch (error) {
      say(error.message, true);
    }
  }

  /* what is asked before a run is renamed or deleted, in place of the search; Escape takes it away */
  function question(tag, run, column, ...parts) {
    const form = make(tag, "recent-form");
    const back = () => {
      answered();
      focus(run.key, column);
    };
    form.addEventListener("keydown", (event) => {
      if (event.key !== "Escape") return;
      event.preventDefault();
      event.stopPropagation();
      back();
    });
    const [yes, no] = parts.slice(-2);
    no.type = "button";
    no.addEventListener("click", back);
    form.append(...parts);
    box.ask.replaceChildren(form);
    box.ask.parentElement.classList.add("asking");
    return [form, yes, no];
  }
  function answered() {
    box.ask.replaceChildren();
    box.ask.parentElement.classList.remove("asking");
  }
  function rename(run) {
    const label = make("label", "visually-hidden", `Name of “${called(run)}”`);
    const field = make("input");
    Object.assign(field, { type: "text", maxLength: 80, value: run.name, id: "recent-name" });
    label.htmlFor = field.id;
    field.placeholder = "Your name for this run (leave empty to remove it)";
    const buttons = [make("button", "strong", "Save"), make("button", "", "Cancel")];
    const [form] = question("form", run, "rename", label, field, ...buttons);
    form.addEventListener("submit", (event) => {
      event.preventDefault();
      const name = field.value.trim();
      change("POST", run, { name }, name ? "Renamed." : "Name removed.", "rename");
    });
    field.focus();
    field.select();
  }
  function confirm(run) {
    const words = make(
      "span",
      "recent-question",
      `Delete “${called(run)}”? It leaves your list; ` +
        "the saved run leaves the server too, unless it is in someone else's list.",
    );
    const buttons = [make("button", "strong", "Delete"), make("button", "", "Keep")];
    const [form, yes, no] = question("div", run, "delete", words, ...buttons);
    form.setAttribute("role", "group");
    yes.type = "button";
    yes.addEventListener("click", () => change("DELETE", run, null, "Deleted.", "delete"));
    no.focus();
  }
  function act({ data: run, column }) {
    const what = column.getColId();
    if (what === "rename") rename(run);
    else if (what === "delete") confirm(run);
    else if (what === "pin") {
      const after = run.pinned ? "No longer pinned." : "Pinned: it leaves this server last.";
      change("POST", run, { pinned: !run.pinned }, after, "pin");
    } else {
      window.dash_clientside.set_props("recent-dialog", { is_open: false });
      if (!isShown(run)) app.history.open(run.key);
    }
  }

  /* the panel: its parts are made anew each time it is opened */
  function build(top) {
    box.label = make("label", "visually-hidden", "Search in names, texts and models");
    box.search = make("input", "recent-search");
    box.label.htmlFor = "recent-search";
    const placeholder = box.label.textContent;
    Object.assign(box.search, {
      type: "search",
      id: "recent-search",
      autocomplete: "off",
      spellcheck: false,
      placeholder,
    });
    box.ask = make("div");
    top.append(box.label, box.search, box.ask);
    box.search.addEventListener("input", () => {
      clearTimeout(typing);
      typing = setTimeout(list, 150);
    });
    box.search.addEventListener("keydown", (event) => {
      if (event.key !== "ArrowDown" || !api || !api.getDisplayedRowCount()) return;
      event.preventDefault();
      api.setFocusedCell(0, "run");
    });
    found = null;
    say("Reading the list …");
    box.search.focus();
    list();
  }
  function attach(grid) {
    api = grid;
    api.setGridOption("tabToNextCell", () => false); // one tab stop: arrows go about in the table
    api.setGridOption("tabToNextHeader", () => false);
    api.setGridOption("columnDefs", columns());
    api.setColumnsVisible(["model", "tokens", "opened", "size"], !app.narrow());
    api.addEventListener("cellClicked", act);
    api.addEventListener("cellKeyDown", (told) => {
      if (told.event.key !== "Enter" && told.event.key !== " ") return;
      told.event.preventDefault();
      act(told);
    });
    draw();
  }
  app.whenAdded(() => {
    const top = app.byId("recent-top");
    if (!top) return;
    if (!top.childElementCount) build(top);
    const grid = document.querySelector("#recent-rows .ag-root") && window.dash_ag_grid.getApi("recent-rows");
    if (grid && grid !== api && !grid.isDestroyed()) attach(grid);
  });
  let made = false; // null: it comes
  document.addEventListener("click", async (event) => {
    if (!event.target.closest("#recent")) return;
    if (made) window.dash_clientside.set_props("recent-dialog", { is_open: true });
    if (made !== false) return;
    made = null;
    made = await app.makeLate("recent-slot", JSON.parse(app.byId("recent-slot").dataset.panel));
  });
});
