"""Each token knows its characters: bundled tokenizers, and one of each kind built here."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from tokenizers import Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers
from transformers import AutoTokenizer, CanineTokenizer, PreTrainedTokenizerFast

from dashboard.analysis.token_text import bytes_text
from dashboard.capture.tokens import piece_text, tokenize
from dashboard.catalog.catalog import Catalog
from dashboard.errors import EmptyTextError, UnsupportedModelError
from dashboard.figures.tokens import label_of
from dashboard.settings import Settings

pytestmark = pytest.mark.integration

FAMILY = "👨‍👩‍👧"
TEXTS = (
    "Hello world",
    "two  spaces   three",
    "line\nline\r\n\ttab ",
    "a 😀 b" + FAMILY + "!",
    "中文字 𠮷 한국어",
    "مرحبا بالعالم and שלום עולם",
    "cafe\u0301 e\u0301x É naïve",
    "<img src=x onerror=alert(1)> &amp; <b>",
    "1234 don't",
    " leading",
    "[MASK] <|im_start|> </s>",
)
BUNDLED = ("smollm2-135m", "minilm-l6", "rxnmapper")
CORPUS = ["hello world two spaces leading line", "cafe and the tab of don't 1234", "the quick brown fox"] * 3


def byte_level(prefix_space: bool, trim: bool) -> PreTrainedTokenizerFast:
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=prefix_space)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.post_processor = processors.ByteLevel(trim_offsets=trim)
    trainer = trainers.BpeTrainer(
        vocab_size=330, initial_alphabet=pre_tokenizers.ByteLevel.alphabet(), show_progress=False
    )
    tokenizer.train_from_iterator(CORPUS, trainer)
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer)


def composed() -> PreTrainedTokenizerFast:
    """Byte-level after a normaliser that composes accents, as Qwen has it."""
    wrapped = byte_level(prefix_space=False, trim=False)
    wrapped.backend_tokenizer.normalizer = normalizers.NFC()
    return wrapped


def llama_like() -> PreTrainedTokenizerFast:
    """SentencePiece BPE: a space put before the text, spaces as ▁, unknown characters as bytes."""
    letters = sorted(set("▁".join(CORPUS)) - {" "} | {"▁"})
    pieces = ["<unk>", "<s>", *(f"<0x{byte:02X}>" for byte in range(256)), *letters, "▁h", "▁w", "el", "lo", "▁▁"]
    merges = [("▁", "h"), ("▁", "w"), ("e", "l"), ("l", "o"), ("▁", "▁")]
    model = models.BPE(
        {p: i for i, p in enumerate(pieces)}, merges, unk_token="<unk>", fuse_unk=True, byte_fallback=True
    )
    tokenizer = Tokenizer(model)
    tokenizer.normalizer = normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")])
    steps = [decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse(), decoders.Strip(" ", 1, 0)]
    tokenizer.decoder = decoders.Sequence(steps)
    tokenizer.post_processor = processors.TemplateProcessing(single="<s> $A", special_tokens=[("<s>", 1)])
    tokenizer.add_special_tokens(["<unk>", "<s>"])
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, bos_token="<s>", unk_token="<unk>")


def unigram() -> PreTrainedTokenizerFast:
    """SentencePiece unigram with Metaspace and collapsed spaces, as ALBERT and T5 have it."""
    tokenizer = Tokenizer(models.Unigram())
    tokenizer.normalizer = normalizers.Replace(Regex(" {2,}"), " ")
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace()
    tokenizer.decoder = decoders.Metaspace()
    trainer = trainers.UnigramTrainer(vocab_size=60, special_tokens=["<unk>"], unk_token="<unk>", show_progress=False)
    tokenizer.train_from_iterator(CORPUS, trainer)
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, unk_token="<unk>")


def word_piece() -> PreTrainedTokenizerFast:
    """BERT's: lower case, accents off."""
    words = [
        "[PAD]",
        "[UNK]",
        "[CLS]",
        "[SEP]",
        "[MASK]",
        "hello",
        "world",
        "cafe",
        "ex",
        "e",
        "naive",
        "the",
        "##ing",
        "sing",
        "<",
        ">",
        "img",
        "line",
        "two",
    ]
    tokenizer = Tokenizer(models.WordPiece({word: i for i, word in enumerate(words)}, unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.BertNormalizer(lowercase=True)
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.decoder = decoders.WordPiece()
    tokenizer.post_processor = processors.BertProcessing(("[SEP]", 3), ("[CLS]", 2))
    tokenizer.add_special_tokens(["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"])
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, mask_token="[MASK]", unk_token="[UNK]")


BYTE_LEVEL: dict[str, Callable[[], PreTrainedTokenizerFast]] = {
    "gpt2-like": lambda: byte_level(prefix_space=False, trim=False),
    "roberta-like": lambda: byte_level(prefix_space=False, trim=True),
    "prefix-space": lambda: byte_level(prefix_space=True, trim=True),
    "composed": composed,
    "smollm2-135m": lambda: bundled("smollm2-135m"),
}
OTHERS: dict[str, Callable[[], PreTrainedTokenizerFast]] = {
    "llama-like": llama_like,
    "unigram": unigram,
    "word-piece": word_piece,
    "minilm-l6": lambda: bundled("minilm-l6"),
    "rxnmapper": lambda: bundled("rxnmapper"),
}


def bundled(name: str) -> PreTrainedTokenizerFast:
    return AutoTokenizer.from_pretrained(Settings.from_env().models_folder / name)


@pytest.mark.parametrize("kind", BYTE_LEVEL)
def test_byte_level_pieces_joined_over_distinct_spans_give_the_text_back(kind: str) -> None:
    tokenizer = BYTE_LEVEL[kind]()
    for text in TEXTS:
        _, tokens = tokenize(tokenizer, text)
        spans = dict.fromkeys((token.start, token.end) for token in tokens)
        assert "".join(text[start:end] for start, end in spans) == text
        assert all(
            token.text == text[token.start : token.end]
            for token in tokens
            if not token.partial and token.end > token.start
        )


@pytest.mark.parametrize("kind", [*BYTE_LEVEL, *OTHERS])
def test_spans_lie_in_the_text_in_order_and_show_it(kind: str) -> None:
    tokenizer = {**BYTE_LEVEL, **OTHERS}[kind]()
    for text in TEXTS:
        inputs, tokens = tokenize(tokenizer, text)
        assert inputs["input_ids"].tolist() == [tokenizer(text)["input_ids"]]
        assert [token.id for token in tokens] == tokenizer(text)["input_ids"]
        assert all(0 <= token.start <= token.end <= len(text) for token in tokens)
        assert [token.start for token in tokens] == sorted(token.start for token in tokens)
        for token in tokens:
            if token.special:
                assert token.word is None
                assert token.start == token.end or text[token.start : token.end] == token.text
            elif not token.partial and token.end > token.start:
                assert token.text == text[token.start : token.end]
            assert "\ufffd" not in token.text


@pytest.mark.parametrize("name", BUNDLED)
def test_the_catalog_counts_what_is_tokenized(name: str) -> None:
    catalog, tokenizer = Catalog(Settings.from_env()), bundled(name)
    for text in TEXTS:
        assert catalog.count_tokens(name, text) == len(tokenize(tokenizer, text)[1])
    assert catalog.count_tokens(name, TEXTS[0], TEXTS[1]) == len(tokenize(tokenizer, TEXTS[0], TEXTS[1])[1])


def test_a_leading_space_belongs_to_its_word() -> None:
    _, tokens = tokenize(bundled("smollm2-135m"), "When Mary and")
    assert [token.text for token in tokens] == ["When", " Mary", " and"]
    assert [(token.start, token.end, token.word) for token in tokens] == [(0, 4, 0), (4, 9, 1), (9, 13, 2)]


def test_parts_of_a_character_are_shown_as_bytes_and_share_its_span() -> None:
    _, tokens = tokenize(bundled("smollm2-135m"), "a 😀b𠮷")
    shown = [(token.text, token.start, token.end, token.partial) for token in tokens]
    assert shown[:4] == [("a", 0, 1, False), (" ⟨F0 9F 98⟩", 1, 3, True), ("⟨80⟩", 1, 3, True), ("b", 3, 4, False)]
    assert [row[0] for row in shown[4:]] == ["⟨F0⟩", "⟨A0⟩", "⟨AE⟩", "⟨B7⟩"]  # U+20BB7 in UTF-8
    assert {row[1:] for row in shown[4:]} == {(4, 5, True)}


def test_word_piece_shows_the_source_not_what_the_normaliser_made_of_it() -> None:
    _, tokens = tokenize(word_piece(), "Hello  CAFE\u0301 Éx singing [MASK]")
    shown = [token.text for token in tokens]
    assert shown == ["[CLS]", "Hello  ", "CAFE\u0301", "Éx", "sing", "ing", "[MASK]", "[SEP]"]
    assert [token.special for token in tokens] == [True] + [False] * 5 + [True] * 2
    assert tokens[4].word == tokens[5].word
    assert [label_of(token) for token in tokens[1:7]] == [
        "Hello⟦··⟧",
        "CAFE⟦◌\u0301⟧",
        "Éx",
        "sing",
        "##ing",
        "[MASK]",
    ]


def test_sentence_piece_bytes_and_spaces() -> None:
    _, tokens = tokenize(llama_like(), "hel 😀")
    assert [token.text for token in tokens] == ["<s>", "h", "el", " ", "⟨F0⟩", "⟨9F⟩", "⟨98⟩", "⟨80⟩"]
    assert label_of(tokens[1]) == "▁h"  # the text has no space there
    assert {(token.start, token.end) for token in tokens[4:]} == {(4, 5)}
    assert all(token.partial for token in tokens[4:])


def test_characters_outside_the_smiles_pattern_are_unknown_pieces_in_their_places() -> None:
    _, tokens = tokenize(bundled("rxnmapper"), "Cl♥[Na+]é")
    assert [(token.text, token.start, token.end) for token in tokens[1:-1]] == [
        ("Cl", 0, 2),
        ("♥", 2, 3),
        ("[Na+]", 3, 8),
        ("é", 8, 9),
    ]
    assert tokens[2].id == bundled("rxnmapper").unk_token_id


def test_a_second_text_goes_on_where_the_first_ends() -> None:
    text, pair = "Hello world", "Two dogs"
    inputs, tokens = tokenize(bundled("minilm-l6"), text, pair)
    assert [(text + pair)[token.start : token.end] for token in tokens if not token.special] == [
        "Hello",
        "world",
        "Two",
        "dogs",
    ]
    assert inputs["token_type_ids"].tolist() == [[0, 0, 0, 0, 1, 1, 1]]


def test_a_text_without_any_token_is_refused() -> None:
    with pytest.raises(EmptyTextError, match="contains no tokens for this model"):
        tokenize(bundled("minilm-l6"), " \n ")


def test_a_tokenizer_that_cannot_align_is_refused_by_name() -> None:
    with pytest.raises(UnsupportedModelError, match="CanineTokenizer has no fast tokenizer"):
        tokenize(CanineTokenizer(), "text")


def test_how_a_predicted_token_is_shown() -> None:
    smollm, minilm, rxn = (bundled(name) for name in BUNDLED)
    assert piece_text(smollm, smollm.convert_tokens_to_ids("ĠMary")) == " Mary"
    assert piece_text(smollm, smollm.convert_tokens_to_ids("Ċ")) == "\n"
    assert piece_text(smollm, smollm.convert_tokens_to_ids("ĠðŁĺ")) == " ⟨F0 9F 98⟩"
    assert piece_text(smollm, 0) == "<|endoftext|>"
    assert piece_text(smollm, 60_000) == "⟨id 60000⟩"
    assert piece_text(minilm, minilm.convert_tokens_to_ids("##ing")) == "##ing"
    assert piece_text(minilm, 103) == "[MASK]"
    assert piece_text(rxn, rxn.convert_tokens_to_ids(">>")) == ">>"
    llama = llama_like()
    assert piece_text(llama, llama.convert_tokens_to_ids("▁h")) == " h"
    assert piece_text(llama, llama.convert_tokens_to_ids("<0xF0>")) == "⟨F0⟩"
    assert piece_text(llama, llama.convert_tokens_to_ids("<0x0A>")) == "\n"


def test_every_piece_of_a_byte_level_vocabulary_decodes_as_its_tokenizer_does() -> None:
    tokenizer = bundled("smollm2-135m")
    for identifier in range(17, tokenizer.vocab_size, 7):
        decoded = tokenizer.decode([identifier])
        if "\ufffd" not in decoded:
            assert piece_text(tokenizer, identifier) == decoded


@pytest.mark.parametrize(
    ("raw", "shown"),
    [
        (b"abc", "abc"),
        (b"\xf0\x9f", "⟨F0 9F⟩"),
        (b" \xf0\x9f", " ⟨F0 9F⟩"),
        (b"\x98\x80x", "⟨98 80⟩x"),
        (b"\xb8\xad\xe6\x96\x87\xe5", "⟨B8 AD⟩文⟨E5⟩"),
        (b"", ""),
    ],
)
def test_bytes_that_are_not_characters(raw: bytes, shown: str) -> None:
    assert bytes_text(raw) == shown
