/*
 * A copied link also carries text and model, in its fragment, which browsers do not send to a server. Where the run has
 * left the store, the text is put into the box, and its run is opened where the link points.
 */
(window.dashboardParts = window.dashboardParts || []).push((app) => {
  "use strict";
  const MOST = 2000; // characters of a link: longer ones are cut by some programs
  const given = new URLSearchParams(window.location.hash.slice(1));
  const asked = Object.fromEntries(new URLSearchParams(window.location.search));
  const [text, pair, model, tokenizer] = ["text", "pair", "model", "tokenizer"].map((name) => given.get(name));
  const chat = given.get("chat") === "1";
  let waits = false; // for the run that the link names

  /** The link, with the text that it shows and its model, where the server allows it and they are not too long. */
  app.withText = function (link) {
    const { info } = app.state;
    if (!info || !info.plain || app.byId("page").dataset.textInLinks !== "1") return link;
    const carried = new URLSearchParams();
    for (const name of /** @type {const} */ (["text", "pair", "model", "tokenizer"]))
      if (info[name]) carried.set(name, info[name]);
    if (info.chat) carried.set("chat", "1");
    const whole = `${link}#${carried}`;
    return whole.length > MOST ? link : whole;
  };
  /** The run that the page's own link names is gone: what its text is, is said and put into the box. */
  app.takeLinkText = function () {
    if (!text || !model || waits || !asked.run || app.byId("text").value) return "";
    waits = true;
    app.write({ text, pair, model, tokenizer, chat });
    return " The text came with the link and is in the box: press Run to compute it again.";
  };
  app.onPaint((state, what) => {
    if (what !== "run" || !waits) return;
    waits = false;
    if (state.info && state.info.run === asked.run)
      window.dash_clientside.set_props("address", { data: { ...asked, via: "link", again: state.info.stamp } });
  });
});
