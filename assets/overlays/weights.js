/* Exact attention weights, fetched and kept: of one head, or as a figure reads them; how one is written. */
(window.dashboardParts = window.dashboardParts || []).push((app) => {
  "use strict";
  /** @type {Map<string, Promise<Float32Array>>} */ const rows = new Map();

  /** The exact weights of a row: a function of the key. Fetched a block of rows at a time, and kept. */
  app.exact = async function ({ run, stamp, layer, head, shape, reading }, query) {
    const { counts, version } = /** @type {Shows} */ (app.state).info;
    const [queries, keys] = shape || [counts.token, counts.token];
    const block = Math.max(1, Math.floor(16384 / keys));
    const first = Math.floor(query / block) * block;
    const last = Math.min(queries, first + block);
    const asks = reading ? reading.asks : {};
    const name = `${run}/${stamp}/${layer}/${head}/${first}?${JSON.stringify(asks)}`;
    if (!rows.has(name)) {
      if (rows.size > 64) rows.clear();
      const query = new URLSearchParams({ ...asks, from: `${first}`, to: `${last}`, v: version, stamp });
      rows.set(
        name,
        fetch(app.url(`run/${run}/attention/${layer}/${head}?${query}`))
          .then((reply) => {
            if (reply.status === app.REPLACED) app.replaced(stamp);
            if (!reply.ok) throw new Error("no weights");
            return reply.arrayBuffer();
          })
          .then((bytes) => new Float32Array(bytes))
          .catch((error) => {
            rows.delete(name);
            throw error;
          }),
      );
    }
    const values = /** @type {Float32Array} */ (await rows.get(name));
    return (key) => values[(query - first) * keys + key];
  };

  function precise(/** @type {number} */ value) {
    return !Number.isFinite(value)
      ? "not finite"
      : value === 0
        ? "0"
        : value >= 0.001
          ? value.toFixed(4)
          : value.toExponential(2);
  }
  app.precise = precise;
});
