/* The tokenizer that a model without one is given: another model's, chosen below the text. */
(window.dashboardParts = window.dashboardParts || []).push((app) => {
  "use strict";
  const own = window.dash_clientside.dashboard;
  /** @type {string | null} */ let lent = null;
  app.lentTokenizer = () => lent;
  own.tokenizerChosen = function (name, tokenizer, entries) {
    const facts = app.arrivedModel(name) || (entries || {})[name];
    const mute = Boolean(facts && facts.mute);
    const news = lent !== (tokenizer || null);
    lent = tokenizer || null;
    app.byId("tokenizer-box").hidden = !mute;
    app.arrangeChat();
    if (!mute || !news) return;
    app.countTokens();
    app.keepText();
    app.captions();
  };
});
