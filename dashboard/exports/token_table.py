"""One row per token: how well a model predicted it. Runs of many texts go into one CSV file, text after text.

    "Line","Run","Tokens","Position","Token","Vocabulary id","Surprisal (nats)","Rank","Entropy (nats)","Likeliest", …

A classifier's table has further columns: what it says of the text (the same in each row), or of each token.

`Run` is the run's full key: `?run=RUN&token=POSITION` after the page's address opens the run at that token. Only the
first row of each text holds `Text`, so that a long text is not repeated in every row.

Each text's rows are appended in one write, so an interrupted file is incomplete in at most its last text; `done_in`
finds the complete texts and where they end.
"""

from __future__ import annotations

import csv
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from types import MappingProxyType

import numpy as np

from dashboard.contracts.classes import APPLIES, ClassHead
from dashboard.contracts.precision import FULL
from dashboard.contracts.prediction import Prediction
from dashboard.contracts.run import ModelRun
from dashboard.contracts.table import Cell, Column
from dashboard.exports.provenance import HERE, PROGRAM, revision_of
from dashboard.exports.tables import DELIMITER, MARK, comment, row
from dashboard.figures.classes import class_names
from dashboard.figures.tokens import distinct, notes_of, run_labels, run_names, token_label
from dashboard.store import upgrades

UNRECORDED = "not recorded"
COMPUTED = "Computed in"  # of rows in other numbers than float32
NUMBERS = "Numbers"  # files of earlier versions lack this line in their header, and their rows hold the first numbers
KEY = 64  # hex digits of a run's key in its rows: all of them, so that they can form a link
COLUMNS = (
    Column("Line"),
    Column("Run"),
    Column("Tokens"),
    Column("Position"),
    Column("Token"),
    Column("Vocabulary id"),
    Column("Surprisal", "nats"),
    Column("Rank"),
    Column("Entropy", "nats"),
    Column("Likeliest"),
    Column("Probability of the most likely token", "%"),
    Column("Label"),
    Column("Label of the most likely token"),
    Column("Notes"),
    Column("Perplexity"),
    Column("Text"),
)
OF_PAIRS = (Column("Segment"), Column("Second text"))  # further columns of a table of pairs
PSEUDO = "Pseudo-perplexity"
WHAT = MappingProxyType(
    {
        "causal": "each token as expected after those before it; the first has no surprisal",
        "masked": "each token as expected with the mask in its place; empty if that was not computed (the text is too "
        "long to mask every token), and for a mask that was typed, which has no actual token",
        "encoder": "the model predicts no tokens, so surprisal, rank, entropy and perplexity are empty",
    }
)
PERPLEXITY = MappingProxyType(
    {
        "causal": "Perplexity: exp of the mean surprisal of the text's tokens; empty if no token has a surprisal",
        "masked": "Pseudo-perplexity: exp of the mean surprisal of the text's tokens, each masked in turn; empty if "
        "that was not computed (the text is too long to mask every token)",
        "encoder": "",
    }
)
SEGMENT = "0 in the first text, 1 in the second, empty for a token that the tokenizer adds"
CLASSES = MappingProxyType(
    {
        "text": "the columns after Text are the model's classes for the text as a whole, the same in each row",
        "tokens": "the columns after Text are the model's classes for the token",
        "answer": "the columns after Text say how likely the answer is to start and to end at the token",
    }
)
LINK = "ADDRESS-OF-THE-PAGE/?run=RUN&token=POSITION opens a row's run at its token, while the server keeps the run"
_LINES = re.compile(r"[^\n]*\n|[^\n]+")  # as rows are written: a token may contain a lone return
_ENTRY = re.compile(r"# ([^:\r\n]+): ([^\r\n]*)\r\n")


def names_for(kind: str, pairs: bool = False, head: ClassHead | None = None) -> list[str]:
    """The headings; a masked model's perplexity is a pseudo-perplexity, and is named so. `head`: of a classifier."""
    names = [column.heading for column in (*COLUMNS, *(OF_PAIRS if pairs else ()))]
    names = [PSEUDO if kind == "masked" and name == "Perplexity" else name for name in names]
    return names if head is None else [*names, *(column.heading for column in _class_columns(head))]


# more may follow on the line
_NAMES = tuple(row(names_for(kind, pairs)).rstrip() for pairs in (True, False) for kind in ("causal", "masked"))


@dataclass(frozen=True)
class Done:
    """What a file holds.

    Attributes:
        runs: keys of the runs that are complete. size: number of valid bytes. head: the lines before the headings.
        pairs: whether it is a table of pairs of texts.
    """

    runs: frozenset[str]
    size: int
    head: str = ""
    pairs: bool = False


def head_of(run: ModelRun) -> str:
    """The lines before the first row."""
    entries = (
        ("Model", f"{run.model.title} ({run.model.name})"),
        ("Revision", revision_of(run) or HERE),
        *((("Tokenizer of", run.request.tokenizer),) if run.request.tokenizer else ()),
        ("Weights (SHA-256)", str(run.header.get("fingerprint") or UNRECORDED)),
        *(((COMPUTED, run.dtype),) if run.dtype != FULL else ()),
        ("Program", PROGRAM),
        (NUMBERS, str(run.header.get("numbers", upgrades.NUMBERS))),
        ("Rows", f"{WHAT[run.model.kind]}; inf: impossible, the model gives the token probability 0"),
        *((("Text as a whole", PERPLEXITY[run.model.kind]),) if PERPLEXITY[run.model.kind] else ()),
        *((("Classes", CLASSES[run.class_head.of]),) if run.class_head is not None else ()),
        ("Text", "in the first row of each text"),
        *((("Segment", SEGMENT),) if len(run.texts) > 1 else ()),
        ("Link", LINK),
    )
    names = names_for(run.model.kind, len(run.texts) > 1, run.class_head)
    return MARK + "".join(comment(name, value) for name, value in entries) + row(names)


def rows_of(run: ModelRun, line: int) -> str:
    """The rows of one text."""
    return "".join(row(cells) for cells in _cells(run, line))


def _cells(run: ModelRun, line: int) -> Iterator[tuple[Cell, ...]]:
    labels, source, whole = run_labels(run), run.source, perplexity(run)
    expected = [_expected(run, position) for position in range(len(run))]
    likeliest = iter(_likeliest_labels(run, expected))
    classes = _class_cells(run)
    for (position, token), found in zip(enumerate(run.tokens), expected, strict=True):
        start = (line, run.key[:KEY], len(run), position, token.text, token.id)
        notes = "; ".join(notes_of(token, source))
        text = (whole, None if position else run.text, *_of_pair(run, position), *classes(position))
        if found is None or not found.finite:
            yield (*start, None, None, None, None, None, labels[position], None, notes, *text)
            continue
        best, actual = found.candidates[0], found.actual
        surprisal = None if actual is None else abs(actual.logprob)
        named = (best.text, 100 * best.probability, labels[position], next(likeliest))
        yield (*start, surprisal, found.actual_rank, found.entropy, *named, notes, *text)


def _of_pair(run: ModelRun, position: int) -> tuple[Cell, ...]:
    """The cells of `OF_PAIRS`; none for a run of one text."""
    if len(run.texts) == 1:
        return ()
    segment = int(run.main.segments[position])
    return None if segment < 0 else segment, None if position else run.texts[1]


def _class_columns(head: ClassHead) -> list[Column]:
    if head.of == "answer":
        return [Column("Answer starts", "%"), Column("Answer ends", "%")]
    names = class_names(head.labels)
    if head.scale == "none":
        return [Column(f"Value of {name}") for name in names]
    return [Column("Class"), *(Column(name, "%") for name in names)]


def _class_cells(run: ModelRun) -> Callable[[int], tuple[Cell, ...]]:
    """What makes the cells of `_class_columns` for a token."""
    head = run.class_head
    if head is None:
        return lambda _position: ()
    shares, names = run.class_probabilities, class_names(head.labels)
    values = np.asarray(run.class_logits, dtype=np.float64) if shares is None else 100 * shares

    def cells(position: int) -> tuple[Cell, ...]:
        numbers = values if head.of == "text" else values[position]
        found: list[Cell] = [None if np.isnan(number) else float(number) for number in numbers]
        return tuple(found) if head.of == "answer" or head.scale == "none" else (_said(numbers, head, names), *found)

    return cells


def _said(numbers: np.ndarray, head: ClassHead, names: Sequence[str]) -> str | None:
    """The most likely class; of labels that apply each by itself, those of at least 50 %."""
    if np.isnan(numbers).any():
        return None
    if head.scale == "softmax":
        return names[int(numbers.argmax())]
    return "; ".join(names[index] for index in np.flatnonzero(numbers >= 100 * APPLIES).tolist())


def _likeliest_labels(run: ModelRun, expected: Sequence[Prediction | None]) -> list[str]:
    """The labels of the most likely tokens of all finite predictions, in order."""
    best = [found.candidates[0] for found in expected if found is not None and found.finite]
    return distinct([token_label(one.text) for one in best], [one.id for one in best], known=run_names(run))


def perplexity(run: ModelRun) -> float | None:
    """exp of the mean surprisal over the tokens that have one; for a masked model, this is the pseudo-perplexity.

    None if no token has a surprisal.
    """
    surprisal = run.surprisal
    known = np.empty(0) if surprisal is None else surprisal[~np.isnan(surprisal)].astype(np.float64)
    return float(np.exp(known.mean())) if len(known) else None


def _expected(run: ModelRun, position: int) -> Prediction | None:
    """The prediction of the token at `position`: causal models make it one position earlier."""
    if not run.has_predictions:
        return None
    if run.model.kind == "causal":
        return run.prediction(position - 1, k=1) if position else None
    return run.prediction(position, "masked", k=1) if run.has_masked(position) else None


def done_in(content: bytes) -> Done:
    """What is complete in a file from `head_of` and `rows_of`; an unfinished text at its end does not count."""
    text = content.decode("utf-8", "replace")
    found = [(text.find(names), names) for names in _NAMES if names in text]
    body, names = min(found, default=(0, ""))
    start = text.find("\n", body + len(names)) + 1
    if not found or not start:
        return Done(frozenset(), 0)
    headings = next(csv.reader([text[body:start]], delimiter=DELIMITER))
    good, runs = start, set()
    lines = _LINES.findall(text, start)
    reader = csv.reader(lines, delimiter=DELIMITER)
    at, previous = start, 0
    for cells in reader:
        at += sum(map(len, lines[previous : reader.line_num]))
        previous = reader.line_num
        if len(cells) != len(headings) or not lines[previous - 1].endswith("\n"):
            break
        if int(cells[3]) == int(cells[2]) - 1:
            runs.add(cells[1])
            good = at
    return Done(frozenset(runs), len(text[:good].encode()), text[:body], OF_PAIRS[0].heading in headings)


def clash(head: str, model: str, fingerprint: str, dtype: str = FULL) -> str:
    """How rows of this model, these weights, this program and these numbers (`dtype`) would contradict a file's header,
    as a clause that describes both; "" if they would not."""
    weights, found = "Weights (SHA-256)", dict(_ENTRY.findall(head))
    unknown = found.get(weights) == UNRECORDED
    wanted = {"Model": f"({model})", weights: UNRECORDED if unknown else fingerprint, "Program": PROGRAM}
    if all(found.get(name, "").endswith(_shown(value)) for name, value in wanted.items()):
        theirs_in = found.get(COMPUTED, FULL)
        if theirs_in != dtype:
            return f"holds rows computed in {theirs_in}; these would be computed in {dtype}"
        if found.get(NUMBERS, "1") == str(upgrades.NUMBERS):
            return ""
        return "holds rows that another version of this program computed, some of them with other numbers than this one"
    theirs = [found.get(name, "unknown") for name in wanted]
    return (
        f"holds rows of {theirs[0]}, weights {theirs[1][:12]}, written by {theirs[2]}; "
        f"these would be of {model}, weights {fingerprint[:12]}, by {PROGRAM}"
    )


def _shown(value: str) -> str:
    """The end of a value as it appears in a header line."""
    return comment("", value).removeprefix("# : ").removesuffix("\r\n").lstrip('"')
