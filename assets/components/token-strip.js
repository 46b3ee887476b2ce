/* The token strip and the selection bar. */
(window.dashboardParts = window.dashboardParts || []).push((app) => {
  "use strict";
  const AXES = /** @type {const} */ (["layer", "head"]); // what the steppers change
  /** @type {HTMLElement[]} */ let marked = [];
  let scrolling = 0;

  function draw(/** @type {Info} */ info) {
    const strip = app.byId("tokens");
    const values = app.hasBelow(info);
    strip.classList.toggle("plain", !values);
    const breaks = new Set(info.breaks);
    const special = new Set(info.special);
    const continues = new Set(info.continues);
    const all = document.createDocumentFragment();
    info.labels.forEach((text, i) => {
      const kinds = (special.has(i) ? " special" : "") + (continues.has(i) ? " continues" : "");
      const button = app.make("button", "token" + kinds);
      button.type = "button";
      button.dataset.token = String(i);
      button.tabIndex = -1;
      button.setAttribute("aria-pressed", "false");
      const { colour, below } = app.tokenMark(i);
      if (app.notes(i).length)
        button.setAttribute(
          "aria-label",
          [app.isolated(text), values ? below : "", ...app.notes(i)].filter(Boolean).join(", "),
        );
      const chip = app.make("span", "chip" + (colour && ` ${colour}`));
      chip.append(...app.label(i).childNodes);
      button.append(chip);
      if (values) button.append(app.make("span", "value", below));
      all.append(...app.dividerAt(i), button);
      if (breaks.has(i)) all.append(app.make("span", "line-break"));
    });
    strip.replaceChildren(all);
    marked = [];
    app.captions();
  }

  app.stripCaption = function (before) {
    const info = app.state.info;
    const strip = app.byId("tokens");
    if (!info || !strip) return;
    app.markLegend(info);
    const scrolls = strip.scrollHeight > strip.clientHeight + 2;
    strip.classList.toggle("scrolls", scrolls);
    let text = app.markCaption(info) || "click a token to select it, shift-click for a second";
    if (scrolls) {
      const brief = app.markCaption(info, true);
      text = (brief ? `${brief} · ` : "") + lines(strip) + "; follows the selected token";
    }
    app.byId("strip-caption").textContent = before + text;
    app.byId("strip-marks").textContent = info.legend.join(" · ");
    app.byId("strip-marks").hidden = !info.legend.length;
  };
  /* distance from one line of tokens to the next */
  function pitch(/** @type {HTMLElement} */ strip) {
    const first = /** @type {HTMLElement} */ (strip.querySelector(".token"));
    let node = first;
    while (node && node.offsetTop <= first.offsetTop) node = /** @type {HTMLElement} */ (node.nextElementSibling);
    return node ? node.offsetTop - first.offsetTop : first.offsetHeight;
  }
  function lines(/** @type {HTMLElement} */ strip) {
    const height = pitch(strip);
    const top = Math.round(strip.scrollTop / height) + 1;
    const seen = Math.max(1, Math.round(strip.clientHeight / height));
    const total = Math.max(1, Math.round((strip.scrollHeight - 8) / height));
    return `lines ${top}–${Math.min(total, top + seen - 1)} of ${total}`;
  }

  /** @param {number | null} index @param {string} className @param {boolean=} pressed */
  function mark(index, className, pressed) {
    const button =
      index === null || index === undefined ? null : app.byId("tokens").querySelector(`[data-token="${index}"]`);
    if (!button) return;
    button.classList.add(className);
    if (pressed) {
      button.setAttribute("aria-pressed", "true");
      button.tabIndex = 0;
    }
    marked.push(button);
  }
  function marks(/** @type {Shows} */ state, /** @type {What} */ what) {
    const strip = app.byId("tokens");
    for (const button of marked) {
      button.classList.remove("selected", "second", "hovered", "added");
      button.removeAttribute("aria-description");
      button.setAttribute("aria-pressed", "false");
      button.tabIndex = -1;
    }
    marked = [];
    const { selection, hover } = state;
    if (hover) for (const piece of app.wordOf(hover.token)) mark(piece, "hovered");
    for (const token of app.addedTokens()) {
      mark(token, "added");
      marked[marked.length - 1]?.setAttribute("aria-description", "added");
    }
    mark(selection.second, "second");
    mark(selection.token, "selected", true);
    if (what === "hover") return;
    cancelAnimationFrame(scrolling); // by then all views have been painted, so the page is laid out once
    scrolling = requestAnimationFrame(() => keepInView(strip, marked[marked.length - 1]));
  }
  function keepInView(/** @type {HTMLElement} */ strip, /** @type {HTMLElement | undefined} */ button) {
    if (!button || !strip.classList.contains("scrolls")) return; // measured before: doing so again costs a layout
    const top = button.offsetTop - 4;
    if (top < strip.scrollTop || top + button.offsetHeight > strip.scrollTop + strip.clientHeight) {
      const height = pitch(strip);
      strip.scrollTop = Math.max(0, Math.round(top / height - 1) * height + 2); // its event writes the caption
    }
  }

  function bar(/** @type {Shows} */ state) {
    const { selection, info } = state;
    fill("selected-token", selection.token);
    fill("second-token", selection.second);
    app.byId("clear-second").hidden = selection.second === null;
    for (const name of AXES) {
      const count = info[`${name}s`];
      app.byId(`${name}-range`).textContent = `0–${count - 1}`;
      app.byId(`${name}-down`).disabled = selection[name] === 0;
      app.byId(`${name}-up`).disabled = selection[name] === count - 1;
    }
  }
  function fill(/** @type {string} */ id, /** @type {number | null} */ index) {
    const slot = app.byId(id);
    slot.replaceChildren();
    if (index === null || index === undefined) {
      const how = app.narrow() ? " Tap a cell to compare." : " Shift-click a token to compare.";
      const single = app.state.info && app.state.info.counts.token === 1;
      slot.append(app.make("span", "", single ? "None" : `None.${how}`));
      return;
    }
    slot.append(app.label(index, 20), String(index));
  }

  app.onPaint((state, what) => {
    if (!state.info || !state.selection) return;
    if (what === "run") {
      draw(state.info);
      warn(state.info);
    }
    // pieces stand together where the attention views read them as words
    if (what === "run" || what === "options") app.byId("tokens").classList.toggle("words", app.readsWords());
    if (what === "selection" || what === "hover") marks(state, what);
    if (what === "selection") bar(state);
    if (what === "selection" || what === "history") steps();
    if (what === "size") app.captions();
  });
  /* values that are not finite are reported once per run, here */
  function warn(/** @type {Info} */ info) {
    if (info.warning) app.notify({ lead: "Not finite.", text: info.warning, from: "values" });
    else app.notifyOver("values");
  }
  function steps() {
    app.byId("undo").disabled = !app.history.canUndo();
    app.byId("redo").disabled = !app.history.canRedo();
  }
  /** @type {Record<string, number>} */ const STEPS = { ArrowLeft: -1, ArrowRight: 1, ArrowUp: -1, ArrowDown: 1 };
  document.addEventListener("click", (event) => {
    const target = event.target.closest("button");
    if (!target || !app.state.selection) return;
    if (target.dataset.token !== undefined) {
      const token = Number(target.dataset.token);
      if (event.shiftKey) app.asSecond(token);
      else app.propose({ token });
    } else if (target.id === "clear-second") app.propose({ second: null });
    else if (target.id === "undo") app.propose({ undo: true });
    else if (target.id === "redo") app.propose({ redo: true });
    else {
      const step = /^(layer|head)-(down|up)$/.exec(target.id || "");
      if (step) app.propose({ step: step[1], by: step[2] === "up" ? 1 : -1 });
    }
  });
  document.addEventListener("keydown", (event) => {
    const button = event.target.closest && event.target.closest("#tokens [data-token]");
    if (button && event.key in STEPS && !event.ctrlKey && !event.altKey && !event.shiftKey && !event.metaKey) {
      event.preventDefault();
      const { info, selection } = /** @type {Shows} */ (app.state);
      const count = info.labels.length;
      const next = Math.max(0, Math.min(count - 1, Number(button.dataset.token) + STEPS[event.key]));
      const node = app.byId("tokens").querySelector(`[data-token="${next}"]`);
      if (node) node.focus();
      if (Number(button.dataset.token) === selection.token) app.propose({ step: "token", by: STEPS[event.key] });
      else app.propose({ token: next });
    }
    if (
      (event.target.id === "layer" || event.target.id === "head") &&
      (event.key === "ArrowUp" || event.key === "ArrowDown")
    ) {
      event.preventDefault();
      app.propose({ step: event.target.id, by: event.key === "ArrowUp" ? 1 : -1 });
    }
    if ((event.target.id === "layer" || event.target.id === "head") && event.key === "Enter")
      typed(/** @type {Stepper} */ (event.target));
  });
  document.addEventListener("focusout", (event) => {
    if (event.target.id === "layer" || event.target.id === "head") typed(/** @type {Stepper} */ (event.target));
  });
  /** Use the typed value. If the run has no such layer or head, say so and keep the current one. */
  function typed(/** @type {Stepper} */ field) {
    const { selection, info } = /** @type {Shows} */ (app.state);
    if (!selection || field.value === String(selection[field.id])) return;
    const count = field.id === "layer" ? info.layers : info.heads;
    const raw = field.value.trim();
    const value = /^\d{1,6}$/.test(raw) ? Number(raw) : NaN;
    if (value < count && value !== selection[field.id]) {
      app.propose({ [field.id]: value });
      return;
    }
    if (raw && !(value < count))
      refuse(
        field,
        `There is no ${field.id} ${app.elided(raw, 12)}: this model has ${field.id}s 0 to ${count - 1}. ` +
          `Layer ${selection.layer}, head ${selection.head} is still selected.`,
      );
    setTimeout(() => {
      // after the field itself has told Dash what was typed
      field.value = String(selection[field.id]);
      window.dash_clientside.set_props(field.id, { value: field.value });
    }, 0);
  }
  const refusals = { layer: 0, head: 0 };
  function refuse(/** @type {Stepper} */ field, /** @type {string} */ sentence) {
    const range = app.byId(`${field.id}-range`);
    const box = /** @type {HTMLElement} */ (field.closest(".stepper")).getBoundingClientRect();
    const item = /** @type {HTMLElement} */ (field.closest(".bar-item"));
    item.classList.add("refused");
    app.say(sentence);
    app.tip([sentence], box.left, box.bottom);
    range.setAttribute("title", sentence);
    clearTimeout(refusals[field.id]);
    refusals[field.id] = setTimeout(() => {
      item.classList.remove("refused");
      range.removeAttribute("title");
      app.tip(null);
    }, 4000);
  }
  function describe(/** @type {HTMLElement} */ button) {
    const token = Number(button.dataset.token);
    const { said } = app.tokenMark(token);
    /** @type {Line[]} */ const lines = [...app.wordLines(token), [app.label(token), ` ${token}`]];
    if (said) lines.push(said);
    lines.push(...app.notes(token));
    const box = button.getBoundingClientRect();
    app.tip(lines, box.left, box.bottom);
    return token;
  }
  const tokenOf = (/** @type {Heard<Event>} */ event) =>
    event.target.closest && app.state.info && event.target.closest("#tokens [data-token]");
  document.addEventListener("mouseover", (event) => {
    const button = tokenOf(event);
    if (button) app.hover({ token: describe(button), source: "strip" });
  });
  document.addEventListener("focusin", (event) => {
    const button = tokenOf(event);
    if (button && button.matches(":focus-visible")) describe(button);
  });
  document.addEventListener("focusout", (event) => {
    // not while the pointer is on a token, whose note is shown
    if (tokenOf(event) && !app.byId("tokens").querySelector("[data-token]:hover")) app.tip(null);
  });
  document.addEventListener("mouseout", (event) => {
    if (event.target.closest && event.target.closest("#tokens [data-token]")) {
      app.hover(null);
      app.tip(null);
    }
  });
  document.addEventListener(
    "scroll",
    (event) => {
      if (event.target.id === "tokens") app.captions();
    },
    true,
  );
});
