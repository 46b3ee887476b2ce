/* Where each run was left, for this browser: Recent opens it there. */
(window.dashboardParts = window.dashboardParts || []).push((app) => {
  "use strict";
  const PLACES = "places";
  const MOST_PLACES = 200;
  /** @type {Map<string, Address> | null} */ let places = null;
  let saving = 0;
  function leftAt() {
    if (places) return places;
    let raw = null;
    try {
      raw = JSON.parse(window.localStorage.getItem(PLACES) || "null");
    } catch {
      /* private window: known until a reload */
    }
    places = new Map(
      Array.isArray(raw) ? raw.filter((pair) => Array.isArray(pair) && typeof pair[0] === "string") : [],
    );
    return places;
  }
  function leave(/** @type {Address} */ { run, ...place }) {
    if (app.embedded()) return;
    leftAt().delete(run);
    leftAt().set(run, place);
    if (!saving) saving = setTimeout(() => savePlaces(), 1000);
  }
  /** @param {string=} gone */
  function savePlaces(gone) {
    clearTimeout(saving);
    saving = 0;
    const mine = [...leftAt()];
    places = null; // another tab may have noted others
    const all = leftAt();
    for (const [run, place] of mine) {
      all.delete(run);
      all.set(run, place);
    }
    if (gone) all.delete(gone);
    for (const run of [...all.keys()].slice(0, -MOST_PLACES)) all.delete(run);
    try {
      window.localStorage.setItem(PLACES, JSON.stringify([...all]));
    } catch {
      /* as above */
    }
  }

  app.left = {
    /** Note where a run is left: its address, by parameter. */
    at: leave,
    of: (run) => leftAt().get(run),
    /** Forget where a deleted run was left. */
    forget(run) {
      leftAt().delete(run);
      savePlaces(run);
    },
  };
  window.addEventListener("pagehide", () => {
    if (saving) savePlaces();
  });
});
