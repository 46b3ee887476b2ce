/*
 * The grid of heads: one picture of all heads, drawn at whole pixels, under one button a head. It stands in the
 * Heatmap, Lines or Heads tab, whichever is open; in Heads a score may colour it. Where a head stands, head-layout.js
 * says.
 */
(window.dashboardParts = window.dashboardParts || []).push((app) => {
  "use strict";
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
    box.replaceChildren(`${by.name}${by.colour.startsWith("probe-") ? ", random tokens" : ""}: 0`, swatches, end);
    const scale = by.weight ? ["Stronger colour means more attention (square-root scale)."] : [];
    const of = by.colour.startsWith("probe-") ? ["On repeated random tokens."] : [];
    box.title = [...of, ...scale].join(" ");
  }
  /* what its colours say: of which run, which score */
  function colouring(/** @type {GridScore | null} */ by) {
    const { info } = app.state;
    const { options } = app.state;
    const asks = Object.entries(options).filter(([name]) => /^(attention-|heads-(colour|scores)$)/.test(name));
    const told = app.headScores();
    const score = info && by && [info.run, info.stamp, by.colour, told?.columns];
    return JSON.stringify([app.isOpen("heads") && app.headsTable(), asks, options["heads-sort"], told?.of, score]);
  }
  /** Draw the grid anew where another score colours it. */
  app.colourHeads = function () {
    app.headOrderAgain();
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
  function labelled(/** @type {number} */ index, /** @type {number} */ side, /** @type {number | null} */ selected) {
    const step = side >= 12 ? (side >= 20 ? 1 : 5) : side * 5 >= 12 ? 5 : 10;
    return index === selected || (index % step === 0 && (selected === null || Math.abs(index - selected) * side >= 11));
  }

  /*
   * The note below the grid is as wide as the grid, so each of them changes the other: the first grid only finds the
   * width; later ones leave the note at least the `lines` (pixels) that it took before, so that this ends.
   */
  function build(tries = 0, lines = 0) {
    const box = app.byId("attention-heads");
    const size = shape();
    if (!box || !size) return;
    const by = score();
    coloured = colouring(by);
    const order = app.headOrder(() => build());
    legend();
    app.noteHeads(Boolean(by));
    const note = Math.max(lines, app.byId("attention-heads-note").offsetHeight);
    const layout = app.headLayout(box, size, order && order.groups, note);
    const { side, left, top: above } = layout;
    const pitch = side + 1;
    const inner = app.make("div", "heads-inner");
    inner.style.width = layout.wide + 4 + "px";
    inner.style.height = layout.high + 4 + "px";
    const top = app.make("div", "heads-top");
    if (layout.byLayer) inner.append(top);
    const canvas = app.make("canvas");
    const ratio = window.devicePixelRatio || 1;
    canvas.style.left = left + "px";
    canvas.style.top = above + "px";
    canvas.style.width = layout.wide - left + "px";
    canvas.style.height = layout.high - above + "px";
    canvas.width = Math.round((layout.wide - left) * ratio);
    canvas.height = Math.round((layout.high - above) * ratio);
    canvas.setAttribute("aria-hidden", "true");
    inner.append(canvas);
    if (app.state.info) addButtons(inner, layout);
    const frame = app.make("div", "head-frame");
    frame.hidden = true;
    inner.append(frame);
    box.replaceChildren(inner);
    const now = app.byId("attention-heads-note").offsetHeight;
    if (tries ? now > note : now !== note) {
      build(tries + 1, tries ? now : 0);
      return;
    }
    drawn = { canvas, frame, inner, top, side, pitch, ratio, size, layout, labels: [] };
    const grid = drawn;
    app.paintHeads(grid, by && { ...by, step: (value) => step(by, value) }, () => grid === drawn);
    mark();
  }
  function addButtons(/** @type {HTMLElement} */ inner, /** @type {HeadLayout} */ { all, side, groups }) {
    for (const { layer, head, left, top, group } of all) {
      const button = document.createElement("button");
      button.type = "button";
      button.tabIndex = -1;
      button.dataset.layer = `${layer}`;
      button.dataset.head = `${head}`;
      if (groups) button.dataset.group = `group ${group} of ${groups}`;
      button.setAttribute("aria-pressed", "false");
      const does = [app.headPattern(layer, head), ...(groups ? [`group ${group}`] : [])].join(", ");
      button.setAttribute("aria-label", `Layer ${layer}, head ${head}: ${does}`);
      put(button, left, top, side);
      inner.append(button);
    }
  }
  /**
   * Label the layers and heads of a grid by layer.
   *
   * @param {(parent: HTMLElement, text: string, selected: boolean | null, style: string) => void} place
   * @param {Selection | null} selection
   */
  function labelAxes(place, selection) {
    const { inner, top, side, pitch, size, layout } = drawn;
    const wide = side >= 10 && size.heads <= 12 ? Math.max(side, 20) : side;
    for (let h = 0; h < size.heads; h += 1) {
      if (!labelled(h, wide, selection ? selection.head : null)) continue;
      const style = `left:${layout.left + h * pitch - 6}px;top:0;width:${side + 12}px;text-align:center`;
      place(top, String(h), selection && selection.head === h, style);
    }
    for (let l = 0; l < size.layers; l += 1) {
      if (!labelled(l, side, selection ? selection.layer : null)) continue;
      const style = `left:0;top:${layout.top + l * pitch + side / 2 - 6}px;width:${layout.left - 6}px`;
      place(inner, String(l), selection && selection.layer === l, style);
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
    const { inner, frame, side, layout } = drawn;
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
    if (layout.byLayer) labelAxes(place, selection);
    else app.labelRows(layout, selection, (text, is, style) => place(inner, text, is, style));
    if (!selection) return;
    const around = (/** @type {HTMLElement} */ node, /** @type {number} */ layer, /** @type {number} */ head) =>
      put(node, Number(placeOf(layer, head)?.left) - 2, Number(placeOf(layer, head)?.top) - 2, side + 4);
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
    if (app.narrow()) scrollTo(Number(placeOf(selection.layer, selection.head)?.top));
    else title();
  }
  const placeOf = (/** @type {number} */ layer, /** @type {number} */ head) => drawn.layout.of.get(`${layer}.${head}`);
  function scrollTo(/** @type {number} */ top) {
    const box = app.byId("attention-heads");
    const above = drawn.layout.top;
    if (top < box.scrollTop + above || top + drawn.pitch > box.scrollTop + box.clientHeight) {
      box.scrollTop = Math.max(0, top - 2 * drawn.pitch - above);
    }
    title();
  }
  function title() {
    const node = app.byId("attention-heads-title");
    if (!node || !drawn) return;
    const isScrolled = app.narrow() && drawn.layout.byLayer;
    const text = isScrolled
      ? `, layers ${Math.floor(app.byId("attention-heads").scrollTop / drawn.pitch)}–${Math.min(
          drawn.size.layers - 1,
          Math.floor(
            (app.byId("attention-heads").scrollTop + app.byId("attention-heads").clientHeight - drawn.layout.top) /
              drawn.pitch,
          ) - 1,
        )} of 0–${drawn.size.layers - 1} in view`
      : app.headOrderTitle(drawn.layout);
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
    const { rows } = drawn.layout;
    const from = placeOf(Number(button.dataset.layer), Number(button.dataset.head));
    if (!from) return;
    const row = rows[Math.max(0, Math.min(rows.length - 1, from.row + step[0]))];
    const { layer, head } = row[Math.max(0, Math.min(row.length - 1, from.column + step[1]))];
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
