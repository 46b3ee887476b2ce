/*
 * How a figure of lines names what it joins: tokens, or words, each of which stands at its first token
 * (dashboard/figures/attention_lines.py).
 */
(window.dashboardParts = window.dashboardParts || []).push((app) => {
  "use strict";
  /** @type {{ told: LinesTold; info: Info | null; made: LineUnits } | null} */ let kept = null;

  /** The tokens or words of a figure of lines. */
  app.lineUnits = function (told) {
    const { info } = app.state;
    if (!kept || kept.told !== told || kept.info !== info) kept = { told, info, made: made(told) };
    return kept.made;
  };

  /** @returns {LineUnits} */
  function made(/** @type {LinesTold} */ { tokens, words = {} }) {
    /** @type {Map<number, number>} */ const stands = new Map();
    for (const [first, [, , last]] of Object.entries(words))
      for (let token = Number(first); token <= last; token += 1) stands.set(token, Number(first));
    const { labels } = /** @type {Shows} */ (app.state).info;
    const at = (/** @type {number} */ token) => stands.get(token) ?? token;
    const short = (/** @type {number} */ token, /** @type {number=} */ most) =>
      words[token] ? app.elided(words[token][0], most) : app.short(token, most);
    const position = (/** @type {number} */ token) => (words[token] ? `${token}–${words[token][2]}` : `${token}`);
    return {
      count: labels.length - stands.size + Object.keys(words).length,
      isWord: (token) => token in words,
      at: (token) => (typeof token === "number" ? at(token) : null),
      short,
      position,
      repeated: (token, most) =>
        stands.size
          ? tokens.some((other) => other !== token && short(other, most) === short(token, most))
          : app.repeated(token, most),
      chosen: (token, ...now) =>
        now.find((piece) => typeof piece === "number" && piece !== token && at(piece) === token) ?? token,
      named: (token) => (words[token] ? [app.make("span", "tok", words[token][0])] : app.named(token)),
      label(token, attributes, parent, most, suffix) {
        if (!words[token]) return app.svgToken(token, attributes, parent, most, suffix);
        const node = app.svg("text", attributes, parent);
        const text = short(token, most);
        app.svgLabel(node, text, Math.min(words[token][1], text.length));
        node.append(suffix);
        return node;
      },
    };
  }
});
