/* The small pictures of all heads: fetched, and made smaller without losing strong weights. */
(window.dashboardParts = window.dashboardParts || []).push((app) => {
  "use strict";
  /** @typedef {HTMLImageElement | OffscreenCanvas} Picture */
  const SMALLEST_PICTURE = 10; // pixels of a head below which its score is shown
  /** @type {Map<string, Promise<Picture>>} */ const pictures = new Map();
  const colour = (/** @type {string} */ name) =>
    getComputedStyle(document.documentElement).getPropertyValue(name).trim();

  /** One picture of all heads of a run, fetched once. */
  /** @param {string} run @param {string} stamp @param {string=} theme */
  async function picture(run, stamp, theme) {
    const name = `${run}-${stamp}-${theme}`;
    if (!pictures.has(name)) {
      if (pictures.size > 8) pictures.clear();
      pictures.set(
        name,
        new Promise((resolve, reject) => {
          const image = new Image();
          image.onload = () => resolve(image);
          image.onerror = () => {
            pictures.delete(name);
            reject(new Error("no picture of the heads"));
          };
          image.src = app.url(
            `run/${run}/heads-${theme}.png?${new URLSearchParams({ v: app.byId("page").dataset.version, stamp })}`,
          );
        }),
      );
    }
    return /** @type {Picture} */ (await pictures.get(name));
  }
  /** A run is done and will be shown: its picture is fetched meanwhile. */
  app.expectHeads = (run, stamp) => {
    picture(run, stamp, document.documentElement.dataset.theme).catch(() => {
      /* it is asked for again when it is drawn */
    });
  };
  /**
   * A picture of all heads with cells of `cell` pixels: each pixel shows the largest of the weights that it stands for.
   * In their green, colours run from weak to strong.
   */
  /** @param {Picture} image @param {Sizes} size @param {number} cell @param {boolean} darker */
  function shrunk(image, size, cell, darker) {
    const [wide, high] = [image.width / size.heads, image.height / size.layers];
    const source = /** @type {OffscreenCanvasRenderingContext2D} */ (
      new OffscreenCanvas(image.width, image.height).getContext("2d", { willReadFrequently: true })
    );
    source.drawImage(image, 0, 0);
    const from = new Uint32Array(source.getImageData(0, 0, image.width, image.height).data.buffer);
    const canvas = new OffscreenCanvas(size.heads * cell, size.layers * cell);
    const paper = /** @type {OffscreenCanvasRenderingContext2D} */ (canvas.getContext("2d"));
    const made = paper.createImageData(canvas.width, canvas.height);
    const to = new Uint32Array(made.data.buffer);
    const strength = (/** @type {number} */ pixel) =>
      pixel >>> 24 === 0 ? -1 : darker ? 255 - ((pixel >> 8) & 255) : (pixel >> 8) & 255;
    const blocks = (/** @type {number} */ count, /** @type {number} */ all) =>
      Array.from({ length: count * cell }, (_, p) => {
        const start = Math.floor(p / cell) * all;
        const within = p % cell;
        return [start + Math.floor((within * all) / cell), start + Math.ceil(((within + 1) * all) / cell)];
      });
    const across = blocks(size.heads, wide);
    blocks(size.layers, high).forEach(([top, bottom], y) =>
      across.forEach(([left, right], x) => {
        let best = 0;
        let most = -2;
        for (let row = top; row < bottom; row += 1) {
          for (let at = row * image.width + left; at < row * image.width + right; at += 1) {
            const found = strength(from[at]);
            if (found > most) {
              most = found;
              best = from[at];
            }
          }
        }
        to[y * canvas.width + x] = best;
      }),
    );
    paper.putImageData(made, 0, 0);
    return canvas;
  }

  /**
   * Paint all heads of a grid { canvas, size, pitch, side, ratio }: their pictures, or a score's colours.
   * `by`: the score { id, at(layer, head), step(value) }, or null; `isShown`: whether the grid is still the page's.
   */
  app.paintHeads = async function (grid, by, isShown) {
    const { canvas, size, pitch, side, ratio } = grid;
    const paper = /** @type {CanvasRenderingContext2D} */ (canvas.getContext("2d"));
    const at = (/** @type {number} */ index) => Math.round(index * pitch * ratio);
    const cell = Math.round(side * ratio);
    const { info } = app.state;
    const ground = info ? colour("--weight-0") : colour("--hairline");
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
      for (let l = 0; l < size.layers; l += 1)
        for (let h = 0; h < size.heads; h += 1) paper.fillRect(at(h), at(l), cell, cell);
      return;
    }
    const { theme } = document.documentElement.dataset;
    /** @type {Picture | null} */ let found = null;
    if (info.pictures)
      try {
        found = await picture(info.run, info.stamp, theme);
      } catch {
        return;
      }
    if (!isShown()) return;
    let image = /** @type {Picture} */ (found); // there is one, unless heads are so small that they have none
    const shrinks = !small && cell < image.width / size.heads;
    if (shrinks) image = shrunk(image, size, cell, theme === "light");
    app.byId("attention-heads-title").title = shrinks ? "A pixel that holds several weights shows the largest." : "";
    const wide = image && image.width / size.heads;
    const high = image && image.height / size.layers;
    paper.clearRect(0, 0, canvas.width, canvas.height);
    paper.imageSmoothingEnabled = false;
    for (let l = 0; l < size.layers; l += 1) {
      for (let h = 0; h < size.heads; h += 1) {
        if (small) {
          const score = /** @type {[Pattern, number][][]} */ (info.patterns)[l][h][1];
          paper.fillStyle = colour(`--weight-${Math.round(8 * Math.sqrt(score))}`);
          paper.fillRect(at(h), at(l), cell, cell);
        } else paper.drawImage(image, h * wide, l * high, wide, high, at(h), at(l), cell, cell);
      }
    }
    canvas.dataset.run = info.run;
  };

  /**
   * @param {HeadGrid} grid @param {GridScore & { step(value: number): number }} by
   * @param {(index: number) => number} at @param {number} cell
   */
  function fillScores({ canvas, size }, by, at, cell) {
    const paper = /** @type {CanvasRenderingContext2D} */ (canvas.getContext("2d"));
    paper.clearRect(0, 0, canvas.width, canvas.height);
    for (let l = 0; l < size.layers; l += 1) {
      for (let h = 0; h < size.heads; h += 1) {
        const value = by.at(l, h);
        paper.fillStyle = value === null ? colour("--hairline") : colour(`--weight-${by.step(value)}`);
        paper.fillRect(at(h), at(l), cell, cell);
      }
    }
    canvas.dataset.run = /** @type {Shows} */ (app.state).info.run;
    canvas.dataset.colour = by.id;
  }
});
