/*
 * Runs are computed again: by a newer version of this program, or after they had left the server. Of one run there may
 * so be several captures, and this page shows one of them. Where the server has another one now, the run is opened once
 * more.
 */
(window.dashboardParts = window.dashboardParts || []).push((app) => {
  "use strict";
  app.REPLACED = 412; // the status of an answer that cannot be given of this page's capture
  /** @type {string | null} */ let reopened = null; // the stamp that was found to be of an earlier capture

  /** The server has another capture of the run than the one with this stamp. */
  app.replaced = function (stamp) {
    if (!app.state.info || stamp !== app.stamp || stamp === reopened) return;
    reopened = stamp;
    app.history.again();
  };

  /* a run of an earlier version says so as long as it is shown */
  function mark(/** @type {Pick<Info, "outdated">} */ { outdated }) {
    const box = app.byId("outdated");
    if (!box) return;
    if (!outdated.length) {
      box.replaceChildren();
      return;
    }
    const what = app.make("div", "what");
    what.append(app.make("b", "", "Computed by an earlier version of this program. "), advice());
    what.title = `Changed since: ${outdated.join("; ")}.`;
    const line = app.make("div", "notice plain");
    line.append(what);
    if (canRun()) {
      const again = app.make("button", "strong", "Run again");
      again.type = "button";
      again.addEventListener("click", run);
      line.append(again);
    }
    box.replaceChildren(line);
  }
  function canRun() {
    const { plain, known, pair } = /** @type {Shows} */ (app.state).info;
    const takes = Boolean(plain && known && !known.facts.refusal && (known.facts.pairs || !pair));
    return takes && !app.embedded();
  }
  function advice() {
    if (canRun()) return "Some of its numbers are missing or computed differently now; run it again to get them.";
    const why = "Some of its numbers are missing or computed differently now.";
    return why + " To update them, run the text again where this run was made.";
  }
  document.addEventListener("click", (event) => {
    if (event.target.closest("[data-run-again]")) run();
  }); // a card that lacks what a run would bring
  function run() {
    const { model, text, pair, tokenizer, chat } = /** @type {Shows} */ (app.state).info;
    app.chooseModel(model);
    app.setChat(Boolean(chat));
    if (tokenizer) window.dash_clientside.set_props("tokenizer", { value: tokenizer });
    window.dash_clientside.set_props("text", { value: text });
    window.dash_clientside.set_props("text-pair", { value: pair || "" });
    setTimeout(() => app.byId("run").click(), 0);
  }

  app.onPaint((state, what) => {
    if (what === "nothing") mark({ outdated: [] });
    if (what !== "run") return;
    reopened = null;
    mark(state.info);
    app.byId("page").classList.toggle("runs-again", canRun());
    if (state.info.via === "again") {
      const text = "This run has been computed again, and the page now shows the new version.";
      app.notify({ lead: "Computed again.", text, plain: true });
    }
  });
});
