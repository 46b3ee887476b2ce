"""Opens pages for tests, and keeps the one that they share."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Literal

from playwright.sync_api import (
    Browser,
    BrowserContext,
    Page,
)

from tests.support.person import Person
from tests.support.server import Server
from tests.support.shared_pages import SharedPage

SIZE = (1440, 900)
Scheme = Literal["light", "dark"]


@dataclass
class Pages:
    """Opens pages, and keeps the one that tests share.

    Attributes:
        people: whoever looks at a page in this test. kept: who looks at the shared page, between tests too.
        spare: browsers without cookies and stored data, which nobody uses now. They have kept what the server gave, and
            their process: a page is loaded there for half the work, since its scripts are compiled.
        plain: all browsers that can be spare, each with a page that shows next to nothing and keeps its process alive.
    """

    browser: Browser
    server: Server
    people: list[Person] = field(default_factory=list)
    kept: Person | None = None
    spare: list[BrowserContext] = field(default_factory=list)
    plain: dict[BrowserContext, Page] = field(default_factory=dict)

    def own(self, width: int, height: int, **options: Any) -> Person:
        """A page of its own, not loaded yet, in a browser of its own."""
        if options:
            context = self.browser.new_context(viewport={"width": width, "height": height}, **options)
            page = context.new_page()
        else:
            context = self.spare.pop() if self.spare else self._plain()
            page = context.new_page()
            page.set_viewport_size({"width": width, "height": height})
        self.people.append(Person(page, self.server))
        return self.people[-1]

    def _plain(self) -> BrowserContext:
        context = self.browser.new_context()
        self.plain[context] = context.new_page()
        self.plain[context].goto(self.server.address + "health")
        return context

    def back(self, context: BrowserContext) -> None:
        """A browser that someone has used: nothing of them stays in it, or else it is closed."""
        if context not in self.plain:
            context.close()
            return
        page = context.new_page()
        wipe = {
            "origin": self.server.address.rstrip("/"),
            "storageTypes": "cookies,local_storage,indexeddb,cache_storage,service_workers",
        }
        context.new_cdp_session(page).send("Storage.clearDataForOrigin", wipe)
        context.clear_cookies()
        context.clear_permissions()
        context.set_offline(False)
        for page in context.pages:
            if page is not self.plain[context]:
                page.close()
        self.spare.append(context)

    def share(self, width: int, height: int, color_scheme: Scheme | None = None) -> Person:
        """The shared page, empty."""
        if self.kept is None:
            self.kept = self.own(*SIZE).load()
            beside = self.plain[self.kept.page.context]
            self.kept.shared = SharedPage(self.kept.page, beside, self.server.settings.default_model)
            self.kept.shared.opened()
        else:
            self.people.append(self.kept)
        self.kept.page.set_viewport_size({"width": width, "height": height})
        self.kept.page.emulate_media(color_scheme=color_scheme or "null")
        return self.kept

    def leave(self, whole: bool) -> tuple[list[str], list[str]]:
        """End a test.

        Args:
            whole: whether the shared page may be used again: not where the test failed.

        Returns:
            What the logs hold that no test expects, and what was asked of other hosts.
        """
        for person in self.people:
            if person is not self.kept:
                if not person.page.is_closed():
                    person.page.wait_for_timeout(50)  # what is still on its way to the log
                self.back(person.page.context)
            elif not whole or person.shared is None or not person.shared.can_be_shared(*SIZE):
                self.back(person.page.context)
                self.kept = None
        log = [line for person in self.people for line in person.unexpected()]
        asked = {url for person in self.people for url in person.requests}
        for person in self.people:
            for noted in (person.log, person.expected, person.requests):
                noted.clear()
        self.people.clear()
        return log, [url for url in asked if not url.startswith((self.server.address, "data:", "blob:"))]
