"""Two texts in one run: inputs, segments, states and predictions equal plain Hugging Face's `tokenizer(a, b)`."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import flask
import numpy as np
import pytest
import torch
import transformers as hf
from tokenizers import Tokenizer, models, pre_tokenizers, processors

from dashboard import derive
from dashboard.capture.capture import capture_run
from dashboard.capture.loader import LoadedModel, wrap_model
from dashboard.capture.tokens import tokenize
from dashboard.catalog.catalog import Catalog
from dashboard.contracts.request import RunRequest
from dashboard.errors import BadTextError, NoPairsError, TextTooLongError
from dashboard.settings import Settings
from dashboard.store.run_store import RunStore
from dashboard.web.callbacks import capture_job, check_tokens
from dashboard.web.model_picker import facts_of, second_text
from dashboard.web.routes.runs import make_runs
from dashboard.web.services import Services
from tests.support.tiny_models import SPECIAL, WORDS, eager_twin, tiny, tokenizer, words

pytestmark = pytest.mark.integration
FIRST, SECOND = words(7), words(5, seed=2)


def special(name: str) -> tuple[str, int]:
    return name, SPECIAL.index(name)


def with_types(post: Any) -> hf.PreTrainedTokenizerFast:
    """Whole words as tokens, and this post-processor; token types among the inputs."""
    raw = Tokenizer(models.WordLevel({word: i for i, word in enumerate(SPECIAL + WORDS)}, unk_token="[UNK]"))
    raw.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    raw.post_processor = post
    raw.add_special_tokens(list(SPECIAL))
    return hf.PreTrainedTokenizerFast(
        tokenizer_object=raw,
        unk_token="[UNK]",
        pad_token="[PAD]",
        cls_token="[CLS]",
        sep_token="[SEP]",
        mask_token="[MASK]",
        model_input_names=["input_ids", "token_type_ids", "attention_mask"],
    )


def bert_like() -> hf.PreTrainedTokenizerFast:
    return with_types(processors.BertProcessing(special("[SEP]"), special("[CLS]")))


def roberta_like() -> hf.PreTrainedTokenizerFast:
    return with_types(processors.RobertaProcessing(special("[SEP]"), special("[CLS]"), trim_offsets=False))


def xlnet_like() -> hf.PreTrainedTokenizerFast:
    return with_types(
        processors.TemplateProcessing(
            single="$A:0 [SEP]:0 [CLS]:2",
            pair="$A:0 [SEP]:0 $B:1 [SEP]:1 [CLS]:2",
            special_tokens=[special("[SEP]"), special("[CLS]")],
        )
    )


def metaspace() -> hf.PreTrainedTokenizerFast:
    """As ALBERT's: a space of the tokenizer's own comes before each text, at times as a token of no character."""
    pieces = [(word, 0.0) for word in SPECIAL] + [("▁", -2.0), ("中", -2.0), ("a", -2.0), ("▁a", -1.0)]
    raw = Tokenizer(models.Unigram(pieces, unk_id=1))
    raw.pre_tokenizer = pre_tokenizers.Metaspace()
    raw.post_processor = processors.TemplateProcessing(
        single="[CLS]:0 $A:0 [SEP]:0",
        pair="[CLS]:0 $A:0 [SEP]:0 $B:1 [SEP]:1",
        special_tokens=[special("[CLS]"), special("[SEP]")],
    )
    return hf.PreTrainedTokenizerFast(tokenizer_object=raw, unk_token="[UNK]", sep_token="[SEP]", cls_token="[CLS]")


def paired(name: str, made: Callable[[], hf.PreTrainedTokenizerFast]) -> LoadedModel:
    """A tiny model with a tokenizer that marks the second text."""
    found = tiny(name)
    return wrap_model(found.model, made(), f"tiny-{name}", title=f"Tiny {name}", fingerprint=name * 3)


@pytest.mark.parametrize(
    ("made", "a", "b", "segments"),
    [
        (bert_like, "w1 w2", "w3", [-1, 0, 0, -1, 1, -1]),
        (roberta_like, "w1 w2", "w3", [-1, 0, 0, -1, -1, 1, -1]),
        (xlnet_like, "w1 w2", "w3", [0, 0, -1, 1, -1, -1]),
        (bert_like, "w1 [SEP] w2", "w3 [SEP]", [-1, 0, 0, 0, -1, 1, 1, -1]),
        (metaspace, "a a", "中", [-1, 0, 0, -1, 1, 1, -1]),
        (metaspace, "中", "中 a", [-1, 0, 0, -1, 1, 1, 1, -1]),
    ],
    ids=["bert", "roberta", "xlnet", "a typed separator", "a token of no character", "of each text"],
)
def test_inputs_are_the_tokenizers_own_and_each_token_knows_its_text(
    made: Callable[[], hf.PreTrainedTokenizerFast], a: str, b: str, segments: list[int]
) -> None:
    from dashboard.contracts.token import segments_of

    plain = made()(a, b)
    inputs, tokens = tokenize(made(), a, b)
    assert {name: values.tolist() for name, values in inputs.items()} == {name: [row] for name, row in plain.items()}
    assert segments_of(tokens, len(a)).tolist() == segments
    assert [-1 if one is None else one for one in plain.sequence_ids()] == segments  # what tokenizers itself says
    for token, segment in zip(tokens, segments, strict=True):
        source, shift = ((a, 0), (b, len(a)))[max(segment, 0)]
        if segment >= 0:
            assert token.text == source[token.start - shift : token.end - shift]


@pytest.mark.parametrize(
    ("name", "made"),
    [("bert", bert_like), ("albert", bert_like), ("electra", bert_like), ("roberta", lambda: tokenizer(True))],
)
def test_a_run_of_a_pair_equals_plain_hugging_face(name: str, made: Callable[[], hf.PreTrainedTokenizerFast]) -> None:
    loaded = paired(name, made)
    run = capture_run(loaded, FIRST, SECOND)
    plain = loaded.tokenizer(FIRST, SECOND, return_tensors="pt")
    with torch.inference_mode():
        expected = eager_twin(name, loaded)(**plain, output_hidden_states=True, output_attentions=True)
    for layer, states in enumerate(expected.hidden_states):
        np.testing.assert_allclose(run.hidden_states[layer], states[0].numpy(), atol=1e-5)
    for layer in range(loaded.info.layers):
        np.testing.assert_allclose(run.attention(layer, 1), expected.attentions[layer][0, 1].numpy(), atol=1e-5)
    given = [run.prediction(position).candidates[0].logprob for position in range(len(run))]
    np.testing.assert_allclose(given, expected.logits[0].log_softmax(-1).max(-1).values.numpy(), atol=1e-5)
    assert run.main.segments.tolist() == [-1, *[0] * 7, -1, *[1] * 5, -1]
    assert run.main.second_begins == 9
    if made is bert_like:
        assert plain["token_type_ids"].tolist() == [[0] * 9 + [1] * 6]
        alone = loaded.tokenizer(f"{FIRST} [SEP] {SECOND}", return_tensors="pt")  # the same tokens without segments
        with torch.inference_mode():
            other = eager_twin(name, loaded)(**alone, output_hidden_states=True)
        assert not np.allclose(run.hidden_states[-1], other.hidden_states[-1][0].numpy(), atol=1e-3)


def test_what_is_computed_later_is_of_both_texts() -> None:
    loaded = paired("bert", bert_like)
    run = capture_run(loaded, FIRST, SECOND)
    plain = loaded.tokenizer(FIRST, SECOND, return_tensors="pt")
    for position in (3, 11):
        found = derive(loaded, run, "masked-prediction", position=position).candidates[0]
        assert found.logprob == pytest.approx(run.prediction(position, "masked").candidates[0].logprob, abs=1e-5)
        masked = {name: values.clone() for name, values in plain.items()}
        masked["input_ids"][0, position] = loaded.tokenizer.mask_token_id
        with torch.inference_mode():
            logprobs = eager_twin("bert", loaded)(**masked).logits[0, position].log_softmax(-1)
        assert found.logprob == pytest.approx(float(logprobs.max()), abs=1e-5)


def test_offsets_lead_to_the_right_text() -> None:
    run = capture_run(paired("bert", bert_like), "w1  w2", "w1 w3")
    assert run.texts == ("w1  w2", "w1 w3")
    assert run.source == "w1  w2w1 w3"
    spans = [run.span(position) for position in range(len(run))]
    assert spans == [None, (0, 0, 4), (0, 4, 6), None, (1, 0, 2), (1, 3, 5), None]
    assert [run.texts[found[0]][found[1] : found[2]] for found in spans if found] == ["w1  ", "w2", "w1", "w3"]
    single = capture_run(paired("bert", bert_like), "w1 w2")
    assert single.main.segments.tolist() == [-1, 0, 0, -1]
    assert (single.main.second_begins, single.texts) == (None, ("w1 w2",))


def test_the_second_text_is_part_of_the_name() -> None:
    loaded = paired("bert", bert_like)
    keys = {capture_run(loaded, a, b).key for a, b in [("w1", None), ("w1", "w2"), ("w2", "w1"), ("w1 w2", None)]}
    assert len(keys) == 4


@pytest.mark.parametrize("name", ["llama", "gpt2"])
def test_a_model_of_one_text_says_so(name: str) -> None:
    with pytest.raises(NoPairsError, match="takes one text at a time"):
        capture_run(tiny(name), FIRST, SECOND)


def test_bounds_are_those_of_both_texts() -> None:
    loaded = paired("bert", bert_like)
    with pytest.raises(TextTooLongError, match="15 tokens"):
        capture_run(loaded, FIRST, SECOND, max_tokens=14)
    with pytest.raises(TextTooLongError, match="characters"):
        capture_run(loaded, "w1 " * 600, "w2 " * 800)
    half = "a" * 1_000_001
    with pytest.raises(BadTextError, match="2,000,002 characters together"):
        RunRequest("tiny", half, text_pair=half)


def test_a_bundled_model_reads_a_pair() -> None:
    folder = Settings.from_env().models_folder / "minilm-l6"
    plain = hf.AutoTokenizer.from_pretrained(folder)("A cat sat.", "It purred.")
    inputs, _tokens = tokenize(hf.AutoTokenizer.from_pretrained(folder), "A cat sat.", "It purred.")
    assert inputs["token_type_ids"].tolist() == [plain["token_type_ids"]]
    assert set(plain["token_type_ids"]) == {0, 1}


@pytest.fixture
def services(tmp_path: Path) -> Services:
    """A server that offers a model of pairs and one of single texts."""
    for name in ("bert", "gpt2"):
        loaded = tiny(name)
        loaded.model.save_pretrained(tmp_path / "mine" / name)
        loaded.tokenizer.save_pretrained(tmp_path / "mine" / name)
    settings = Settings(cache_dir=tmp_path / "cache", models_dir=tmp_path, model_folders=(tmp_path / "mine",))
    return Services(settings, RunStore.from_settings(settings), Catalog(settings, patience=60))


BERT, GPT2 = "folder:mine/bert", "folder:mine/gpt2"


def test_the_form_asks_for_a_pair_where_the_model_takes_one(services: Services) -> None:
    assert facts_of(services.catalog.get(BERT), services.settings)["pairs"] is True
    assert facts_of(services.catalog.get(GPT2), services.settings)["pairs"] is False
    assert second_text(services.catalog, BERT, SECOND, message=False) == SECOND
    assert second_text(services.catalog, GPT2, SECOND, message=False) is None, "its box is not on the page"
    assert second_text(services.catalog, BERT, SECOND, message=True) is None, "a chat message is one text"
    for blank in (None, "", " \n"):
        assert second_text(services.catalog, BERT, blank, message=False) is None
    request = RunRequest(BERT, FIRST, text_pair=SECOND)
    check_tokens(services, request)
    assert capture_job(services, request).payload["request"]["text_pair"] == SECOND
    with pytest.raises(TextTooLongError, match="83 tokens"):
        check_tokens(services, RunRequest(BERT, words(40), text_pair=words(40)))
    with pytest.raises(TextTooLongError, match="characters"):
        check_tokens(services, RunRequest(BERT, "w1 " * 700, text_pair="w2 " * 700))


def test_both_texts_are_counted_while_typing(services: Services) -> None:
    app = flask.Flask("counting")
    app.register_blueprint(make_runs(services))

    def count(model: str, text: str, pair: str | None) -> dict[str, Any]:
        asked = {"model": model, "text": text, "text_pair": pair}
        return dict(app.test_client().post("/count", json=asked).get_json())

    plain = tokenizer(True)(FIRST, SECOND)
    assert count(BERT, FIRST, SECOND) == {"tokens": len(plain["input_ids"])}
    assert count(BERT, FIRST, None) == count(BERT, FIRST, " ") == {"tokens": 9}
    assert count(GPT2, FIRST, SECOND) == {"tokens": 7}, "the second box is not there"
    assert count(BERT, "w1 " * 700, "w2 " * 700) == {"tokens": None, "too_long": True}
    assert count(BERT, "w1 [SEP] w2", None) == {"tokens": 5, "separator": "[SEP]"}
    assert count(BERT, "w1 [SEP] w2", "w3") == {"tokens": 7}, "there is a second text already"
    assert count(BERT, "[CLS] w1 [MASK]", None) == {"tokens": 5}
    (services.catalog.get(BERT).folder or Path()).joinpath("config.json").write_text(
        tiny("bert").model.config.to_json_string().replace('"vocab_size": 64', '"vocab_size": 10'), encoding="utf-8"
    )
    found = count(BERT, "w1", "w2 w50")["unknown"]
    assert (found["token"], "“w50”" in found["why"]) == (4, True), "it stands in the second text"
