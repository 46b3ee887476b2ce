/* Where each head of the grid stands: layer by layer, or in an order that head-order.js has; then row by row. */
(window.dashboardParts = window.dashboardParts || []).push((app) => {
  "use strict";
  const LABELS = { layer: 22, row: 34, group: 54 }; // pixels of the labels at the left
  const TOP = { layer: 16, other: 4 }; // and above
  const GAP = 6; // pixels between two groups
  const TITLE = 130; // pixels that the grid's title takes in any case
  const [SMALLEST, LARGEST] = [4, 26]; // pixels of a head

  const middleOf = (/** @type {Element} */ column) => /** @type {HTMLElement} */ (column.closest(".card-middle"));

  /** The pixels of a head in a grid that is `heads` wide and `layers` high. */
  function sideByLayer(
    /** @type {HTMLElement} */ box,
    /** @type {Sizes} */ { layers, heads },
    /** @type {number} */ note,
  ) {
    const column = /** @type {HTMLElement} */ (box.closest(".heads-column"));
    if (app.narrow()) return narrowSide(column, LABELS.layer, heads);
    const { high, wide, beside } = roomOf(column, TOP.layer, note);
    const widest = Math.floor((wide - LABELS.layer) / heads) - 1;
    const least = beside ? Math.max(SMALLEST, Math.floor((TITLE - LABELS.layer) / heads) - 1) : 8;
    return Math.max(SMALLEST, Math.min(LARGEST, Math.floor(high / layers) - 1, Math.max(least, widest)));
  }
  const narrowSide = (/** @type {HTMLElement} */ column, /** @type {number} */ left, /** @type {number} */ heads) =>
    Math.max(18, Math.min(44, Math.floor((middleOf(column).clientWidth - left - 24) / heads) - 1));
  /* the pixels that the heads may take */
  function roomOf(/** @type {HTMLElement} */ column, /** @type {number} */ top, /** @type {number} */ note) {
    const beside = app.isOpen("heads");
    const high = column.clientHeight - 28 - top - app.byId("attention-heads-legend").offsetHeight - note;
    const wide = middleOf(column).clientWidth;
    return { high, beside, wide: Math.min(wide * 0.34, beside ? wide - app.headsTable() : wide) };
  }

  /* as many columns as make the heads largest */
  /**
   * @param {HTMLElement} box @param {number[][][]} groups @param {Sizes} size
   * @param {number} left @param {number} note
   */
  function columnsOf(box, groups, { heads }, left, note) {
    const column = /** @type {HTMLElement} */ (box.closest(".heads-column"));
    if (app.narrow()) {
      const side = narrowSide(column, left, heads);
      return { side, columns: Math.max(1, Math.floor((middleOf(column).clientWidth - left - 24) / (side + 1))) };
    }
    const { high, wide } = roomOf(column, TOP.other, note);
    const most = groups.reduce((all, group) => Math.max(all, group.length), 1);
    let best = { side: 0, columns: 1 };
    for (let columns = 1; columns <= most; columns += 1) {
      const rows = groups.reduce((all, group) => all + Math.ceil(group.length / columns), 0);
      const fits = Math.min(
        Math.floor((high - GAP * (groups.length - 1)) / rows),
        Math.floor((Math.max(wide, TITLE) - left) / columns),
      );
      const side = Math.min(LARGEST, fits - 1);
      if (side > best.side) best = { side, columns };
    }
    return { ...best, side: Math.max(SMALLEST, best.side) };
  }

  /**
   * The heads' places within `box`.
   *
   * @param {HTMLElement} box @param {Sizes} size @param {number[][][] | null} groups
   * @param {number} note pixels that the note below the grid takes
   * @returns {HeadLayout}
   */
  app.headLayout = function (box, size, groups, note) {
    const isGrouped = Boolean(groups && groups.length > 1);
    const left = isGrouped ? LABELS.group : groups ? LABELS.row : LABELS.layer;
    const top = groups ? TOP.other : TOP.layer;
    const byLayer = () => ({ side: sideByLayer(box, size, note), columns: size.heads });
    const { side, columns } = groups ? columnsOf(box, groups, size, left, note) : byLayer();
    const each = (/** @type {number} */ layer) => Array.from({ length: size.heads }, (_, head) => [layer, head]);
    const parts = groups || [Array.from({ length: size.layers }, (_, layer) => each(layer)).flat()];
    /** @type {HeadPlace[][]} */ const rows = [];
    parts.forEach((heads, group) => {
      for (let at = 0; at < heads.length; at += columns) {
        const y = top + rows.length * (side + 1) + group * GAP;
        rows.push(
          heads.slice(at, at + columns).map(([layer, head], column) => ({
            ...{ layer, head, column, row: rows.length, top: y, left: left + column * (side + 1) },
            group: isGrouped ? group + 1 : 0,
          })),
        );
      }
    });
    const all = rows.flat();
    const of = new Map(all.map((place) => [`${place.layer}.${place.head}`, place]));
    const wide = left + (groups ? Math.min(columns, Math.max(...rows.map((row) => row.length))) : columns) * (side + 1);
    const high = Math.max(...rows.map((row) => row[0].top)) + side + 1;
    return { rows, all, side, left, top, wide, high, groups: isGrouped ? parts.length : 0, byLayer: !groups, of };
  };

  /** Write the labels of a grid in another order than by layer: of each row its first head, or the selected one. */
  app.labelRows = function (layout, selection, write) {
    const { rows, side, left, groups } = layout;
    const selected = selection && layout.of.get(`${selection.layer}.${selection.head}`);
    const step = Math.max(1, Math.ceil(12 / (side + 1)));
    let begin = 0; // the first row of the group
    rows.forEach((row, i) => {
      const isSelected = Boolean(selected && selected.row === i);
      const isNear = selected && Math.abs(selected.row - i) < step && !isSelected;
      const begins = i === 0 || rows[i - 1][0].group !== row[0].group;
      if (begins) begin = i;
      const y = `top:${row[0].top + side / 2 - 6}px`;
      if (groups && begins) write(String(row[0].group), false, `left:0;${y};width:16px`);
      if (!isSelected && (isNear || (i - begin) % step)) return;
      const { layer, head } = isSelected && selected ? selected : row[0];
      write(`${layer}.${head}`, isSelected, `left:0;${y};width:${left - 4}px`);
    });
  };
});
