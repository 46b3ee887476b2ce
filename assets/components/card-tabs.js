/*
 * The Dash component of dashboard/components/card_tabs.py: a row of tabs (WAI-ARIA Authoring Practices, tabs that open
 * on focus).
 */
(window.dashboardParts = window.dashboardParts || []).push(() => {
  "use strict";
  /** @type {Record<string, (at: number) => number>} */
  const STEPS = { ArrowLeft: (at) => at - 1, ArrowRight: (at) => at + 1, Home: () => 0, End: () => -1 };

  /* the options that the card's tabs share stand in the menu of the open one, once that has been opened */
  function Shared(/** @type {{ panel: string; fields: unknown }} */ { panel, fields }) {
    const { useLayoutEffect, useState } = window.React;
    const [slot, setSlot] = useState(/** @type {Element | null} */ (null));
    useLayoutEffect(() => {
      const find = () => setSlot(document.querySelector(`#${panel} .shared-options`));
      find();
      document.addEventListener("options-made", find);
      return () => document.removeEventListener("options-made", find);
    }, [panel]);
    useLayoutEffect(() => {
      document.dispatchEvent(new CustomEvent("shared-options-made"));
    }, [slot]);
    return slot ? window.ReactDOM.createPortal(fields, slot) : null;
  }
  function CardTabs(/** @type {CardTabsProps} */ { id, label, tabs, active_tab: open, children, options, setProps }) {
    const { Children, Fragment, createElement, useLayoutEffect, useRef } = window.React;
    const made = useRef(new Set()); // the panels that have been open stay, with their figures
    made.current.add(open);
    useLayoutEffect(() => {
      for (const { value, panel } of tabs) {
        const box = document.getElementById(panel);
        if (box) box.classList.toggle("active", value === open);
      }
      const row = /** @type {HTMLElement} */ (document.getElementById(id));
      const tab = /** @type {HTMLElement} */ (row.querySelector(".active"));
      row.scrollLeft = Math.max(
        tab.offsetLeft + tab.offsetWidth - row.clientWidth,
        Math.min(row.scrollLeft, tab.offsetLeft),
      );
    }, [tabs, open]);
    function key(/** @type {KeyboardEvent} */ event) {
      const step = STEPS[event.key];
      if (!step || event.ctrlKey || event.altKey || event.metaKey || event.shiftKey) return;
      event.preventDefault();
      event.stopPropagation();
      const next = /** @type {Tab} */ (tabs.at(step(tabs.findIndex(({ value }) => value === open)) % tabs.length));
      /** @type {HTMLElement} */ (document.getElementById(next.id)).focus();
      setProps({ active_tab: next.value });
    }
    const tab = (/** @type {Tab} */ { id: name, value, label: words, panel }) =>
      createElement(
        "button",
        {
          key: value,
          id: name,
          type: "button",
          role: "tab",
          className: value === open ? "card-tab active" : "card-tab",
          tabIndex: value === open ? 0 : -1,
          "aria-selected": value === open,
          "aria-controls": panel,
          onClick: () => setProps({ active_tab: value }),
        },
        words,
      );
    const panels = Children.toArray(children);
    const panel = (/** @type {Tab} */ { id: name, value, panel: of }, /** @type {number} */ i) =>
      made.current.has(value)
        ? panels[i]
        : createElement("div", { key: value, id: of, className: "view", role: "tabpanel", "aria-labelledby": name });
    const row = createElement(
      "div",
      { id, className: "card-tabs", role: "tablist", "aria-label": label, onKeyDown: key },
      tabs.map(tab),
    );
    const { panel: shows } = /** @type {Tab} */ (tabs.find(({ value }) => value === open));
    const shared = options.length ? createElement(Shared, { panel: shows, fields: options }) : null;
    return createElement(Fragment, null, row, tabs.map(panel), shared);
  }
  window.dashboard_components = Object.assign(window.dashboard_components || {}, { CardTabs });
});
