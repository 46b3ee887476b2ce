"""The runs of one model for `analyse`: each is computed once and kept in the store, which the page reads too."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from dashboard.cli._steps import line_by_line
from dashboard.contracts.precision import AUTO, FULL
from dashboard.errors import DashboardError
from dashboard.settings import Settings

if TYPE_CHECKING:
    from dashboard.capture.loader import LoadedModel
    from dashboard.catalog.model_card import ModelCard
    from dashboard.contracts.derived import Derived, DerivedRequest
    from dashboard.contracts.request import RunRequest
    from dashboard.contracts.run import ModelRun
    from dashboard.store.run_store import RunStore

FEWEST_TIMED = 100  # tokens; the first ones are slow (weights are read on first use), so fewer say nothing about speed


class Runs:
    """Runs of one model: from the store if this version computed them, else computed in this process and stored."""

    def __init__(
        self,
        settings: Settings,
        model: str,
        say: Callable[[str], None],
        listed: bool = False,
        tokenizer: str | None = None,
        chat: bool = False,
    ) -> None:
        """Prepare for texts of one model.

        Args:
            listed: every visitor of a server on this cache folder finds the runs under *Recent*.
            tokenizer: the model whose tokenizer it is given, if it has none of its own.
            chat: each text is a user's message in the model's chat template.
        """
        from dashboard.catalog.adapters import has_adapter
        from dashboard.catalog.bundled import bundled_card
        from dashboard.catalog.catalog import Catalog
        from dashboard.catalog.fingerprint import has_weights
        from dashboard.contracts.request import ModelRequest
        from dashboard.settings import make_folders
        from dashboard.store.run_store import RunStore
        from dashboard.store.visits import VisitorLists

        make_folders(settings)
        self._lists = VisitorLists.from_settings(settings) if listed else None
        self.model, self.tokenizer, self.chat = model, tokenizer, chat
        self.layers = self.heads = 0  # as far as they are known before the model is loaded
        self._here: ModelCard | None = None  # its card, if its files are here
        self._settings, self._say = settings, say
        self._store: RunStore = RunStore.from_settings(settings)
        self._loaded: LoadedModel | None = None
        self._fingerprint: str | None = None
        self._tokens, self._seconds = 0, 0.0
        folder = Path(model).expanduser()
        is_folder = (has_weights(folder) or has_adapter(folder)) and bundled_card(model) is None
        name = str(folder.absolute()) if is_folder else model
        with contextlib.suppress(DashboardError):  # what is not known yet is known once the model is loaded
            entry = Catalog(settings).get(name, allow_folders=True)
            self.layers, self.heads = entry.layers, entry.heads
            self._here = entry if entry.folder is not None and not entry.refusal else None
            found = Catalog(settings).fingerprint(ModelRequest(name, tokenizer=tokenizer), allow_folders=True)
            self._fingerprint = None if found.startswith("unresolved:") else found

    def fingerprint(self) -> str:
        """The fingerprint of the weights, loading the model if it is not known."""
        return self._fingerprint or self._load().fingerprint

    def check_pairs(self) -> None:
        """Raise `NoPairsError` for a model that takes one text, if its files say so before it is loaded."""
        from dashboard.catalog.pairs import check_pairs

        if self._here is not None:
            check_pairs(self._here.title, self._here.pairs)

    def check_chat(self) -> None:
        """Raise `NoChatTemplateError` for a model without a chat template, if its files say so before it is loaded."""
        from dashboard.catalog.chat_templates import no_template

        if self._here is not None and not self._here.chat and not self._here.mute:
            raise no_template(self._here.title)

    def key(self, text: str, text_pair: str | None = None) -> str:
        """The key of the run of a text or a pair."""
        request = replace(self._request(text, text_pair), dtype=self.dtype())
        if self.chat:  # the key holds what the template makes of the message
            from dashboard.capture.chat import with_rendered

            request = with_rendered(self._load(), request)
        return request.key(self.fingerprint())

    def _request(self, text: str, text_pair: str | None) -> RunRequest:
        """The request of a text; raises for an invalid one before the model is loaded."""
        from dashboard.contracts.request import RunRequest

        return RunRequest(self.model, text, text_pair=text_pair, tokenizer=self.tokenizer, chat=self.chat)

    def dtype(self) -> str:
        """The numbers that the runs are computed in, loading the model if only that tells."""
        asked = self._settings.asked_dtype
        return self._load().dtype if asked == AUTO else asked or FULL

    def get(self, text: str, text_pair: str | None = None) -> tuple[ModelRun, bool]:
        """The run of a text or a pair, and whether it was computed now."""
        found = self._get(text, text_pair)
        self.list(found[0].key)
        return found

    def list(self, key: str) -> None:
        """List a run that is in the store under *Recent*, if these runs are to be listed."""
        if self._lists is not None and self._store.has(key):
            self._lists.listed(key)

    def _get(self, text: str, text_pair: str | None) -> tuple[ModelRun, bool]:
        key = self.key(text, text_pair)
        if self._store.is_current(key):
            return self._store.open(key), False
        from dashboard.capture.capture import capture_run

        loaded, started = self._load(), time.perf_counter()
        most, request = self._settings.weights_megabytes, self._request(text, text_pair)
        run = capture_run(loaded, text, text_pair, request=request, weights_megabytes=most)
        self._seconds += time.perf_counter() - started
        self._tokens += len(run)
        self._store.save(run.key, run.header, run.arrays)
        return run, True

    def speed(self) -> float | None:
        """Tokens per second so far, without loading; None if there are too few tokens (`FEWEST_TIMED`)."""
        return self._tokens / self._seconds if self._tokens >= FEWEST_TIMED else None

    def results_of(self, run: ModelRun, requests: Iterable[DerivedRequest]) -> dict[str, Derived]:
        """Derived results of a run; those that are not in the store are computed now."""
        return {
            request.name: self._store.derived(request, run.stamp) or self._derive(run, request) for request in requests
        }

    def _derive(self, run: ModelRun, request: DerivedRequest) -> Derived:
        from dashboard.compute.deriving import compute

        result = compute(self._load(), run, request)
        self._store.save_derived(result, run.stamp)
        return result

    def _load(self) -> LoadedModel:
        if self._loaded is None:
            import torch

            from dashboard.capture.loader import load_model

            torch.set_num_threads(self._settings.worker_threads)
            self._loaded = load_model(
                self.model, settings=self._settings, progress=line_by_line(self._say), tokenizer=self.tokenizer
            )
            self._fingerprint = self._loaded.fingerprint
        return self._loaded
