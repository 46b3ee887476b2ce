/*
 * Derived results (dashboard/compute): what the words of the cards wait for is asked for as one set, which follows what
 * is selected. How far each is stands in the card, with Cancel; so does the reason of one that failed, with Try again.
 */
(window.dashboardParts = window.dashboardParts || []).push((app) => {
  "use strict";
  const own = window.dash_clientside.dashboard;
  const LOST = 6000; // without any sign of the set: the connection broke, perhaps, and it is asked for once more
  const SILENCE = 24000; // then it did not come
  const PATIENCE = 1000; // before a card offers to cancel
  const PAGE = Array.from(crypto.getRandomValues(new Uint8Array(16)), (byte) =>
    byte.toString(16).padStart(2, "0"),
  ).join("");
  const OFTEN = 2; // times that a result may be said to be there and yet be missing
  /** @type {Map<string, { error: string }>} */ const failed = new Map(); // why a result is not asked for
  // how often a result of a capture was said to be there, while it is missing
  /** @type {Map<string, number>} */ const came = new Map();
  // place of an error → the words that stood there while it was computed
  /** @type {WeakMap<Element, ChildNode[]>} */ const waiting = new WeakMap();
  /** @type {DerivedRequest[]} */ let wanted = []; // of the set that was asked for last, what is not done
  let silent = 0;
  let serial = 0;

  const ofCapture = (/** @type {string} */ name) => `${app.stamp} ${name}`;
  const places = (/** @type {string} */ name) => document.querySelectorAll(`[data-waits="${name}"]`);
  const names = (/** @type {DerivedRequest[]} */ requests) =>
    requests
      .map(({ name }) => name)
      .sort()
      .join();

  function ask(/** @type {DerivedRequest[]} */ requests) {
    if (names(requests) === names(wanted)) return;
    wanted = requests;
    send();
    watch();
  }
  function send() {
    serial += 1;
    window.dash_clientside.set_props("derived-request", { data: { page: PAGE, wants: wanted, serial } });
  }
  function watch() {
    clearTimeout(silent);
    if (wanted.length) silent = setTimeout(onceMore, LOST);
  }
  /* what the server still computes of it goes on */
  function onceMore() {
    silent = setTimeout(
      () => wanted.slice().forEach(({ name }) => fails(name, { error: "This result could not be loaded." })),
      SILENCE - LOST,
    );
    send();
  }
  /* it is not asked for again by itself */
  function fails(/** @type {string} */ name, /** @type {{ error: string }} */ outcome) {
    wanted = wanted.filter((request) => request.name !== name);
    failed.set(ofCapture(name), outcome);
    say(name, outcome);
    if (!wanted.length) clearTimeout(silent);
  }
  function button(/** @type {string} */ text, /** @type {() => void} */ act) {
    const node = app.make("button", "quiet", text);
    node.type = "button";
    node.addEventListener("click", act);
    return node;
  }
  /* the reason in place of the words that say that it is computed */
  function say(/** @type {string} */ name, /** @type {{ error: string }} */ outcome) {
    for (const place of places(name)) {
      if (!waiting.has(place)) waiting.set(place, [...place.childNodes]);
      const why = place.tagName === "DIV" ? app.make("b", "", outcome.error) : outcome.error;
      place.replaceChildren(
        why,
        " ",
        button("Try again", () => retry(name)),
      );
    }
    if (places(name).length) app.say(outcome.error);
  }
  function retry(/** @type {string} */ name) {
    failed.delete(ofCapture(name));
    came.delete(ofCapture(name));
    for (const place of places(name)) if (waiting.has(place)) place.replaceChildren(...(waiting.get(place) || []));
    app.refresh(/** @type {Shows} */ (app.state).selection);
  }
  function cancel(/** @type {string} */ name) {
    const rest = wanted.filter((request) => request.name !== name);
    failed.set(ofCapture(name), { error: "Cancelled." });
    ask(rest);
    say(name, { error: "Cancelled." });
  }
  /* how far a result is, below the words that say that it is computed */
  function tell(/** @type {string} */ name, /** @type {DerivedState} */ { ahead, message }) {
    const words = ahead ? `${ahead} before this one` : message || "";
    for (const place of places(name)) {
      const told = place.querySelector(".how-far");
      const line = told || app.make(place.tagName === "DIV" ? "p" : "span", "how-far");
      if (!told) {
        line.append(app.make("span"), " ");
        place.append(" ", line);
        setTimeout(() => {
          if (line.isConnected) line.append(button("Cancel", () => cancel(name)));
        }, PATIENCE);
      }
      /** @type {ChildNode} */ (line.firstChild).textContent = words;
    }
  }

  /** @type {Map<string, { awaits: DerivedRequest[]; at: Asked["at"] }>} */
  const awaited = new Map(); // per view: what its words wait for
  document.addEventListener("view-words", ({ detail: { view, awaits, asked } }) => {
    awaited.set(view, { awaits, at: asked ? asked.at : {} });
    renew(awaits);
  });
  /* words of another selection, as those of a tab that was closed meanwhile, want nothing any more */
  function isNow(/** @type {{ at: Asked["at"] }} */ { at }) {
    const { selection } = app.state;
    /** @type {Record<string, string | null>} */
    const now = selection ? { ...app.address.ofSelection(selection), stamp: app.stamp } : {};
    return Object.entries(at).every(([name, value]) => value === (now[name] ?? null));
  }
  /* the set is what the open tabs wait for; `news`: what has just been said to be awaited */
  function renew(/** @type {DerivedRequest[]} */ news) {
    const open = [...awaited]
      .filter(([view, words]) => app.isOpen(view) && isNow(words))
      .flatMap(([, words]) => words.awaits);
    const all = [...new Map(open.map((request) => [request.name, request])).values()];
    const missing = new Set(all.map(({ name }) => ofCapture(name)));
    for (const name of came.keys()) if (!missing.has(name)) came.delete(name);
    for (const { name } of news) {
      if ((came.get(ofCapture(name)) || 0) >= OFTEN)
        failed.set(ofCapture(name), { error: "This result could not be loaded." });
      const outcome = failed.get(ofCapture(name));
      if (outcome) say(name, outcome);
    }
    ask(all.filter(({ name }) => !failed.has(ofCapture(name))));
  }
  app.onPaint((state, what) => {
    if (what === "nothing") {
      awaited.clear();
      ask([]);
    }
    if (what === "options" && awaited.size) renew([]);
  });

  /** How far the results of the set are: a map from a result's name to its state. */
  own.derivedProgress = (told) => hear(told, false);
  /** What they came to: the same, and of one that is not named that it was there before. */
  own.derivedResult = (told) => hear(told, true);
  function hear(/** @type {DerivedTold | null} */ told, /** @type {boolean} */ ends) {
    if (!told) return;
    const mine = told.serial === `${PAGE}-${serial}`; // else of a set that another has taken the place of
    if (told.error) {
      // the set as a whole was refused
      if (mine) wanted.slice().forEach(({ name }) => fails(name, { error: String(told.error) }));
      return;
    }
    let news = false;
    for (const { name } of wanted.slice()) {
      const state = (told.watched || {})[name];
      if (state && state.error) {
        if (!state.cancelled) fails(name, { error: state.error });
      } else if (state && !state.run) tell(name, state);
      else if (state || (ends && mine)) {
        // it is there; one that is not named was there before
        news = true;
        came.set(ofCapture(name), (came.get(ofCapture(name)) || 0) + 1);
        wanted = wanted.filter((request) => request.name !== name);
      }
    }
    watch();
    if (news && app.state.selection) app.refresh(app.state.selection);
  }
});
