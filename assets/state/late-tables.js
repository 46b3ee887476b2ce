/*
 * Tables, whose script is a seventh of all that the page loads: it is loaded with the first of them, and each is made
 * when it is first seen. Those of tabs (`View.late`) are made here.
 */
(window.dashboardParts = window.dashboardParts || []).push((app) => {
  "use strict";
  /** @type {Promise<unknown> | null} */ let loading = null;

  function load() {
    return new Promise((resolve, reject) => {
      const script = app.make("script");
      script.src = app.url(app.byId("page").dataset.tables);
      script.addEventListener("load", resolve);
      script.addEventListener("error", reject);
      document.head.append(script);
    });
  }
  /** Load the script of tables, before it is needed. */
  app.loadTables = () => {
    loading = loading || load();
    return loading;
  };
  /** Give a component of Dash's a property with a component that holds a table; whether that could be loaded. */
  app.makeLate = async function (id, made, property = "children") {
    try {
      await app.loadTables();
    } catch {
      loading = null;
      app.notify({
        lead: "The table could not be loaded.",
        text: "The server does not answer. Try again when it does.",
      });
      return false;
    }
    window.dash_clientside.set_props(id, { [property]: made });
    return true;
  };
  app.onPaint(async (state, what) => {
    if (what !== "options" && what !== "run") return;
    for (const box of document.querySelectorAll("[data-late]:not([data-made])")) {
      if (!app.isOpen(box.id.replace(/-late$/, ""))) continue;
      box.dataset.made = "";
      if (!(await app.makeLate(box.id, JSON.parse(box.dataset.late)))) delete box.dataset.made;
    }
  });
});
