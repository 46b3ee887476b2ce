/* The boxes of the form: how tall they are, and the second one, for models that take pairs. */
(window.dashboardParts = window.dashboardParts || []).push((app) => {
  "use strict";
  /** @type {SetProps} */ const props = (id, values) => window.dash_clientside.set_props(id, values);
  const MOST_HEIGHT = 180;
  const BOXES = /** @type {const} */ ({
    text: { frame: "composer", edit: "edit-text" },
    "text-pair": { frame: "second-composer", edit: "edit-pair" },
  });
  const isBox = (/** @type {Element | null} */ node) => node instanceof HTMLTextAreaElement && node.id in BOXES;
  const boxOf = (/** @type {Element} */ area) => BOXES[/** @type {keyof typeof BOXES} */ (area.id)];
  /** @type {WeakMap<Element, number>} */ const wide = new WeakMap(); // pixels for which each was fitted
  /* the box's own width: what stands beside it in the frame takes more or less of that */
  const width = new ResizeObserver((entries) => {
    for (const { target } of entries)
      if (target instanceof HTMLTextAreaElement && target.offsetWidth !== wide.get(target)) fit(target);
  });
  /**
   * One line, all lines while they are written (and on a phone), or folded to the first one. Measured without what
   * folding adds.
   */
  app.fitText = fit;
  function fit(/** @type {HTMLTextAreaElement} */ area) {
    const { frame, edit: button } = boxOf(area);
    const [composer, edit] = [app.byId(frame), app.byId(button)];
    const editing = document.activeElement === area;
    const top = area.scrollTop;
    width.observe(area);
    composer.classList.remove("folded");
    edit.hidden = true;
    Object.assign(area.style, { height: "40px", overflowY: "hidden" });
    const lines = area.scrollHeight;
    const long = lines > 44;
    const folds = long && !editing && !app.narrow();
    if (long && !folds)
      Object.assign(area.style, {
        height: Math.min(lines, MOST_HEIGHT) + "px",
        overflowY: lines > MOST_HEIGHT ? "auto" : "hidden",
      });
    composer.classList.toggle("folded", folds);
    edit.hidden = !folds;
    area.scrollTop = editing ? top : 0;
    wide.set(area, area.offsetWidth);
  }
  const boxes = () => /** @type {const} */ (["text", "text-pair"]).map((id) => app.byId(id)).filter(Boolean);
  document.fonts.addEventListener("loadingdone", () => boxes().forEach(fit));
  document.addEventListener(
    "scroll",
    ({ target }) => {
      // a folded text shows its beginning, whatever moved it
      if (!target.scrollTop || !(target instanceof HTMLTextAreaElement) || !isBox(target)) return;
      if (app.byId(boxOf(target).frame).classList.contains("folded")) target.scrollTop = 0;
    },
    true,
  );
  for (const name of ["focusin", "focusout"])
    document.addEventListener(name, ({ target }) => {
      if (target instanceof HTMLTextAreaElement && isBox(target)) fit(target);
    });

  /* the second box: it stays away until somebody asks for it, or a run has two texts */
  let asked = false;
  function takesPairs() {
    const model = app.modelOf(app.chosen());
    return Boolean(model && model.pairs && !app.chat());
  }
  /** The second text, as a run would read it; "" of a model that takes one text. */
  app.pair = () => {
    const area = app.byId("text-pair");
    return area && takesPairs() && area.value.trim() ? area.value : "";
  };
  app.arrangeTexts = () => {
    const area = app.byId("text-pair");
    if (!area) return;
    const shown = takesPairs() && (asked || area.value !== "");
    const box = app.byId("second-composer");
    if (box.hidden === shown) box.hidden = !shown;
    app.byId("add-pair").hidden = !takesPairs() || shown;
    if (shown) fit(area);
  };
  /** What is in the box when nothing was typed there: the text of a run, or none. */
  app.resetPair = () => {
    asked = false;
    app.arrangeTexts();
  };
  document.addEventListener("click", (event) => {
    const target = event.target.closest("button");
    if (!target) return;
    if (target.id === "edit-text") app.byId("text").focus();
    else if (target.id === "edit-pair") app.byId("text-pair").focus();
    else if (target.id === "add-pair") {
      asked = true;
      app.arrangeTexts();
      app.byId("text-pair").focus();
    } else if (target.id === "remove-pair") {
      asked = false;
      props("text-pair", { value: "" });
      app.byId("text").focus();
      setTimeout(app.textChanged, 0);
    }
  });

  /** The beginning of a text, or of both of a pair, in one line. */
  app.begin = (text, pair) => {
    const line = (/** @type {string} */ one, /** @type {number} */ most) =>
      app.elided(one.split(/\s+/).join(" ").trim(), most);
    return pair ? `${line(text, 24)} | ${line(pair, 24)}` : line(text, 40);
  };
});
