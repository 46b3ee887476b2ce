"""The header of a run as JSON: how to make it, what it must hold, and what tells one capture from another."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict
from typing import Any

from dashboard.contracts.attention_recipe import ScoreRecipe
from dashboard.contracts.derived import BESIDE
from dashboard.contracts.model_info import ModelInfo
from dashboard.contracts.request import RunRequest
from dashboard.contracts.streams import ENDS, STREAMS, StreamName
from dashboard.contracts.token import Token
from dashboard.errors import RunShapeError

STAMP = re.compile(r"[0-9a-z-]{1,64}")
UNSTAMPED = "old-"  # prefix of stamps for runs captured before stamps existed


def make_header(
    key: str,
    request: RunRequest,
    model: ModelInfo,
    tokens: Sequence[Token] | Mapping[str, Sequence[Token]],
    recipes: Sequence[ScoreRecipe] | Mapping[str, Sequence[ScoreRecipe]],
    **extra: Any,
) -> dict[str, Any]:
    """Make the JSON-able header of a run.

    Args:
        tokens: by stream; for a model with one stream, as they are. recipes: one per layer, by kind of attention,
            likewise.
        extra: added unchanged (seconds, created, fingerprint, version …).
    """
    by_kind = recipes if isinstance(recipes, Mapping) else {stream_of(recipe.mask for recipe in recipes): recipes}
    by_stream = tokens if isinstance(tokens, Mapping) else {next(iter(by_kind)): tokens}
    return {
        **extra,
        "key": key,
        "request": request.to_json(),
        "model": asdict(model),
        "tokens": {name: [token.to_row() for token in found] for name, found in by_stream.items()},
        "recipes": {kind: [recipe.to_json() for recipe in found] for kind, found in by_kind.items()},
    }


def stream_of(masks: Iterable[str]) -> StreamName:
    """Name a model's one stream by the masks of its layers: one that reads only what came before is a decoder."""
    return "decoder" if "causal" in masks else "encoder"


def stamp_of(header: Mapping[str, Any]) -> str:
    """Return what tells this capture from others of the same key; for a header without a stamp, a hash of it."""
    stamp = header.get("stamp")
    if isinstance(stamp, str) and STAMP.fullmatch(stamp):
        return stamp
    content = json.dumps(header, sort_keys=True, default=str)
    return UNSTAMPED + hashlib.sha256(content.encode()).hexdigest()[:16]


def results_in(header: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return what a header says of the derived results in its file, by their suffix: kind, parameters and facts."""
    found = header.get(BESIDE, {})
    rows = [found, *found.values()] if isinstance(found, Mapping) else [found]
    rows += [row.get(name, {}) for row in rows[1:] if isinstance(row, Mapping) for name in ("parameters", "facts")]
    if not all(isinstance(row, Mapping) for row in rows):
        raise RunShapeError("The run's derived results cannot be read. Export the run again.")
    return dict(found)


def check_names(tokens: Mapping[str, Any], recipes: Mapping[str, Any]) -> None:
    """Raise `RunShapeError`, with the name, for a stream or an attention that is unknown here or lacks a part."""
    for what, names, known in (("stream", tokens, STREAMS), ("attention", recipes, tuple(ENDS))):
        unknown = next((str(name) for name in names if name not in known), None)
        if unknown is not None:
            raise RunShapeError(
                f"The run has {what} “{unknown[:40]}”, but this version knows only {' and '.join(known)}. Run its "
                f"text again."
            )
    lacking = [name for name in tokens if name not in recipes]
    lacking += [end for kind in recipes for end in ENDS[kind] if end not in tokens]  # type: ignore[index]
    if lacking:
        raise RunShapeError(
            f"The run names the stream “{lacking[0]}” but lacks its tokens or its attention. Run its text again."
        )
