/*
 * Gives the cards their content for a selection: each view's figure and its words, which the server answers by their
 * address (dashboard/web/routes/figures.py). They are asked for as soon as something is chosen; `show`, a callback of
 * Dash, waits for them a moment and gives those that have come. What comes later calls it again, through the store
 * `arrived`.
 */
(window.dashboardParts = window.dashboardParts || []).push((app) => {
  "use strict";
  const own = window.dash_clientside.dashboard;
  const AT_ONCE = 2; // questions of one kind under way; when one is answered, whatever is wanted then comes next
  const MOST_KINDS = 500; // views with options, by run, whose figures' dependencies are known
  const WAIT = 40; // milliseconds: the slowest card does not hold back the others
  const UNREACHED =
    "The server does not answer, so some of what you see belongs to the previous selection. " +
    "It updates as soon as the server answers again.";
  const REQUIRED = ["token", "layer", "head"]; // an address has them, whether they matter or not
  // per view and options: the fields of the selection on which its figure depends
  /** @type {Map<string, string[]>} */ const reads = new Map();
  /** @type {Map<string, Answered>} */ const asked = new Map(); // under way, or not shown yet
  // per output: what its latest answer says about itself
  /** @type {Map<Output, Partial<Meta>>} */ const given = new Map();
  /** @type {Set<Output>} */ const unanswered = new Set(); // outputs whose last question failed
  let serial = 0;
  let epoch = 0; // rises when incomplete answers may be complete now
  let told = 0;
  /** @type {Selection | null} */ let shownLast = null; // the selection of the latest call of `show`

  const same = (/** @type {unknown} */ a, /** @type {unknown} */ b) => JSON.stringify(a) === JSON.stringify(b);
  const pick = (/** @type {Record<string, any>} */ values, /** @type {string[]} */ names) =>
    Object.fromEntries(names.filter((name) => name in values).map((name) => [name, values[name]]));

  /** @type {Output[] | null} */ let declared = null;
  /** The outputs of `show`, in their order: all figures, then all words. */
  function outputs() {
    if (!declared) {
      /** @type {ViewFacts[]} */ const views = JSON.parse(app.byId("page").dataset.views);
      declared = /** @type {const} */ (["figure", "words"]).flatMap((kind) =>
        views.map((view) => ({ name: `${kind}/${view.name}`, kind, view })),
      );
    }
    return declared;
  }
  const isOpen = (/** @type {ViewFacts} */ { name, card, first }, /** @type {Options} */ options) =>
    card in options ? options[card] === name : first;
  const isWanted = (/** @type {Output} */ { kind, view }, /** @type {Options} */ options) =>
    isOpen(view, options) && (kind === "words" || options[view.show] !== "table");

  /** Whether a view is the open tab of its card. */
  app.isOpen = (name) => outputs().some(({ view }) => view.name === name && isOpen(view, app.state.options));

  /*
   * what an answer depends on: the places of the selection, and options; of a figure, as far as its server has told it
   * by now
   */
  /** @param {Output} output @param {Selection} selection @param {Options} chosen */
  function questionOf({ kind, view, name }, selection, chosen) {
    const options = app.address.ofOptions(chosen);
    /** @type {Address} */ const all = { ...app.address.ofSelection(selection), stamp: app.stamp || "" };
    if (kind === "words") return { name, places: all, own: pick(options, [...view.options, view.show]) };
    const own = pick(options, view.options);
    const ofKind = [all.run, all.stamp, view.name, JSON.stringify(own)].join(" ");
    const fields = ["run", "stamp", ...(reads.get(ofKind) || view.reads)];
    if (fields.includes("second")) fields.push("token"); // no token is its own second one
    const zero = Object.fromEntries(REQUIRED.map((field) => [field, "0"]));
    return { name, ofKind, fields, places: { ...zero, ...pick(all, fields) }, own };
  }
  function addressOf(/** @type {Question} */ { name, places, own }) {
    return app.url(`show/${name}?${new URLSearchParams({ ...places, ...own, build: app.byId("page").dataset.build })}`);
  }

  /** Ask for what a selection needs, unless it has been asked for already. */
  app.request = function (selection) {
    const options = selection.run === app.stamped ? app.history.options() : null; // else its stamp is unknown
    if (!options) return;
    for (const output of outputs()) {
      const question = questionOf(output, selection, options);
      if (isWanted(output, options) && !fits(given.get(output) || {}, question)) request(output, question);
    }
  };
  function request(/** @type {Output} */ output, /** @type {Question} */ question) {
    const address = addressOf(question);
    const key = `${epoch} ${address}`;
    if (asked.has(key)) return;
    if ([...asked.values()].filter((one) => one.output === output && !one.answer).length >= AT_ONCE) return;
    serial += 1;
    /** @type {Answered} */
    const one = { key, output, question, epoch, serial, waits: 0, answer: null, done: null };
    asked.set(key, one);
    one.done = fetched(address, question).then(
      (answer) => come(one, answer),
      (error) => fail(one, error),
    );
  }
  async function fetched(/** @type {string} */ address, /** @type {Question} */ { places }) {
    const unreached = (/** @type {unknown} */ error) => {
      throw Object.assign(new Error(""), { cause: error });
    };
    const reply = await fetch(address).catch(unreached);
    const text = await reply.text().catch(unreached);
    if (reply.status === app.REPLACED) throw Object.assign(new Error(text), { replaced: places.stamp });
    if (!reply.ok) throw new Error((reply.headers.get("Content-Type") || "").startsWith("text/plain") ? text : "");
    try {
      return JSON.parse(text);
    } catch (error) {
      return unreached(error);
    } // what a proxy or the like answered
  }
  /* each answer notes what it was asked for */
  function come(/** @type {Answered} */ one, /** @type {Answer} */ answer) {
    const { ofKind, fields: known, places, own } = one.question;
    const meta = /** @type {Meta} */ ("layout" in answer ? answer.layout.meta : answer);
    if (ofKind) {
      if (reads.size > MOST_KINDS) reads.clear();
      reads.set(ofKind, meta.reads);
      if (!meta.reads.every((field) => /** @type {string[]} */ (known).includes(field))) {
        asked.delete(one.key);
        call();
        return;
      } // it depends on more than the question had
    }
    const fields = ofKind ? ["run", "stamp", ...meta.reads] : app.fields().map(({ name }) => name);
    meta.asked = {
      at: Object.fromEntries(fields.map((name) => [name, places[name] ?? null])),
      own,
      serial: one.serial,
      epoch: one.epoch,
    };
    one.answer = answer;
    if (!one.waits && same(shownLast, app.state.selection)) call(); // else `show` is about to be called
  }
  let calling = 0;
  let calls = 0;
  /* `show` once more */
  function call() {
    if (calling) return;
    calling = setTimeout(() => {
      calling = 0;
      told += 1;
      window.dash_clientside.set_props("arrived", { data: told });
    }, 0);
  }
  /** Ask again for what was incomplete: a result has arrived, or the run was computed again. */
  app.refresh = function (selection) {
    epoch += 1;
    app.request(selection);
    call();
  };
  /** The server answers again: repeat the questions that it did not answer before. */
  app.reached = function () {
    if (unanswered.size && app.state.selection) {
      app.request(app.state.selection);
      call();
    }
  };

  /*
   * the server did not answer: the current view stays, and the question is repeated when it does, unless another came
   * since
   */
  function fail(/** @type {Answered} */ one, /** @type {Problem} */ error) {
    asked.delete(one.key);
    if (error.replaced) {
      app.replaced(error.replaced);
      return;
    }
    const { selection } = app.state;
    const options = app.history.options();
    if (!selection || !options || !isWanted(one.output, options)) return;
    if (addressOf(questionOf(one.output, selection, options)) !== addressOf(one.question)) {
      call();
      return;
    }
    const first = !unanswered.size;
    unanswered.add(one.output);
    if (first) app.notify({ lead: "Error.", text: error.message || UNREACHED, from: "show" });
  }
  /* the latest answer is there, or is not wanted any more */
  function settle(/** @type {Output} */ output) {
    if (unanswered.delete(output) && !unanswered.size) app.notifyOver("show");
  }

  /** @type {(output: Output, value: any) => Partial<Meta>} */
  const metaOf = ({ kind }, value) => (kind === "figure" ? value && value.layout && value.layout.meta : value) || {};
  function fits(/** @type {Partial<Meta>} */ { asked: of, whole }, /** @type {Question} */ { places, own }) {
    return (
      of !== undefined &&
      (whole || of.epoch === epoch) &&
      same(of.own, own) &&
      Object.entries(of.at).every(([name, value]) => value === (places[name] ?? null))
    );
  }
  /*
   * what an output gets: what is asked for, or else the latest that has come and is newer than what is shown, so that
   * figures follow while a key is held; an answer of a run that is not shown yet waits
   */
  /** @param {Output} output @param {Question} question @param {any} value @param {boolean} isLatest */
  function next(output, question, value, isLatest) {
    const all = question.places;
    const shown = metaOf(output, value).asked;
    const fitting = fits(metaOf(output, value), question);
    // Dash, called again meanwhile, may have dropped an answer: keep it until it is seen on the page
    const come = [...asked.values()].filter((one) => one.output === output && one.answer);
    for (const one of come) if (fitting || (shown && one.serial <= shown.serial)) asked.delete(one.key);
    if (fitting) {
      if (isLatest) settle(output);
      return undefined;
    }
    const mine = come.filter(({ question: { places } }) => places.run === all.run && places.stamp === all.stamp);
    const exact = mine.find(({ answer }) => fits(metaOf(output, answer), question));
    const latest = mine.filter(({ serial: of }) => !shown || shown.at.run !== all.run || of > shown.serial).at(-1);
    const one = exact || latest;
    if (!one) return undefined;
    if (exact) settle(output);
    given.set(output, metaOf(output, one.answer));
    return one.answer;
  }

  /* a figure in the page's colours; nothing if the current one has them already and there is no other */
  /** @param {Figure | null} shown @param {Answer | null | undefined} next */
  function painted(shown, next) {
    if (next || !shown || !shown.layout) return next && app.inTheme(/** @type {Figure} */ (next));
    const found = app.inTheme(shown);
    return found === shown ? undefined : found;
  }

  const after = (/** @type {number} */ milliseconds) =>
    new Promise((done) => {
      setTimeout(done, milliseconds);
    });

  /** The only writer of the figures and of the cards' words. */
  own.show = async function (selection, arrived, ...rest) {
    const { no_update: none, PreventUpdate } = window.dash_clientside;
    const all = outputs();
    calls += 1;
    shownLast = selection;
    const mine = calls;
    const values = rest.splice(-all.length);
    const [info, known] = rest.splice(-2);
    if (!selection) return all.map(({ kind }) => (kind === "words" ? null : none)); // the cards' invitations
    app.receive(selection, info);
    if (!app.state.info || app.state.info.run !== selection.run || app.stamped !== selection.run) throw PreventUpdate;
    const options = app.history.optionsAre(known, rest);
    const wanted = all.map((output) => (isWanted(output, options) ? questionOf(output, selection, options) : null));
    const lacks = () => all.filter((output, i) => wanted[i] && !fits(metaOf(output, values[i]), wanted[i]));
    for (const output of lacks()) request(output, questionOf(output, selection, options));
    const due = [...asked.values()].filter(
      (one) => !one.answer && wanted.some((question) => question && addressOf(question) === addressOf(one.question)),
    );
    if (due.length) {
      due.forEach((one) => {
        one.waits += 1;
      });
      await Promise.race([Promise.all(due.map(({ done }) => done)), after(WAIT)]);
      due.forEach((one) => {
        one.waits -= 1;
      });
      if (mine !== calls) {
        call();
        throw PreventUpdate;
      } // Dash drops the result of an earlier call
      for (const output of lacks()) {
        // what had no turn before
        const question = questionOf(output, selection, options);
        if (
          ![...asked.values()].some(
            (one) => one.output === output && one.answer && fits(metaOf(output, one.answer), question),
          )
        )
          request(output, question);
      }
    }
    const isLatest = same(selection, app.state.selection);
    const gives = all.map((output, i) => {
      if (!wanted[i]) {
        settle(output);
        return none;
      }
      const value = next(output, questionOf(output, selection, options), values[i], isLatest);
      return (output.kind === "figure" ? painted(values[i], value) : value) ?? none;
    });
    // Dash treats each `no_update` as a change of its component
    if (gives.every((value) => value === none)) throw PreventUpdate;
    return gives;
  };

  setInterval(() => {
    if (app.embedded()) app.reached();
  }, 4000); // nothing asks for the server's health there
  app.onPaint((state, what) => {
    if (what === "nothing") {
      asked.clear();
      given.clear();
      if (unanswered.size) app.notifyOver("show");
      unanswered.clear();
    }
    if (what === "theme" && state.selection) call();
  });
});
