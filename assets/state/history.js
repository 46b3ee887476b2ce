/*
 * History: every change of the view is an entry in the browser's history, so Undo, Redo, Back and Forward do
 * the same.
 *
 * history.state: { index, floor, selection, options }. `index` counts the entries of this page; `floor` is the first of
 * them that shows a run; `selection` is null on the empty page; `options` holds what is not at its default. The highest
 * index is in sessionStorage: an entry cannot know what lies beyond it.
 */
(window.dashboardParts = window.dashboardParts || []).push((app) => {
  "use strict";
  const own = window.dash_clientside.dashboard;
  /** @type {SetProps} */ const props = (id, values) => window.dash_clientside.set_props(id, values);
  const same = (/** @type {unknown} */ a, /** @type {unknown} */ b) => JSON.stringify(a) === JSON.stringify(b);
  const TOP = "history-top";
  const WRITE_EVERY = 120;
  const ANSWER = 15000; // how long another run may take to open before changes are recorded again

  /** @type {Entry} */ let now = { index: 0, floor: 0, selection: null, options: {} };
  let top = 0;
  /** @type {Step} */ let last = { kind: null, at: -Infinity };
  let byKey = false;
  let writing = 0;
  let asked = -Infinity; // when a step asked for a run
  /** @type {{ run: string; replace: boolean } | null} */ let landing = null; // a run that is not recorded yet
  /** @type {{ options: Options; at: number } | null} */
  let expected = null; // options that were set but not all confirmed yet
  let serial = 0;
  app.state.options = {};
  // inside another page, the browser's history belongs to that page, so the list is kept here
  /** @type {Entry[]} */ const steps = [];

  const place = (/** @type {Shown} */ entry) =>
    entry.selection ? "?" + new URLSearchParams(app.address.of(entry)).toString() : window.location.href;

  /* the browser's list */
  function remember(/** @type {number} */ index) {
    top = index;
    try {
      window.sessionStorage.setItem(TOP, String(index));
    } catch {
      /* private window: Redo is known until a reload */
    }
  }
  function write() {
    clearTimeout(writing);
    writing = 0;
    window.history.replaceState(now, "", place(now));
  }
  function writeSoon() {
    if (!writing) writing = setTimeout(write, WRITE_EVERY);
  }
  function push(/** @type {Shown} */ entry) {
    if (writing) write();
    if (app.embedded()) {
      steps.length = now.index;
      steps.push(now);
    }
    now = { ...entry, index: now.index + 1, floor: now.selection ? now.floor : now.index + 1 };
    remember(now.index);
    if (app.embedded()) {
      steps.push(now);
      write();
    } else window.history.pushState(now, "", place(now));
  }

  function step(/** @type {Shown} */ entry) {
    const at = performance.now();
    const kind = app.stepKind(
      entry,
      now,
      app.address.controls.map(({ name }) => name),
    );
    const joins = app.joins(kind, last, at, byKey);
    last = { kind, at };
    if (!joins) {
      push(entry);
      return;
    }
    now = { ...now, ...entry };
    if (top > now.index) remember(now.index);
    writeSoon();
  }

  app.history = {
    canUndo: () => now.index > now.floor,
    canRedo: () => now.index < top,
    /** One step back (-1) or forward (1), if there is one. */
    go(by) {
      if (by < 0 ? !app.history.canUndo() : !app.history.canRedo()) return;
      if (writing) write();
      if (!app.embedded()) {
        window.history.go(by);
        return;
      }
      steps[now.index] = now;
      now = steps[now.index + by];
      write();
      travel(now);
    },

    /**
     * The cards' options that are not at their default, as they are, or as they are about to be; null while none is
     * known.
     */
    options: () =>
      app.address.controls.length ? app.address.given(expected ? expected.options : app.state.options) : null,

    /** Set some of the options, by name. */
    set(options) {
      for (const { id, property, name } of app.address.controls) {
        if (name in options && options[name] !== app.state.options[name]) props(id, { [property]: options[name] });
      }
    },
    /** Take the values of the controls as the cards' options; gives those that are not at their default. */
    optionsAre(known, values) {
      app.address.controls = known;
      app.state.options = Object.fromEntries(app.address.controls.map(({ name }, i) => [name, values[i]]));
      return app.address.given(app.state.options);
    },

    /** Record what is shown now, unless it is recorded already. */
    note() {
      const { selection, options } = app.state;
      if (!selection || !app.address.controls.length) return;
      const entry = { selection, options: app.address.given(options) };
      if (expected) {
        if (!same(entry.options, app.address.given(expected.options)) && performance.now() - expected.at < ANSWER)
          return;
        expected = null;
      }
      if (landing) {
        if (selection.run !== landing.run) return;
        const { replace } = landing;
        landing = null;
        if (replace) {
          now = { ...now, ...entry, floor: now.selection ? now.floor : now.index };
          app.left.at(app.address.of(entry));
          write();
          app.paint("history");
          return;
        }
      } else if (performance.now() - asked < ANSWER) return;
      app.left.at(app.address.of(entry));
      if (same(entry, { selection: now.selection, options: now.options })) return;
      step(entry);
      app.paint("history");
    },

    /** A run has arrived. It is a step of its own unless an entry of the list asked for it. */
    arrives(info) {
      asked = -Infinity;
      if (info.error) return;
      landing = { run: info.run, replace: Boolean(info.opened) && info.via !== "recent" };
      // the controls may not be known yet
      const options = app.openTabs(info, app.address.controls);
      if (options) expected = { options, at: performance.now() };
    },

    /** Open the current run again, keeping the selection and adding no step. */
    again() {
      serial += 1;
      props("address", { data: { ...app.address.now(), via: "again", serial } });
    },
    /** Open a run of this server where it was left, as a step of its own. */
    open(run) {
      serial += 1;
      props("address", { data: { ...app.left.of(run), run, via: "recent", serial } });
    },
    /** Forget where a deleted run was left. */
    forget(run) {
      app.left.forget(run);
    },
  };

  function travel(/** @type {Entry} */ entry) {
    last = { kind: null, at: -Infinity };
    landing = null;
    expected = null;
    if (entry.selection) entry = { ...entry, selection: app.selectionOf(entry.selection) };
    const shown = app.state.selection;
    const waits = performance.now() - asked < ANSWER;
    if (!entry.selection) {
      asked = -Infinity;
      app.showNothing();
    } else if (shown && shown.run === entry.selection.run && !waits) {
      expected = { options: entry.options, at: performance.now() };
      serial += 1;
      props("travel", { data: { options: entry.options, serial } });
      app.present(entry.selection);
      app.history.note();
    } else {
      asked = performance.now();
      serial += 1;
      props("address", { data: { ...app.address.of(entry), via: "step", serial } });
    }
    app.paint("history");
  }
  window.addEventListener("popstate", (event) => {
    clearTimeout(writing);
    writing = 0;
    if (event.state && Number.isInteger(event.state.index)) {
      now = event.state;
      if (app.byId("page")) travel(now); // else the page, once it is there, shows its address
    } else {
      // a link inside the page
      now = { ...now, index: now.index + 1 };
      remember(now.index);
      write();
      app.paint("history");
    }
  });
  window.addEventListener("pagehide", () => {
    if (writing) write();
  });

  /* how the last change was made */
  document.addEventListener(
    "keydown",
    () => {
      byKey = true;
    },
    true,
  );
  document.addEventListener(
    "pointerdown",
    () => {
      byKey = false;
    },
    true,
  );

  /* at the start: after a reload, take up its entry; otherwise begin with a first one */
  const state = window.history.state;
  if (state && Number.isInteger(state.index)) {
    now = state;
    let highest = now.index;
    try {
      highest = Number(window.sessionStorage.getItem(TOP)) || 0;
    } catch {
      /* as above */
    }
    top = Math.max(now.index, highest);
  } else {
    remember(0);
    window.history.replaceState(now, "", window.location.href);
  }

  /* called by Dash */

  /** The cards' options as they are now. */
  own.optionsChosen = function (...values) {
    app.history.optionsAre(values.pop(), values);
    app.history.note();
    app.address.controls.forEach((one, i) => {
      if (app.address.isEmpty(one, values[i])) props(one.id, { [one.property]: one.standard });
    }); // and its field shows it
    app.paint("options");
  };
  /** The only writer of the cards' options apart from the person: sets what a link, a step or an example asks for. */
  own.placeOptions = function (info, step, known, ...values) {
    const triggered = window.dash_clientside.callback_context.triggered.map((t) => t.prop_id);
    const wanted = triggered.includes("run-info.data") ? info && !info.error && info.options : step && step.options;
    const next = known.map(({ name, standard }) => (wanted && name in wanted ? wanted[name] : standard));
    return next.map((value, i) => (!wanted || value === values[i] ? window.dash_clientside.no_update : value));
  };
});
