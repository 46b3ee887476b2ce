"""Which models take a pair of texts, judged by their tokenizers' files."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from dashboard.catalog.bundled import BUNDLED
from dashboard.catalog.pairs import folder_takes_pairs, takes_pairs
from dashboard.settings import Settings

CLS, SEP, BOS = ({"SpecialToken": {"id": name, "type_id": 0}} for name in ("[CLS]", "[SEP]", "<s>"))
A, B = ({"Sequence": {"id": name, "type_id": index}} for index, name in enumerate("AB"))


def template(single: list[Any], pair: list[Any]) -> dict[str, Any]:
    return {"type": "TemplateProcessing", "single": single, "pair": pair, "special_tokens": {}}


PROCESSORS = {
    "bert": (template([CLS, A, SEP], [CLS, A, SEP, B, SEP]), True),
    "xlnet": (template([A, SEP, CLS], [A, SEP, B, SEP, CLS]), True),
    "roberta": ({"type": "RobertaProcessing", "sep": ["</s>", 2], "cls": ["<s>", 0]}, True),
    "old bert": ({"type": "BertProcessing", "sep": ["[SEP]", 2], "cls": ["[CLS]", 0]}, True),
    "llama": (template([BOS, A], [BOS, A, BOS, B]), False),
    "smollm": (template([A], [A, B]), False),
    "gpt2": ({"type": "ByteLevel", "trim_offsets": True}, False),
    "llama 3": (
        {"type": "Sequence", "processors": [{"type": "ByteLevel"}, template([BOS, A], [BOS, A, BOS, B])]},
        False,
    ),
    "sequence": (
        {"type": "Sequence", "processors": [{"type": "ByteLevel"}, template([CLS, A], [CLS, A, SEP, B])]},
        True,
    ),
    "nothing": (None, False),
    "broken": (
        {"type": "TemplateProcessing", "single": 3, "pair": [{"Sequence": 3}, 4, {"SpecialToken": None}]},
        False,
    ),
}


@pytest.mark.parametrize("name", PROCESSORS)
def test_a_separator_between_two_texts_makes_a_pair(name: str, tmp_path: Path) -> None:
    processor, pairs = PROCESSORS[name]
    assert takes_pairs(processor) is pairs
    whole = {"added_tokens": [{"content": '"post_processor": {'}], "post_processor": processor, "model": {"vocab": {}}}
    for sort in (False, True):  # as tokenizers writes it, and with the vocabulary first
        (tmp_path / "tokenizer.json").write_text(json.dumps(whole, sort_keys=sort), encoding="utf-8")
        assert folder_takes_pairs(tmp_path, "llama", "causal") is pairs


@pytest.mark.parametrize(
    ("family", "kind", "pairs"),
    [("bert", "encoder", True), ("roberta", "masked", True), ("llama", "causal", False), ("bert", "causal", False)],
)
def test_without_a_tokenizers_file_the_family_decides(family: str, kind: Any, pairs: bool, tmp_path: Path) -> None:
    assert folder_takes_pairs(tmp_path, family, kind) is pairs


def test_a_file_that_breaks_off_takes_no_pairs(tmp_path: Path) -> None:
    (tmp_path / "tokenizer.json").write_text('{"post_processor": {"type": "BertProc', encoding="utf-8")
    assert not folder_takes_pairs(tmp_path, "bert", "masked")


@pytest.mark.parametrize("card", BUNDLED, ids=lambda card: card.name)
def test_what_is_said_of_the_bundled_models_is_what_their_files_say(card: Any) -> None:
    folder = Settings.from_env().models_folder / card.name
    assert folder_takes_pairs(folder, "", card.kind) is card.pairs
