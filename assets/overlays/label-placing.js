/* Where labels stand, so that none hides another. */
(window.dashboardParts = window.dashboardParts || []).push((app) => {
  "use strict";
  const STEPS = [1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 2000, 5000];
  const LEAST = 13; // pixels from one label to the next
  const HEIGHT = 13; // of a label, in pixels
  /** @type {{ info: Info; list: string[] } | null} */ let names = null;

  /**
   * Which of `count` indices carry a label: every so many, the strong ones always, and they push the others out.
   * `cell`: pixels of one; `most`: pixels that a label takes.
   */
  app.labelled = function (count, cell, strong, most) {
    const step = STEPS.find((s) => s * cell >= LEAST) || STEPS[STEPS.length - 1];
    const far = Math.ceil(most / cell);
    const kept = [...new Set(strong.filter((i) => i !== null && i !== undefined))];
    const labels = kept.slice();
    for (let i = 0; i < count; i += step) if (!kept.some((k) => Math.abs(k - i) < far)) labels.push(i);
    return labels;
  };

  /**
   * Two labels, moved apart where they are closer than `least`: in pixels by index. `at(index)`: where a label's row or
   * column is; `first`: the least place that either may have.
   */
  app.movedApart = function ([token, other], at, least, first = -Infinity) {
    /** @type {Map<number, number>} */ const moved = new Map();
    if (other === null || other === undefined || other === token) return moved;
    const lack = least - Math.abs(at(token) - at(other));
    if (lack <= 0) return moved;
    const sign = token > other ? 1 : -1;
    const on = Math.max(0, first - (Math.min(at(token), at(other)) - lack / 2));
    moved.set(token, on + (sign * lack) / 2);
    moved.set(other, on - (sign * lack) / 2);
    return moved;
  };

  /** Boxes [left, top, right, bottom] that are taken, on a coarse grid; within `bounds`. */
  app.placer = function (bounds) {
    const size = 40;
    /** @type {Map<string, Box[]>} */ const cells = new Map();
    const each = (/** @type {Box} */ box, /** @type {(cell: string) => boolean} */ visit) => {
      for (let cx = Math.floor(box[0] / size); cx <= Math.floor(box[2] / size); cx += 1) {
        for (let cy = Math.floor(box[1] / size); cy <= Math.floor(box[3] / size); cy += 1)
          if (visit(`${cx},${cy}`)) return true;
      }
      return false;
    };
    const hit = (/** @type {Box} */ box) =>
      each(box, (name) =>
        (cells.get(name) || []).some((b) => box[0] < b[2] && box[2] > b[0] && box[1] < b[3] && box[3] > b[1]),
      );
    const take = (/** @type {Box} */ box) =>
      each(box, (name) => {
        if (!cells.has(name)) cells.set(name, []);
        /** @type {Box[]} */ (cells.get(name)).push(box);
        return false;
      });
    const inside = (/** @type {Box} */ box) =>
      box[0] >= bounds[0] && box[2] <= bounds[2] && box[1] >= bounds[1] && box[3] <= bounds[3];
    return { hit, take, inside };
  };

  /** The box of a label `wide` pixels wide beside a point, in one of eight directions. */
  app.labelBox = function (p, [dx, dy], wide, gap) {
    const x0 = dx > 0 ? p.x + gap : dx < 0 ? p.x - gap - wide : p.x - wide / 2;
    const y = p.y + dy * (dx ? gap : gap + 3);
    return [x0, y - HEIGHT / 2, x0 + wide, y + HEIGHT / 2];
  };

  /** What each label of a run adds: its position, where it is repeated or of one character. */
  app.suffixes = function (info) {
    if (names && names.info === info) return names.list;
    /** @type {Map<string, number>} */ const counts = new Map();
    for (const label of info.labels) counts.set(label, (counts.get(label) || 0) + 1);
    const list = info.labels.map((label, i) =>
      Number(counts.get(label)) > 1 || label.replace(/·/g, "").length <= 1 ? " " + i : "",
    );
    names = { info, list };
    return list;
  };
});
