"""The models to choose from, what is known of each without loading it, and live token counts.

No torch: the page imports this.
"""

from __future__ import annotations

import difflib
import logging
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from dashboard.catalog.adapter_card import base_of, describe_adapter, is_adapter
from dashboard.catalog.adapters import has_adapter
from dashboard.catalog.bundled import BUNDLED, FETCH, bundled_card, is_converted
from dashboard.catalog.chat_templates import has_template
from dashboard.catalog.counting import PATIENCE, TokenCounter
from dashboard.catalog.counting_process import Count
from dashboard.catalog.description import describe_folder
from dashboard.catalog.fingerprint import (
    fingerprint_memories,
    folder_fingerprint,
    has_weights,
    known_fingerprint,
    unresolved,
)
from dashboard.catalog.folders import PREFIX, FolderModel, folder_model, folder_models
from dashboard.catalog.foreign_files import shown
from dashboard.catalog.gguf_files import converted_folder, describe_gguf, is_ready
from dashboard.catalog.hub import (
    HUB_MODELS,
    cached_ids,
    cached_snapshot,
    find_cached,
    is_hub_id,
    listed_model,
)
from dashboard.catalog.memory import check_bound
from dashboard.catalog.model_card import ModelCard, Source
from dashboard.catalog.sizes import UNBOUNDED
from dashboard.catalog.tokenizers import lacking, owned, tokenizer_folder
from dashboard.contracts.request import LONGEST_NAME, ModelRequest, longest_text
from dashboard.errors import ModelError, ModelNotFoundError, UnsupportedModelError
from dashboard.settings import Settings

log = logging.getLogger(__name__)
LISTING_SECONDS = 2.0  # for models not read before; the list says which are still unread
NEAR = 0.7  # of 1; similarity from which one name may be meant by the other


@dataclass(frozen=True)
class Readiness:
    """Whether a run of a model can begin.

    Attributes:
        fingerprint: of its files, or a placeholder for it.
        ready: its files are here, in a loadable form, and have been read through before.
        preparable: if it is not ready, whether a server can prepare it by itself.
    """

    fingerprint: str
    ready: bool
    preparable: bool = False


class Catalog:
    """The models of one server. Thread-safe.

    Args:
        patience: seconds that a token count in the other process may take.

    Raises (from the methods):
        ModelNotFoundError: the catalog has no such name.
    """

    def __init__(self, settings: Settings, patience: float = PATIENCE) -> None:
        self._settings = settings
        self._counter = TokenCounter(patience)

    def entries(self) -> tuple[ModelCard, ...]:
        """List the bundled models, then those in the server's folders and the hub's local cache, and well-known ones
        that would be downloaded; those that cannot be run come last, and an adapter after its base. Each call looks
        again, so that a finished download shows.
        """
        bundled = [self._bundled(model) for model in BUNDLED]
        until = time.monotonic() + LISTING_SECONDS
        published = (self._hub_card(model, until) for model in HUB_MODELS)
        sources = (self._in_folders(until), self._cached_others(until), published)
        rest = [card for source in sources for card in _surviving(source)]
        rest.sort(key=lambda card: (bool(card.refusal), not card.here))
        return tuple(_below_their_bases((*bundled, *rest)))

    def get(self, name: str, allow_folders: bool = False) -> ModelCard:
        """Return the card called `name`: a bundled model, one in the server's folders, or any hub id; with
        `allow_folders`, also the model in an absolute folder.
        """
        if len(name) > LONGEST_NAME:  # before anything processes it
            raise ModelNotFoundError("No model has such a long name. Choose one of the listed models.")
        bundled = bundled_card(name)
        if bundled is not None:
            return self._bundled(bundled)
        if name.startswith(PREFIX):
            return self._found(folder_model(name, self._settings))
        listed = listed_model(name)
        if listed is not None:
            return self._hub_card(listed)
        if allow_folders and Path(name).is_absolute() and (has_weights(Path(name)) or has_adapter(Path(name))):
            return self._folder_card(str(name), Path(name), "a folder on this machine")
        if not is_hub_id(name):
            raise ModelNotFoundError(
                f"“{shown(name, 200)}” is neither a model on this server nor a hub id (ORGANISATION/NAME). "
                "Choose one of the listed models."
            )
        folder = cached_snapshot(name)
        return _unknown_card(name) if folder is None else self._folder_card(name, folder, "in the local cache", "hub")

    def near(self, name: str) -> tuple[str, ...]:
        """Return the names that `name` may stand for, the likeliest first; none if it is the name of a model."""
        words: dict[str, str] = {}
        if len(name) > LONGEST_NAME:
            return ()
        for card in self.entries():
            for word in (card.name, card.title):
                words.setdefault(word.lower(), card.name)
        if name in words.values():
            return ()
        return tuple(dict.fromkeys(words[word] for word in difflib.get_close_matches(name.lower(), words, 2, NEAR)))

    def admit(self, name: str, tokenizer: str | None = None) -> ModelCard:
        """Return the card called `name`, if nothing known of the model speaks against running it.

        Args:
            tokenizer: the model whose tokenizer it is given, or None; not looked at further than whether it is needed.

        Raises:
            UnsupportedModelError: its family, tokenizer or files cannot be used. ModelTooLargeError: it is larger than
                this server allows.
        """
        card = self.get(name)
        if card.refusal:
            raise UnsupportedModelError(f"{card.title} cannot be run: {card.refusal}. Choose another model.")
        bound, size = self._settings.model_gigabytes, self._settings.weight_bytes
        check_bound(card.title, card.parameters, bound, size=size)
        if card.folder is not None and card.mute == (tokenizer is None):
            raise lacking(card.title) if card.mute else owned(card.title)
        return card

    def fingerprint(self, asked: ModelRequest, allow_folders: bool = False) -> str:
        """Return what names the model's files in a run's key: 64 hex digits, or "unresolved:NAME@REVISION" if they are
        not here. Reads every file not read before, which may take a minute.
        """
        card = self.get(asked.name, allow_folders)
        folder = _folder_of(card, asked.revision)
        if folder is None:
            return unresolved(card.name, asked.revision)
        with _readable(card):
            return folder_fingerprint(
                folder,
                fingerprint_memories(self._settings),
                base=self._base(card, folder),
                tokenizer=self._tokenizer(asked.tokenizer, allow_folders),
            )

    def readiness(self, asked: ModelRequest) -> Readiness:
        """Return the model's fingerprint, as far as it is known at once, and whether a run can begin."""
        card = self.get(asked.name)
        folder = _folder_of(card, asked.revision)
        if folder is not None:
            with _readable(card):
                known = known_fingerprint(
                    folder,
                    fingerprint_memories(self._settings),
                    self._base(card, folder),
                    self._tokenizer(asked.tokenizer),
                )
            if known is not None:
                return Readiness(known, ready=True)
        name = unresolved(card.name, asked.revision)
        return Readiness(name, ready=False, preparable=card.source != "bundled" or card.here)

    def count_tokens(
        self, name: str, text: str, text_pair: str | None = None, tokenizer: str | None = None
    ) -> int | None:
        """Return how many tokens a run of `text` will have, special ones included.

        None if only the run can tell, or if the count takes too long.

        Equals the number of tokens that `dashboard.capture.tokens.tokenize` returns.
        """
        return self.count(name, text, text_pair, tokenizer).tokens

    def count(
        self,
        name: str,
        text: str,
        text_pair: str | None = None,
        tokenizer: str | None = None,
        chat: bool = False,
    ) -> Count:
        """Like `count_tokens`, with the first token that the model has no embedding for, if the files tell.

        Args:
            chat: the text is a message in the model's chat template.
        """
        card = self.get(name)
        if card.folder is None or card.refusal or len(text) + len(text_pair or "") > longest_text(card.limit):
            return Count()
        bundled = card.name if card.source == "bundled" else ""
        folder = self._tokenizer(tokenizer) or card.tokenizer or card.folder
        return self._counter.counted(folder, text, text_pair, bundled, card.vocabulary, chat)

    def takes_chat(self, name: str, tokenizer: str | None = None) -> bool:
        """Whether a model has a chat template; of one that is given another's tokenizer, whether that one has.

        False for a model whose files are not here.
        """
        card = self.get(name)
        lent = self._tokenizer(tokenizer) if card.mute else None
        return card.chat if lent is None else has_template(lent)

    def _tokenizer(self, name: str | None, folders: bool = False) -> Path | None:
        """Return the folder of the model whose tokenizer is asked for."""
        return None if name is None else tokenizer_folder(name, self._settings, folders)

    def _base(self, card: ModelCard, folder: Path) -> Path | None:
        """Return the folder of an adapter's base; `folder` may be of another revision than the card."""
        if folder == card.folder:
            return card.base_folder
        base = base_of(folder, card.title, self._settings)
        return None if base is None else base.folder

    def _bundled(self, card: ModelCard) -> ModelCard:
        folder = self._settings.models_folder / card.name
        if is_converted(folder):
            return replace(card, here=True, folder=folder)
        return replace(card, note=f"not fetched yet: {FETCH}")

    def _in_folders(self, until: float) -> Iterator[ModelCard]:
        for found in folder_models(self._settings).values():
            try:
                yield self._found(found, until)
            except ModelError:  # it was removed while the list was made
                continue

    def _found(self, found: FolderModel, until: float | None = None) -> ModelCard:
        """Return the card of a model in the server's folders."""
        if found.refusal:
            location = "" if found.location == shown(found.path.name) else f"in {found.location}"
            title = shown(found.path.name)
            return replace(
                _unknown_card(found.name), title=title, here=True, note=location, source="folder", refusal=found.refusal
            )
        if not found.is_gguf:
            return self._folder_card(found.name, found.path, f"in {found.location}", until=until)
        folder = converted_folder(found.path, self._settings)
        card, ready = describe_gguf(found.path, until), is_ready(folder)
        return replace(
            card,
            name=found.name,
            title=shown(found.path.stem),
            source="gguf",
            kind=card.kind if card.layers else None,
            limit=card.limit or UNBOUNDED,
            folder=folder if ready else None,
            note=f"in {found.location}" + ("" if ready else ", converted on first run"),
            refusal=shown(card.refusal),
        )

    def _hub_card(self, listed: ModelCard, until: float | None = None) -> ModelCard:
        """Return the card of a well-known model: from its files if they are here, else as published."""
        folder = find_cached(listed)
        if folder is None:
            return listed
        return self._folder_card(listed.name, folder, "in the local cache", "hub", until)

    def _cached_others(self, until: float) -> Iterator[ModelCard]:
        """Yield the text models in the hub's local cache that are not among the well-known ones."""
        for name in cached_ids():
            folder = None if listed_model(name) else cached_snapshot(name)
            if folder is not None and (has_adapter(folder) or describe_folder(folder, until).reads_text):
                yield self._folder_card(name, folder, "in the local cache", "hub", until)

    def _folder_card(
        self, name: str, folder: Path, note: str, source: Source = "folder", until: float | None = None
    ) -> ModelCard:
        """Make a card from the files of a model's or an adapter's folder."""
        if is_adapter(folder):
            card = describe_adapter(folder, self._settings, until)
            note = f"adapter of {title_of(card.base)}, {note}" if card.base else note
        else:
            card = describe_folder(folder, until)
        return replace(
            card,
            name=name,
            title=shown(name.split("/")[-1]) if source == "hub" else card.title,
            note=f"{note}, without a tokenizer" if card.mute else note,
            source=source,
            refusal=shown(card.refusal) or ("" if card.reads_text else "it does not read text"),
            unread=tuple(shown(line) for line in card.unread),
        )


def title_of(name: str | Path) -> str:
    """Return a model's name for people, without looking at its files: no organisation, folder or root."""
    bundled = bundled_card(name)
    if bundled is not None:
        return bundled.title
    path = Path(name).expanduser()
    return shown(
        path.name if path.is_dir() else str(name).rpartition("/")[2].removeprefix(PREFIX).removesuffix(".gguf")
    )


def _below_their_bases(cards: Iterable[ModelCard]) -> Iterator[ModelCard]:
    """Yield each card, and after a model the adapters that change it."""
    below: dict[str, list[ModelCard]] = {}
    whole = []
    for card in cards:
        below.setdefault(card.base, []).append(card) if card.base else whole.append(card)
    for card in whole:
        yield card
        yield from below.pop(card.name, ())
    for adapters in below.values():  # of a base that the list lacks
        yield from adapters


def _folder_of(card: ModelCard, revision: str | None) -> Path | None:
    if card.source != "hub" or revision is None:
        return card.folder
    listed = listed_model(card.name)
    return find_cached(listed, revision) if listed is not None else cached_snapshot(card.name, revision)


@contextmanager
def _readable(card: ModelCard) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise ModelNotFoundError(
            f"The files of {card.title} cannot be read ({error.strerror}). Choose another model."
        ) from error


def _surviving(entries: Iterable[ModelCard]) -> Iterator[ModelCard]:
    """Yield the entries of one source until it fails: an unforeseen error must stop neither a page nor a start."""
    try:
        yield from entries
    except Exception:
        log.exception("some models cannot be listed")


def _unknown_card(name: str) -> ModelCard:
    """Make the card of a hub id about which nothing is known here."""
    return ModelCard(name, name.split("/")[-1], limit=UNBOUNDED, note="downloads on first use")
