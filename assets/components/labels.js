/* How a token's label is written: its marks, cut to a length, in HTML and in SVG. */
(window.dashboardParts = window.dashboardParts || []).push((app) => {
  "use strict";
  // what has nothing to read (dashboard/figures/tokens.py)
  const PUNCTUATION = /^[▁\p{P}\p{Sm}\p{Sc}\p{Sk}]+$/u;
  const RIGHT_TO_LEFT = /[\u0590-\u08ff\ufb1d-\ufdff\ufe70-\ufeff\u200f\u{10800}-\u{10fff}\u{1e800}-\u{1efff}]/u;
  const PARTING = new RegExp(
    [
      "(?<=\\d) (?=(?:%|×|(?:nats?|pp|percentage points?|points?|px|[kMGT]?B|[kMBT]|s|min|times|tokens?)(?!\\w)))",
      "(?<=[<>≈≤≥]) (?=[\\d−-])",
    ].join("|"),
    "g",
  );
  /** @typedef {string[] & { counts?: Map<string, number> }} Cut */
  /** @type {{ info: Info | null; lists: Record<number, Cut> }} */ let shortened = { info: null, lists: {} };

  /** @type {Partial<App>} */
  const own = {
    /** A token's label as DOM: the marks of leading white space in second ink. */
    label(index, longest) {
      const { info } = /** @type {Shows} */ (app.state);
      const node = document.createElement("span");
      node.className = "tok";
      node.dir = "auto";
      const text = app.short(index, longest);
      const lead = Math.min(info.leads[index], text.length);
      if (lead) {
        const marks = document.createElement("span");
        marks.className = "ws";
        marks.textContent = text.slice(0, lead);
        node.append(marks);
      }
      node.append(text.slice(lead));
      return node;
    },
    /** A token's label cut to `longest` characters; of labels that would become alike the end is kept as well. */
    short(index, longest) {
      const { info } = /** @type {Shows} */ (app.state);
      if (!longest) return info.labels[index];
      if (shortened.info !== info) shortened = { info, lists: {} };
      if (!shortened.lists[longest]) shortened.lists[longest] = cut(info.labels, longest);
      return shortened.lists[longest][index];
    },
    /** Whether another token of the run has the same label, cut to `longest` characters. */
    repeated(index, longest) {
      const text = app.short(index, longest);
      const list = shortened.lists[longest];
      if (!list.counts) {
        list.counts = new Map();
        for (const label of list) list.counts.set(label, (list.counts.get(label) || 0) + 1);
      }
      return Number(list.counts.get(text)) > 1;
    },
    /** What a token's marks mean, a phrase each. */
    notes(index) {
      return /** @type {Shows} */ (app.state).info.notes[index] || [];
    },
    /**
     * A label as it stands in a sentence: one that is written from right to left moves nothing beside it, and
     * punctuation is in quotation marks.
     */
    isolated(text) {
      if (PUNCTUATION.test(text)) return `“${text}”`;
      return RIGHT_TO_LEFT.test(text) ? `\u2068${text}\u2069` : text;
    },
    /** The same of a token, as parts of a line of the tooltip. */
    named(index) {
      const label = app.label(index);
      return PUNCTUATION.test(app.short(index)) ? ["“", label, "”"] : [label];
    },
    elided(text, longest) {
      if (!longest) return text;
      const characters = Array.from(text);
      return characters.length <= longest ? text : characters.slice(0, longest - 1).join("") + "…";
    },

    /** An SVG text of one token. */
    svgToken(index, attributes, parent, longest, suffix) {
      const { info } = /** @type {Shows} */ (app.state);
      const node = app.svg("text", attributes, parent);
      const text = app.short(index, longest);
      app.svgLabel(node, text, Math.min(info.leads[index], text.length));
      node.append(suffix || "");
      return node;
    },
    /**
     * A sentence whose numbers and units no line's end parts; dashboard/components/markup.py does it for the views'
     * words, by the same rule.
     */
    unparted(text) {
      return text.replace(PARTING, "\u00a0");
    },
    /** Write a label, its first `lead` characters in second ink, into an SVG text. */
    svgLabel(node, text, lead) {
      const [open, close] = RIGHT_TO_LEFT.test(text) ? ["\u2068", "\u2069"] : ["", ""];
      node.append(open);
      if (lead) app.svg("tspan", { class: "ws" }, node).textContent = text.slice(0, lead);
      node.append(text.slice(lead) + close);
    },
  };
  Object.assign(app, own);

  function cut(/** @type {string[]} */ labels, /** @type {number} */ longest) {
    const short = labels.map((label) => app.elided(label, longest));
    /** @type {Map<string, Set<string>>} */
    const whole = new Map(); // short label → the labels that become it
    labels.forEach((label, i) => whole.set(short[i], (whole.get(short[i]) || new Set()).add(label)));
    return short.map((text, i) =>
      /** @type {Set<string>} */ (whole.get(text)).size > 1 ? bothEnds(labels[i], longest) : text,
    );
  }
  function bothEnds(/** @type {string} */ label, /** @type {number} */ longest) {
    const characters = Array.from(label);
    if (characters.length <= longest) return label;
    const tail = Math.floor((longest - 1) / 2);
    return characters.slice(0, longest - 1 - tail).join("") + "…" + characters.slice(-tail).join("");
  }
});
