"""A page that tests share: it is emptied between them, and thrown away where that is not simple.

To load a page costs some two seconds, to empty one a tenth of that. What stays: the visitor's cookie, where runs were
left, the answers that page and browser have kept, the entries of the browser's history. A test for which these matter
is marked `fresh`.
"""

from __future__ import annotations

import os
import time
from typing import Any

from playwright.sync_api import Error, Page

PATIENCE = 20.0  # seconds in which a page must be empty; else another is opened
AGAIN = 3.0  # seconds after which a page that is not empty is emptied once more
LOOK = 20  # milliseconds between looks

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
    app.history.set(options);
    dash.set_props("model", { value: model });
    dash.set_props("text", { value: "" });
    dash.set_props("text-pair", { value: "" });
    app.setChat(false);
    setTimeout(app.resetPair, 50);
    for (const button of document.querySelectorAll("#notice button"))
        if (button.textContent === "Close") button.click();
    document.getElementById("announcer").textContent = "";
    app.hover(null);
    app.tip(null);
    for (const box of document.querySelectorAll("body *")) if (box.scrollTop || box.scrollLeft) box.scrollTo(0, 0);
    scrollTo(0, 0);
}
"""
READY = """
() => document.querySelectorAll(".figure .js-plotly-plot").length === document.querySelectorAll(".figure").length
    && Object.keys(dashboardApp.state.options).length
    && document.getElementById("token-count").textContent.startsWith("0 of")
    && !document.querySelector("[data-dash-is-loading=true]")
"""
NOT_EMPTY = """
({ options, model }) => {
    const { selection, info, working, options: chosen, model: known } = dashboardApp.state;
    const byId = (id) => document.getElementById(id);
    const wanted = {
        "no selection": !selection && !info,
        "nothing computed": !working,
        "an empty address": !location.search,
        "the page's own title": document.title === "Transformer dashboard",
        "default options": Object.entries(options).every(([id, value]) => chosen[id] === value),
        "the first model": known && known.title === model,
        "no text": byId("text").value === "" && byId("text").clientHeight < 60,
        "no second text": byId("text-pair").value === "" && byId("second-composer").hidden,
        "no tokens": byId("token-count").textContent.startsWith("0 of"),
        "the invitations": byId("page").classList.contains("empty") && byId("examples-card").checkVisibility(),
        "no steps": !dashboardApp.history.canUndo() && !dashboardApp.history.canRedo(),
        "nothing open": !document.querySelector("#notice .notice, dialog[open], details[open], .dash-dropdown-content"),
        "nothing under way": !document.querySelector("[data-dash-is-loading=true]"),
    };
    return Object.keys(wanted).filter((name) => !wanted[name]);
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
        beside: the page that keeps its browser's process, and stays.
        under_way: the addresses that it has asked for and that are not answered yet.
    """

    def __init__(self, page: Page, beside: Page, model: str) -> None:
        self.page, self.beside, self._model = page, beside, model
        self.under_way: list[str] = []
        page.on("request", lambda request: self.under_way.append(request.url))
        page.on("requestfinished", lambda request: self._ended(request.url))
        page.on("requestfailed", lambda request: self._ended(request.url))
        self._standard: dict[str, Any] = {}

    def _ended(self, url: str) -> None:
        if url in self.under_way:
            self.under_way.remove(url)

    def opened(self) -> None:
        """Wait until all of the page is there, and keep how it stands then."""
        self.page.wait_for_function(READY, polling=LOOK)
        self._standard = dict(self.page.evaluate(STANDARD))

    def empty(self) -> None:
        """Make it what it was when it was loaded: no run, no text, the first model, every option at its default.

        Raises:
            AssertionError: it is not so within `PATIENCE`, and what is not.
        """
        began, again = time.monotonic(), 0.0
        while differs := self._differs():
            waited = time.monotonic() - began
            assert waited < PATIENCE, f"The shared page was not emptied; it has not {', '.join(differs)}."
            if waited >= again:  # once; and once more where something came after it, such as a notice
                if self.page.locator(".dash-dropdown-content").count():
                    self.page.keyboard.press("Escape")
                self.page.evaluate(EMPTY, [self._standard["options"], self._model])
                again += AGAIN
            self.page.wait_for_timeout(LOOK)

    def _differs(self) -> list[str]:
        return list(self.page.evaluate(NOT_EMPTY, self._standard))

    def can_be_shared(self, width: int, height: int) -> bool:
        """Empty it for the next test; False where something of this test would stay."""
        try:
            if self.page.is_closed():
                return False
            self.page.unroute_all(behavior="ignoreErrors")
            for other in self.page.context.pages:
                if other not in (self.page, self.beside):
                    other.close()
            self.page.emulate_media(color_scheme="null", forced_colors="null", reduced_motion="null")
            self.page.set_viewport_size({"width": width, "height": height})
            self.page.mouse.move(0, 0)
            if self.page.evaluate("() => dashboardApp.state.working"):
                self.page.locator("#cancel").click()
            self.empty()
            self.wait_until_answered()
            left = self.page.evaluate(LEFT, self._standard)
        except (AssertionError, Error) as error:
            left = [str(error)]
        if left and os.environ.get("SHOW_PAGES"):
            print("thrown away:", *left)  # noqa: T201 - for whoever looks why tests load pages
        return not left

    def wait_until_answered(self) -> None:
        """Until nothing is under way any more."""
        deadline = time.monotonic() + PATIENCE
        while self.under_way and time.monotonic() < deadline:
            self.page.wait_for_timeout(10)
