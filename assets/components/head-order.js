/*
 * The order of the heads in the grid, which the server knows (dashboard/views/head_order.py), and the note below the
 * grid: what the order is, and what the reading aids do not hold for.
 */
(window.dashboardParts = window.dashboardParts || []).push((app) => {
  "use strict";
  const AIDS = ["special", "first", "direction", "words", "sums"];
  const NEEDS = { special: "special", first: "several", direction: "pair", words: "pieces" };
  /** @type {{ key: string; order: HeadOrder | null; isWhole: boolean }} */
  let held = { key: "", order: null, isWhole: true };

  /* the options that the order depends on, as an address writes them */
  function asked() {
    const given = app.address.ofOptions(app.address.given(app.state.options));
    const grid = given["attention-grid"];
    if (!grid) return null;
    const more = grid === "score" ? ["heads-sort", "heads-colour", "heads-scores"] : ["attention-groups"];
    const names = ["attention-grid", ...more, ...AIDS.map((name) => `attention-${name}`)];
    return Object.fromEntries(names.flatMap((name) => (name in given ? [[name, given[name]]] : [])));
  }
  async function fetched(/** @type {string} */ run, /** @type {URLSearchParams} */ query) {
    const reply = await fetch(app.url(`run/${run}/order?${query}`));
    if (!reply.ok) throw new Error("no order of the heads");
    return { order: /** @type {HeadOrder} */ (await reply.json()), isWhole: reply.status === 200 };
  }

  /** @type {Partial<App>} */
  const own = {
    /** The order that the options ask for, null by layer; `redraw` is called if it comes later. */
    headOrder(redraw) {
      const { info } = app.state;
      const asks = info && asked();
      if (!info || !asks) {
        held = { key: "", order: null, isWhole: true };
        return null;
      }
      const query = new URLSearchParams({ ...asks, v: String(app.byId("page").dataset.version), stamp: info.stamp });
      const key = `${info.run} ${query}`;
      if (held.key !== key) {
        const isSame = held.key.startsWith(info.run); // until it comes, the heads stay where they are
        const mine = { key, order: isSame ? held.order : null, isWhole: true };
        held = mine;
        fetched(info.run, query).then(
          (found) => {
            Object.assign(mine, found);
            if (held === mine) redraw();
          },
          () => {
            if (held === mine) held = { key: "", order: null, isWhole: false }; // asked for when it is drawn again
          },
        );
      }
      return held.order;
    },
    /** Ask again for an order that was not there yet. */
    headOrderAgain() {
      if (!held.isWhole && !held.key.endsWith(" ")) held.key += " "; // another key, of the same run
    },
    /** The order that a drawn grid has, in the words of its title. */
    headOrderTitle: (layout) => (layout.byLayer ? ", layer × head" : layout.groups ? ", in groups" : ", by score"),
    /** Write the note below the grid; `byScore`: whether a score colours it. */
    noteHeads(byScore) {
      const box = app.byId("attention-heads-note");
      const { info, options } = app.state;
      const { order } = held;
      const isOn = Object.entries(NEEDS).some(([name, need]) => {
        const value = options[`attention-${name}`];
        return info && info.offers.includes(need) && Boolean(value) && value !== "all";
      });
      const pictures = isOn && !byScore ? "Pictures and patterns: all tokens, without reading aids." : "";
      const text = [order ? order.said : "", pictures].filter(Boolean).join(" ");
      box.hidden = !text;
      if (box.textContent !== text) box.textContent = text;
    },
  };
  Object.assign(app, own);
});
