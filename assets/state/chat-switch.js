/*
 * A text as a chat message: the switch beside the text box, for models that have a chat template. The template is
 * rendered on the server, in a process with limits.
 */
(window.dashboardParts = window.dashboardParts || []).push((app) => {
  "use strict";
  let on = false;
  /* whose files have the template: the model's own, or those of the model that lends it a tokenizer */
  function reader() {
    const model = app.modelOf(app.chosen());
    return model && model.mute ? app.modelOf(app.lentTokenizer()) : model;
  }
  /* a model that is not here yet may have one: its run says so */
  function shows() {
    const facts = reader();
    return Boolean(facts && (facts.chat || (on && !facts.here)));
  }
  /** Whether a run would read the text as a chat message. */
  app.chat = () => on && shows();
  app.arrangeChat = () => {
    const button = app.byId("chat-box");
    if (!button) return;
    const [hidden, checked] = [!shows(), String(app.chat())];
    if (button.hidden !== hidden) button.hidden = hidden;
    if (button.getAttribute("aria-checked") !== checked) button.setAttribute("aria-checked", checked);
    app.byId("chat-help").hidden = !app.chat();
  };
  app.setChat = (next) => {
    on = next;
    window.dash_clientside.set_props("chat", { data: on });
    app.arrangeChat();
  };
  document.addEventListener("click", ({ target }) => {
    if (!target.closest("#chat-box")) return;
    app.setChat(!on);
    app.textChanged();
  });
});
