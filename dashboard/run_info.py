"""What the browser is told of a run: its tokens, its sizes, and where the selection starts."""

from __future__ import annotations

from typing import Any

import numpy as np

from dashboard import __version__
from dashboard.analysis.attention import head_tags
from dashboard.contracts.run import ModelRun
from dashboard.contracts.selection import Selection
from dashboard.examples import example_for
from dashboard.figures.tokens import leading_marks, token_label

PLACES = ("token", "layer", "head", "other")


def describe_run(run: ModelRun) -> dict[str, Any]:
    """Tokens, sizes and head patterns as JSON: about 40 bytes a token."""
    surprisal = run.surprisal
    tags = run.remember("head tags", lambda: head_tags(run))
    return {
        "run": run.key,
        "model": run.model.name,
        "title": run.model.title,
        "kind": run.model.kind,
        "layers": run.model.layers,
        "heads": run.model.heads,
        "text": run.text,
        "labels": [token_label(token.text) for token in run.tokens],
        "leads": [leading_marks(token.text) for token in run.tokens],
        "breaks": [i for i, token in enumerate(run.tokens) if "\n" in token.text],
        "special": [i for i, token in enumerate(run.tokens) if token.special],
        "partial": [i for i, token in enumerate(run.tokens) if token.partial],
        "surprisal": None if surprisal is None else [None if np.isnan(v) else round(float(v), 4) for v in surprisal],
        "patterns": [[[tag.pattern, round(tag.score, 3)] for tag in row] for row in tags],
        "masked": "masked/top_ids" in run.arrays,
        "masks": [[recipe.mask, recipe.window] for recipe in map(run.recipe, range(run.model.layers))],
        "version": __version__,
    }


def start_of(run: ModelRun, before: ModelRun | None, selection: Selection | None) -> dict[str, int | None]:
    """Where the selection starts in `run`: the example's own place, what was selected before where it still makes sense
    (the same token of an edited text; layer and head of a model that has them), or the last token in the middle layer.
    """
    same = before is not None and before.key == run.key
    example = None if same else example_for(run.model.name, run.text)
    if example is not None and example.token < len(run):
        return {"token": example.token, "other": example.other, "layer": example.layer, "head": example.head}
    last = max((i for i, token in enumerate(run.tokens) if not token.special), default=len(run) - 1)
    if before is None or selection is None:
        return {"token": last, "other": None, "layer": run.model.layers // 2, "head": 0}
    token = _same_token(before, run, selection.token)
    other = None if selection.other is None else _same_token(before, run, selection.other)
    return {
        "token": last if token is None else token,
        "other": other,
        "layer": min(selection.layer, run.model.layers - 1),
        "head": min(selection.head, run.model.heads - 1),
    }


def _same_token(before: ModelRun, run: ModelRun, position: int) -> int | None:
    """Where the token at `position` of `before` stands in `run`: by what is equal at the start, then at the end."""
    old, new = [token.text for token in before.tokens], [token.text for token in run.tokens]
    if not 0 <= position < len(old):
        return None
    if old[: position + 1] == new[: position + 1]:
        return position
    from_end = len(old) - position
    if from_end <= len(new) and old[-from_end:] == new[-from_end:]:
        return len(new) - from_end
    return position if position < len(new) and new[position] == old[position] else None


def place_in(run: ModelRun, address: dict[str, Any]) -> tuple[dict[str, int | None], list[str]]:
    """The valid places that an address names, and a sentence for each that is not; one that names a token and no second
    token means that there is none.

    Args:
        address: the address bar's values as text: token, layer, head, other.
    """
    counts = {"token": len(run), "other": len(run), "layer": run.model.layers, "head": run.model.heads}
    found: dict[str, int | None] = {}
    problems = []
    for name in PLACES:
        raw = address.get(name)
        if raw is None or raw == "":
            continue
        if isinstance(raw, str) and raw.isascii() and raw.isdigit() and len(raw) < 10 and int(raw) < counts[name]:
            found[name] = int(raw)
        else:
            what = "second token" if name == "other" else name
            shown = str(raw)[:40]
            problems.append(f"The address names {what} “{shown}”, but this run has {what}s 0 to {counts[name] - 1}.")
    if "token" in found:
        found.setdefault("other", None)
    return found, problems
