"""The words that the page explains: one meaning each, the same in docs/glossary.md, and none that is not there."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from dashboard.components.glossary import GLOSSARY, term
from dashboard.web.tour import STEPS

ROOT = Path(__file__).resolve().parents[3]


def test_the_document_lists_the_same_entries() -> None:
    section = (ROOT / "docs" / "glossary.md").read_text("utf-8").split("## On the page\n")[1].split("\n## ")[0]
    rows = [line.strip("| ").split(" | ") for line in section.splitlines() if line.startswith("|")]
    assert rows[0] == ["word", "meaning"]
    assert dict(rows[2:]) == dict(GLOSSARY)


@pytest.mark.parametrize("name", GLOSSARY)
def test_a_meaning_is_one_or_two_short_sentences_that_do_not_use_the_word_itself(name: str) -> None:
    meaning = GLOSSARY[name]
    assert re.fullmatch(r"[A-Z][^\n|]*\.", meaning)
    assert len(re.split(r"(?<=\.) ", meaning)) <= 2
    assert len(meaning) <= 170
    first = re.split(r"(?<=\.) ", meaning)[0]
    assert not re.search(rf"\b{re.escape(name)}\b", first), "it explains a word by itself"


def test_a_term_is_an_entry_that_keys_can_reach() -> None:
    made = term("heads", "head")
    assert (made.children, made.tabIndex, getattr(made, "data-term")) == ("heads", 0, "head")
    with pytest.raises(ValueError, match="no “soul”\\. Add it to GLOSSARY"):
        term("soul")


def test_every_entry_is_used() -> None:
    """Whatever the page does not say needs no tooltip."""
    sources = "".join(path.read_text("utf-8") for path in (ROOT / "dashboard").rglob("*.py"))
    used = set(re.findall(r'\b(?:term|counted)\((?:[^()]*, )?"([^"]+)"', sources))
    used |= {name.removesuffix("s") for name in used}
    used |= set(re.findall(r"\*(?:[^*|`]+\|)?([^*|`]+)\*", "".join(step.first + step.second for step in STEPS)))
    assert [name for name in GLOSSARY if name not in used] == []
