/* Keys that work from anywhere on the page, and the dialog that lists them. One list serves both. */
(window.dashboardParts = window.dashboardParts || []).push((app) => {
  "use strict";
  const STORED = "single-keys";

  /* what has keys of its own: nothing is taken from there */
  const OWN_KEYS =
    "input:not([type=checkbox]), textarea, select, [contenteditable=true], dialog, .offcanvas, .table-box, .ag-root, " +
    ".menu, .dash-dropdown, .dash-dropdown-content, [role=listbox], [role=combobox], [role=slider]";

  const step = (/** @type {string} */ name, /** @type {number} */ by) => () => app.propose({ step: name, by });
  const undo = () => app.propose({ undo: true });
  const redo = () => app.propose({ redo: true });
  const lastToken = () => /** @type {Shows} */ (app.state).info.labels.length - 1;
  const second = (/** @type {number} */ by) => () => app.moveSecond(by);
  function run() {
    const button = app.byId("run");
    if (button && button.offsetParent) button.click();
  }
  function focusText() {
    const area = app.byId("text");
    if (!area || !area.offsetParent) return;
    area.focus();
    area.setSelectionRange(area.value.length, area.value.length);
  }

  /**
   * Every key that works from anywhere. `keys`: as `keyOf` names them; `show`: as the dialog writes it; `run`: it needs
   * a run; `single`: a printed character, which can be turned off; `act`: one function for each of `keys`.
   */
  const KEYS = [
    {
      show: "← →",
      does: "previous, next token",
      keys: ["ArrowLeft", "ArrowRight"],
      run: true,
      act: [step("token", -1), step("token", 1)],
    },
    {
      show: "Home End",
      does: "first, last token",
      keys: ["Home", "End"],
      run: true,
      act: [() => app.propose({ token: 0 }), () => app.propose({ token: lastToken() })],
    },
    {
      show: "Shift+↑ Shift+↓",
      does: "previous, next layer",
      keys: ["ArrowUp", "ArrowDown"],
      shift: true,
      run: true,
      act: [step("layer", -1), step("layer", 1)],
    },
    {
      show: "Shift+← Shift+→",
      does: "previous, next head",
      keys: ["ArrowLeft", "ArrowRight"],
      shift: true,
      run: true,
      act: [step("head", -1), step("head", 1)],
    },
    {
      show: "[ ]",
      also: ", .",
      does: "move the second token, skipping the selected one; if no second token is set, start from the selected one",
      keys: ["[", "]", ",", "."],
      single: true,
      run: true,
      act: [second(-1), second(1), second(-1), second(1)],
    },
    {
      show: "x",
      does: "clear the second token",
      keys: ["x"],
      single: true,
      run: true,
      act: [() => app.propose({ second: null })],
    },
    {
      show: "h t",
      does: "add the selected head or token to the added ones, or remove it",
      keys: ["h", "t"],
      single: true,
      run: true,
      act: [() => app.addSelected("heads"), () => app.addSelected("tokens")],
    },
    {
      show: "Shift+x",
      does: "clear the added heads and tokens",
      keys: ["Shift+x"],
      single: true,
      run: true,
      act: [() => app.clearAdded()],
    },
    {
      show: "Ctrl+Z Ctrl+Y",
      also: "Ctrl+Shift+Z",
      does: "undo, redo: a selection, an option or a run",
      keys: ["z", "y", "Shift+z"],
      ctrl: true,
      run: true,
      act: [undo, redo, redo],
    },
    { show: "/", does: "go to the text box", keys: ["/"], single: true, act: [focusText] },
    { show: "Ctrl+Enter", does: "run the text", keys: ["Enter"], ctrl: true, act: [run] },
    { show: "?", does: "show this list", keys: ["?"], single: true, act: [() => open()] },
  ];
  /* what else has keys, where the focus is there */
  const PLACES = [
    ["text box", "Ctrl+Enter", "run the text"],
    ["token strip", "Shift+Enter", "make the focused token the second one, or clear it"],
    ["head grid", "← → ↑ ↓", "select layer and head"],
    ["Layer, Head", "↑ ↓", "next value, previous value; or a number and Enter"],
    ["table of numbers", "↑ ↓ Enter", "go to a row, choose its token"],
    ["table of heads", "↑ ↓ ← → Enter", "move; select the row’s head, or sort by the column"],
    ["table of recent runs", "↑ ↓ ← → Enter", "move; open the run, or pin, rename or delete it; or sort"],
    ["heatmap, points: with more than 80 tokens", "drag", "zoom; a double click resets it"],
    ["tabs of a card", "← →", "open the previous or the next tab"],
    ["menu", "↑ ↓ Esc", "move, close"],
    [
      "anywhere",
      "Esc",
      "close what is open; otherwise cancel the run, close the notice, or move from the text box to the tokens",
    ],
  ];
  app.keys = KEYS.map(({ show, also, does }) => [also ? `${show} or ${also}` : show, does]);

  /* single keys can be turned off: who dictates text should not move about by it (WCAG 2.1.4) */
  let single = true;
  try {
    single = window.localStorage.getItem(STORED) !== "off";
  } catch {
    /* private window: on */
  }
  function switchSingle(/** @type {boolean} */ on) {
    single = on;
    try {
      window.localStorage.setItem(STORED, on ? "on" : "off");
    } catch {
      /* for this page alone */
    }
  }

  /*
   * where a keyboard writes no Latin letters (or an input method keeps them to itself), a key is what stands there on a
   * Latin one
   */
  const LATIN = /^\p{Script=Latin}$/u;
  /** @type {Record<string, string>} */
  const PLACED = { BracketLeft: "[", BracketRight: "]", Comma: ",", Period: ".", Slash: "/" };
  function latin(/** @type {KeyboardEvent} */ event) {
    const letter = /^Key([A-Z])$/.exec(event.code);
    if (letter) return letter[1].toLowerCase();
    const printed = PLACED[event.code];
    return printed && !(event.shiftKey && printed !== "/") ? (event.shiftKey ? "?" : printed) : event.key;
  }
  /**
   * A key by its name, whatever Caps Lock and the layout make of it: letters are small, "Shift+z" is one with Shift.
   */
  function keyOf(/** @type {KeyboardEvent} */ event, /** @type {boolean} */ ctrl) {
    const { key } = event;
    if (key.length > 1 && key !== "Process" && key !== "Unidentified") return key;
    const foreign = key.length > 1 || (/[^\0-\x7f]/.test(key) && !LATIN.test(key));
    const name = foreign || (ctrl && !LATIN.test(key)) ? latin(event) : key.toLowerCase();
    return event.shiftKey && LATIN.test(name) ? `Shift+${name}` : name;
  }
  function entryOf(/** @type {KeyboardEvent} */ event) {
    const ctrl = event.ctrlKey || event.metaKey;
    const printed = !(ctrl || event.altKey) || event.getModifierState("AltGraph");
    const key = keyOf(event, ctrl && !printed);
    for (const entry of KEYS) {
      const index = entry.keys.indexOf(key);
      if (index < 0) continue;
      if (
        entry.single
          ? printed && single
          : !event.altKey && Boolean(entry.ctrl) === ctrl && (entry.ctrl || Boolean(entry.shift) === event.shiftKey)
      ) {
        return { ...entry, act: entry.act[index] };
      }
    }
    return null;
  }
  /* on the window: whatever has keys of its own where the focus is comes first, in whichever order the scripts came */
  window.addEventListener("keydown", (event) => {
    if (event.defaultPrevented || event.isComposing || (event.target.closest && event.target.closest(OWN_KEYS))) return;
    const entry = entryOf(event);
    if (!entry || (entry.run && !app.state.selection)) return;
    event.preventDefault();
    const strip = app.byId("tokens");
    const along = strip && strip.contains(document.activeElement);
    entry.act();
    if (along && strip.contains(document.activeElement)) focusToken();
  });
  function focusToken() {
    const node = app.state.selection && app.byId("tokens").querySelector(`[data-token="${app.state.selection.token}"]`);
    if (node) node.focus();
  }

  /* Esc closes what is open, one thing at a time; a run is cancelled only where nothing is */
  document.addEventListener(
    "keydown",
    (event) => {
      if (event.key !== "Escape") return;
      const box = app.byId("tooltip");
      if (app.isCovered()) return; // it closes itself
      if (box && !box.hidden) app.tip(null);
      const notice = document.querySelector("#notice .notice");
      if (app.state.working || document.querySelector("details.menu-box[open], .dash-dropdown-content")) return;
      if (notice) /** @type {HTMLElement} */ (notice.querySelector("button:last-of-type")).click();
      else if (["text", "text-pair"].includes(document.activeElement?.id || "")) focusToken();
    },
    true,
  );
  /* a notice that is closed leaves the focus in the text box, whose text it was about */
  document.addEventListener("click", (event) => {
    const button = event.target.closest("#notice button");
    if (button)
      setTimeout(() => {
        if (!button.isConnected && document.activeElement === document.body) focusText();
      }, 0);
  });

  /* the dialog */
  /** @type {HTMLDialogElement | null} */ let dialog = null;
  function row(/** @type {string[]} */ cells) {
    const line = app.make("tr");
    for (const [i, text] of cells.entries()) {
      const cell = app.make("td");
      if (i === cells.length - 2)
        for (const key of text.split(" ")) cell.append(key === "or" ? key : app.make("kbd", "", key), " ");
      else cell.textContent = text;
      line.append(cell);
    }
    return line;
  }
  function listing(/** @type {string} */ title, /** @type {string[]} */ headings, /** @type {string[][]} */ rows) {
    const table = app.make("table", "keys-table");
    table.append(app.make("caption", "", title));
    const head = app.make("tr");
    for (const heading of headings) {
      const cell = app.make("th", "", heading);
      cell.scope = "col";
      head.append(cell);
    }
    const body = app.make("tbody");
    body.append(...rows.map(row));
    const top = app.make("thead");
    top.append(head);
    table.append(top, body);
    return table;
  }
  function build() {
    const made = app.make("dialog", "keys-dialog");
    made.setAttribute("aria-labelledby", "keys-title");
    const head = app.make("div", "dialog-head");
    const title = app.make("h2", "", "Keys");
    title.id = "keys-title";
    const close = app.make("button", "quiet", "Close");
    close.type = "button";
    close.addEventListener("click", () => made.close());
    head.append(title, close);
    const choice = app.make("label", "switch");
    const box = app.make("input");
    box.type = "checkbox";
    box.id = "single-keys";
    box.checked = single;
    box.addEventListener("change", () => switchSingle(box.checked));
    choice.append(
      box,
      "Single-key shortcuts: " +
        KEYS.filter((k) => k.single)
          .flatMap((k) => k.keys)
          .join(" "),
    );
    made.append(
      head,
      listing("Anywhere, except in text boxes, menus and tables", ["Keys", "Action"], app.keys),
      choice,
      listing("Where the focus is", ["Where", "Keys", "Action"], PLACES),
    );
    made.addEventListener("click", (event) => {
      if (event.target === made) made.close();
    }); // beside it
    document.body.append(made);
    return made;
  }
  function open() {
    dialog = dialog || build();
    if (!dialog.open) dialog.showModal();
  }
  document.addEventListener("click", (event) => {
    if (event.target.closest("#keys")) open();
  });
});
