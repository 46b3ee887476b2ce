/*
 * The tour (dashboard/web/tour.py): a box that stands beside one part of the page at a time. The page stays usable
 * meanwhile. The browser remembers where you left it, and the button in the header continues from there.
 */
(window.dashboardParts = window.dashboardParts || []).push((app) => {
  "use strict";
  const STORED = "tour-step";
  const GAP = 10; // pixels between the box and what it points at
  const EDGE = 8; // pixels that stay free at the window's edge
  let at = -1; // the step that is shown; −1 while there is none
  /** @type {"" | "other" | "asked"} */ let awaited = ""; // what it waits for: another run's end, or the example
  /** @type {{ text: string, pair: string, model: string; tokenizer: string | null } | null} */
  let draft = null; // what was in the boxes and not run
  /** @type {HTMLElement | null} */ let opener = null; // the button that opened the tour

  function kept() {
    try {
      return Number(window.localStorage.getItem(STORED)) || 0;
    } catch {
      return 0;
    }
  }
  function keep(/** @type {number} */ step) {
    try {
      if (step) window.localStorage.setItem(STORED, String(step));
      else window.localStorage.removeItem(STORED);
    } catch {
      /* private window: the tour begins again */
    }
  }

  const box = () => app.byId("tour");
  const steps = () => [...box().querySelectorAll("[data-step]")];
  const part = () => /** @type {HTMLElement} */ (document.querySelector(steps()[at].dataset.step));
  const example = () => (app.examples || [])[Number(box().dataset.exampleOfTour)];
  function isShown() {
    const { info } = app.state;
    return Boolean(
      info && example() && !info.pair && !info.chat && info.text === example().text && info.model === example().model,
    );
  }

  /** Open what the steps describe: the example's run, its selection, and the tab of this step. */
  function bring() {
    const { selection, working } = app.state;
    if (!isShown()) {
      if (awaited === "asked") return;
      awaited = working ? "other" : "asked";
      if (working) return;
      const { text, pair, model, tokenizer } = app.written();
      const { text: ran, pair: beside } = app.state.info || { text: "", pair: "" };
      if (model && text.trim() && (text !== ran || pair !== (beside || ""))) draft = { text, pair, model, tokenizer };
      app.chooseExample(Number(box().dataset.exampleOfTour));
      return;
    }
    awaited = "";
    /** @type {Partial<Selection>} */ const wanted = JSON.parse(box().dataset.selection);
    const names = /** @type {(keyof Selection)[]} */ (Object.keys(wanted));
    if (selection && names.some((name) => selection[name] !== wanted[name])) app.propose(wanted);
    const tab = app.byId(steps()[at].dataset.tab);
    if (tab && tab.getAttribute("aria-selected") === "false") tab.click();
  }
  function mark() {
    for (const node of document.querySelectorAll(".tour-here")) node.classList.remove("tour-here");
    if (at >= 0 && part()) part().classList.add("tour-here");
  }

  /* what must stay in sight within a step's part: the selected token's row of the heatmap */
  function rowOfPart() {
    const row = part().querySelector(".view.active svg.over rect.row");
    return row && row.getBoundingClientRect();
  }
  /*
   * beside the part, where there is room: below, at its left or right, above; else over it, above or below that row,
   * or in the window's lower corner
   */
  function place() {
    if (at < 0) return;
    const node = box();
    node.classList.toggle("sheet", app.narrow());
    node.style.left = "";
    node.style.top = "";
    if (app.narrow()) return;
    const { offsetWidth: width, offsetHeight: height } = node;
    const seen = part().getBoundingClientRect();
    const [most, low] = [window.innerWidth - width - EDGE, window.innerHeight - height - EDGE];
    const within = (/** @type {number} */ value, /** @type {number} */ end) => Math.max(EDGE, Math.min(value, end));
    const row = rowOfPart();
    const spots = [
      [within(seen.right - width, most), seen.bottom + GAP],
      [seen.left - width - GAP, within(seen.top, low)],
      [seen.right + GAP, within(seen.top, low)],
      [within(seen.right - width, most), seen.top - height - GAP],
      ...(row ? [row.top - height - GAP, row.bottom + GAP].map((y) => [within(seen.right - width, most), y]) : []),
    ];
    const fits = (/** @type {number[]} */ [x, y]) => x >= EDGE && x <= most && y >= EDGE && y <= low;
    const [left, top] = (seen.width && spots.find(fits)) || [most, low];
    node.style.left = `${left}px`;
    node.style.top = `${top}px`;
  }
  function reveal() {
    const seen = part().getBoundingClientRect();
    const room = window.innerHeight - (app.narrow() ? box().offsetHeight + EDGE : 0);
    if (seen.width && (seen.top < 0 || seen.bottom > room))
      part().scrollIntoView({ block: app.narrow() || seen.height > room ? "start" : "nearest", behavior: "instant" });
    const row = rowOfPart();
    if (row && row.bottom > room - GAP) window.scrollBy({ top: row.bottom - room + GAP, behavior: "instant" });
  }

  function show(/** @type {number} */ step) {
    const all = steps();
    at = Math.max(0, Math.min(step, all.length - 1));
    keep(at);
    box().hidden = false;
    all.forEach((node, i) => {
      node.hidden = i !== at;
    });
    const [, back, next] = /** @type {NodeListOf<HTMLButtonElement>} */ (box().querySelectorAll("[data-tour]"));
    back.disabled = at === 0;
    next.textContent = at === all.length - 1 ? "Done" : "Next";
    bring();
    mark();
    reveal();
    place();
    if (back === document.activeElement && back.disabled) next.focus();
  }
  function close() {
    at = -1;
    awaited = "";
    mark();
    box().hidden = true;
    if (draft && example() && app.written().text === example().text) app.write(draft, app.keepText);
    draft = null;
  }
  function leave() {
    close();
    const again = opener && opener.isConnected && opener.offsetParent ? opener : app.byId("tour-start");
    if (again) again.focus();
  }
  function start(/** @type {HTMLButtonElement} */ button) {
    opener = button;
    show(kept());
    /** @type {HTMLElement} */ (box().querySelector("[data-tour=next]")).focus();
  }
  /** @type {Record<string, () => void>} */ const acts = {
    leave,
    back: () => show(at - 1),
    next() {
      if (at < steps().length - 1) show(at + 1);
      else {
        leave();
        keep(0);
      }
    },
  };

  document.addEventListener("click", ({ target }) => {
    const button = target.closest("button");
    if (!button) return;
    if (button.dataset.tourStart !== undefined) start(button);
    else if (button.dataset.tour) acts[button.dataset.tour]();
  });
  /* Esc leaves it, unless it closes something that is open over it */
  document.addEventListener(
    "keydown",
    (event) => {
      if (event.key !== "Escape" || at < 0 || event.defaultPrevented) return;
      if (document.querySelector("details.menu-box[open], .dash-dropdown-content")) return;
      if (app.isCovered()) return;
      if (document.activeElement !== document.body && !box().contains(document.activeElement)) return;
      event.stopImmediatePropagation();
      leave();
    },
    true,
  );
  for (const name of ["scroll", "resize"]) window.addEventListener(name, place, true);
  app.onPaint((_state, what) => {
    if (at < 0) return;
    if (what === "nothing") leave();
    else if (what === "run" && isShown()) show(at);
    else if (what === "run" && awaited === "other") {
      awaited = "";
      setTimeout(bring, 0);
    } else if (what === "run")
      close(); // it is a text of the person's own, which the steps do not describe
    else if (what === "size" || what === "options") place();
  });
});
