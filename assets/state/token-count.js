/* How many tokens the text in the box, or both of a pair, has, counted by the server when the typing pauses. */
(window.dashboardParts = window.dashboardParts || []).push((app) => {
  "use strict";
  let counting = 0;
  let asked = 0;
  app.countTokens = count;
  function count() {
    clearTimeout(counting);
    counting = setTimeout(() => countNow(), 200);
  }
  const TYPED = "Only the typed text is counted here. The chat template's own tokens are added when you press Run.";
  /** @param {number | null} tokens @param {{ token: string; why: string }=} unknown @param {boolean=} typed */
  function showCount(tokens, unknown, typed) {
    const node = app.byId("token-count");
    const model = app.modelOf(app.chosen());
    if (!node || !model) return;
    const limit = model.limit === null ? null : model.limit.toLocaleString("en");
    const over = tokens !== null && limit !== null && tokens > Number(model.limit);
    const far = tokens === Infinity; // the server stopped counting
    const shown = far ? `far more than ${limit}` : tokens === null ? "" : tokens.toLocaleString("en");
    node.textContent = "counted when you press Run";
    if (limit !== null && tokens === null) node.textContent += ` · limit ${limit} tokens`;
    else if (limit !== null) node.textContent = far ? `${shown} tokens` : `${shown} of ${limit} tokens`;
    if (typed) node.textContent = `${shown} tokens + template`;
    if (unknown) node.textContent = `the model does not know token ${unknown.token}`;
    node.classList.toggle("over", over || Boolean(unknown));
    if (unknown && node.title !== unknown.why) app.sayBeside(unknown.why); // as a run would
    node.title = unknown
      ? unknown.why
      : over
        ? `Too long for this model: shorten the text, or choose another model. ${model.limited_by || ""}`.trim()
        : typed
          ? TYPED
          : "";
  }
  // a tokenizer that nobody has used for a while takes longer than the server waits
  const AGAIN = { times: 3, after: 1500 };
  async function countNow(times = AGAIN.times) {
    const area = app.byId("text");
    if (!area || !app.chosen()) return;
    app.fitText(area);
    asked += 1;
    const mine = asked;
    const pair = app.pair();
    const reader = app.modelOf(app.chosen());
    if (reader && reader.mute && !app.lentTokenizer()) {
      app.byId("token-count").textContent = "choose a tokenizer";
      return;
    }
    if (!area.value && !pair) {
      showCount(0);
      app.suggestPair();
      return;
    }
    if (times === AGAIN.times) app.byId("token-count").textContent = "counting …";
    try {
      const reply = await fetch(app.url("count"), {
        method: "POST",
        headers: { "Content-Type": "application/json" },
        body: JSON.stringify({
          ...{ model: app.chosen(), text: area.value, text_pair: pair || null },
          ...{ tokenizer: app.lentTokenizer(), chat: app.chat() },
        }),
      });
      const found = reply.ok ? await reply.json() : { tokens: null };
      if (mine !== asked) return;
      showCount(found.too_long ? Infinity : found.tokens, found.unknown, found.typed);
      app.suggestPair(found.separator);
      const model = app.modelOf(app.chosen());
      if (reply.ok && model && model.here && found.tokens === null && times)
        counting = setTimeout(() => countNow(times - 1), AGAIN.after);
    } catch {
      if (mine === asked) showCount(null);
    }
  }
});
