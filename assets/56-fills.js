/* Masked positions whose predictions a second job computes: what the views wait for is asked for, at most the selected
   token's and the second token's at a time. A job that failed is told in the card, and is asked for again by hand. */
(function () {
  "use strict";
  const app = window.dashboardApp;
  const own = window.dash_clientside.dashboard;
  const SILENCE = 24000; // without any sign of a job
  const LANES = [
    { request: "fill-request", filled: "filled", progress: "fill-progress" },
    { request: "fill-request-second", filled: "filled-second", progress: "fill-progress-second" },
  ].map((lane) => ({ ...lane, asked: null, silent: 0 }));
  const failed = new Map(); // job of a capture → its outcome
  const waiting = new WeakMap(); // place of an error → the words that stood there while it was computed
  let serial = 0;

  const job = ({ run, position }) => `${run}.fill-${position}`;
  const failure = (wanted) => `${app.stamp} ${job(wanted)}`; // of the run as it was captured

  function ask(lane, wanted) {
    if (lane.asked && job(lane.asked) === job(wanted)) return;
    lane.asked = wanted;
    serial += 1;
    window.dash_clientside.set_props(lane.request, { data: { ...wanted, serial } });
    watch(lane);
  }
  function watch(lane) {
    clearTimeout(lane.silent);
    if (lane.asked) lane.silent = setTimeout(() => end(lane, { error: "The prediction at this position did not come." }), SILENCE);
  }
  function end(lane, outcome) {
    const wanted = lane.asked;
    clearTimeout(lane.silent);
    lane.asked = null;
    if (!wanted || outcome.cancelled) return;
    if (outcome.error) { failed.set(failure(wanted), outcome); say(wanted, outcome); } else if (app.state.selection) app.askAgain(app.state.selection);
  }
  const places = (position) => document.querySelectorAll(`[data-waits="${position}"]`);
  /* the reason in place of the words that say that it is computed */
  function say({ run, position }, outcome) {
    if (!app.state.selection || app.state.selection.run !== run) return;
    for (const place of places(position)) {
      if (!waiting.has(place)) waiting.set(place, [...place.childNodes]);
      const again = app.make("button", "quiet", "Try again");
      again.type = "button";
      again.addEventListener("click", () => retry({ run, position }));
      place.replaceChildren(place.tagName === "DIV" ? app.make("b", "", outcome.error) : outcome.error, " ", again);
    }
    app.say(outcome.error);
  }

  function retry({ run, position }) {
    failed.delete(failure({ run, position }));
    for (const place of places(position)) if (waiting.has(place)) place.replaceChildren(...waiting.get(place));
    app.askAgain(app.state.selection);
  }

  document.addEventListener("all-words", ({ detail: { run, awaits } }) => {
    const { token, second } = app.state.selection;
    for (const position of awaits) {
      const outcome = failed.get(failure({ run, position }));
      if (outcome) say({ run, position }, outcome);
      else if (position === token || position === second) ask(LANES[position === token ? 0 : 1], { run, position });
    }
  });

  /** What Dash tells of both lanes: request, outcome and progress each. */
  own.fills = function (...told) {
    const triggered = window.dash_clientside.callback_context.triggered.map((t) => t.prop_id);
    LANES.forEach((lane, i) => {
      const outcome = told[3 * i + 1];
      const of = outcome && (outcome.run || outcome.key);
      if (triggered.includes(`${lane.filled}.data`) && outcome && lane.asked && (!of || of === job(lane.asked))) end(lane, outcome);
      else if (triggered.includes(`${lane.progress}.data`)) watch(lane);
    });
  };
})();
