/*
 * The layer × head grid: one picture of all heads, drawn at whole pixels, under one button a head. It stands in the
 * Heatmap, Lines or Heads tab, whichever is open; in Heads a score may colour it.
 */
(window.dashboardParts = window.dashboardParts || []).push((app) => {
  "use strict";
  const LABELS = { top: 16, left: 22 };
  const TITLE = 130; // pixels that the grid's title takes in any case
  /** @type {HeadGrid} */ let drawn;
  let coloured = "";
  let size = "";
  const middleOf = (/** @type {Element} */ column) => /** @type {HTMLElement} */ (column.closest(".card-middle"));
  const resized = new ResizeObserver(() => {
    const column = /** @type {HTMLElement} */ (document.querySelector(".heads-column"));
    const now = `${column.clientHeight}x${middleOf(column).clientWidth}`;
    if (now !== size) {
      size = now;
      build();
    }
  });
  /* the tab that is open has the grid; gives whether it moved */
  /** @param {HTMLElement} node @param {number} left @param {number} top @param {number} side */
  function put(node, left, top, side) {
    node.style.cssText = `left:${left}px;top:${top}px;width:${side}px;height:${side}px`;
  }
  function move() {
    const column = document.querySelector(".heads-column");
    const panel = app.byId(`${["heads", "lines"].find(app.isOpen) || "attention"}-panel`);
    const middle = panel && panel.querySelector(".card-middle"); // none in a tab that is only about to open
    if (!column || !middle || middle.contains(column)) return false;
    resized.observe(middle);
    let beside = panel.querySelector(".beside");
    if (!beside) {
      beside = app.make("div", "beside");
      middle.prepend(beside);
    }
    beside.append(column);
    return true;
  }
  /* the score that colours the grid: { name, weight, most, at(layer, head) }; null for pictures */
  /** @returns {GridScore | null} */
  function score() {
    const name = app.isOpen("heads") && app.state.options["heads-colour"];
    const found = name && name !== "pictures" && app.headScores();
    const index = found ? found.columns.findIndex(({ colour }) => colour === name) : -1;
    const { info } = app.state;
    if (!found || !info || index < 0) return null;
    return {
      ...found.columns[index],
      at: (layer, head) => /** @type {number | null} */ (found.rows[layer * info.heads + head][3 + index]),
    };
  }
  const step = (/** @type {Score} */ { weight, most }, /** @type {number} */ value) =>
    Math.round(8 * (weight ? Math.sqrt(Math.min(1, value)) : most ? value / most : 0));
  function legend() {
    const box = app.byId("attention-heads-legend");
    const by = score();
    box.hidden = !by;
    if (!by) return;
    const swatches = app.make("span", "swatches");
    for (let i = 0; i <= 8; i += 1) swatches.append(app.make("i", `swatch weight-${i}`));
    const end = by.weight ? "1" : by.most.toFixed(1);
    box.replaceChildren(`${by.name}: 0`, swatches, end);
    const scale = by.weight ? ["Stronger colour means more attention (square-root scale)."] : [];
    const of = by.colour.startsWith("probe-") ? ["On repeated random tokens."] : [];
    box.title = [...of, ...scale].join(" ");
  }
  /* what its colours say: of which run, which score */
  function colouring(/** @type {GridScore | null} */ by) {
    const { info } = app.state;
    return JSON.stringify([app.isOpen("heads") && app.headsTable(), info && by && [info.run, info.stamp, by.colour]]);
  }
  /** Draw the grid anew where another score colours it. */
  app.colourHeads = function () {
    const moved = move();
    if (moved || colouring(score()) !== coloured) build();
  };

  function shape() {
    const { info, model } = app.state;
    return info
      ? { layers: info.layers, heads: info.heads }
      : model
        ? { layers: model.layers, heads: model.heads }
        : null;
  }
  function sides(/** @type {HTMLElement} */ box, /** @type {Sizes} */ { layers, heads }) {
    const column = /** @type {HTMLElement} */ (box.closest(".heads-column"));
    if (app.narrow()) {
      const room = middleOf(column).clientWidth - LABELS.left - 24;
      return Math.max(18, Math.min(44, Math.floor(room / heads) - 1));
    }
    const room = column.clientHeight - 28 - LABELS.top - app.byId("attention-heads-legend").offsetHeight;
    const wide = middleOf(column).clientWidth;
    const beside = app.isOpen("heads");
    const widest =
      Math.floor((Math.min(wide * 0.34, beside ? wide - app.headsTable() : wide) - LABELS.left) / heads) - 1;
    const least = beside ? Math.max(4, Math.floor((TITLE - LABELS.left) / heads) - 1) : 8;
    return Math.max(4, Math.min(26, Math.floor(room / layers) - 1, Math.max(least, widest)));
  }
  function labelled(/** @type {number} */ index, /** @type {number} */ side, /** @type {number | null} */ selected) {
    const step = side >= 12 ? (side >= 20 ? 1 : 5) : side * 5 >= 12 ? 5 : 10;
    return index === selected || (index % step === 0 && (selected === null || Math.abs(index - selected) * side >= 11));
  }

  function build() {
    const box = app.byId("attention-heads");
    const size = shape();
    if (!box || !size) return;
    const by = score();
    coloured = colouring(by);
    legend();
    const side = sides(box, size);
    const pitch = side + 1;
    const inner = app.make("div", "heads-inner");
    inner.style.width = LABELS.left + size.heads * pitch + 4 + "px";
    inner.style.height = LABELS.top + size.layers * pitch + 4 + "px";
    const top = app.make("div", "heads-top");
    inner.append(top);
    const canvas = app.make("canvas");
    const ratio = window.devicePixelRatio || 1;
    canvas.style.left = LABELS.left + "px";
    canvas.style.top = LABELS.top + "px";
    canvas.style.width = size.heads * pitch + "px";
    canvas.style.height = size.layers * pitch + "px";
    canvas.width = Math.round(size.heads * pitch * ratio);
    canvas.height = Math.round(size.layers * pitch * ratio);
    canvas.setAttribute("aria-hidden", "true");
    inner.append(canvas);
    if (app.state.info) addButtons(inner, size, pitch, side);
    const frame = app.make("div", "head-frame");
    frame.hidden = true;
    inner.append(frame);
    box.replaceChildren(inner);
    drawn = { canvas, frame, inner, top, side, pitch, ratio, size, labels: [] };
    const grid = drawn;
    app.paintHeads(grid, by && { ...by, step: (value) => step(by, value) }, () => grid === drawn);
    mark();
  }
  /** @param {HTMLElement} inner @param {Sizes} size @param {number} pitch @param {number} side */
  function addButtons(inner, size, pitch, side) {
    for (let layer = 0; layer < size.layers; layer += 1) {
      for (let head = 0; head < size.heads; head += 1) {
        const button = document.createElement("button");
        button.type = "button";
        button.tabIndex = -1;
        button.dataset.layer = `${layer}`;
        button.dataset.head = `${head}`;
        button.setAttribute("aria-pressed", "false");
        button.setAttribute("aria-label", `Layer ${layer}, head ${head}: ${app.headPattern(layer, head)}`);
        put(button, LABELS.left + head * pitch, LABELS.top + layer * pitch, side);
        inner.append(button);
      }
    }
  }
  let marked = "";
  /* what labels and frames are for: to draw them again for another token would cost style, layout and paint */
  function toMark() {
    const { info, selection } = app.state;
    return JSON.stringify(info && selection && [selection.layer, selection.head, app.addedHeads()]);
  }
  function mark() {
    if (!drawn) return;
    marked = toMark();
    const { inner, top, frame, side, pitch, size } = drawn;
    const selection = app.state.info ? app.state.selection : null;
    for (const label of drawn.labels) label.remove();
    drawn.labels = [];
    /** @type {(parent: HTMLElement, text: string, selected: boolean | null, style: string) => void} */
    const place = (parent, text, selected, style) => {
      const label = app.make("span", "axis-label" + (selected ? " selected" : ""), text);
      label.style.cssText = style;
      drawn.labels.push(label);
      parent.append(label);
    };
    for (let h = 0; h < size.heads; h += 1) {
      if (labelled(h, side >= 10 && size.heads <= 12 ? Math.max(side, 20) : side, selection ? selection.head : null)) {
        place(
          top,
          String(h),
          selection && selection.head === h,
          `left:${LABELS.left + h * pitch - 6}px;top:0;width:${side + 12}px;text-align:center`,
        );
      }
    }
    for (let l = 0; l < size.layers; l += 1) {
      if (labelled(l, side, selection ? selection.layer : null)) {
        place(
          inner,
          String(l),
          selection && selection.layer === l,
          `left:0;top:${LABELS.top + l * pitch + side / 2 - 6}px;width:${LABELS.left - 6}px`,
        );
      }
    }
    if (!selection) return;
    const around = (/** @type {HTMLElement} */ node, /** @type {number} */ layer, /** @type {number} */ head) =>
      put(node, LABELS.left + head * pitch - 2, LABELS.top + layer * pitch - 2, side + 4);
    app.frameAdded(inner, around);
    frame.hidden = false;
    around(frame, selection.layer, selection.head);
    const old = inner.querySelector('button[aria-pressed="true"]');
    if (old) {
      old.setAttribute("aria-pressed", "false");
      old.tabIndex = -1;
    }
    const button = inner.querySelector(`button[data-layer="${selection.layer}"][data-head="${selection.head}"]`);
    if (button) {
      button.setAttribute("aria-pressed", "true");
      button.tabIndex = 0;
    }
    if (app.narrow()) scrollTo(selection.layer);
    else title();
  }
  function scrollTo(/** @type {number} */ layer) {
    const box = app.byId("attention-heads");
    const top = LABELS.top + layer * drawn.pitch;
    if (top < box.scrollTop + LABELS.top || top + drawn.pitch > box.scrollTop + box.clientHeight) {
      box.scrollTop = Math.max(0, top - 2 * drawn.pitch - LABELS.top);
    }
    title();
  }
  function title() {
    const node = app.byId("attention-heads-title");
    if (!node || !drawn) return;
    const text = app.narrow()
      ? `, layers ${Math.floor(app.byId("attention-heads").scrollTop / drawn.pitch)}–${Math.min(
          drawn.size.layers - 1,
          Math.floor(
            (app.byId("attention-heads").scrollTop + app.byId("attention-heads").clientHeight - LABELS.top) /
              drawn.pitch,
          ) - 1,
        )} of 0–${drawn.size.layers - 1} in view`
      : ", layer × head";
    /** @type {ChildNode} */ (node.lastChild).textContent = text;
  }

  function oneHead() {
    const node = app.byId("one-head-pattern");
    const { selection } = app.state;
    if (!node || !selection) return;
    const { layer, head } = selection;
    const alone = app.addedHeads().length ? `${layer}.${head} alone, ` : "";
    const text = `: ${alone}on average ${app.headPattern(layer, head)}`;
    if (node.textContent !== text) node.title = node.textContent = text;
  }
  app.onPaint((state, what) => {
    if (what === "selection") oneHead();
    if (what === "run" || what === "size" || what === "theme" || what === "model") build();
    else if (what === "selection" && marked !== toMark()) mark();
    else if (what === "options") app.colourHeads();
  });
  document.addEventListener("click", (event) => {
    const button = event.target.closest("#attention-heads button");
    if (button) app.propose({ layer: Number(button.dataset.layer), head: Number(button.dataset.head) });
  });
  document.addEventListener("keydown", (event) => {
    const button = event.target.closest && event.target.closest("#attention-heads button");
    const step = { ArrowLeft: [0, -1], ArrowRight: [0, 1], ArrowUp: [-1, 0], ArrowDown: [1, 0] }[event.key];
    if (!button || !step || event.altKey || event.ctrlKey || event.shiftKey || event.metaKey) return;
    event.preventDefault();
    const layer = Math.max(0, Math.min(drawn.size.layers - 1, Number(button.dataset.layer) + step[0]));
    const head = Math.max(0, Math.min(drawn.size.heads - 1, Number(button.dataset.head) + step[1]));
    const next = drawn.inner.querySelector(`button[data-layer="${layer}"][data-head="${head}"]`);
    if (next) next.focus();
    app.propose({ layer, head });
  });
  document.addEventListener(
    "scroll",
    (event) => {
      if (event.target.id === "attention-heads") title();
    },
    true,
  );
  document.addEventListener("DOMContentLoaded", () => {
    const watch = new MutationObserver(() => {
      const column = document.querySelector(".heads-column");
      if (!column) return;
      watch.disconnect();
      resized.observe(middleOf(column));
      build();
    });
    watch.observe(document.documentElement, { childList: true, subtree: true });
  });
});
