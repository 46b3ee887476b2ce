/* The Dash component of dashboard/components/card_tabs.py: a row of tabs (WAI-ARIA Authoring Practices, tabs that open on focus). */
(function () {
  "use strict";
  const STEPS = { ArrowLeft: (at) => at - 1, ArrowRight: (at) => at + 1, Home: () => 0, End: () => -1 };

  function CardTabs({ id, label, tabs, active_tab: open, setProps }) {
    const { createElement, useLayoutEffect } = window.React;
    useLayoutEffect(() => {
      for (const { value, panel } of tabs) {
        const box = document.getElementById(panel);
        if (box) box.classList.toggle("active", value === open);
      }
    }, [tabs, open]);
    function key(event) {
      const step = STEPS[event.key];
      if (!step || event.ctrlKey || event.altKey || event.metaKey || event.shiftKey) return;
      event.preventDefault();
      event.stopPropagation();
      const next = tabs.at(step(tabs.findIndex(({ value }) => value === open)) % tabs.length);
      document.getElementById(next.id).focus();
      setProps({ active_tab: next.value });
    }
    const tab = ({ id: name, value, label: words, panel }) => createElement("button", {
      key: value, id: name, type: "button", role: "tab", className: value === open ? "card-tab active" : "card-tab", tabIndex: value === open ? 0 : -1,
      "aria-selected": value === open, "aria-controls": panel, onClick: () => setProps({ active_tab: value }),
    }, words);
    return createElement("div", { id, className: "card-tabs", role: "tablist", "aria-label": label, onKeyDown: key }, tabs.map(tab));
  }
  window.dashboard_components = Object.assign(window.dashboard_components || {}, { CardTabs });
})();
