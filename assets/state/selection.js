/*
 * The selection: one value. Views propose changes, which are painted at once; Dash's `selection` follows, and the page
 * shows it.
 */
(window.dashboardParts = window.dashboardParts || []).push((app) => {
  "use strict";
  const own = window.dash_clientside.dashboard;
  const PATIENCE = 1000; // milliseconds for which an older selection may not overwrite a newer proposal
  const PACE = 120; // milliseconds between two writes of the selection while a key is held
  const FRAME = 17; // milliseconds in which the marks are painted, before Dash is told
  const NO_FRAME = 60; // milliseconds after which Dash is told even if nothing was painted: the page may be hidden
  let serial = 0;
  /** @type {{ selection: Selection; at: number; from: string } | null} */ let latest = null;
  let telling = 0;
  let toldAt = -Infinity;
  // the second token while the selected one passes over it
  /** @type {{ run: string; token: number } | null} */ let passed = null;

  /** @type {Partial<App>} */
  const ways = {
    /**
     * Propose a change of the selection: {token} {second} {layer} {head} {heads} {tokens}, or {step: "layer", by: 1},
     * {undo: true}, {redo: true}. It is painted at once; `selection` follows through `reduce`, with the whole new
     * value, so that nothing is lost if two proposals become one. `view`: the view whose figure was used.
     */
    propose(change, view) {
      const { selection, info } = app.state;
      if (!selection || !info || info.run !== selection.run) return;
      if (change.undo || change.redo) {
        app.history.go(change.undo ? -1 : 1);
        return;
      }
      const next = proposed(change, selection, info);
      if (!next) return;
      passBy(change, next, selection);
      if (same(next, selection)) return;
      app.present(next, view);
    },
    /** Show a selection of the run that is shown; `selection` follows. */
    present(next, view) {
      const { selection } = app.state;
      if (same(next, selection)) return;
      const now = performance.now();
      latest = { selection: next, at: now, from: view ? `${view}-picked` : "proposal" };
      const waits = PACE - (now - toldAt);
      if (waits <= 0) app.request(next);
      show(next);
      if (telling) return;
      telling = setTimeout(tell, waits > 0 ? Math.max(waits, FRAME) : NO_FRAME);
      if (waits <= 0) painted(telling);
    },
    /** Make a token the second one, or clear it if it already is; the selected token cannot be it. */
    asSecond(token, view) {
      const { selection } = /** @type {Shows} */ (app.state);
      app.propose({ second: selection.second === token ? null : token }, view);
    },
    /** Move the second token by one, past the selected one; without one, it begins there. At the end it stays. */
    moveSecond(by) {
      const { selection, info } = /** @type {Shows} */ (app.state);
      const { token, second } = selection;
      let next = (second ?? token) + by;
      if (next === token) next += by;
      if (next >= 0 && next < info.counts.token) app.propose({ second: next });
    },
    /** Show the empty page again, as before the first run. */
    showNothing() {
      latest = null;
      clearTimeout(telling);
      telling = 0;
      Object.assign(app.state, { selection: null, info: null, hover: null, outcome: {} });
      app.byId("page").classList.add("empty");
      serial += 1;
      window.dash_clientside.set_props("proposal", { data: { nothing: true, serial } });
      app.paint("nothing");
      app.paint("model");
    },

    /** Whether the model's mask lets a query read a key in a layer. */
    canRead(layer, query, key) {
      const [kind, reach] = /** @type {Shows} */ (app.state).info.masks[layer];
      if (kind === "causal") return key <= query && (reach === null || query - key < reach);
      return reach === null || Math.abs(query - key) <= reach;
    },
    /** A position that `can` lets through: `wanted`, or the first of `count`; `wanted` if there is none. */
    first(count, can, wanted) {
      if (can(wanted)) return wanted;
      for (let i = 0; i < count; i += 1) if (can(i)) return i;
      return wanted;
    },
    /** First and last of `count` positions that `can` lets through, around one that it does. */
    span(count, can, inside) {
      let first = inside;
      let last = inside;
      while (first > 0 && can(first - 1)) first -= 1;
      while (last < count - 1 && can(last + 1)) last += 1;
      return [first, last];
    },
  };
  Object.assign(app, ways);

  /** @type {Field[] | null} */ let declared = null;
  /**
   * The fields of the selection as dashboard/contracts/selection.py declares them: { name, of, optional, address, was
   * }.
   */
  app.fields = function () {
    declared = declared || /** @type {Field[]} */ (JSON.parse(app.byId("page").dataset.fields));
    return declared;
  };
  /**
   * A selection of these values, in the fields' order; values kept by an earlier version may have older
   * names.
   */
  app.selectionOf = function (values) {
    const held = app.fields().filter(({ address }) => address);
    const pairs = held.map(({ name, was }) => [name, values[name] ?? (was ? values[was] : null) ?? null]);
    return /** @type {Selection} */ (Object.fromEntries(pairs));
  };
  /* what is selected within a run */
  const places = () => /** @type {PlaceField[]} */ (app.fields().filter(({ of }) => of !== null));

  function bounded(/** @type {number} */ value, /** @type {number} */ count) {
    return Math.max(0, Math.min(count - 1, value));
  }

  /** The selection that a proposal asks for, or null if it names nothing that exists. */
  function proposed(/** @type {Change} */ change, /** @type {Selection} */ selection, /** @type {Info} */ info) {
    const next = { ...selection };
    const stepped = change.step && places().find(({ name }) => name === change.step);
    if (change.step) {
      if (!stepped) return null;
      next[stepped.name] = bounded(Number(selection[stepped.name]) + Number(change.by), info.counts[stepped.of]);
    }
    for (const { name, of, optional } of places()) {
      if (!(name in change)) continue;
      if (optional && change[name] === null) {
        Object.assign(next, { [name]: null });
        continue;
      }
      const value = Number(change[name]);
      if (!Number.isInteger(value)) return null;
      next[name] = bounded(value, info.counts[of]);
    }
    Object.assign(next, app.severalIn(change, info));
    if (next.second === next.token) {
      // no token is its own second one
      if (!("token" in change) && !change.step) return null;
      next.second = null;
    }
    return next;
  }
  /* arrows go past the second token, which is restored as soon as another token is selected */
  function passBy(/** @type {Change} */ change, /** @type {Selection} */ next, /** @type {Selection} */ selection) {
    if (change.step !== "token") {
      if ("token" in change || "second" in change) passed = null;
    } else if (selection.second !== null && selection.second === next.token)
      passed = { run: selection.run, token: next.token };
    else if (passed && passed.run === selection.run && passed.token === selection.token && next.second === null) {
      if (next.token !== passed.token) next.second = passed.token;
    } else passed = null;
  }

  /* Dash is told once the marks are painted */
  function painted(/** @type {number} */ mine) {
    const once = () => {
      if (telling === mine) tell();
    };
    requestAnimationFrame(() => setTimeout(once));
  }
  function tell() {
    const { selection } = /** @type {Shows} */ (app.state);
    app.request(selection);
    clearTimeout(telling);
    telling = 0;
    toldAt = performance.now();
    serial += 1;
    const names = [...places().map(({ name }) => name), ...app.severalNames()];
    const data = Object.fromEntries(names.map((name) => [name, selection[name] ?? null]));
    window.dash_clientside.set_props(latest ? latest.from : "proposal", { data: { ...data, serial } });
    app.history.note();
  }

  function show(/** @type {Selection} */ selection) {
    app.state.selection = selection;
    app.state.hover = null;
    app.paint("selection");
  }

  /** What is known about the selection's run: newly received, or as it is shown (a later run may have failed). */
  function described(/** @type {Selection | null} */ selection, /** @type {Info | Failure | null} */ found) {
    if (!selection) return null;
    if (found && !found.error && found.run === selection.run) return found;
    const shown = app.state.info;
    return shown && shown.run === selection.run ? shown : null;
  }

  const same = (/** @type {unknown} */ a, /** @type {unknown} */ b) => JSON.stringify(a) === JSON.stringify(b);

  const triggers = () => window.dash_clientside.callback_context.triggered.map(({ prop_id }) => prop_id);

  /** The selection for a run that has arrived; null if there is none. */
  function arrival(/** @type {Info | Failure | null} */ info) {
    app.history.arrives(info || { error: true });
    if (!info || info.error) return null;
    const next = app.selectionOf({ run: info.run, ...info.start });
    app.stamp = info.stamp;
    app.stamped = info.run;
    app.refresh(next);
    return next;
  }
  /** The selection that the latest of these proposals asks for; null if nothing changes. */
  function moved(/** @type {(Proposal | null)[]} */ proposals, /** @type {Selection | null} */ selection) {
    const known = app.state.info;
    const proposal = proposals.filter(Boolean).reduce((a, b) => (a && b && a.serial > b.serial ? a : b), null);
    if (!proposal || !selection || !known || known.run !== selection.run) return null;
    const next = proposed(proposal, selection, known);
    return !next || same(next, selection) ? null : next;
  }

  /** Show what `selection` says, unless it is shown already; `found` describes a run. */
  app.receive = function (selection, found) {
    const info = described(selection, found);
    if (!info) return false;
    const isNew = app.state.info !== info;
    if (!isNew && latest && performance.now() - latest.at < PATIENCE && !same(latest.selection, selection))
      return false;
    latest = null;
    app.state.info = info;
    app.byId("page").classList.remove("empty");
    if (isNew) {
      app.state.selection = selection;
      app.paint("run");
    }
    if (isNew || !same(app.state.selection, selection)) show(selection);
    app.history.note();
    return true;
  };

  /** @type {Partial<Callbacks>} */
  const callbacks = {
    /** The only writer of `selection`. `chosen`: what was chosen in each view's figure. */
    reduce(info, proposal, ...chosen) {
      const selection = chosen.pop();
      const none = window.dash_clientside.no_update;
      if (triggers().includes("run-info.data")) return arrival(info) || none;
      if (proposal && proposal.nothing && triggers().includes("proposal.data")) return null;
      return moved([proposal, ...chosen], selection) || none;
    },

    /** What was chosen in a figure whose points say what they stand for. */
    pick(clicked) {
      const { triggered } = window.dash_clientside.callback_context;
      const none = window.dash_clientside.no_update;
      const point = clicked && clicked.points[0];
      if (!point || !point.customdata || !triggered.length) return none;
      app.propose(point.customdata, triggered[0].prop_id.replace(/-graph\.clickData$/, ""));
      return none; // `propose` writes it, at its own pace
    },

    /** Paint what `selection` says, unless `propose` has done so already; returns the steppers' values. */
    paint(selection, found) {
      const { no_update: none, PreventUpdate } = window.dash_clientside;
      if (!selection || !app.receive(selection, found)) throw PreventUpdate;
      const values = /** @type {const} */ (["layer", "head"]).map((name) =>
        app.byId(name).value === String(selection[name]) ? none : String(selection[name]),
      );
      // Dash treats each `no_update` as a change of its component
      if (values.every((value) => value === none)) throw PreventUpdate;
      return values;
    },
  };
  Object.assign(own, callbacks);
});
