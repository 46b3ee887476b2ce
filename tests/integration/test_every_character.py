"""Every character of a text stands in some token, whatever the tokenizer does to it; marks say what the text does not
show."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import cache

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, processors
from transformers import AutoTokenizer, PreTrainedTokenizerFast

from dashboard import capture_run, plot_attention_heatmap, plot_token_probabilities
from dashboard.capture.predictions import masked_fill
from dashboard.capture.tokens import tokenize
from dashboard.contracts.run import ModelRun
from dashboard.contracts.token import Token
from dashboard.errors import EmptyTextError
from dashboard.figures.tokens import label_of, labels_of, notes_of
from dashboard.settings import Settings
from dashboard.views.run_info import start_of
from tests.integration.test_tokens import byte_level, composed, llama_like, word_piece
from tests.support.bundled_models import bundled_model

pytestmark = pytest.mark.integration

SCRIPTS = (
    "aZé ﬁ½ß İ ①",
    "e\u0301\u0327 \u0301x",
    "กำ สวัสดี ว่า",
    "क्षि ड़ का \u0902",
    "ஸ்ரீ ကြိ ក្រុង",
    "שָׁלוֹם العَرَبِيَّة ١٢",
    "你好 世界、日本語",
    "한국 \u1112\u1161\u11ab",
    "👩\u200d👩\u200d👧 ❤\ufe0f 🇫🇷",
    "\u200b\u200d\u00ad\u2060\u034f",
    " \t\n\r\u00a0\u3000\u2003",
    "𓀀 𠮷 ♥ \ufffd",
    "[MASK]</s><s> <unk>[UNK]",
    "▁##Ġ·∅⟨⟦",
)
LETTERS = st.sampled_from(sorted({character for script in SCRIPTS for character in script}))
TEXTS = st.one_of(
    st.text(LETTERS, min_size=1, max_size=12), st.lists(st.sampled_from(SCRIPTS), min_size=1, max_size=3).map(" ".join)
)


def unigram(scheme: str, normalizer: object = None) -> PreTrainedTokenizerFast:
    """XLM-R's kind: NFKC, and a space before the text ("always": after special tokens too)."""
    pieces = [
        "<s>",
        "</s>",
        "<unk>",
        "<mask>",
        "▁",
        "a",
        "f",
        "i",
        "fi",
        "ine",
        "1⁄2",
        "1",
        "▁a",
        "你好",
        "世界",
        "ש",
        "▁the",
    ]
    made = Tokenizer(models.Unigram([(piece, -float(i)) for i, piece in enumerate(pieces)], unk_id=2))
    if normalizer is not None:
        made.normalizer = normalizer
    made.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme=scheme)
    made.decoder = decoders.Metaspace(prepend_scheme=scheme)
    made.post_processor = processors.TemplateProcessing(single="<s> $A </s>", special_tokens=[("<s>", 0), ("</s>", 1)])
    made.add_special_tokens(["<s>", "</s>", "<unk>", "<mask>"])
    return PreTrainedTokenizerFast(
        tokenizer_object=made, unk_token="<unk>", mask_token="<mask>", bos_token="<s>", eos_token="</s>"
    )


def cased() -> PreTrainedTokenizerFast:
    """BERT's without lower case."""
    made = word_piece()
    made.backend_tokenizer.normalizer = normalizers.BertNormalizer(lowercase=False, strip_accents=False)
    return made


@cache
def bundled(name: str) -> PreTrainedTokenizerFast:
    return AutoTokenizer.from_pretrained(Settings.from_env().models_folder / name)


KINDS: dict[str, Callable[[], PreTrainedTokenizerFast]] = {
    "byte-level": lambda: byte_level(prefix_space=False, trim=True),
    "byte-level, prefix space": lambda: byte_level(prefix_space=True, trim=True),
    "byte-level, NFC": composed,
    "llama-like": llama_like,
    "unigram, always, NFKC": lambda: unigram("always", normalizers.NFKC()),
    "unigram, first": lambda: unigram("first"),
    "unigram, NFKD without accents": lambda: unigram(
        "always", normalizers.Sequence([normalizers.NFKD(), normalizers.StripAccents(), normalizers.Strip()])
    ),
    "word-piece": word_piece,
    "word-piece, cased": cased,
    **{name: lambda name=name: bundled(name) for name in ("smollm2-135m", "minilm-l6", "rxnmapper")},  # type: ignore[misc]
}


def lost(text: str, tokens: tuple[Token, ...]) -> list[int]:
    """Characters that stand in no token."""
    taken = {position for token in tokens for position in range(token.start, token.end)}
    return [position for position in range(len(text)) if position not in taken]


@pytest.mark.parametrize("kind", KINDS)
@given(TEXTS)
@example("สวัสดี ครับ")
@example("  two  spaces \n")
@example("cafe\u0301x ﬁne ½")
@example("\r\u0301<")
@settings(max_examples=40, deadline=None, suppress_health_check=list(HealthCheck))
def test_every_character_stands_in_a_token(kind: str, text: str) -> None:
    tokenizer = KINDS[kind]()
    try:
        inputs, tokens = tokenize(tokenizer, text)
    except EmptyTextError:
        return
    assert [token.id for token in tokens] == inputs["input_ids"][0].tolist() == tokenizer(text)["input_ids"]
    for position in lost(text, tokens):  # a single space between words, which a tokenizer of words reads as that
        assert text[position] == " "
        assert 0 < position < len(text) - 1
        assert not text[position - 1].isspace()
        assert not text[position + 1].isspace()
        assert "word-piece" in kind or kind == "minilm-l6"
    assert [token.start for token in tokens] == sorted(token.start for token in tokens)
    for token in tokens:
        assert 0 <= token.start <= token.end <= len(text)
        assert all(0 <= first < last <= len(token.text) for first, last in token.unread)
        if not token.partial and token.end > token.start:
            assert token.text == text[token.start : token.end]
        if token.start == token.end:
            assert token.special or token.sign == "added"
        assert label_of(token)
    labels = labels_of(tokens)
    ids: dict[str, int] = {}
    assert all(ids.setdefault(label, token.id) == token.id for label, token in zip(labels, tokens, strict=True))


def shown(tokenizer: PreTrainedTokenizerFast, text: str) -> list[str]:
    return [label_of(token) for token in tokenize(tokenizer, text)[1] if not token.given]


def test_a_space_that_the_tokenizer_adds_takes_no_character() -> None:
    made = unigram("always", normalizers.NFKC())
    assert shown(made, "你好世界") == ["▁", "你好", "世界"]
    assert shown(made, "the a")[:2] == ["▁the", "·"]
    assert shown(made, " the") == ["·the"]
    [_begin, first, *_rest] = tokenize(made, "你好")[1]
    assert (first.text, first.start, first.end) == ("", 0, 0)
    assert notes_of(first, "你好") == ["stands for no character of the text: a space that the tokenizer adds"]
    assert shown(byte_level(prefix_space=True, trim=True), "the")[0].startswith("▁")
    assert shown(llama_like(), "hel")[:1] == ["▁h"]


def test_what_the_normaliser_drops_stands_in_brackets() -> None:
    mini = bundled("minilm-l6")
    assert shown(mini, "cafe\u0301 the") == ["cafe⟦◌\u0301⟧", "the"]
    assert "ด⟦◌ี⟧" in "".join(shown(mini, "สวัสดี"))
    assert shown(mini, " a\u200db\n") == ["⟦·⟧a⟦U+200D⟧b⟦↵⟧"]
    assert shown(bundled("rxnmapper"), "C C") == ["C⟦·⟧", "C"]
    assert shown(unigram("always", normalizers.NFKC()), "½")[1:] == ["½"]


def test_parts_of_a_folded_character_name_it() -> None:
    labels = shown(unigram("always", normalizers.NFKC()), "ﬁne")
    assert labels[0] == "▁"
    assert labels[1].startswith("ﬁ")


def test_unknown_continued_and_typed_special_tokens_are_marked() -> None:
    mini = bundled("minilm-l6")
    tokens = tokenize(mini, "𓀀 unbelievably [MASK] [UNK]")[1][1:-1]
    assert [label_of(token) for token in tokens] == ["⟨?⟩𓀀", "un", "##bel", "##ie", "##va", "##bly", "[MASK]", "[UNK]"]
    assert [token.sign for token in tokens] == ["unknown", "", *["continuation"] * 4, "mask", "unknown"]
    assert [token.special for token in tokens] == [False] * 6 + [True] * 2
    typed = tokenize(bundled("smollm2-135m"), "a<|im_start|>b")[1]
    assert [(token.text, token.special, token.sign) for token in typed] == [
        ("a", False, ""),
        ("<|im_start|>", True, ""),
        ("b", False, ""),
    ]


@cache
def masked_run() -> ModelRun:
    return capture_run(bundled_model("rxnmapper"), "CC[MASK]>>CC=O")


def test_a_typed_mask_is_a_question() -> None:
    """Rank and surprisal of the mask: none. Of another token: what Hugging Face gives with the typed mask left in
    place."""
    loaded, run = bundled_model("rxnmapper"), masked_run()
    [place] = [i for i, token in enumerate(run.tokens) if token.sign == "mask"]
    for mode in ("given", "masked"):
        found = run.prediction(place, mode)  # type: ignore[arg-type]
        assert (found.actual, found.actual_rank) == (None, None)
    assert run.surprisal is not None
    assert math.isnan(run.surprisal[place])
    assert masked_fill(loaded, run.text, place)["masked/actual_rank"].tolist() == [0]
    ids = loaded.tokenizer(run.text, return_tensors="pt")["input_ids"]
    other = place + 1
    asked = ids.clone()
    asked[0, other] = loaded.tokenizer.mask_token_id
    with torch.no_grad():
        logprobs = loaded.model(asked).logits[0].log_softmax(-1)
        as_it_stands = loaded.model(ids).logits[0, place].log_softmax(-1)
    assert run.surprisal[other] == pytest.approx(-float(logprobs[other, ids[0, other]]), abs=1e-4)
    best = run.prediction(place, "given").candidates[0]
    assert best.id == int(as_it_stands.argmax())
    assert best.logprob == pytest.approx(float(as_it_stands.max()), abs=1e-4)


def test_a_typed_mask_is_selected_after_the_run() -> None:
    run = masked_run()
    assert start_of(run, None, None)["token"] == 3
    assert capture_run(bundled_model("rxnmapper"), "CC>>CC=O").tokens[3].sign == ""


def test_a_typed_special_token_alone_is_a_text() -> None:
    run = capture_run(bundled_model("rxnmapper"), "[MASK]")
    assert [token.sign for token in run.tokens] == ["", "mask", ""]
    assert run.prediction(1, "given").candidates


def test_plots_of_plain_outputs_write_tokens_as_runs_do() -> None:
    """The recipe of docs/python.md: `convert_ids_to_tokens` for the heatmap, the tokenizer for the bars."""
    tokenizer, text = bundled("smollm2-135m"), "café 😀\tשלום"
    ids = tokenizer(text)["input_ids"]
    figure = plot_attention_heatmap(np.eye(len(ids)), tokenizer.convert_ids_to_tokens(ids))
    names = [name.strip("\u2068\u2069") for name in figure.layout.xaxis.ticktext]
    assert names == labels_of(tokenize(tokenizer, text)[1])
    assert "é" in names
    sizes = [(len(tokenizer),), (11, len(tokenizer)), (1, 11, len(tokenizer))]
    titles = [plot_token_probabilities(torch.zeros(size), tokenizer).layout.title.text for size in sizes]
    most = "The 10 most likely of 49,152 tokens"
    assert titles == [most, *[f"{most} at position 10"] * 2]
    assert plot_token_probabilities(torch.zeros(11, 49152), tokenizer, -3).layout.title.text.endswith("at position 8")


def test_different_tokens_have_different_bars() -> None:
    llama, mini = llama_like(), bundled("minilm-l6")
    for tokenizer, pieces in ((llama, ["▁h", "h", "<0x68>"]), (mini, ["mary", "##s", "s"])):
        ids = [tokenizer.convert_tokens_to_ids(piece) for piece in pieces]
        logits = np.full(len(tokenizer), -9.0)
        logits[ids] = 5.0
        bars = plot_token_probabilities(logits, tokenizer, top_k=len(ids)).data[0]
        assert len({bar["label"] for bar in bars.customdata}) == len(ids)
        assert len(set(plot_token_probabilities(logits, tokenizer, top_k=len(ids)).layout.yaxis.ticktext)) == len(ids)
