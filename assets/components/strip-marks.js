/*
 * What the strip says of each token by colour and below it: its surprisal, or what a classifier makes of it
 * (dashboard/figures/class_marks.py).
 */
(window.dashboardParts = window.dashboardParts || []).push((app) => {
  "use strict";
  const VALUES_UP_TO = 32; // tokens that have their surprisal below them
  const COLOURED = 6; // groups of classes with a colour of their own

  function shade(/** @type {number} */ surprisal) {
    return Math.max(0, Math.min(6, Math.floor((surprisal / 12) * 7)));
  }
  const number = (/** @type {number | null} */ value) =>
    value === null ? "–" : value === Infinity ? "∞" : value.toFixed(1);

  /** @type {Partial<App>} */
  const ways = {
    /** A token's surprisal in nats; Infinity where the model gives it probability 0, null where there is none. */
    surprisal(token) {
      const { info } = /** @type {Shows} */ (app.state);
      if (!info.surprisal) return null;
      return info.impossible.includes(token) ? Infinity : info.surprisal[token];
    },
    surprisalText: (value, digits) =>
      value === Infinity ? "impossible: surprisal ∞" : `surprisal ${value.toFixed(digits)} nats`,
    /** Whether the tokens of a run have a number or a word below them. */
    hasBelow: (info) => Boolean(info.classes || (info.surprisal && info.labels.length <= VALUES_UP_TO)),
    /** A token's colour, what stands below it, and both in words; empty where there is nothing to say. */
    tokenMark(token) {
      const { classes } = /** @type {Shows} */ (app.state).info;
      if (classes) {
        const colour = classes.colours[token];
        return { colour: colour && `class-${colour}`, below: classes.below[token], said: classes.said[token] };
      }
      const value = app.surprisal(token);
      return {
        colour: value === null ? "" : `surprisal-${shade(value)}`,
        below: number(value),
        said: value === null || value === undefined ? "" : app.surprisalText(value, 2),
      };
    },
    /** What the colours mean: in full, or in a few words where the strip scrolls; "" without colours. */
    markCaption(info, brief) {
      if (info.classes) return `colour and word: ${info.classes.what}`;
      if (!info.surprisal) return "";
      if (brief) return "colour: surprisal";
      return app.hasBelow(info)
        ? "colour and number: surprisal, in nats (how unexpected the token was)"
        : "colour: surprisal, in nats (how unexpected the token was); hover for the number";
    },
    /** Show the legend of the colours. */
    markLegend(info) {
      app.byId("strip-legend").hidden = !info.surprisal;
      const box = app.byId("strip-classes");
      const groups = info.classes ? info.classes.groups : [];
      box.hidden = !groups.length;
      const rest = groups.slice(COLOURED);
      const named = groups.slice(0, COLOURED).map((name, i) => entry(String(i), name));
      box.replaceChildren(...named, ...(rest.length ? [entry("more", rest.join(", "))] : []));
    },
  };
  Object.assign(app, ways);

  function entry(/** @type {string} */ colour, /** @type {string} */ name) {
    const box = app.make("span", "");
    box.append(app.make("i", `swatch class-${colour}`), app.elided(name, 60));
    if (name.length > 60) box.setAttribute("title", name);
    return box;
  }
});
