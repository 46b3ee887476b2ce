/* What is announced to those who do not see the page. */
(window.dashboardParts = window.dashboardParts || []).push((app) => {
  "use strict";
  const SETTLED = 400; // milliseconds after the last change before it is announced: held keys are not told one by one
  /* announcements: what is selected, when it has settled; with a second token, the weight between them */
  const HEARD = 3000; // milliseconds in which a sentence is left alone by what matters less
  let waiting = 0;
  let said = 0;
  let heard = -HEARD;
  /** Say a sentence to those who do not see the page; what is selected is not said over it. */
  app.say = function (sentence) {
    heard = performance.now();
    write(sentence);
  };
  /** The same of what goes on beside: it is not said over a sentence of just before. Whether it was said. */
  app.sayBeside = function (sentence) {
    if (performance.now() - heard < HEARD) return false;
    write(sentence);
    return true;
  };
  function write(/** @type {string} */ sentence) {
    clearTimeout(waiting);
    said += 1;
    const node = app.byId("announcer");
    if (node) node.textContent = sentence;
  }
  async function weight(/** @type {Selection & { second: number }} */ selection, /** @type {Info} */ { run, stamp }) {
    const { layer, head } = selection;
    if (!app.canRead(layer, selection.token, selection.second)) return "cannot attend to it";
    const read = await app.exact({ run, stamp, layer, head }, selection.token);
    const line = app.byId("reading-line"); // says what else the heatmap shows
    const where = line && !line.hidden ? "in the selected head alone, " : "";
    return `${where}attends to it with weight ${app.precise(read(selection.second))}`;
  }
  async function announce() {
    const { selection, info } = app.state;
    if (!selection || !info || selection.run !== info.run) return;
    const value = app.surprisal(selection.token);
    const before = said;
    const parts = [app.selectedWords()];
    if (value !== null && value !== undefined) parts.push(app.surprisalText(value, 1));
    if (info.classes) parts.push(info.classes.said[selection.token]);
    if (typeof selection.second === "number") {
      try {
        parts.push(await weight({ ...selection, second: selection.second }, info));
      } catch {
        /* the server does not answer, or not of this capture: without it */
      }
    }
    if (app.state.selection === selection && app.state.info === info && said === before)
      app.byId("announcer").textContent = parts.filter(Boolean).join(", ");
  }
  app.onPaint((state, what) => {
    if (what !== "selection") return;
    clearTimeout(waiting);
    waiting = setTimeout(announce, SETTLED);
  });
});
