/* A run of two texts in the strip, and a hint for who typed a separator into one. */
(window.dashboardParts = window.dashboardParts || []).push((app) => {
  "use strict";
  /** What stands before a token in the strip: a divider, where the second text begins. */
  app.dividerAt = function (token) {
    if (!app.state.info || token !== app.state.info.divider) return [];
    const line = app.make("span", "second-begins");
    line.setAttribute("role", "separator");
    line.setAttribute("aria-orientation", "vertical");
    line.setAttribute("aria-label", "Second text");
    line.title = "The second text begins here";
    return [line];
  };
  /** While typing: a separator in one text, for a model that takes pairs, makes none. */
  let usual = "";
  app.suggestPair = function (separator) {
    const button = app.byId("add-pair");
    usual = usual || button.title;
    const why = separator ? `“${separator}” makes no pair. Press Add a second text, and enter it there.` : usual;
    button.classList.toggle("suggested", why !== usual);
    if (why !== usual && why !== button.title) app.sayBeside(why);
    button.title = why;
  };
  app.onPaint((state, what) => {
    if (what !== "run") return;
    const model = app.modelOf(state.info.model);
    const { separator } = state.info;
    if (!separator || !model || !model.pairs || app.embedded()) {
      app.notifyOver("separator");
      return;
    }
    app.notify({
      lead: "One text.",
      text:
        `“${app.isolated(separator)}” in the text does not make a pair: this model reads all of it as one text. ` +
        "For a pair, press Add a second text and enter it there.",
      plain: true,
      from: "separator",
    });
  });
});
