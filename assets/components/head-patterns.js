/* The words for what a head does (dashboard/analysis/head_patterns.py). */
(window.dashboardParts = window.dashboardParts || []).push((app) => {
  "use strict";
  const PATTERNS = {
    previous: "previous token",
    next: "next token",
    self: "the token itself",
    first: "first token",
    separator: "separators",
    punctuation: "punctuation",
    duplicate: "duplicate token",
    induction: "induction",
    spread: "spread evenly",
    mixed: "no dominant pattern",
    unknown: "weights not finite",
  };
  /** @type {Record<string, string>} */
  const AIMS = {
    previous: "the previous token",
    next: "the next token",
    self: "the token itself",
    first: "the first token",
    separator: "separators",
    punctuation: "punctuation",
    duplicate: "the same token elsewhere",
    induction: "what followed the same token before",
  };

  /** What a head does on average over this text, as the grid and the heatmap say it. */
  app.headPattern = function (/** @type {number} */ layer, /** @type {number} */ head) {
    const { patterns } = /** @type {Shows} */ (app.state).info;
    if (!patterns) return "its scores are not stored";
    const [pattern, score, first] = patterns[layer][head];
    const aim = AIMS[pattern];
    if (!aim) return PATTERNS[pattern];
    const percent = (/** @type {number} */ share) => `${Math.round(100 * share)} %`;
    if (pattern === "first" || first === null) return `${percent(score)} on ${aim}`;
    return `${percent(first)} on the first token, ${percent(score)} of the rest on ${aim}`;
  };
});
