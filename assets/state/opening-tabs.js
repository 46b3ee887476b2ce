/* The tabs that a run opens with: a classifier's classes, which another model's run closes again. */
(window.dashboardParts = window.dashboardParts || []).push((app) => {
  "use strict";
  /** The cards' options as they will be once a run has come; null where they stay as they are. */
  app.openTabs = function ({ opens = {}, options }, controls) {
    const last = app.address.opens;
    app.address.opens = opens;
    if (options) return options; // which name the open tabs
    /** @type {Options} */ const tabs = {};
    for (const { name, standard } of controls) {
      if (opens[name] === last[name]) continue;
      if (name in opens) tabs[name] = opens[name];
      else if (app.state.options[name] === last[name]) tabs[name] = standard;
    }
    if (!Object.keys(tabs).length) return null;
    setTimeout(() => app.history.set(tabs), 0);
    return { ...app.state.options, ...tabs };
  };
});
