/* Asks for what the views show of a selection: each view's figure, and all views' words (dashboard/pictures.py). Their
   answers depend on nothing but their address, so they are asked for at once, beside Dash, and kept. */
(function () {
  "use strict";
  const app = window.dashboardApp;
  const AT_ONCE = 2; // questions of one kind under way; of those that come meanwhile the last one is asked
  const UNREACHED = "The server does not answer, so some of what is shown is of the selection before. "
    + "It follows when the server is reached again.";
  const MOST_KEPT = 8e6; // characters of answers that are kept
  const lanes = new Map(); // "words", and each view by its name
  const reads = new Map(); // per view and options: the fields of the selection on which its figure depends
  const kept = new Map();
  let keptSize = 0;
  const unanswered = new Set(); // lanes whose last question failed

  function lane(name, path, put) {
    if (!lanes.has(name)) {
      lanes.set(name, { name, path, put, wanted: null, next: null, asked: 0, shown: 0, underWay: 0, held: null, whole: true });
    }
    return lanes.get(name);
  }
  let declared = null;
  function views() {
    if (!declared) declared = JSON.parse(app.byId("page").dataset.views);
    return declared;
  }
  const pick = (values, names) => Object.fromEntries(names.filter((name) => name in values).map((name) => [name, values[name]]));
  const places = (selection) => ({ ...app.history.places(selection), stamp: app.stamp });
  /* what an answer depends on; of a figure, as far as its server has told it by now */
  function nameOf({ kind, all, own, declared: fields }) {
    return JSON.stringify({ ...(fields ? pick(all, ["run", "stamp", ...(reads.get(kind) || fields)]) : all), ...own });
  }
  const same = (one, question) => one !== null && nameOf(one) === nameOf(question);

  /** Ask for what a selection shows and is not shown or asked for already. */
  app.ask = function (selection) {
    const all = places(selection);
    const options = app.history.options();
    if (!options) return; // the page is being opened: they come next
    want(lane("words", "words", putWords), { all, own: options });
    for (const view of views()) {
      const one = lane(view.name, `figure/${view.name}`, putFigure);
      if (options[view.show] === "table") { settle(one); continue; }
      const own = pick(options, view.options);
      const kind = view.name + JSON.stringify(own);
      want(one, { kind, all, own: { ...own, theme: document.documentElement.dataset.theme }, declared: view.reads });
    }
  };
  /** Ask again for what was not whole: a job is done, the server is reached again, or the run is there anew. */
  app.askAgain = function (selection) {
    for (const one of lanes.values()) if (!one.whole) one.wanted = null;
    app.ask(selection);
  };

  function want(one, question) {
    if (same(one.wanted, question)) return;
    one.wanted = question;
    one.next = question;
    go(one);
  }
  function go(one) {
    const question = one.next;
    if (!question) return;
    const found = kept.get(`${one.path} ${nameOf(question)}`);
    if (!found && one.underWay >= AT_ONCE) return;
    one.next = null;
    one.asked += 1;
    const mine = one.asked;
    if (found) { settle(one); take(one, mine, found); return; }
    one.underWay += 1;
    answer(one.path, question)
      .then((came) => {
        if (question.kind) reads.set(question.kind, came.told.layout.meta.reads);
        keep(`${one.path} ${nameOf(question)}`, came);
        if (same(one.wanted, question)) settle(one);
        take(one, mine, came);
      })
      .catch((error) => fail(one, question, error))
      .finally(() => { one.underWay -= 1; go(one); });
  }
  async function answer(path, { all, own }) {
    let reply;
    try { reply = await fetch(app.url(`show/${path}?${new URLSearchParams({ ...all, ...own })}`)); } catch (error) { throw new Error(""); }
    const text = await reply.text();
    if (reply.status === app.REPLACED) throw Object.assign(new Error(text), { replaced: all.stamp });
    if (!reply.ok) throw new Error(reply.headers.get("Content-Type").startsWith("text/plain") ? text : "");
    return { size: text.length, told: JSON.parse(text) };
  }
  const isWhole = ({ told }) => (told.layout ? told.layout.meta.whole : told.whole);
  function keep(name, found) {
    if (!isWhole(found)) return;
    if (kept.has(name)) { keptSize -= kept.get(name).size; kept.delete(name); }
    kept.set(name, found);
    keptSize += found.size;
    for (const [oldest, { size }] of kept) {
      if (keptSize <= MOST_KEPT) break;
      kept.delete(oldest);
      keptSize -= size;
    }
  }
  /* an answer is shown unless a later one is; one of a run that the page does not know yet waits for it */
  function take(one, serial, found) {
    if (serial < one.shown) return;
    one.shown = serial;
    one.whole = isWhole(found);
    one.held = found;
    show(one);
  }
  function isOf({ told }, info) {
    const { run, stamp } = told.layout ? told.layout.meta : told;
    return run === info.run && stamp === info.stamp;
  }
  function show(one) {
    const { info } = app.state;
    if (!one.held || !info || !isOf(one.held, info)) return;
    const found = one.held;
    one.held = null;
    one.put(found, one.name);
  }
  /* the server did not answer: what is shown stays, and is asked for again when it does; unless another was asked for since */
  function fail(one, question, error) {
    if (error.replaced) { app.replaced(error.replaced); return; }
    if (one.next || !same(one.wanted, question)) return;
    one.wanted = null;
    const first = !unanswered.size;
    unanswered.add(one);
    if (first) app.notify({ lead: "Error.", text: error.message || UNREACHED, from: "show" });
  }
  /* what this lane was asked for last is here, or is not asked for any more */
  function settle(one) { if (unanswered.delete(one) && !unanswered.size) app.notifyOver("show"); }
  /** The server was reached: what it did not answer before is asked for again. */
  app.reached = function () { if (unanswered.size && app.state.selection) app.askAgain(app.state.selection); };

  function putWords({ told }) {
    window.dashboardBuild.words(told);
    document.dispatchEvent(new CustomEvent("all-words", { detail: told }));
  }
  function putFigure({ told }, view) {
    window.dash_clientside.set_props(`${view}-graph`, { figure: told });
  }

  /* the cards' invitations stand there again: whatever comes now is asked for anew */
  function forget(one) {
    settle(one);
    Object.assign(one, { wanted: null, next: null, held: null, whole: true, shown: one.asked + 1 });
  }

  app.onPaint((state, what) => {
    if (what === "nothing") lanes.forEach(forget);
    if (!state.info || !state.selection) return;
    if (what === "selection" || what === "options" || what === "theme") app.ask(state.selection);
    if (what === "selection") for (const one of lanes.values()) show(one);
  });
})();
