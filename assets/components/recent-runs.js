/*
 * Recent: the runs that this browser has opened, in a panel beside the page (dashboard/web/recent_panel.py); to sort,
 * search, open, rename, pin and delete. Its table's columns are in recent-table.js.
 */
(window.dashboardParts = window.dashboardParts || []).push((app) => {
  "use strict";
  const make = app.make;
  const box = /** @type {RecentBox} */ ({}); // parts of the open panel
  /** @type {GridApi<RecentRun> | null} */ let api = null; // its table's
  let [asked, typing, found] = /** @type {[number, number, RecentRuns | null]} */ ([0, 0, null]);

  /* what the server says */
  /** @param {string} method @param {string} path @param {RecentChange | null=} body */
  async function ask(method, path, body) {
    /** @type {Record<string, string>} */ const headers = body ? { "Content-Type": "application/json" } : {};
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
      if (mine === asked) say(/** @type {Error} */ (error).message, true);
    }
  }
  /** @param {string} text @param {boolean=} wrong */
  function say(text, wrong) {
    const said = app.byId("recent-said");
    if (!said) return;
    said.textContent = text;
    said.classList.toggle("wrong", Boolean(wrong));
  }

  const called = (/** @type {RecentRun} */ run) => app.recentTable.called(run);
  const isShown = (/** @type {RecentRun} */ run) => app.recentTable.isShown(run);

  /* the table */
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
      say("This browser does not keep this page’s cookie, so it has no list of runs. A link to a run still opens it.");
    else say("Runs that you make or open in this browser will be listed here: their text, model, time and size.");
    const top = /** @type {HTMLElement} */ (box.search.parentElement);
    if (box.search.hidden && top.contains(document.activeElement)) closer().focus();
  }
  const closer = () => /** @type {HTMLElement} */ (app.byId("recent-dialog").querySelector(".btn-close"));
  function focus(/** @type {string} */ key, /** @type {string} */ column) {
    const node = api && (api.getRowNode(key) || api.getDisplayedRowAtIndex(0));
    if (!api || !node) return closer().focus();
    api.ensureNodeVisible(node);
    requestAnimationFrame(() => api && api.setFocusedCell(node.rowIndex, column));
  }
  /**
   * @param {string} method @param {RecentRun} run @param {RecentChange | null} body @param {string} after
   * @param {string} column
   */
  async function change(method, run, body, after, column) {
    try {
      await ask(method, "/" + run.key, body);
      if (body && "name" in body && isShown(run)) app.retitle(body.name);
      if (method === "DELETE") app.history.forget(run.key);
      if (method === "DELETE" && isShown(run))
        app.notify({
          lead: "Deleted.",
          text:
            "The run shown below was removed from your list, and from the server unless someone else has it. " +
            "Press Run to compute it again.",
          plain: true,
        });
      answered();
      await list();
      say(after);
      focus(run.key, column);
    } catch (error) {
      say(/** @type {Error} */ (error).message, true);
    }
  }

  /* what is asked before a run is renamed or deleted, in place of the search; Escape takes it away */
  /**
   * @param {"form" | "div"} tag @param {RecentRun} run @param {string} column @param {HTMLElement[]} parts
   * @returns {[HTMLElement, HTMLButtonElement, HTMLButtonElement]}
   */
  function question(tag, run, column, ...parts) {
    /** @type {HTMLElement} */ const form = make(tag, "recent-form");
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
    const [yes, no] = /** @type {HTMLButtonElement[]} */ (parts.slice(-2));
    no.type = "button";
    no.addEventListener("click", back);
    form.append(...parts);
    box.ask.replaceChildren(form);
    /** @type {HTMLElement} */ (box.ask.parentElement).classList.add("asking");
    return [form, yes, no];
  }
  function answered() {
    box.ask.replaceChildren();
    /** @type {HTMLElement} */ (box.ask.parentElement).classList.remove("asking");
  }
  function rename(/** @type {RecentRun} */ run) {
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
  function confirm(/** @type {RecentRun} */ run) {
    const words = make(
      "span",
      "recent-question",
      `Delete “${called(run)}”? It is removed from your list, ` +
        "and the saved run is deleted unless it is in someone else’s list.",
    );
    const buttons = [make("button", "strong", "Delete"), make("button", "", "Keep")];
    const [form, yes, no] = question("div", run, "delete", words, ...buttons);
    form.setAttribute("role", "group");
    yes.type = "button";
    yes.addEventListener("click", () => change("DELETE", run, null, "Deleted.", "delete"));
    no.focus();
  }
  function act(/** @type {GridEvent<RecentRun>} */ { data: run, column }) {
    const what = column.getColId();
    if (run.shell && ["pin", "rename", "delete"].includes(what)) return;
    if (what === "rename") rename(run);
    else if (what === "delete") confirm(run);
    else if (what === "pin") {
      const after = run.pinned ? "No longer pinned." : "Pinned: when storage is full, it is deleted last.";
      change("POST", run, { pinned: !run.pinned }, after, "pin");
    } else {
      window.dash_clientside.set_props("recent-dialog", { is_open: false });
      if (!isShown(run)) app.history.open(run.key);
    }
  }

  /* the panel: its parts are made anew each time it is opened */
  function build(/** @type {HTMLElement} */ top) {
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
    [found, api] = [null, null]; // the table that was there before is gone
    say("Reading the list …");
    box.search.focus();
    list();
  }
  function fit() {
    if (api) api.setColumnsVisible(["model", "tokens", "opened", "size"], !app.narrow());
  }
  function attach(/** @type {GridApi<RecentRun>} */ grid) {
    api = grid;
    api.setGridOption("tabToNextCell", () => false); // one tab stop: arrows go about in the table
    api.setGridOption("tabToNextHeader", () => false);
    api.setGridOption("columnDefs", app.recentTable.columns());
    fit();
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
  app.onPaint((_state, what) => {
    if (what === "size" && api && !api.isDestroyed()) {
      fit();
      draw();
    }
  });
  for (const name of ["pointerover", "focusin"]) {
    document.addEventListener(name, (event) => {
      const target = /** @type {Element} */ (event.target);
      if (target.closest && target.closest("#recent")) app.loadTables().catch(() => {}); // said when it is opened
    });
  }
  /** @type {boolean | null} */ let made = false; // null: it comes
  document.addEventListener("click", async (event) => {
    if (!event.target.closest("#recent")) return;
    if (made) window.dash_clientside.set_props("recent-dialog", { is_open: true });
    if (made !== false) return;
    made = null;
    made = await app.makeLate("recent-slot", JSON.parse(app.byId("recent-slot").dataset.panel));
  });
});
