/* Words of the strip, where word pieces are merged (an option of Attention): which tokens are read as one. */
(window.dashboardParts = window.dashboardParts || []).push((app) => {
  "use strict";
  /** @type {{ info: Info | null; words: Map<number, number[]> }} */ let kept = { info: null, words: new Map() };

  /* the pieces of each word of several, by every one of them */
  function wordsOf(/** @type {Info} */ info) {
    if (kept.info === info) return kept.words;
    /** @type {Map<number, number[]>} */ const words = new Map();
    for (const token of info.continues) {
      const pieces = words.get(token - 1) || [token - 1];
      pieces.push(token);
      for (const piece of pieces) words.set(piece, pieces);
    }
    kept = { info, words };
    return words;
  }

  /** @type {Partial<App>} */
  const own = {
    /** Whether words are read instead of their pieces. */
    readsWords: () => Boolean(app.state.options["attention-words"]),
    /** The tokens that are read as one with this one, in order; itself alone if it is a word, or if pieces are read. */
    wordOf(token) {
      const { info } = app.state;
      return (info && app.readsWords() && wordsOf(info).get(token)) || [token];
    },
    /** A line of the tooltip on the word that a token is a piece of; none if it is a word by itself. */
    wordLines(token) {
      const pieces = app.wordOf(token);
      if (pieces.length === 1) return [];
      const { info } = /** @type {Shows} */ (app.state);
      const plain = pieces.map((piece) => info.labels[piece].replace(/^##/, ""));
      return [["word: ", app.make("b", "tok", plain.join("")), ` (${pieces[0]}–${pieces[pieces.length - 1]})`]];
    },
  };
  Object.assign(app, own);
});
