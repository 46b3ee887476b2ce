/* The form: model, text, examples, and what it says of the run that is shown. */
(window.dashboardParts = window.dashboardParts || []).push((app) => {
  "use strict";
  const own = window.dash_clientside.dashboard;
  /** @type {SetProps} */ const props = (id, values) => window.dash_clientside.set_props(id, values);
  /** @type {Record<string, ModelFacts>} */ let catalog = {};
  /** @type {string | null} */ let chosen = null;

  /* model and token count */
  own.modelChosen = function (name, entries) {
    catalog = entries || {};
    chosen = name;
    app.state.model = modelOf(name);
    const composer = app.byId("composer");
    if (composer) composer.classList.toggle("mono", Boolean(app.state.model && app.state.model.monospace));
    app.arrangeChat();
    app.arrangeTexts();
    app.countTokens();
    if (!app.state.info) app.paint("model");
    captions();
    if (name) app.keepText();
    app.status();
  };
  app.chosen = () => chosen;
  /** What is known of a model; of a hub id that was typed, only that it is fetched. */
  app.modelOf = modelOf;
  function modelOf(/** @type {string | null} */ name) {
    if (!name) return null;
    const unknown = { title: name.split("/").pop(), kind: null, layers: 0, heads: 0, here: false, limit: null };
    return app.arrivedModel(name) || catalog[name] || unknown;
  }

  /**
   * What the form holds: the text, that of the second box ("" for none), the chosen model, the tokenizer that a model
   * without one is given, and whether the text is a chat message.
   */
  app.written = () => {
    const facts = modelOf(chosen);
    const tokenizer = facts && facts.mute ? app.lentTokenizer() : null;
    return { text: app.byId("text").value, pair: app.pair(), model: chosen, tokenizer, chat: app.chat() };
  };
  /** Put all that into the form, then call `done`. */
  app.write = function ({ text, pair, model, tokenizer, chat }, done) {
    app.setChat(Boolean(chat));
    if (tokenizer) props("tokenizer", { value: tokenizer });
    if (catalog[model]) props("model", { value: model });
    else app.chooseModel(model, 2);
    put(text, pair, () => chosen === model, done);
  };

  /* examples */
  app.chooseExample = function (index) {
    const examples = app.examples || [];
    const example = examples[index];
    if (!example) return;
    document.querySelectorAll("details.menu-box[open]").forEach((menu) => menu.removeAttribute("open"));
    app.setChat(false);
    props("model", { value: example.model });
    props("text", { value: example.text });
    props("text-pair", { value: "" });
    setTimeout(() => {
      app.resetPair();
      app.countTokens();
      app.byId("run").click();
    }, 0);
  };
  own.examplesKnown = function (examples) {
    app.examples = examples;
    app.applyTheme(); // the page is there now, with the button that names it
    // else when its run has come
    if (!new URLSearchParams(window.location.search).has("run")) setTimeout(app.takeUpText, 0);
  };

  own.notice = function (submitted, info) {
    const triggered = window.dash_clientside.callback_context.triggered.map((t) => t.prop_id);
    if (triggered.includes("submitted-run.data") && submitted) outcomeNotice(submitted);
    if (triggered.includes("run-info.data") && info) {
      const { outcome } = app.state;
      if (outcome && outcome.run && (info.error || info.run === outcome.run)) app.state.outcome = {}; // it has come
      if (info.error) app.notify({ lead: "Error.", text: String(info.error) + app.takeLinkText() });
      else if (info.problem) app.notify({ lead: "Part of this link was ignored.", text: info.problem, plain: true });
      if (!info.error) {
        app.arrive(info);
        const news = info.known && JSON.stringify(info.known.facts) !== JSON.stringify(catalog[info.model]);
        if (news) own.modelChosen(chosen, catalog); // the run fetched it
        if (info.opened) fillForm(info);
        shown = { text: info.text, pair: info.pair || "" };
        entitle(info);
      }
      app.takeUpText();
      app.keepText();
    }
    captions();
  };
  function outcomeNotice(/** @type {Outcome} */ outcome) {
    app.state.outcome = outcome;
    if (!outcome.error) {
      app.hideNotice();
      if (outcome.run && outcome.stamp) app.expectHeads(outcome.run, outcome.stamp);
      return;
    }
    const keeps = app.state.info ? " The previous run is still shown." : "";
    if (outcome.cancelled)
      app.notify({ lead: "Cancelled.", text: "Your text is still in the box." + keeps, plain: true });
    else app.notify({ lead: "Error.", text: String(outcome.error), details: outcome.details, again: outcome.retry });
  }
  /* the boxes follow the run that is shown, unless they hold something else: an edit not run yet */
  let shown = { text: "", pair: "" };
  const PAGE_TITLE = "Transformer dashboard";
  function entitle(/** @type {Info} */ info) {
    document.title = `${info.name || app.begin(info.text, info.pair)} · ${PAGE_TITLE}`;
  }
  /** The run that is shown has a new name; "" takes it away. */
  app.retitle = (name) => {
    const { info } = app.state;
    if (info) entitle(Object.assign(info, { name }));
  };
  function fillForm(/** @type {Info} */ info) {
    if (!app.byId("text") || app.textComesBack() || edited()) return;
    const { text, pair, model } = info;
    if (catalog[model] || info.known) app.write(info);
    else put(text, pair, () => true);
  }
  function edited() {
    const { text, pair } = app.written();
    return Boolean(text || pair) && (text !== shown.text || pair !== shown.pair);
  }
  /*
   * Put a text, or a pair, into the boxes, which are fitted and whose tokens are counted once Dash has done so, however
   * long a busy browser takes for that, or somebody writes; a model that cannot be chosen is not waited for that long.
   */
  let filling = 0;
  /** @param {string} text @param {string | null} pair @param {() => boolean} chosenToo */
  function put(text, pair, chosenToo, done = () => {}) {
    const fill = () => {
      props("text", { value: text });
      props("text-pair", { value: pair || "" });
    };
    fill();
    filling += 1;
    const mine = filling;
    const held = (/** @type {string} */ value) => value.replace(/\r\n?/g, "\n"); // as a text box holds it
    const there = () => app.byId("text").value === held(text) && app.byId("text-pair").value === held(pair || "");
    const tries = { text: 1200, model: 40 };
    let written = false;
    const write = (/** @type {Event} */ { target }) => {
      if (isText(/** @type {Element} */ (target))) written = true;
    };
    const waits = () => {
      if (there()) return !chosenToo() && (tries.model -= 1) > 0;
      if (tries.text % 40 === 0 && tries.text < 1200 && !written) fill(); // once more
      return !written && (tries.text -= 1) > 0;
    };
    const look = () => {
      if (mine === filling && waits()) {
        setTimeout(look, 50);
        return;
      }
      document.removeEventListener("input", write);
      if (mine !== filling) return;
      filling = 0;
      app.fitText(app.byId("text"));
      app.resetPair();
      app.countTokens();
      captions();
      setTimeout(done, 0);
    };
    document.addEventListener("input", write);
    look();
  }
  app.onPaint((state, what) => {
    if (what !== "nothing") return;
    filling = 0; // what was on its way into the box is of a run that is left
    if (!edited()) {
      app.setChat(false);
      props("text", { value: "" });
      props("text-pair", { value: "" });
      setTimeout(() => {
        app.fitText(app.byId("text"));
        app.resetPair();
        app.countTokens();
      }, 50);
    }
    shown = { text: "", pair: "" };
    document.title = PAGE_TITLE;
    app.hideNotice();
  });

  /* captions of the strip: what it shows, and of which run that is while the form holds something else */
  function captions() {
    const info = app.state.info;
    const title = app.byId("strip-title");
    if (!info || !title) return;
    const failed = app.state.outcome && app.state.outcome.error;
    const other = Boolean(chosen) && info.model !== chosen;
    const file = info.file ? ` from the file ${info.file}` : "";
    const by = other ? ` as read by ${info.title}` : "";
    const what = info.chat ? "Tokens of the chat message" : "Tokens";
    title.textContent = (failed ? "Tokens of the previous run" : what) + file + by;
    app.stripCaption(info.numbers ? `${info.numbers} · ` : "");
    differs(info);
  }
  const PAUSE = 1500;
  let said = 0;
  function differs(/** @type {Info} */ info) {
    const box = app.byId("not-run");
    const { outcome, working } = app.state;
    const arriving = working || filling || app.textComesBack() || (outcome && outcome.run && outcome.run !== info.run);
    const words = arriving || app.embedded() ? "" : difference(info);
    app.byId("page").classList.toggle("differs", Boolean(words));
    const sentence = /** @type {HTMLElement} */ (box.firstElementChild);
    if (sentence.textContent === words) return;
    sentence.textContent = sentence.title = words;
    clearTimeout(said);
    if (words) said = setTimeout(tell, PAUSE, words); // once, when the writing pauses
  }
  function tell(/** @type {string} */ words) {
    if (!app.sayBeside(words)) said = setTimeout(tell, PAUSE, words);
  }
  function difference(/** @type {Info} */ info) {
    const { text, pair, model, tokenizer, chat } = app.written();
    const same = text === info.text && pair === (info.pair || "");
    const lent = Boolean(tokenizer) && tokenizer !== info.tokenizer;
    if (same && (!model || model === info.model)) {
      if (chat !== info.chat)
        return chat
          ? "The figures show this text as it stands. Press Run to read it as a chat message."
          : "The figures show this text as a chat message. Press Run to read it as it stands.";
      return lent
        ? "The figures show what another tokenizer made of this text. Press Run to read it with this one."
        : "";
    }
    const by = model && model !== info.model ? ` by ${info.title}` : "";
    const of = `The figures show the run of “${app.begin(info.text, info.pair)}”${by}.`;
    if (!text.trim()) return of;
    return `${of} Press Run ${same ? `to read it with ${(modelOf(model) || info).title}` : "to read the new text"}.`;
  }
  /* back to what is shown: its text and its model */
  function bringBack() {
    const { info } = app.state;
    if (!info) return;
    // what went wrong is put aside with its text; it is no run that was lost
    if (app.state.outcome && app.state.outcome.error) app.state.outcome = {};
    app.write(info, app.keepText);
    app.hideNotice();
    app.byId("text").focus({ preventScroll: true });
  }
  app.captions = captions;

  document.addEventListener("click", (event) => {
    const target = event.target.closest("button, a");
    if (!target) return;
    if (target.dataset.example !== undefined) app.chooseExample(Number(target.dataset.example));
    else if (target.id === "shown-text") bringBack();
  });
  document.addEventListener("keydown", (event) => {
    if (event.key === "Enter" && (event.ctrlKey || event.metaKey) && isText(event.target)) {
      event.preventDefault();
      setTimeout(() => app.byId("run").click(), 0);
    } else if (event.key === "Escape") {
      const open = document.querySelector("details.menu-box[open]");
      if (open) {
        open.removeAttribute("open");
        /** @type {HTMLElement} */ (open.querySelector("summary")).focus();
      } else if (app.state.working && !app.isCovered()) app.byId("cancel").click();
    }
  });
  const isText = (/** @type {Element} */ node) => node === app.byId("text") || node === app.byId("text-pair");
  document.addEventListener("input", ({ target }) => {
    if (isText(target)) app.textChanged();
  });
  /** Something was typed, or taken away. */
  app.textChanged = function () {
    app.fitText(app.byId("text"));
    app.arrangeTexts();
    app.countTokens();
    captions();
    clearTimeout(keeping);
    keeping = setTimeout(app.keepText, 300);
  };
  let keeping = 0;
  window.addEventListener("pagehide", () => {
    if (app.byId("text")) app.keepText();
  });
});
