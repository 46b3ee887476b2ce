/*
 * What a reload must not lose: the text that was written, its model, and the run that is waited for. Kept for this tab
 * alone (sessionStorage); where nothing can be kept, a reload begins as before.
 */
(window.dashboardParts = window.dashboardParts || []).push((app) => {
  "use strict";
  const NAME = "written";
  const AGAIN = new Set(["reload", "back_forward"]); // a link or a typed address begins afresh
  /** @type {Kept | null} */ let kept = null; // as it was before the page was loaded again
  let resumes = false; // its run is still to be waited for

  function read() {
    try {
      return JSON.parse(window.sessionStorage.getItem(NAME) || "null");
    } catch {
      return null;
    }
  }
  function write(/** @type {Kept | null} */ value) {
    try {
      if (value) window.sessionStorage.setItem(NAME, JSON.stringify(value));
      else window.sessionStorage.removeItem(NAME);
    } catch {
      /* private window, or a text larger than the browser keeps: it is lost with a reload */
    }
  }

  /** Note what is written now, and whether its run is under way; what is shown already needs no note. */
  app.keepText = function () {
    if (resumes || app.embedded()) return;
    const { text, pair, model, tokenizer, chat } = app.written();
    const { info, working, outcome } = app.state;
    const same = info && info.text === text && (info.pair || "") === pair && info.model === model;
    const shown = same && chat === info.chat && (!tokenizer || tokenizer === info.tokenizer);
    const comes = outcome && outcome.run && (!info || info.run !== outcome.run); // it is done and about to be shown
    write(
      text && model && (working || !shown)
        ? { text, pair, model, tokenizer, chat, runs: Boolean(working || comes) }
        : null,
    );
  };

  /** The page is there, and the run of its address, if it names one: what was written comes back, its run goes on. */
  app.takeUpText = function () {
    if (!kept) return;
    if (!app.state.model) {
      setTimeout(app.takeUpText, 50);
      return;
    } // which models there are is not known yet
    const { text, pair, model, tokenizer, chat, runs } = kept;
    kept = null;
    app.write({ text, pair, model, tokenizer, chat }, () => {
      resumes = false;
      const now = app.written();
      if (runs && now.text === text && now.pair === (pair || "") && now.model === model) app.byId("run").click();
      else {
        app.keepText();
        app.captions();
      }
    });
  };
  /** Whether a text of before the reload is about to come back: nothing else is put into the box. */
  app.textComesBack = () => Boolean(kept) || resumes;

  /*
   * Chromium at times has no navigation timing of a page. An entry of its history then has a state if it was there
   * before.
   */
  const [navigation] = /** @type {PerformanceNavigationTiming[]} */ (performance.getEntriesByType("navigation"));
  const again = navigation ? AGAIN.has(navigation.type) : app.entryAtStart !== null;
  const found = again ? read() : null;
  if (found && typeof found.text === "string" && typeof found.model === "string") {
    if (typeof found.pair !== "string") found.pair = ""; // kept by an earlier version
    kept = found;
    resumes = true;
  } else write(null);
});
