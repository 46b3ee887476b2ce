"""Token labels: visible signs for white space and invisible characters, and marks for what a token's text does not
show.

    ·the   ↵ ⇥ ␍ ⍽     white space of the text                ⟨U+200D⟩   a character that cannot be seen
    ▁the   ▁           a space that the tokenizer adds         ⟨F0 9F⟩    part of a character, as bytes
    ##ing              continues a word                        ½⟨1⟩       made from part of a character
    ⟨?⟩𓀀               unknown: the model does not see it      cafe⟦◌́⟧    dropped: the model does not read it

Tokens with different vocabulary ids never share a label in one list (`labels_of`, `distinct`). Text about a run takes
its tokens' labels from the run's one list (`run_labels`), and gives none of these labels to any other token
(`run_names`). What could be read as markup is escaped where Plotly draws it (`escape`); right-to-left labels are
isolated within sentences (`isolated`).
"""

from __future__ import annotations

import re
import unicodedata
from collections import Counter, defaultdict
from collections.abc import Hashable, Mapping, Sequence
from types import MappingProxyType

from dashboard.analysis.token_text import BYTE_PIECE, SPACE_SIGN, SPECIAL_NAME, bytes_text, piece_bytes, style_of_pieces
from dashboard.contracts.run import ModelRun
from dashboard.contracts.streams import Stream
from dashboard.contracts.token import Token
from dashboard.errors import RunShapeError
from dashboard.figures.text import elide, isolated

MARKS = {" ": "·", "\n": "↵", "\t": "⇥", "\r": "␍", "\u00a0": "⍽"}
Labelled = ModelRun | Stream  # has tokens, and caches their labels
BYTES = re.compile(r"(⟨[0-9A-F]{2}(?: [0-9A-F]{2})*⟩)")  # part of a character, as contracts.token.Token writes it
SIGNS = {"added": SPACE_SIGN, "continuation": "##", "unknown": "⟨?⟩"}
UNREAD = ("⟦", "⟧")
# letters and marks without a visible shape
UNSEEN = re.compile("[\u034f\u115f\u1160\u17b4\u17b5\u180b-\u180f\u2800\u3164\uffa0]")
UNSEEN_CODE = re.compile("⟨(U\\+[0-9A-F]+)⟩")
SELECTORS = re.compile("[\ufe00-\ufe0f\U000e0100-\U000e01ef]")  # visible only in the character before them
Names = Mapping[str, frozenset[Hashable]]  # the vocabulary ids of each label
NO_NAMES: Names = MappingProxyType({})
LEGEND = {
    "added": f"{SPACE_SIGN} a space that the tokenizer adds",
    "continuation": "## continues a word",
    "unknown": "⟨?⟩ unknown to the model",
    "unread": "⟦ ⟧ dropped by the tokenizer, not read",
}


def token_label(text: str) -> str:
    """`text` with white space as signs (· ↵ ⇥), invisible characters as ⟨U+200D⟩ and a bare accent on a ◌.

    Bytes of an incomplete character stay as they are, ⟨F0 9F⟩.
    """
    if not text:
        return "∅"
    pieces = enumerate(BYTES.split(text))  # every second piece is a match
    return "".join(piece if index % 2 else _shown(piece) for index, piece in pieces)


def is_punctuation(label: str) -> bool:
    """Whether a token's label has nothing to read: punctuation, mathematical or currency signs, white space alone. In a
    sentence such a label stands in quotation marks (the same in assets/components/labels.js).
    """
    kinds = [unicodedata.category(character) for character in label if character != SPACE_SIGN]
    return all(kind[0] == "P" or kind in ("Sm", "Sc", "Sk") for kind in kinds)


def label_of(token: Token) -> str:
    """The label of one token by itself; beside others it may need its vocabulary id (`run_labels`, `labels_of`)."""
    return "".join(text for text, _quiet in _parts(token))


def lead_of(token: Token) -> int:
    """The number of characters in `label_of(token)` before its text: its sign, and leading white space."""
    lead = 0
    for text, quiet in _parts(token):
        if not quiet:
            break
        lead += len(text)
    return lead


def _parts(token: Token) -> list[tuple[str, bool]]:
    """The label in parts: its text, and (quiet) its sign, leading white space, and unread characters."""
    if not token.text and not token.special:
        made = token.read if token.read not in (None, " ") else ""
        return [(f"⟨+{token_label(made)}⟩" if made else SPACE_SIGN, False)]
    parts = [] if token.special or token.sign not in SIGNS else [(SIGNS[token.sign], True)]
    at = 0
    for first, last in (*token.unread, (len(token.text), len(token.text))):
        read = token.text[at:first]
        if read:
            label, marks = token_label(read), leading_marks(read) if at == 0 or all(quiet for _t, quiet in parts) else 0
            parts += [(label[:marks], True), (label[marks:], False)]
        if last > first:
            parts.append((UNREAD[0] + UNSEEN_CODE.sub(r"\1", token_label(token.text[first:last])) + UNREAD[1], True))
        at = last
    return [part for part in parts if part[0]] or [("∅", False)]


def _shown(text: str) -> str:
    return "".join(_visible(character, alone=index == 0) for index, character in enumerate(text))


def _visible(character: str, alone: bool) -> str:
    if character in MARKS:
        return MARKS[character]
    category = unicodedata.category(character)
    unseen = UNSEEN.match(character) or (alone and SELECTORS.match(character))
    if unseen or category in {"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"}:
        return f"⟨U+{ord(character):04X}⟩"
    if category == "Zs":
        return "·"
    if alone and category in {"Mn", "Me", "Mc"}:
        return "◌" + character
    return character


def leading_marks(text: str) -> int:
    """The number of characters in `token_label(text)` that stand for leading white space."""
    return len(text) - len(text.lstrip(" \n\t\r\u00a0"))


def distinct(
    labels: Sequence[str], ids: Sequence[Hashable], longest: int | None = None, known: Names = NO_NAMES
) -> list[str]:
    """The labels of one list, cut to `longest` characters so that no two ids share one, and none equals another id's
    label elsewhere (`known`).

    Labels that look the same once cut keep their end as well; those that are the same as a whole add their id.
    """
    short = [label if longest is None else elide(label, longest) for label in labels]
    if longest is not None:
        short = [_both_ends(labels[i], longest) if clash else short[i] for i, clash in enumerate(_clashes(short, ids))]
    return [f"{short[i]} ⟨id {ids[i]}⟩" if clash else short[i] for i, clash in enumerate(_clashes(short, ids, known))]


def _clashes(labels: Sequence[str], ids: Sequence[Hashable], known: Names = NO_NAMES) -> list[bool]:
    """Whether another id has the same label, for each label."""
    here = _names(labels, ids)
    return [len(here[label] | known.get(label, frozenset())) > 1 for label in labels]


def _names(labels: Sequence[str], ids: Sequence[Hashable]) -> Names:
    found = defaultdict[str, set[Hashable]](set)
    for label, identifier in zip(labels, ids, strict=True):
        found[label].add(identifier)
    return {label: frozenset(which) for label, which in found.items()}


def _both_ends(label: str, longest: int) -> str:
    if len(label) <= longest:
        return label
    tail = (longest - 1) // 2
    return label[: longest - 1 - tail] + "…" + label[-tail:]


def labels_of(tokens: Sequence[Token | str]) -> list[str]:
    """The label of each token; different tokens get different labels.

    Plain strings are pieces from `tokenizer.convert_ids_to_tokens` (Ġ and ▁ are a leading space, `Ã©` is é).
    """
    if not all(isinstance(token, (str, Token)) for token in tokens):
        raise RunShapeError("The tokens are not texts. Give tokenizer.convert_ids_to_tokens(ids), or run.tokens.")
    strings = iter(_of_pieces([token for token in tokens if isinstance(token, str)]))
    read = [token if isinstance(token, Token) else next(strings) for token in tokens]
    ids: list[Hashable] = [one.id if isinstance(one, Token) else one for one in tokens]
    return distinct([label_of(token) for token in read], ids)


def run_labels(run: Labelled, longest: int | None = None) -> list[str]:
    """The label of each token of a run, or of one of its streams, cut to `longest` characters, for use everywhere."""
    tokens = run.tokens
    return run.remember(
        ("labels", longest),
        lambda: distinct([label_of(token) for token in tokens], [token.id for token in tokens], longest),
    )


def run_names(run: Labelled) -> Names:
    """The ids behind the labels of a run's tokens, so that other tokens beside them get other labels (`distinct`)."""
    tokens = run.tokens
    return run.remember("names", lambda: _names([label_of(token) for token in tokens], [token.id for token in tokens]))


def _of_pieces(pieces: Sequence[str]) -> list[Token]:
    """Pieces without their text. The first space of a SentencePiece vocabulary is assumed to be the tokenizer's."""
    style, found = style_of_pieces(pieces), list[Token]()
    for index, piece in enumerate(pieces):
        if SPECIAL_NAME.fullmatch(piece) and not BYTE_PIECE.fullmatch(piece):
            found.append(Token(index, piece, 0, 0, special=True))
            continue
        raw = piece_bytes(piece, "bytes" if style == "spaces" and piece[:1] in {"Ġ", "Ċ"} else style)
        text = piece if raw is None else bytes_text(raw)
        first = index == 0 or found[-1].special
        if style == "spaces" and first and piece.startswith(SPACE_SIGN):
            found.append(Token(index, text[1:], 0, 0, sign="added"))
        else:
            found.append(Token(index, text, 0, 0))
    return found


def numbered(labels: Sequence[str], longest: int | None = None) -> list[str]:
    """Distinguishable labels, cut to `longest` characters: repeated and one-character labels add their position."""
    short = [label if longest is None else elide(label, longest) for label in labels]
    counts = Counter(short)
    alone = [counts[label] > 1 or len(label.strip("·")) <= 1 for label in short]
    return [f"{isolated(label)} {i}" if alone[i] else isolated(label) for i, label in enumerate(short)]


def axis_names(labels: Sequence[str], longest: int = 12, positions: Sequence[int] | None = None) -> list[str]:
    """Labels along an axis, cut; identical ones add their position: their index, if there are no `positions`."""
    short = [elide(label, longest) for label in labels]
    counts = Counter(short)
    at = range(len(short)) if positions is None else positions
    return [
        f"{isolated(label)} {i}" if counts[label] > 1 else isolated(label) for i, label in zip(at, short, strict=True)
    ]


def notes_of(token: Token, source: str) -> list[str]:
    """What a token's marks mean, one phrase each. `source`: the text that its offsets refer to."""
    found = []
    if token.special and token.sign != "mask":
        found.append("special token" if token.given else "special token, typed")
    if token.sign == "mask":
        found.append("mask: for the model to fill in")
    if token.sign == "unknown":
        found.append("unknown: the vocabulary lacks these characters, so the model does not see which they are")
    if token.sign == "continuation":
        found.append("##: continues the word before it")
    if token.sign == "added":
        added = (
            "a space that the tokenizer adds" if token.read in (None, " ") or token.text else "added by the tokenizer"
        )
        found.append(
            f"▁: {added}; the text has none here" if token.text else f"stands for no character of the text: {added}"
        )
    if token.unread:
        found.append("in ⟦ ⟧: dropped by the tokenizer, so the model does not read it")
    if token.read is not None and token.text:
        found.append(f"read as {isolated(token_label(token.read))}")
    if token.partial:
        found.append(f"part of one character: {isolated(token_label(source[token.start : token.end].strip()))}")
    return found


def legend_of(tokens: Sequence[Token]) -> list[str]:
    """What the marks on these tokens mean, one phrase each."""
    kinds = {token.sign for token in tokens if not token.special} | (
        {"unread"} if any(t.unread for t in tokens) else set()
    )
    return [phrase for kind, phrase in LEGEND.items() if kind in kinds]
