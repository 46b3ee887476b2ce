/* A head of the grid under the pointer: its picture, large, with its pattern and its score. */
(window.dashboardParts = window.dashboardParts || []).push((app) => {
  "use strict";
  const SIDE = 192; // pixels
  /** @type {HTMLElement | null} */ let over = null;

  const buttonOf = (/** @type {Event} */ { target }) =>
    /** @type {HTMLElement | null} */ (target instanceof Element ? target.closest("#attention-heads button") : null);

  /* the scores in the table's words: "Induction 0.83" */
  function scoreLine(/** @type {number} */ layer, /** @type {number} */ head) {
    const name = app.isOpen("heads") ? app.state.options["heads-colour"] : "pictures";
    const found = app.headScores();
    const index = found ? found.columns.findIndex(({ colour }) => colour === name) : -1;
    if (!found || index < 0 || !app.state.info) return [];
    const { name: heading, digits, colour } = found.columns[index];
    const of = colour.startsWith("probe-") ? ", random tokens" : "";
    const value = /** @type {number | null} */ (found.rows[layer * app.state.info.heads + head][3 + index]);
    return [`${heading}${of}: ${value === null ? "–" : value.toFixed(digits)}`];
  }

  document.addEventListener("mouseover", async (event) => {
    const button = buttonOf(event);
    if (!button) return;
    over = button;
    const [layer, head] = [Number(button.dataset.layer), Number(button.dataset.head)];
    const { group } = button.dataset; // of similar heads, where the grid has groups
    const name = `Layer ${layer}, head ${head}`;
    const lines = [name, app.headPattern(layer, head), ...scoreLine(layer, head), ...(group ? [group] : [])];
    const show = (/** @type {Line[]} */ more) => {
      const { left, bottom } = button.getBoundingClientRect();
      app.tip([...lines, ...more], left, bottom);
    };
    show([]);
    try {
      const picture = await app.headPicture(layer, head, SIDE);
      if (picture && over === button) show([picture]);
    } catch {
      /* the words stay */
    }
  });
  document.addEventListener("mouseout", (event) => {
    if (!buttonOf(event)) return;
    over = null;
    app.tip(null);
  });
});
