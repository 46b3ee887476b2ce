/* Components of tabs that are large to load: each is made when its tab is first opened (`View.late`). */
(window.dashboardParts = window.dashboardParts || []).push((app) => {
  "use strict";
  app.onPaint((state, what) => {
    if (what !== "options" && what !== "run") return;
    for (const box of document.querySelectorAll("[data-late]:not([data-made])")) {
      if (!app.isOpen(box.id.replace(/-late$/, ""))) continue;
      box.dataset.made = "";
      window.dash_clientside.set_props(box.id, { children: JSON.parse(box.dataset.late) });
    }
  });
});
