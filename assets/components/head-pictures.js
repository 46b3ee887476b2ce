/* The small pictures of all heads: fetched, and made smaller without losing strong weights. */
(window.dashboardParts = window.dashboardParts || []).push((app) => {
  "use strict";
  const SMALLEST_PICTURE = 10; // pixels of a head below which its score is shown
  /** @type {Map<string, Promise<HeadShades>>} */ const pictures = new Map();

  /** The shades of all heads of a run, { wide, high, shades }: fetched once, and the same in both themes. */
  async function picture(/** @type {string} */ run, /** @type {string} */ stamp) {
    const name = `${run}-${stamp}`;
    if (!pictures.has(name)) {
      if (pictures.size > 8) pictures.clear();
      const fetched = read(run, stamp);
      pictures.set(name, fetched);
      fetched.catch(() => pictures.delete(name));
    }
    return /** @type {Promise<HeadShades>} */ (pictures.get(name));
  }
  /* width and height, and the shades row by row; no canvas is read, since some browsers change what they give back */
  async function read(/** @type {string} */ run, /** @type {string} */ stamp) {
    const query = new URLSearchParams({ v: String(app.byId("page").dataset.version), stamp });
    const reply = await fetch(app.url(`run/${run}/heads?${query}`));
    if (!reply.ok) throw new Error("no picture of the heads");
    const packed = await reply.arrayBuffer();
    const [wide, high] = new Uint32Array(packed, 0, 2);
    return { wide, high, shades: await app.inflated(packed.slice(8)) };
  }
  /** A run is done and will be shown: its picture is fetched meanwhile. */
  app.expectHeads = (run, stamp) => {
    picture(run, stamp).catch(() => {
      /* it is asked for again when it is drawn */
    });
  };
  /** All heads with cells of `cell` pixels: each pixel has the largest of the shades that it stands for. */
  /** @param {HeadShades} heads @param {Sizes} size @param {number} cell */
  function shrunk({ wide, high, shades }, size, cell) {
    const found = /** @type {HeadShades} */ ({ wide: size.heads * cell, high: size.layers * cell });
    found.shades = new Uint8Array(found.wide * found.high);
    const blocks = (/** @type {number} */ count, /** @type {number} */ all) =>
      Array.from({ length: count * cell }, (_, p) => {
        const start = Math.floor(p / cell) * all;
        const within = p % cell;
        return [start + Math.floor((within * all) / cell), start + Math.ceil(((within + 1) * all) / cell)];
      });
    const across = blocks(size.heads, wide / size.heads);
    blocks(size.layers, high / size.layers).forEach(([top, bottom], y) =>
      across.forEach(([left, right], x) => {
        let most = 0;
        for (let row = top; row < bottom; row += 1) {
          for (let at = row * wide + left; at < row * wide + right; at += 1) if (shades[at] > most) most = shades[at];
        }
        found.shades[y * found.wide + x] = most;
      }),
    );
    return found;
  }
  /* shades in the page's colours */
  function coloured(/** @type {HeadShades} */ { wide, high, shades }) {
    const canvas = new OffscreenCanvas(wide, high);
    const paper = /** @type {OffscreenCanvasRenderingContext2D} */ (canvas.getContext("2d"));
    const made = paper.createImageData(wide, high);
    const table = app.shadePixels();
    const pixels = new Uint32Array(made.data.buffer);
    for (let i = 0; i < shades.length; i += 1) pixels[i] = table[shades[i]];
    paper.putImageData(made, 0, 0);
    return canvas;
  }

  /** One head's picture with `side` pixels, for the pointer on a small one; null where there is none. */
  app.headPicture = async function (layer, head, side) {
    const { info } = app.state;
    if (!info || !info.pictures) return null;
    const { wide, high, shades } = await picture(info.run, info.stamp);
    const [columns, rows] = [wide / info.heads, high / info.layers];
    const found = /** @type {HeadShades} */ ({ wide: columns, high: rows, shades: new Uint8Array(columns * rows) });
    for (let row = 0; row < rows; row += 1) {
      const from = (layer * rows + row) * wide + head * columns;
      found.shades.set(shades.subarray(from, from + columns), row * columns);
    }
    const canvas = app.make("canvas", "head-large");
    canvas.width = canvas.height = Math.max(1, Math.floor(side / columns)) * columns;
    canvas.setAttribute("aria-hidden", "true");
    const paper = /** @type {CanvasRenderingContext2D} */ (canvas.getContext("2d"));
    paper.imageSmoothingEnabled = false;
    paper.drawImage(coloured(found), 0, 0, canvas.width, canvas.height);
    return canvas;
  };

  /**
   * Paint all heads of a grid { canvas, size, side, ratio, layout }: their pictures, or a score's colours.
   * `by`: the score { id, at(layer, head), step(value) }, or null; `isShown`: whether the grid is still the page's.
   */
  app.paintHeads = async function (grid, by, isShown) {
    const { canvas, size, side, ratio, layout } = grid;
    const paper = /** @type {CanvasRenderingContext2D} */ (canvas.getContext("2d"));
    /** @type {(place: HeadPlace) => [x: number, y: number]} */
    const at = ({ left, top }) => [Math.round((left - layout.left) * ratio), Math.round((top - layout.top) * ratio)];
    const cell = Math.round(side * ratio);
    const { info } = app.state;
    const ground = info ? app.colour("var(--weight-0)") : app.colour("var(--hairline)");
    const small = side < SMALLEST_PICTURE;
    if (by) {
      fillScores(grid, by, at, cell);
      return;
    }
    if (!info || (small ? !info.patterns : !info.pictures)) {
      app.byId("attention-heads-title").title = info
        ? "This run does not hold the heads' small pictures. Run its text again to see them."
        : "";
      paper.fillStyle = ground;
      paper.globalAlpha = 0.55;
      for (const place of layout.all) paper.fillRect(...at(place), cell, cell);
      return;
    }
    /** @type {HeadShades | null} */ let heads = null; // of heads that are so small, there may be none
    if (info.pictures)
      try {
        heads = await picture(info.run, info.stamp);
      } catch {
        return;
      }
    if (!isShown()) return;
    const shrinks = !small && heads !== null && cell < heads.wide / size.heads;
    if (heads && shrinks) heads = shrunk(heads, size, cell);
    app.byId("attention-heads-title").title = shrinks ? "A pixel that holds several weights shows the largest." : "";
    const image = small || !heads ? null : coloured(heads);
    const wide = image ? image.width / size.heads : 0;
    const high = image ? image.height / size.layers : 0;
    paper.clearRect(0, 0, canvas.width, canvas.height);
    paper.imageSmoothingEnabled = false;
    for (const place of layout.all) {
      if (small) {
        const [, score] = /** @type {[Pattern, number, number | null][][]} */ (info.patterns)[place.layer][place.head];
        paper.fillStyle = app.colour(`var(--weight-${Math.round(8 * Math.sqrt(score))})`);
        paper.fillRect(...at(place), cell, cell);
      } else if (image)
        paper.drawImage(image, place.head * wide, place.layer * high, wide, high, ...at(place), cell, cell);
    }
    canvas.dataset.run = info.run;
  };

  /**
   * @param {HeadGrid} grid @param {GridScore & { step(value: number): number }} by
   * @param {(place: HeadPlace) => [x: number, y: number]} at @param {number} cell
   */
  function fillScores({ canvas, layout }, by, at, cell) {
    const paper = /** @type {CanvasRenderingContext2D} */ (canvas.getContext("2d"));
    paper.clearRect(0, 0, canvas.width, canvas.height);
    for (const place of layout.all) {
      const value = by.at(place.layer, place.head);
      paper.fillStyle = app.colour(value === null ? "var(--hairline)" : `var(--weight-${by.step(value)})`);
      paper.fillRect(...at(place), cell, cell);
    }
    canvas.dataset.run = /** @type {Shows} */ (app.state).info.run;
    canvas.dataset.colour = by.id;
  }
});
