"""Formatting of numbers and words: signs, shares, ordinals, shortening, escaping, and isolating right-to-left text."""

from __future__ import annotations

import html
import re

RIGHT_TO_LEFT = re.compile("[\u0590-\u08ff\ufb1d-\ufdff\ufe70-\ufeff\u200f\U00010800-\U00010fff\U0001e800-\U0001efff]")
RIGHT_TO_LEFT_RUN = re.compile(f"{RIGHT_TO_LEFT.pattern}(?:[^\\d\\n(),;:]*{RIGHT_TO_LEFT.pattern})?")
ISOLATED = re.compile("\u2068([^\u2068\u2069]*)\u2069")
BIDI_CONTROLS = re.compile("[\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069]")
ISOLATE, POP = "\u2068", "\u2069"  # first strong isolate, and its end


# numbers


def minus(text: str) -> str:
    """A formatted number with a true minus sign."""
    return text.replace("-", "−")


def percent(share: float) -> str:
    """A share as "15.9 %"."""
    return f"{100 * share:.1f} %"


def probability_text(probability: float) -> str:
    """A probability as "92.7 %"; one that would round to zero is "< 0.05 %"."""
    if 0 < probability < 0.0005:
        return "< 0.05 %"
    return f"{100 * probability:.1f} %"


def signed(points: float) -> str:
    """ "+1.5", "−0.2", "0.0"."""
    text = minus(f"{points:+.1f}")
    return text if text[1:] != "0.0" else "0.0"


def ordinal(number: int) -> str:
    """ "2nd", "3rd", "11th", "1,203rd" …"""
    ends = {1: "st", 2: "nd", 3: "rd"}
    return f"{number:,}{'th' if number % 100 in (11, 12, 13) else ends.get(number % 10, 'th')}"


# places: the embeddings, and after each layer (docs/glossary.md)


def place_name(place: int) -> str:
    """ "embeddings", "after layer 0" …"""
    return "embeddings" if place == 0 else f"after layer {place - 1}"


def at_place(place: int) -> str:
    """ "at the embeddings", "after layer 0" …"""
    return f"at the {place_name(place)}" if place == 0 else place_name(place)


def place_sign(place: int) -> str:
    """ "E" for the embeddings, "0" after layer 0 …"""
    return "E" if place == 0 else str(place - 1)


# words


def elide(label: str, longest: int = 12) -> str:
    """`label`, cut to `longest` characters with an ellipsis."""
    return label if len(label) <= longest else label[: longest - 1] + "…"


def escape(label: str) -> str:
    """`label` as text that Plotly shows literally, with its own tags and entities escaped."""
    return html.escape(label, quote=False)


def isolated(label: str) -> str:
    """`label`, isolated if it is right-to-left, so that its direction moves nothing beside it."""
    return f"{ISOLATE}{label}{POP}" if RIGHT_TO_LEFT.search(label) else label


def on_one_line(text: str) -> str:
    """Part of the text, ready for a sentence: on one line, with its direction marks visible so that they affect nothing
    else. The caller must isolate it (`isolated`, `<bdi>`).
    """
    return BIDI_CONTROLS.sub(lambda found: f"⟨U+{ord(found[0]):04X}⟩", " ".join(text.split()))


def isolate_runs(text: str) -> str:
    """`text` with every run of right-to-left words isolated, so that numbers beside them stay where they are."""
    return RIGHT_TO_LEFT_RUN.sub(lambda found: f"{ISOLATE}{found[0]}{POP}", text)


def as_bdi(markup: str) -> str:
    """Escaped HTML with isolates as elements, so that text copied from it has no invisible characters."""
    return ISOLATED.sub(r"<bdi>\1</bdi>", markup)
