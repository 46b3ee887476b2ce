"""A page that tests share: it is emptied between them, and thrown away where that is not simple.

To load a page costs some two seconds, to empty one a tenth of that. What stays: the visitor's cookie, the answers that page
and browser have kept, the entries of the browser's history, where each run was left (which *Recent* alone
reads). A test for which these matter is marked `fresh`.
"""

from __future__ import annotations

import time
from typing import Any

from playwright.sync_api import Error, Page

PATIENCE = 10.0  # seconds in which a page must be empty; else another is opened

STANDARD = """
() => ({
    options: dashboardApp.state.options,
    model: dashboardApp.state.model.title,
    names: Object.keys(window),
    parts: document.querySelectorAll("body > *, main > *").length,
})
"""
EMPTY = """
([options, model]) => {
    const { history, location, dashboardApp: app, dash_clientside: dash } = window;
    document.querySelectorAll("dialog[open]").forEach((dialog) => dialog.close());
    document.querySelectorAll("details[open]").forEach((menu) => menu.removeAttribute("open"));
    document.activeElement.blur();
    const arrive = (state) => {
        history.replaceState(state, "", location.pathname);
        dispatchEvent(new PopStateEvent("popstate", { state }));
    };
    arrive(null); // an entry of which nothing is known: no step leads beyond it
    const { index } = history.state;
    arrive({ index, floor: index, selection: null, options: {} }); // and it shows the empty page
    for (const [id, value] of Object.entries(options)) dash.set_props(id, { value });
    dash.set_props("model", { value: model });
    dash.set_props("text", { value: "" });
    for (const button of document.querySelectorAll("#notice button")) if (button.textContent === "Close") button.click();
    document.getElementById("announcer").textContent = "";
    app.hover(null);
    app.tip(null);
    for (const box of document.querySelectorAll("body *")) if (box.scrollTop || box.scrollLeft) box.scrollTo(0, 0);
    scrollTo(0, 0);
}
"""
IS_EMPTY = """
({ options, model }) => {
    const { selection, info, working, options: chosen, model: known } = dashboardApp.state;
    const byId = (id) => document.getElementById(id);
    return !selection && !info && !working && !location.search && document.title === "Transformer dashboard"
        && Object.entries(options).every(([id, value]) => chosen[id] === value) && known && known.title === model
        && byId("text").value === "" && byId("text").clientHeight < 60 && byId("token-count").textContent.startsWith("0 of")
        && byId("page").classList.contains("empty") && byId("examples-card").checkVisibility()
        && !dashboardApp.history.canUndo() && !dashboardApp.history.canRedo()
        && !document.querySelector("#notice .notice, dialog[open], details[open], .dash-dropdown-content")
        && !document.querySelector("[data-dash-is-loading=true]");
}
"""
LEFT = """
({ names, parts }) => [
    ...Object.keys(localStorage).filter((name) => name !== "places").map((name) => `in localStorage: ${name}`),
    ...Object.keys(window).filter((name) => !names.includes(name)).map((name) => `of window: ${name}`),
    ...(document.querySelectorAll("body > *, main > *").length === parts ? [] : ["a part of the page"]),
]
"""


class SharedPage:
    """A page that is emptied again and again.

    Attributes:
        page: it, opened at the address without a run.
        under_way: the addresses that it has asked for and that are not answered yet.
    """

    def __init__(self, page: Page, model: str) -> None:
        self.page, self._model = page, model
        self.under_way: list[str] = []
        page.on("request", lambda request: self.under_way.append(request.url))
        page.on("requestfinished", lambda request: self._ended(request.url))
        page.on("requestfailed", lambda request: self._ended(request.url))
        self._standard: dict[str, Any] = {}

    def _ended(self, url: str) -> None:
        if url in self.under_way:
            self.under_way.remove(url)

    def opened(self) -> None:
        """Keep how the page stands now, newly loaded."""
        self._standard = dict(self.page.evaluate(STANDARD))

    def empty(self) -> None:
        """Make it what it was when it was loaded: no run, no text, the first model, every option at its default.

        Raises:
            playwright.sync_api.Error: it is not so within `PATIENCE`.
        """
        self.page.evaluate(EMPTY, [self._standard["options"], self._model])
        self.page.wait_for_function(IS_EMPTY, arg=self._standard, timeout=1000 * PATIENCE)

    def can_be_shared(self, width: int, height: int) -> bool:
        """Empty it for the next test; False where something of this test would stay."""
        try:
            if self.page.is_closed():
                return False
            self.page.unroute_all(behavior="ignoreErrors")
            for other in self.page.context.pages:
                if other is not self.page:
                    other.close()
            self.page.emulate_media(color_scheme=None, forced_colors=None, reduced_motion=None)
            self.page.set_viewport_size({"width": width, "height": height})
            self.page.mouse.move(0, 0)
            if self.page.evaluate("() => dashboardApp.state.working"):
                self.page.locator("#cancel").click()
            self.empty()
            self.wait_until_answered()
            return not self.page.evaluate(LEFT, self._standard)
        except Error:
            return False

    def wait_until_answered(self) -> None:
        """Until nothing is under way any more."""
        deadline = time.monotonic() + PATIENCE
        while self.under_way and time.monotonic() < deadline:
            self.page.wait_for_timeout(10)
