"""Plain routes for runs: token counts of a text, and pictures and exact numbers that a browser may cache for ever."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from typing import Any

import numpy as np
from flask import Blueprint, Response, jsonify, request

from dashboard.catalog.catalog import Catalog
from dashboard.catalog.model_card import ModelCard
from dashboard.contracts.request import is_run_key, longest_text
from dashboard.contracts.run import ModelRun
from dashboard.contracts.selection import REPLACED
from dashboard.errors import (
    BadRequestError,
    BadSelectionError,
    ReplacedRunError,
    RunNotFoundError,
)
from dashboard.figures.heads import packed_heads
from dashboard.store.run_store import RunStore
from dashboard.version import __version__
from dashboard.views.head_order import order_as_asked, told
from dashboard.views.reading import asks_of, read_as_asked
from dashboard.web.build import FOR_EVER
from dashboard.web.model_picker import is_message, needed_tokenizer, second_text
from dashboard.web.services import Services

MOST_WEIGHTS = 65_536  # attention weights in one answer


def make_runs(services: Services) -> Blueprint:
    """Create the routes /count and /run/KEY/…; an unknown run gives 404 and one plain line."""
    routes = Blueprint("runs", __name__)
    settings, store, catalog = services.settings, services.store, services.catalog

    @routes.post("/count")
    def _count() -> Response:
        raw = request.get_json(silent=True)
        if not isinstance(raw, dict) or not isinstance(raw.get("text"), str) or not isinstance(raw.get("model"), str):
            raise BadRequestError("Send JSON with model and text.")
        tokenizer = needed_tokenizer(catalog, raw["model"], raw.get("tokenizer"))
        card = catalog.admit(raw["model"], tokenizer)  # what a run would refuse is not counted either
        chat = is_message(catalog, card.name, tokenizer, raw.get("chat"))
        pair = second_text(catalog, card.name, raw.get("text_pair"), chat)
        texts = [raw["text"], pair] if isinstance(pair, str) else [raw["text"]]
        if sum(map(len, texts)) > longest_text(min(card.limit, settings.max_tokens)):
            return jsonify({"tokens": None, "too_long": True})
        # running the text rejects half a surrogate pair
        readable = [text.encode("utf-8", "replace").decode() for text in texts]
        return jsonify(_counted(catalog, card, readable, tokenizer, chat))

    @routes.get("/run/<key>/heads")
    def _heads(key: str) -> Response:
        run = _open(store, key)
        attention = run.attention_of(request.args.get("kind"))
        return _kept(packed_heads(np.asarray(attention.thumbnails)), "application/octet-stream", run, "heads")

    @routes.get("/run/<key>/order")
    def _order(key: str) -> Response:
        run = _open(store, key)
        order = order_as_asked(run, request.args, services)
        if not order.complete:
            response = jsonify(told(order))
            response.status_code = 202
            response.headers["Cache-Control"] = "no-store"
            return response
        content = json.dumps(told(order)).encode()
        response = _kept(content, "application/json", run, f"order-{hashlib.sha256(content).hexdigest()}")
        response.headers["Cache-Control"] = "private, no-cache"  # its words may change with this program
        return response

    @routes.get("/run/<key>/attention/<int:layer>/<int:head>")
    def _weights(key: str, layer: int, head: int) -> Response:
        run = _open(store, key)
        first, last = request.args.get("from", -1, type=int), request.args.get("to", -1, type=int)
        run.check(layer=layer, head=head)
        reading = read_as_asked(run, (layer, head), request.args, services)
        if (last - first) * len(reading.columns) > MOST_WEIGHTS:
            raise BadRequestError(f"Ask for some rows at a time, with from and to: at most {MOST_WEIGHTS:,} weights.")
        if not 0 <= first < last <= len(reading.rows):
            raise BadSelectionError(
                f"Rows {first} to {last} are not there. Choose rows between 0 and {len(reading.rows)}."
            )
        tag = "-".join(map(str, (layer, head, first, last, *sorted(asks_of(reading).items()))))
        return _kept(reading.weights(first, last).astype("<f4").tobytes(), "application/octet-stream", run, tag)

    return routes


def _counted(
    catalog: Catalog, card: ModelCard, texts: Sequence[str], tokenizer: str | None, chat: bool
) -> dict[str, Any]:
    """How many tokens a text or a pair has; whether that counts a chat message as it was typed; a separator typed into
    one text for a model of pairs; if the model has no embedding for one, its position and the error of a run."""
    text, text_pair = texts[0], texts[1] if len(texts) > 1 else None
    if not text and text_pair is None:
        return {"tokens": 0}
    found = catalog.count(card.name, text, text_pair, tokenizer, chat)
    told: dict[str, Any] = {"tokens": found.tokens, **({"typed": True} if found.typed else {})}
    if found.separator is not None and card.pairs:
        told["separator"] = found.separator
    if found.beyond is not None:
        why = found.beyond.sentence(card.title, card.vocabulary, tokenizer is not None)
        told["unknown"] = {"token": found.beyond.position, "why": why}
    return told


def _open(store: RunStore, key: str) -> ModelRun:
    if not is_run_key(key):
        raise RunNotFoundError("That is not the name of a run. Check that the address was copied whole, or run a text.")
    run = store.open(key)
    if request.args.get("stamp", run.stamp) != run.stamp:
        raise ReplacedRunError(REPLACED)
    return run


def _kept(content: bytes, kind: str, run: ModelRun, tag: str) -> Response:
    """An answer that a browser may cache: for ever if its address names the capture of the run."""
    response = Response(content, mimetype=kind)
    response.headers["Cache-Control"] = FOR_EVER if "stamp" in request.args else "private, no-cache"
    response.set_etag(f"{__version__}-{run.key}-{run.stamp}-{tag}")
    response.make_conditional(request)
    return response
