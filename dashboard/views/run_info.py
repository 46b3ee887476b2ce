"""What the browser learns about a run: its tokens, its sizes, and the initial selection."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from difflib import SequenceMatcher
from typing import Any

import numpy as np

from dashboard.analysis.attention_reading import offered, words_of
from dashboard.analysis.head_patterns import head_tags
from dashboard.catalog.examples import Example, example_for
from dashboard.contracts.precision import AUTO, mark_of
from dashboard.contracts.request import RunRequest
from dashboard.contracts.run import ModelRun
from dashboard.contracts.selection import LOCATION, SEVERAL, Selection, SelectionField, apart
from dashboard.contracts.token import typed_separator
from dashboard.errors import BadSelectionError, MissingArrayError
from dashboard.figures.class_marks import class_marks
from dashboard.figures.tokens import lead_of, legend_of, notes_of, run_labels
from dashboard.version import __version__

LONGEST_DIFF = 256  # tokens of an edit that are compared one by one; the cost grows with the product of the two lengths


def describe_run(run: ModelRun, form_dtype: str | None = None) -> dict[str, Any]:
    """Tokens, sizes and head patterns as JSON: about 40 bytes a token.

    `stamp` distinguishes this capture of the run from another. `outdated` lists what the program computes differently
    today; `plain` says whether the page's form can request the run: `form_dtype` is the `dtype` of its requests.
    `numbers` marks a run in others than float32.
    """
    surprisal = run.surprisal
    return {
        "run": run.key,
        "model": run.model.name,
        "title": run.model.title,
        "kind": run.model.kind,
        "layers": run.model.layers,
        "heads": run.model.heads,
        "counts": run.counts(),
        "text": run.request.text,
        "chat": run.request.chat,
        "pair": run.request.text_pair,
        "divider": run.main.second_begins,
        "separator": separator_of(run),
        "labels": run_labels(run),
        "leads": [lead_of(token) for token in run.tokens],
        "notes": {str(i): notes for i, notes in enumerate(_notes(run)) if notes},
        "legend": legend_of(run.tokens),
        "breaks": [i for i, token in enumerate(run.tokens) if "\n" in token.text],
        "special": [i for i, token in enumerate(run.tokens) if token.special],
        "partial": [i for i, token in enumerate(run.tokens) if token.partial],
        "surprisal": None if surprisal is None else [round(float(v), 4) if np.isfinite(v) else None for v in surprisal],
        "classes": _classes(run),
        "impossible": [] if surprisal is None else np.flatnonzero(np.isposinf(surprisal)).tolist(),
        "warning": None if run.not_finite is None else run.not_finite.sentence,
        "patterns": _patterns(run),
        "pictures": run.attention_of().has("thumbnails"),
        "masked": "masked/top_ids" in run.arrays,
        "offers": sorted(offered(run.main)),
        "continues": [token for word in words_of(run.main) for token in word[1:]],
        "masks": [[recipe.mask, recipe.window] for recipe in map(run.recipe, range(run.model.layers))],
        "version": __version__,
        "stamp": run.stamp,
        "outdated": list(run.outdated),
        "tokenizer": run.request.tokenizer,
        "plain": _is_plain(run, form_dtype),
        "numbers": mark_of(run.header) or None,
        "file": run.file,
    }


def _is_plain(run: ModelRun, form_dtype: str | None) -> bool:
    """Whether the run's request is one that the page's form makes."""
    request = run.request
    dtype = request.dtype if form_dtype == AUTO else form_dtype
    return request == RunRequest(
        request.model,
        request.text,
        text_pair=request.text_pair,
        tokenizer=request.tokenizer,
        dtype=dtype,
        chat=request.chat,
        rendered=request.rendered,
    )


def _classes(run: ModelRun) -> dict[str, Any] | None:
    """What a classifier of tokens says of each: groups with a colour, and words (figures/class_marks.py)."""
    marks = class_marks(run)
    if marks is None:
        return None
    colours = [marks.colour(token) for token in range(len(run))]
    return {
        "what": marks.what,
        "groups": list(marks.groups),
        "colours": colours,
        "below": list(marks.below),
        "said": list(marks.said),
    }


def _patterns(run: ModelRun) -> list[list[list[Any]]] | None:
    """Each head's pattern, its score, and its weight on the first token, by layer; None if the run does not hold the
    heads' scores."""
    attention = run.attention_of()
    try:
        tags = attention.remember("head tags", lambda: head_tags(attention))
    except MissingArrayError:
        return None
    return [[[tag.pattern, round(tag.score, 3), _rounded(tag.first)] for tag in row] for row in tags]


def _rounded(value: float) -> float | None:
    return round(value, 3) if np.isfinite(value) else None


def _notes(run: ModelRun) -> list[list[str]]:
    """What each token's marks mean."""
    source = run.source
    return [notes_of(token, source) for token in run.tokens]


def start_of(run: ModelRun, before: ModelRun | None, selection: Selection | None) -> dict[str, Any]:
    """The initial selection in `run`: the example's own; a typed mask; the previous selection as far as it still makes
    sense (the same token of an edited text; layer and head if the model has them); or the last token, in the middle
    layer. The second token is kept for the same text only, for instance with another model: in a new text nobody has
    chosen one.
    """
    example = opened_example(run, before)
    if example is not None:
        return {field.name: getattr(example, field.name) for field in LOCATION}
    last = max((i for i, token in enumerate(run.tokens) if not token.given), default=len(run) - 1)
    masks = [] if before is not None and before.key == run.key else typed_masks(run)
    if before is None or selection is None:
        return {"token": masks[0] if masks else last, "second": None, "layer": run.model.layers // 2, "head": 0}
    token = _same_token(before, run, selection.token)
    if masks and token not in masks:
        token = masks[0]
    is_same_text = before.texts == run.texts
    second = _same_token(before, run, selection.second) if is_same_text and selection.second is not None else None
    return apart(
        {
            "token": last if token is None else token,
            "second": second,
            "layer": min(selection.layer, run.model.layers - 1),
            "head": min(selection.head, run.model.heads - 1),
            **_added(before, run, selection, is_same_text),
        }
    )


def _added(before: ModelRun, run: ModelRun, selection: Selection, is_same_text: bool) -> dict[str, Any]:
    """The added heads and tokens that still mean something in `run`, as JSON; only those that there are."""
    same_model = (before.model.name, before.model.layers, before.model.heads) == (
        run.model.name,
        run.model.layers,
        run.model.heads,
    )
    moved = (_same_token(before, run, token) for token in selection.tokens)
    kept = {
        "heads": selection.heads if same_model else (),
        "tokens": [token for token in moved if token is not None] if is_same_text else (),
    }
    return {field.name: field.plain(kept[field.name]) for field in SEVERAL if kept[field.name]}


def typed_masks(run: ModelRun) -> list[int]:
    """The positions where the text has a mask for a masked model to fill."""
    return [i for i, token in enumerate(run.tokens) if token.sign == "mask"] if run.model.kind == "masked" else []


def separator_of(run: ModelRun) -> str | None:
    """The `typed_separator` of a run of one text."""
    if len(run.texts) > 1:
        return None
    return typed_separator((token.id, token.text.strip(), token.given) for token in run.tokens)


def opened_example(run: ModelRun, before: ModelRun | None) -> Example | None:
    """The example that `run` shows, if it is newly opened: an example starts at its own location, with default
    options."""
    same = before is not None and before.key == run.key
    example = None if same or run.request.chat else example_for(run.model.name, *run.texts)
    return example if example is not None and example.token < len(run) else None


def _same_token(before: ModelRun, run: ModelRun, position: int) -> int | None:
    """Find the token at `position` of `before` in `run`, by what the two texts have in common; None if it is gone.

    Equal tokens at the start and at the end are the same; in between, `difflib` says which were kept.
    """
    old, new = [token.text for token in before.tokens], [token.text for token in run.tokens]
    if not 0 <= position < len(old):
        return None
    first = _shared(old, new)
    if position < first:
        return position
    last = _shared(old[first:][::-1], new[first:][::-1])
    if position >= len(old) - last:
        return len(new) - len(old) + position
    between, beside = old[first : len(old) - last], new[first : len(new) - last]
    if max(len(between), len(beside)) <= LONGEST_DIFF:
        for block in SequenceMatcher(None, between, beside, autojunk=False).get_matching_blocks():
            if block.a <= position - first < block.a + block.size:
                return position - block.a + block.b
    return position if position < len(new) and new[position] == old[position] else None


def _shared(old: Sequence[str], new: Sequence[str]) -> int:
    """How many tokens at the start are equal."""
    return next((i for i, (a, b) in enumerate(zip(old, new, strict=False)) if a != b), min(len(old), len(new)))


def location_in(run: ModelRun, address: dict[str, Any]) -> tuple[dict[str, Any], list[str]]:
    """The location that an address names, as far as the run has it, and a sentence for each index out of range. An
    address with a token but no second token means that there is no second token.

    Args:
        address: the address bar's values as text.
    """
    found: dict[str, Any] = {}
    problems = []
    stream = address.get("stream") or None
    if stream in run.streams:
        found["stream"] = stream
    elif stream is not None:
        problems.append(
            f"The address names the stream “{str(stream)[:40]}”, but this run has {' and '.join(run.streams)}."
        )
    counts = run.counts(found.get("stream"))
    for field in LOCATION:
        raw, count, what = field.value_in(address), counts[field.kind.of], field.kind.title
        if raw is None:
            continue
        if isinstance(raw, str) and raw.isascii() and raw.isdigit() and len(raw) < 10 and int(raw) < count:
            found[field.name] = int(raw)
        else:
            known = f"{field.kind.of}s 0 to {count - 1}"
            problems.append(f"The address names “{str(raw)[:40]}” as the {what}, but this run has {known}.")
    for field in SEVERAL:
        kept, wrong = _several_in(field, address, counts)
        problems += wrong
        if kept:
            found[field.name] = kept
    if "token" in found:
        found.setdefault("second", None)
    return found, problems


def _several_in(field: SelectionField, address: dict[str, Any], counts: Mapping[str, int]) -> tuple[Any, list[str]]:
    """What an address names in a field that holds several, as JSON, as far as the run has it, and a sentence if
    something was left out."""
    raw, kind = field.value_in(address), field.kind
    if raw is None:
        return None, []
    kept: dict[Any, None] = {}
    left_out = []
    for text in str(raw)[: 30 * kind.most].split(","):
        try:
            item = kind.item(text)
        except BadSelectionError:
            left_out.append(text)
            continue
        fits = all(index < counts[of] for of, index in kind.bounds(item).items())
        if fits and (item in kept or len(kept) < kind.most):
            kept[item] = None
        else:
            left_out.append(text)
    if not left_out:
        return kind.text(kept), []
    named = ", ".join(left_out)
    known = " and ".join(f"{of}s 0 to {counts[of] - 1}" for of in kind.of)
    limits = f"this run has {known}, and a link names at most {kind.most}"
    return kind.text(kept), [f"The address names “{named[:40]}” among the {kind.title}, but {limits}."]
