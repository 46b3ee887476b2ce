/* Recent: the runs that this browser has opened, in a dialog; to search, open, rename, pin and delete. */
(window.dashboardParts = window.dashboardParts || []).push((app) => {
  "use strict";
  const make = app.make;
  /** @type {HTMLDialogElement} */ let dialog;
  const box = /** @type {RecentBox} */ ({});
  let asked = 0;
  let typing = 0;
  /** @type {RecentRuns} */ let found = { runs: [], count: 0, known: true };

  /* what the server says */
  async function ask(/** @type {string} */ method, /** @type {string} */ path, /** @type {?object} */ body = null) {
    const headers = new Headers(body ? { "Content-Type": "application/json" } : {});
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
      found = reply;
      draw(words);
    } catch (error) {
      if (mine === asked) say(/** @type {Error} */ (error).message, true);
    }
  }
  function say(/** @type {string} */ text, wrong = false) {
    box.said.textContent = text;
    box.said.classList.toggle("wrong", wrong);
  }

  /* words */
  /** @type {[string, number][]} */ const UNITS = [
    ["day", 86400],
    ["hour", 3600],
    ["min", 60],
  ];
  function ago(/** @type {number} */ seconds) {
    const past = Date.now() / 1000 - seconds;
    for (const [unit, size] of UNITS) {
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
  const called = (/** @type {RecentRun} */ run) => run.name || app.elided(run.preview, 60);

  /* the rows */
  function draw(/** @type {string} */ words) {
    const { runs, count, known } = found;
    box.rows.replaceChildren(...runs.map(row));
    box.search.hidden = box.label.hidden = !runs.length && !words;
    if (runs.length) {
      const rest = count > runs.length ? `The latest ${runs.length} of ${count}; the search finds the others.` : "";
      say(rest || (words ? `${count} found` : ""));
    } else if (words) say(`No matching runs: nothing has “${app.elided(words, 40)}” in its name, text or model.`);
    else if (!known)
      say("This browser keeps no cookie of this page, so it has no list of runs. A link to a run still opens it.");
    else say("Runs that you make or open in this browser will be listed here: their text, model, time and size.");
  }
  function row(/** @type {RecentRun} */ run) {
    const line = make("li", "recent-run");
    line.dataset.run = run.key;
    const shown = app.state.info && app.state.info.run === run.key;
    const open = make("button", "recent-open");
    open.type = "button";
    if (shown) open.setAttribute("aria-current", "true");
    const title = make("span", "recent-title", called(run));
    title.dir = "auto";
    if (run.pinned) open.append(make("span", "recent-pin", "Pinned"));
    open.append(title);
    if (run.name) {
      const text = make("span", "recent-text", app.elided(run.preview, 80));
      text.dir = "auto";
      open.append(text);
    }
    const facts = make("span", "recent-facts");
    const when = make("time", "", app.unparted(ago(run.opened)));
    when.dateTime = new Date(1000 * run.opened).toISOString();
    when.title = `Opened ${exact(run.opened)}; made ${exact(run.created)}`;
    facts.append(
      run.title,
      " · ",
      app.unparted(tokens(run.tokens)),
      " · ",
      when,
      " · ",
      app.unparted(size(run.bytes)),
      shown ? " · shown now" : "",
    );
    open.append(facts);
    const acts = make("span", "recent-acts");
    acts.append(
      act("Rename", "rename", run),
      act(run.pinned ? "Unpin" : "Pin", "pin", run),
      act("Delete", "delete", run),
    );
    line.append(open, acts);
    return line;
  }
  function act(/** @type {string} */ name, /** @type {string} */ what, /** @type {RecentRun} */ run) {
    const button = make("button", "quiet", name);
    button.type = "button";
    button.dataset.act = what;
    button.setAttribute("aria-label", `${name} “${called(run)}”`);
    return button;
  }
  const runOf = (/** @type {HTMLElement} */ node) =>
    found.runs.find(({ key }) => key === /** @type {HTMLElement} */ (node.closest(".recent-run")).dataset.run);
  const lineOf = (/** @type {string} */ key) =>
    /** @type {HTMLElement} */ (box.rows.querySelector(`[data-run="${key}"]`));
  /** @type {ChangeRun} */
  async function change(method, run, body, after, focus) {
    try {
      await ask(method, "/" + run.key, body);
      if (body && "name" in body && app.state.info && app.state.info.run === run.key) app.retitle(String(body.name));
      const shown = app.state.info && app.state.info.run === run.key;
      if (method === "DELETE") app.history.forget(run.key);
      if (method === "DELETE" && shown)
        app.notify({
          lead: "Deleted.",
          text:
            "The run below is gone from your list, and from the server unless others have it. " +
            "Run computes its text again.",
          plain: true,
        });
      await list();
      say(after);
      const line = focus && lineOf(run.key);
      const part = line ? line.querySelector(focus) : box.rows.querySelector(".recent-open");
      (part || box.close).focus();
    } catch (error) {
      say(/** @type {Error} */ (error).message, true);
    }
  }

  /* a run's line in place of the form that stood in it */
  function putBack(/** @type {RecentRun} */ run, /** @type {string} */ focus) {
    lineOf(run.key).replaceWith(row(run));
    /** @type {HTMLElement} */ (lineOf(run.key).querySelector(focus)).focus();
  }
  function rename(/** @type {RecentRun} */ run) {
    const form = make("form", "recent-form");
    const label = make("label", "visually-hidden", `Name of “${called(run)}”`);
    const field = make("input");
    field.type = "text";
    field.maxLength = 80;
    field.value = run.name;
    field.id = "recent-name";
    field.placeholder = "Your name for this run (leave empty to remove it)";
    label.htmlFor = field.id;
    const keep = make("button", "strong", "Save");
    const leave = make("button", "", "Cancel");
    leave.type = "button";
    const back = () => putBack(run, "[data-act=rename]");
    form.addEventListener("submit", (event) => {
      event.preventDefault();
      const name = field.value.trim();
      change("POST", run, { name }, name ? "Renamed." : "Name removed.", "[data-act=rename]");
    });
    leave.addEventListener("click", back);
    form.addEventListener("keydown", (event) => {
      if (event.key === "Escape") {
        event.preventDefault();
        event.stopPropagation();
        back();
      }
    });
    form.append(label, field, keep, leave);
    lineOf(run.key).replaceChildren(form);
    field.focus();
    field.select();
  }
  function confirm(/** @type {RecentRun} */ run) {
    const form = make("div", "recent-form");
    form.setAttribute("role", "group");
    const words = make(
      "span",
      "recent-question",
      `Delete “${called(run)}”? It leaves your list; ` +
        "the saved run leaves the server too, unless it is in someone else's list.",
    );
    const yes = make("button", "strong", "Delete");
    const no = make("button", "", "Keep");
    yes.type = no.type = "button";
    yes.addEventListener("click", () => change("DELETE", run, null, "Deleted."));
    const back = () => putBack(run, "[data-act=delete]");
    no.addEventListener("click", back);
    form.addEventListener("keydown", (event) => {
      if (event.key === "Escape") {
        event.preventDefault();
        event.stopPropagation();
        back();
      }
    });
    form.append(words, yes, no);
    lineOf(run.key).replaceChildren(form);
    no.focus();
  }

  /* the dialog */
  function build() {
    dialog = make("dialog", "recent");
    dialog.id = "recent-dialog";
    dialog.setAttribute("aria-labelledby", "recent-title");
    const head = make("div", "recent-head");
    const title = make("h2", "", "Recent runs");
    title.id = "recent-title";
    box.close = make("button", "quiet", "Close");
    box.close.type = "button";
    head.append(title, box.close);
    const caption = make(
      "p",
      "caption",
      "Only this browser sees this list. " +
        "When storage is full, the least recently used runs are deleted first, pinned runs last.",
    );
    box.label = make("label", "visually-hidden", "Search in names, texts and models");
    box.search = make("input", "recent-search");
    box.search.type = "search";
    box.search.id = box.label.htmlFor = "recent-search";
    box.search.placeholder = "Search in names, texts and models";
    box.search.autocomplete = "off";
    box.search.spellcheck = false;
    box.rows = make("ul", "recent-rows");
    box.said = make("p", "recent-said");
    box.said.setAttribute("role", "status");
    dialog.append(head, caption, box.label, box.search, box.rows, box.said);
    (app.byId("page") || document.body).append(dialog);

    box.close.addEventListener("click", () => dialog.close());
    dialog.addEventListener("click", (event) => {
      if (event.target === dialog) dialog.close();
    }); // beside it
    box.search.addEventListener("input", () => {
      clearTimeout(typing);
      typing = setTimeout(list, 150);
    });
    box.rows.addEventListener("click", (event) => {
      const button = event.target.closest("button");
      if (!button || button.closest(".recent-form")) return;
      const run = /** @type {RecentRun} */ (runOf(button));
      if (button.dataset.act === "rename") rename(run);
      else if (button.dataset.act === "delete") confirm(run);
      else if (button.dataset.act === "pin")
        change(
          "POST",
          run,
          { pinned: !run.pinned },
          run.pinned ? "No longer pinned." : "Pinned: it leaves this server last.",
          "[data-act=pin]",
        );
      else {
        dialog.close();
        if (button.getAttribute("aria-current") !== "true") app.history.open(run.key);
      }
    });
    dialog.addEventListener("keydown", (event) => {
      event.stopPropagation(); // the page's keys are not this dialog's
      const step = { ArrowDown: 1, ArrowUp: -1 }[event.key];
      if (!step || event.target.closest(".recent-form")) return;
      event.preventDefault();
      const stops = [box.search, ...box.rows.querySelectorAll(".recent-open")];
      const line = event.target.closest(".recent-run");
      const at = line ? stops.findIndex((one) => line.contains(one)) : 0;
      stops[Math.max(0, Math.min(stops.length - 1, at + step))].focus();
    });
  }
  async function open() {
    if (!dialog) build();
    if (dialog.open) return;
    box.search.value = "";
    box.rows.replaceChildren();
    box.search.hidden = false;
    say("Reading the list …");
    dialog.showModal();
    box.search.focus();
    await list();
    if (box.search.hidden) box.close.focus();
  }
  document.addEventListener("click", (event) => {
    if (event.target.closest("#recent")) open();
  });
});
