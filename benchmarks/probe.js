/* Measures in the page, for benchmarks/interaction.py and tabs.py: from a click to the frame that shows its result. */
(() => {
  const CARDS = ["attention", "hidden", "prediction"];
  const FIELDS = /** @type {const} */ (["token", "second", "layer", "head", "heads", "tokens"]);
  /** @type {Record<string, number>} */ const drawn = {}; // per view: how often Plotly has drawn its figure
  /** @type {Record<string, number>} */ const said = {}; // per view: how often its words have changed
  const listening = new WeakSet();
  const watched = new WeakSet();
  const touched = new Set();
  /** @type {Goal[]} */ let goals = [];
  let pending = 0;
  let quietSince = 0;

  const fetched = window.fetch;
  window.fetch = (...args) => {
    pending += 1;
    return fetched(...args).finally(() => {
      pending -= 1;
      quietSince = performance.now();
    });
  };
  const graphOf = (/** @type {string} */ name) => document.querySelector(`#${name}-graph .js-plotly-plot`);
  const metaOf = (/** @type {string} */ name) => {
    const graph = graphOf(name);
    return /** @type {Partial<FigureMeta>} */ ((graph && graph.layout && graph.layout.meta) || {});
  };

  const byId = (/** @type {string} */ id) => document.getElementById(id);
  const press = (/** @type {string} */ selector) =>
    /** @type {HTMLElement} */ (document.querySelector(selector)).click();

  function afterFrame(/** @type {() => void} */ then) {
    requestAnimationFrame(() => {
      const channel = new MessageChannel();
      channel.port1.onmessage = then;
      channel.port2.postMessage(null);
    });
  }
  function check() {
    for (const goal of goals) {
      if (goal.reached || !goal.test()) continue;
      goal.reached = true;
      Promise.resolve(goal.then && goal.then()).then(() => afterFrame(() => goal.resolve(performance.now())));
    }
  }
  /** @param {Element | null} element @param {string} name @param {string=} only */
  function watch(element, name, only) {
    if (!element || watched.has(element)) return;
    watched.add(element);
    new MutationObserver((records) => {
      if (only && !records.some((record) => record.target instanceof Element && record.target.closest(only))) return;
      touched.add(name);
      check();
    }).observe(element, { childList: true, subtree: true, attributes: true, characterData: true });
  }
  function attach() {
    for (const box of document.querySelectorAll(".figure > [id$=-graph]")) {
      const name = box.id.slice(0, -"-graph".length);
      const graph = graphOf(name);
      if (!graph || typeof graph.on !== "function" || listening.has(graph)) continue;
      listening.add(graph);
      drawn[name] = (drawn[name] || 0) + (graph._fullLayout ? 1 : 0); // drawn before anybody could listen
      watch(byId(`${name}-figure`), name, "svg.over");
      graph.on("plotly_afterplot", () => {
        drawn[name] += 1;
        check();
      });
    }
    watch(byId("tokens"), "tokens");
    watch(byId("prediction-heading"), "words");
    watch(byId("prediction-body"), "words");
  }
  /* milliseconds from act() to each goal's painting, null where it is not reached */
  /** @param {() => void} act @param {Record<string, Pick<Goal, "test" | "then">>} tests @param {number} limit */
  async function measure(act, tests, limit) {
    attach();
    touched.clear();
    performance.clearResourceTimings();
    const names = Object.keys(tests);
    const reached = names.map(
      (name) =>
        new Promise((resolve) => {
          goals.push({ ...tests[name], resolve, reached: false });
          setTimeout(() => resolve(null), limit);
        }),
    );
    const start = performance.now();
    act();
    check();
    const times = await Promise.all(reached);
    goals = [];
    await quiet(limit);
    /** @type {Record<string, number | null>} */
    const found = {
      ...Object.fromEntries(names.map((name, i) => [name, times[i] === null ? null : times[i] - start])),
      bytes: bytes(),
    };
    return found;
  }
  async function quiet(/** @type {number} */ limit) {
    const end = performance.now() + limit;
    const busy = () => pending || performance.now() - quietSince < 150;
    while (busy() && performance.now() < end) await new Promise((done) => setTimeout(done, 30));
  }
  function bytes() {
    const all = /** @type {PerformanceResourceTiming[]} */ (performance.getEntriesByType("resource"));
    const own = all.filter((entry) => !entry.name.endsWith("/health"));
    return own.reduce((sum, entry) => sum + entry.encodedBodySize, 0);
  }
  const decoded = () => window.dashboardApp.cells.ready();
  performance.setResourceTimingBufferSize(20000);

  document.addEventListener("view-words", ({ detail }) => {
    if (!detail.changed || detail.awaits.length) return;
    said[detail.view] = (said[detail.view] || 0) + 1;
    check();
  });
  /* whether a view's figure is whole, of what is selected now and of these options */
  /** @param {string} view @param {string[]} options */
  function isOfNow(view, options) {
    const meta = metaOf(view);
    const { selection } = window.dashboardApp.state;
    if (!selection || !meta.whole || meta.run !== selection.run) return false;
    const asked = meta.reading ? Object.keys(meta.reading.asks) : [];
    const place = /** @type {Record<string, unknown>} */ (meta); // the selection that it was drawn for
    const same = (/** @type {(typeof FIELDS)[number]} */ field) =>
      (place[field] ?? null) === (selection[field] ?? null);
    return (
      FIELDS.every((field) => !(meta.reads || []).includes(field) || same(field)) &&
      options.every((name) => asked.includes(name))
    );
  }
  /* the table of heads is its own figure: the row of the selected head stands in it, marked */
  function hasRow() {
    const { selection } = window.dashboardApp.state;
    const row = selection && `${selection.layer}.${selection.head}`;
    return document.querySelector(`#heads-rows .ag-row[row-id="${row}"][aria-current]`) !== null;
  }
  /* milliseconds from act() until a view's figure and words are of what is then selected and chosen */
  /** @param {string} view @param {() => void} act @param {number} limit @param {Partial<Watched>} of */
  function painted(view, act, limit, { options = [], marks = false, words = true } = {}) {
    attach();
    const before = { drawn: drawn[view] || 0, said: said[view] || 0 };
    const figure = () => (marks ? touched.has(view) : drawn[view] > before.drawn) && isOfNow(view, options);
    const isThere = () => (view === "heads" ? hasRow() : figure() && (!words || said[view] > before.said));
    const look = setInterval(() => {
      attach(); // a tab that opens for the first time has a new graph
      check();
    }, 4);
    return measure(act, { painted: { test: isThere, then: decoded } }, limit).finally(() => clearInterval(look));
  }

  window.bench = {
    quiet,
    /* a tab of the Attention card */
    open: (/** @type {string} */ view, /** @type {number} */ limit) =>
      painted(view, () => press(`#attention-tab-${view}`), limit, { words: view !== "heads" }),
    /* a token, while a tab is open; `marks`: its figure stays, and only what is painted over it changes */
    tokenIn: (/** @type {string} */ view, /** @type {number} */ token, /** @type {Partial<Watched>} */ of) =>
      painted(view, () => press(`#tokens [data-token="${token}"]`), 10000, of),
    headIn(
      /** @type {string} */ view,
      /** @type {number} */ layer,
      /** @type {number} */ head,
      /** @type {number} */ limit,
      /** @type {string[]} */ options,
    ) {
      const selector = `#attention-heads button[data-layer="${layer}"][data-head="${head}"]`;
      return painted(view, () => press(selector), limit, { options });
    },
    /* options of the heatmap: those that are then not at their default */
    set: (/** @type {Options} */ values, /** @type {string[]} */ options, /** @type {number} */ limit) =>
      painted("attention", () => window.dashboardApp.history.set(values), limit, { options }),
    token(/** @type {number} */ token) {
      const button = /** @type {HTMLElement} */ (document.querySelector(`#tokens [data-token="${token}"]`));
      const before = drawn.prediction || 0;
      const everywhere = () => ["tokens", "attention", "hidden"].every((name) => touched.has(name));
      return measure(
        () => button.click(),
        {
          highlights: { test: () => button.getAttribute("aria-pressed") === "true" && everywhere() },
          predictions: { test: () => drawn.prediction > before && touched.has("words") },
        },
        10000,
      );
    },
    head(/** @type {number} */ layer, /** @type {number} */ head) {
      const before = drawn.attention || 0;
      const button = /** @type {HTMLElement} */ (
        document.querySelector(`#attention-heads button[data-layer="${layer}"][data-head="${head}"]`)
      );
      const shown = () => {
        const meta = metaOf("attention");
        return meta.layer === layer && meta.head === head;
      };
      const heatmap = { test: () => drawn.attention > before && shown(), then: decoded };
      return measure(() => button.click(), { heatmap }, 10000);
    },
    run(/** @type {number} */ limit) {
      const state = window.dashboardApp.state;
      const old = state.selection ? state.selection.run : null;
      const before = { ...drawn };
      const painted = () => {
        const run = state.selection && state.selection.run;
        if (!run || run === old) return false;
        const loaded = performance.getEntriesByType("resource");
        const pictures = loaded.some((entry) => entry.name.includes(`/run/${run}/heads?`));
        const redrawn = (/** @type {string} */ name) => drawn[name] > (before[name] || 0) && metaOf(name).run === run;
        return pictures && touched.has("words") && CARDS.every(redrawn);
      };
      /** @type {number | null} */ let known = null;
      const grid = () => {
        const run = state.info && state.info.run;
        if (!run || run === old) return false;
        if (known === null) known = performance.now();
        const canvas = document.querySelector("#attention-heads canvas");
        return canvas !== null && canvas.dataset.run === run;
      };
      const look = setInterval(check, 5); // neither the heads' arrival nor their painting changes an element
      const tests = { all: { test: painted, then: decoded }, heads: { test: grid } };
      const start = performance.now();
      return measure(() => window.dashboardApp.byId("run").click(), tests, limit)
        .then((found) => ({ ...found, heads: found.heads === null ? null : found.heads - (Number(known) - start) }))
        .finally(() => clearInterval(look));
    },
  };
})();
