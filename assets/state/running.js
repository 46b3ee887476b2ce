/* A run while it computes, and what is said of it: progress, a run that was lost, notices, the worker's state. */
(window.dashboardParts = window.dashboardParts || []).push((app) => {
  "use strict";
  const own = window.dash_clientside.dashboard;
  /** @type {SetProps} */ const props = (id, values) => window.dash_clientside.set_props(id, values);
  const PHASES = [
    ["load", "Model in memory"],
    ["layers", "Layers"],
    ["predictions", "Predictions"],
    ["save", "Save"],
  ];
  /** @type {Health | null} */ let health = null;
  let started = 0;
  /** @type {RunProgress | null} */ let progress = null;
  let clock = 0;
  let appear = 0;

  /* progress */
  own.progress = function (data, form) {
    const told = window.dash_clientside.callback_context.triggered.some((t) => t.prop_id === "progress-state.data");
    heard = performance.now();
    if (form === "running") {
      if (data && started && told) {
        // else it is of the run before
        if (!progress || progress.phase !== data.phase) app.sayBeside(phaseText(data.phase, data.phase, data));
        progress = data;
      }
    } else progress = null;
    drawProgress();
  };

  /* Dash's polling ends for good when one poll fails: then the page says so instead of waiting for ever */
  const SILENCE = 8000;
  let heard = 0;
  async function listen() {
    if (app.state.working && performance.now() - heard > SILENCE && !document.hidden) {
      const since = performance.now();
      heard = since;
      let reached;
      try {
        reached = (await fetch(app.url("health"))).ok;
      } catch {
        reached = false;
      }
      if (!reached) await window.dashboardSignIn.probe();
      if (!app.state.working || heard !== since) return; // a sign came meanwhile
      props("form-state", { data: "idle" });
      lose(reached ? "The page lost track of its run." : "The server does not answer.");
    }
  }
  function lose(/** @type {string} */ what) {
    app.state.outcome = { error: true };
    if (window.dashboardSignIn.ended()) window.dashboardSignIn.tell();
    else
      showNotice({
        lead: "Error.",
        again: true,
        text: what + " Your text is still in the box. Run again: anything computed in the meantime is kept.",
      });
    app.captions();
  }
  /* and where a poll is answered with an error, or with nothing, Dash ends the run without any outcome */
  const SETTLE = 1500;
  let ending = 0;
  function ended() {
    if (!app.state.working && !app.state.outcome) lose("The page lost track of its run.");
  }
  setInterval(listen, 1000);
  document.addEventListener("visibilitychange", () => {
    heard = performance.now();
  }); // a hidden page polls seldom
  own.formState = function (form) {
    const page = app.byId("page");
    clearTimeout(appear);
    clearInterval(clock);
    clearTimeout(ending);
    app.state.working = form === "running";
    if (form === "running") {
      started = heard = performance.now();
      progress = null;
      app.state.outcome = null;
      hideNotice();
      appear = setTimeout(() => {
        page.classList.add("working");
        drawProgress();
        clock = setInterval(drawProgress, 100);
      }, 200);
    } else {
      page.classList.remove("working");
      if (started) ending = setTimeout(ended, SETTLE);
      started = 0;
    }
    app.keepText();
    app.captions();
    status();
  };
  function phaseAt(/** @type {RunProgress | null} */ now) {
    return now && now.phase === "fetch" ? "load" : now && now.phase;
  } // a download stands where loading does
  function phaseText(/** @type {string} */ name, /** @type {string} */ title, /** @type {RunProgress | null} */ now) {
    if (!now || name !== phaseAt(now)) return title;
    if (name === "layers" && now.total) return `Layer ${now.done} of ${now.total}`;
    if (name === "load") return now.message || "Loading the model";
    return now.total ? `${title} ${now.done} of ${now.total}` : title;
  }
  function share(/** @type {RunProgress | null} */ now) {
    if (!now) return 0.02;
    const part = now.total ? (now.done || 0) / now.total : 0;
    return (
      {
        queued: 0.02,
        fetch: part || 0.02,
        load: 0.04 + 0.16 * part,
        layers: 0.2 + 0.6 * part,
        predictions: 0.8 + 0.15 * part,
        save: 0.97,
      }[now.phase] || 0.02
    );
  }
  function drawProgress() {
    const line = app.byId("progress");
    if (!line || !app.byId("page").classList.contains("working")) return;
    /** @type {HTMLElement} */ (document.querySelector(".bar-fill")).style.width =
      (100 * share(progress)).toFixed(1) + "%";
    line.replaceChildren();
    if (!progress || progress.phase === "queued") {
      line.append(app.make("span", "now", (progress && progress.message) || "Waiting for the worker"));
    }
    const at = progress ? PHASES.findIndex(([name]) => name === phaseAt(progress)) : -1;
    PHASES.forEach(([name, title], i) => {
      const text = phaseText(
        name,
        name === "layers" && app.state.model && app.state.model.layers ? `${app.state.model.layers} layers` : title,
        progress,
      );
      line.append(app.make("span", i === at ? "now" : "", i < at ? "✓ " + title : text));
    });
    line.append(app.make("span", "time", ((performance.now() - started) / 1000).toFixed(1) + " s"));
    if (app.state.info)
      line.append(
        app.make(
          "span",
          "aside",
          `Below: the previous run, “${app.begin(app.state.info.text, app.state.info.pair)}”, until this one is done`,
        ),
      );
  }

  /* notices */
  function hideNotice() {
    const box = app.byId("notice");
    if (!box || !box.childElementCount) return;
    box.replaceChildren();
    app.refit(); // a notice takes room from the figures, which would hang out of their cards until Plotly follows
  }
  app.notify = showNotice;
  app.hideNotice = hideNotice;
  /** What a notice of this origin told is over. */
  app.notifyOver = (from) => {
    if (app.byId("notice").dataset.from === from) hideNotice();
  };
  function showNotice(/** @type {Notice} */ { lead, text, details, again, plain, from, reload }) {
    const box = app.byId("notice");
    if (window.dashboardSignIn.ended() && from !== "sign-in") return; // all else that fails now comes of that
    box.dataset.from = from || "";
    const notice = app.make("div", "notice" + (plain ? " plain" : ""));
    const what = app.make("div", "what");
    what.append(app.make("b", "", lead + " "), app.unparted(text));
    notice.append(what);
    if (details) {
      const button = app.make("button", "", "Show details");
      button.addEventListener("click", () => {
        const open = what.querySelector("pre");
        if (open) open.remove();
        else what.append(app.make("pre", "", details));
        button.textContent = open ? "Show details" : "Hide details";
      });
      notice.append(button);
    }
    if (again) {
      const button = app.make("button", "strong", "Run again");
      button.addEventListener("click", () => app.byId("run").click());
      notice.append(button);
    }
    if (reload) {
      const button = app.make("button", "strong", "Reload");
      button.addEventListener("click", () => window.location.reload());
      notice.append(button);
    }
    const close = app.make("button", "", "Close");
    close.addEventListener("click", hideNotice);
    notice.append(close);
    box.replaceChildren(notice);
    app.refit();
  }

  /* the worker's state */
  app.status = status;
  function status() {
    const node = app.byId("model-state");
    if (!node) return;
    if (app.state.working) {
      node.textContent = "Working";
      return;
    }
    if (!health) {
      node.textContent = "";
      return;
    }
    const texts = {
      ready: "Ready",
      busy: "Ready",
      starting: health.message || "Starting",
      none: "No worker is running",
    };
    const chosen = app.chosen();
    const entry = app.modelOf(chosen);
    const loads = health.worker === "ready" && entry && !(health.models || []).includes(chosen || "");
    if (loads && !entry.here) {
      node.textContent = "Downloads when you press Run";
      return;
    }
    node.textContent = loads ? "Loads when you press Run" : texts[health.worker] || "";
  }
  async function ask() {
    if (document.hidden || app.embedded()) return; // there it has no worker
    if (window.dashboardSignIn.ended()) {
      app.byId("model-state").textContent = "Signed out";
      return;
    }
    try {
      const reply = await fetch(app.url("health"));
      if (window.dashboardSignIn.ended()) return;
      health = reply.ok ? await reply.json() : null;
      if (health) app.reached();
      status();
    } catch {
      const node = app.byId("model-state");
      if (node) node.textContent = "No connection to the server";
    }
  }
  let asking = 0;
  function askAgain() {
    ask().finally(() => {
      asking = setTimeout(askAgain, health && health.worker === "ready" ? 4000 : 1000);
    });
  }
  document.addEventListener("DOMContentLoaded", () => {
    clearTimeout(asking);
    askAgain();
  });
});
