/* Which changes are one step of the history. */
(window.dashboardParts = window.dashboardParts || []).push((app) => {
  "use strict";
  const JOINED = 100; // milliseconds within which two changes are one step (Chromium takes 200 writes in 10 s)
  const HELD = 600; // the same by key: a key held down, or pressed again and again

  /** What kind of step leads to an entry { selection, options }: "run", or the names of what differs. */
  app.stepKind = function (entry, before, controls) {
    const [now, then] = [entry.selection, before.selection];
    if (!now || !then || now.run !== then.run) return "run";
    const names = /** @type {(keyof Selection)[]} */ (Object.keys(now)).filter((name) => now[name] !== then[name]);
    return [...names, ...controls.filter((name) => entry.options[name] !== before.options[name])].join();
  };
  /** Whether a step at a time `at` is part of the last one { kind, at }; `byKey`: it was made with a key. */
  app.joins = function (kind, last, at, byKey) {
    return kind !== "run" && (at - last.at < JOINED || (byKey && kind === last.kind && at - last.at < HELD));
  };
});
