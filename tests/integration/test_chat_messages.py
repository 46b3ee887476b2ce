"""Chat messages: read exactly as plain Hugging Face reads them, in templates that are foreign code."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors, trainers
from transformers import (
    AutoTokenizer,
    BertConfig,
    BertForMaskedLM,
    LlamaConfig,
    LlamaForCausalLM,
    PreTrainedTokenizerFast,
)

from dashboard.capture.capture import capture_run
from dashboard.capture.loader import LoadedModel, load_model, wrap_model
from dashboard.catalog import chat_rendering
from dashboard.catalog.catalog import Catalog
from dashboard.catalog.chat_templates import template_in
from dashboard.catalog.counting_process import Count
from dashboard.cli import main
from dashboard.compute.deriving import derive
from dashboard.contracts.request import RunRequest
from dashboard.contracts.run import ModelRun
from dashboard.contracts.run_check import check_run
from dashboard.errors import (
    BadRequestError,
    ChatTemplateError,
    DashboardError,
    NoChatTemplateError,
    RunShapeError,
    TextTooLongError,
)
from dashboard.exports.provenance import of_run
from dashboard.exports.run_files import open_run, save_run
from dashboard.jobs.work import JobContext, ResidentModels, capture
from dashboard.settings import Settings
from dashboard.store.run_store import RunStore
from dashboard.views.run_info import describe_run
from tests.support.bundled_models import bundled_model
from tests.support.tiny_models import randomised

pytestmark = pytest.mark.integration
MESSAGE = "  What is\n2 + 2, naïvely?  "
SPECIAL = ("<s>", "</s>", "<|user|>", "<|assistant|>", "<|mask|>")
TEMPLATES = {
    "llama2": "{% for message in messages %}{% if message['role'] == 'user' %}{{ bos_token + '[INST] ' + "
    "message['content'].strip() + ' [/INST]' }}{% elif message['role'] == 'assistant' %}{{ ' ' + message['content'] + "
    "eos_token }}{% endif %}{% endfor %}",
    "zephyr": "{% for message in messages %}\n{% if message['role'] == 'user' %}\n{{ '<|user|>\n' + "
    "message['content'] + eos_token }}\n{% endif %}\n{% if loop.last and add_generation_prompt %}\n"
    "{{ '<|assistant|>' }}\n{% endif %}\n"
    "{% endfor %}",
    "gemma": "{{ bos_token }}{% if messages[0]['role'] == 'system' %}{{ raise_exception('System role not supported') }}"
    "{% endif %}{% for message in messages %}{{ '<|user|>' + message['role'] + '\n' + message['content'] | trim + "
    "'</s>\n' }}{% endfor %}{% if add_generation_prompt %}{{ '<|assistant|>model\n' }}{% endif %}",
    "dated": "{%- set day = strftime_now('%d %b %Y') -%}{{ bos_token }}Today: {{ day }}\n{{ messages | tojson }}"
    "{%- generation -%}{{ '<|assistant|>' }}{%- endgeneration -%}",
    "qwen": "{%- if not tools and messages[0].role != 'system' %}<|user|>system\nYou are a helpful assistant.</s>\n"
    "{%- endif %}{%- set ns = namespace(last=false) %}{%- for m in messages[::-1] %}{%- set ns.last = true %}"
    "{{- '<|user|>' + m.role + '\n' + m.content + '</s>' + '\n' }}{%- endfor %}{%- if add_generation_prompt %}"
    "{{- '<|assistant|>\n' }}{%- endif %}",
}


def byte_tokenizer(template: Any = None) -> PreTrainedTokenizerFast:
    """A byte-level tokenizer that puts <s> before every text, as Llama's does."""
    made = Tokenizer(models.BPE())
    made.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    made.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=300,
        special_tokens=list(SPECIAL),
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    made.train_from_iterator(["What is a user? You are a helpful assistant. [INST] Today [/INST]"] * 3, trainer)
    made.post_processor = processors.TemplateProcessing(
        single="<s> $A", pair="<s> $A <s> $B", special_tokens=[("<s>", 0)]
    )
    return PreTrainedTokenizerFast(
        tokenizer_object=made,
        bos_token="<s>",
        eos_token="</s>",
        mask_token="<|mask|>",
        model_max_length=512,
        model_input_names=["input_ids", "attention_mask"],
        **({"chat_template": template} if template else {}),
    )


def tiny_llama() -> LlamaForCausalLM:
    sizes = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 24}
    return randomised(LlamaForCausalLM(LlamaConfig(**sizes, vocab_size=320, max_position_embeddings=512)))


def talker(template: Any, name: str = "talker") -> LoadedModel:
    return wrap_model(tiny_llama(), byte_tokenizer(template), name)


def plain_ids(tokenizer: Any, message: str) -> list[int]:
    """What plain Hugging Face makes of the message."""
    found = tokenizer.apply_chat_template(
        [{"role": "user", "content": message}], add_generation_prompt=True, tokenize=True, return_dict=True
    )
    return list(found["input_ids"])


@pytest.fixture
def settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Settings:
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path / "hub"))
    folders = {"zephyr": TEMPLATES["zephyr"], "silent": None, "llama2": TEMPLATES["llama2"]}
    for name, template in folders.items():
        tiny_llama().save_pretrained(tmp_path / "models" / name)
        byte_tokenizer(template).save_pretrained(tmp_path / "models" / name)
    return Settings(cache_dir=tmp_path / "cache", models_dir=tmp_path / "bundled", model_folders=(tmp_path / "models",))


# exactness


@pytest.mark.parametrize("name", TEMPLATES)
def test_a_message_is_read_as_plain_hugging_face_reads_it(name: str) -> None:
    loaded = talker(TEMPLATES[name])
    run = capture_run(loaded, MESSAGE, chat=True)
    ids = plain_ids(loaded.tokenizer, MESSAGE)
    assert [token.id for token in run.tokens] == ids
    assert ids.count(0) == ("bos_token" in TEMPLATES[name]), "one <s> where the template writes it, none elsewhere"
    with torch.no_grad():
        expected = loaded.model(torch.tensor([ids]), output_hidden_states=True)
    for ours, theirs in zip(run.hidden_states, expected.hidden_states, strict=True):
        np.testing.assert_allclose(ours, theirs[0].numpy(), rtol=1e-5, atol=1e-5)
    probabilities = torch.softmax(expected.logits[0, -1].double(), -1)
    best = run.prediction(len(run) - 1, k=1).candidates[0]
    assert best.probability == pytest.approx(float(probabilities.max()), rel=1e-4)
    assert run.request.text == MESSAGE
    assert run.text == loaded.tokenizer.apply_chat_template(
        [{"role": "user", "content": MESSAGE}], add_generation_prompt=True, tokenize=False
    )
    for token in run.tokens:
        assert token.special == (token.id < len(SPECIAL)), token
        assert not token.given, "the template wrote it, not the tokenizer"
        if not token.partial:
            assert run.text[token.start : token.end] == token.text


def test_the_bundled_models_template_adds_a_system_message() -> None:
    """As its files hold it; the revised release of SmolLM2 has the same words."""
    loaded = bundled_model("smollm2-135m")
    run = capture_run(loaded, "Who wrote Faust?", chat=True)
    assert run.text == (
        "<|im_start|>system\nYou are a helpful AI assistant named SmolLM, trained by Hugging Face<|im_end|>\n"
        "<|im_start|>user\nWho wrote Faust?<|im_end|>\n<|im_start|>assistant\n"
    )
    assert [token.id for token in run.tokens] == plain_ids(loaded.tokenizer, "Who wrote Faust?")
    special = [token.text for token in run.tokens if token.special]
    assert special == ["<|im_start|>", "<|im_end|>", "<|im_start|>", "<|im_end|>", "<|im_start|>"]


def test_special_tokens_typed_in_a_message_are_read_as_such() -> None:
    loaded = talker(TEMPLATES["llama2"])
    run = capture_run(loaded, "a </s> b", chat=True)
    assert [token.id for token in run.tokens] == plain_ids(loaded.tokenizer, "a </s> b")
    assert [token.text for token in run.tokens if token.special] == ["<s>", "</s>"]


def test_a_masked_model_masks_the_rendered_message() -> None:
    sizes = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 24}
    model = randomised(BertForMaskedLM(BertConfig(**sizes, vocab_size=320, max_position_embeddings=512)))
    loaded = wrap_model(model, byte_tokenizer(TEMPLATES["llama2"]), "masked")
    run = capture_run(loaded, "one two", chat=True)
    ids = plain_ids(loaded.tokenizer, "one two")
    position = len(ids) - 2
    masked = torch.tensor([ids])
    masked[0, position] = loaded.tokenizer.mask_token_id
    with torch.no_grad():
        expected = torch.log_softmax(model(masked).logits[0, position].double(), -1)
    for found in (
        derive(loaded, run, "masked-prediction", position=position).candidates[0],
        run.prediction(position, "masked", 1).candidates[0],
    ):
        assert found.logprob == pytest.approx(float(expected.max()), abs=1e-4)
    lens = derive(loaded, run, "position-lens", position=position, mode="masked", words="")
    assert lens.lens.places == 3


# keys, files, words


def test_the_key_holds_what_was_read() -> None:
    assert RunRequest("a", "b").key("f") == RunRequest.from_json({"model": "a", "text": "b"}).key("f")
    keys = {RunRequest("a", "b").key("f")}
    keys |= {RunRequest("a", "b", chat=True, rendered=one).key("f") for one in ("<b>", "[b]")}
    assert len(keys) == 3
    one, other = (
        capture_run(replace(talker(TEMPLATES[name]), fingerprint="f"), "b", chat=True) for name in ("llama2", "gemma")
    )
    assert one.key != other.key
    assert RunRequest.from_json(one.request.to_json()) == one.request


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"chat": "yes"}, "give True or False"),
        ({"chat": True, "text_pair": "c"}, "A chat message is one text"),
        ({"rendered": "c"}, "Only a chat message"),
    ],
)
def test_a_request_that_makes_no_sense_is_refused(wrong: dict[str, Any], said: str) -> None:
    with pytest.raises(BadRequestError, match=said):
        RunRequest.from_json({"model": "a", "text": "b", **wrong})


def test_a_run_file_keeps_the_message_and_what_was_read(tmp_path: Path) -> None:
    run = capture_run(talker(TEMPLATES["gemma"]), MESSAGE, chat=True)
    save_run(run, tmp_path / "run.npz")
    again = open_run(tmp_path / "run.npz")
    assert (again.text, again.request) == (run.text, run.request)
    check_run(again)
    header = {**run.header, "request": {**run.header["request"], "rendered": None}}
    with pytest.raises(RunShapeError, match="not rendered"):
        check_run(ModelRun(header, run.arrays))
    told = dict(of_run(run).entries)
    assert (told["Chat message"], told["Text"]) == (MESSAGE, run.text)
    info = describe_run(run)
    assert (info["text"], info["chat"], info["plain"]) == (MESSAGE, True, True)


# foreign code

HOSTILE = {
    "refuses": ("{{ raise_exception('Roles must alternate') }}", "Roles must alternate"),
    "is broken": ("{% for %}", "TemplateSyntaxError"),
    "leaves the sandbox": ("{{ ''.__class__.__mro__ }}", "SecurityError"),
    "reads what is not there": ("{{ messages[1]['content'].x.y }}", "UndefinedError"),
    "is endless": (
        "{% for a in range(99999) %}{% for b in range(99999) %}{% endfor %}{% endfor %}",
        "took longer than",
    ),
    "fills the memory": ("{% set a = 'aaaaaaaaaa' * 999999999 %}{{ a }}", "cannot render|too much memory"),
    "writes nothing": ("{# nothing #}{{ '' }}", "writes nothing"),
    "writes a control character": ("{{ '\\x00' }}", "a character that no model can read"),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_a_template_that_fails_is_one_sentence(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    template, said = HOSTILE[name]
    if name == "is endless":
        monkeypatch.setattr(chat_rendering, "RENDER_SECONDS", 5.0)
    with pytest.raises(ChatTemplateError, match=said) as caught:
        capture_run(talker(template, "The model"), "a", chat=True)
    assert "The model" in str(caught.value)
    assert len(str(caught.value)) < 500
    assert len(capture_run(talker(TEMPLATES["llama2"]), "a", chat=True)) > 3, "the next message is rendered"


def test_what_is_too_long_is_refused_as_texts_are() -> None:
    loaded = talker("{{ bos_token * 600 }}{{ messages[0]['content'] }}")
    with pytest.raises(TextTooLongError, match="601 tokens; talker takes at most 512"):
        capture_run(loaded, "a", chat=True)
    with pytest.raises(TextTooLongError, match="characters"):
        capture_run(talker("{{ 'a' * 3000000 }}"), "a", chat=True)


def test_a_model_without_a_template_is_refused() -> None:
    with pytest.raises(NoChatTemplateError, match="talker has no chat template"):
        capture_run(talker(None), "a", chat=True)


# where the template is


def test_the_files_say_what_the_tokenizer_would_use(tmp_path: Path) -> None:
    two = {"default": TEMPLATES["llama2"], "tool_use": "{{ 'tools' }}"}
    for number, template in enumerate((TEMPLATES["zephyr"], two, {"tool_use": "{{ 'tools' }}"}, None)):
        for jinja in (True, False):
            folder = tmp_path / f"{number}{jinja}"
            byte_tokenizer(template).save_pretrained(folder, save_jinja_files=jinja)
            theirs = AutoTokenizer.from_pretrained(folder).chat_template
            theirs = theirs.get("default") if isinstance(theirs, dict) else theirs
            assert template_in(folder) == theirs, (number, jinja)
    settings = json.loads((tmp_path / "1False" / "tokenizer_config.json").read_text())
    assert isinstance(settings["chat_template"], list)


def test_cards_and_counts(settings: Settings, tmp_path: Path) -> None:
    catalog = Catalog(settings, patience=60)
    known = {card.name: card.chat for card in catalog.entries() if card.source == "folder"}
    assert known == {"folder:models/zephyr": True, "folder:models/silent": False, "folder:models/llama2": True}
    for name in ("zephyr", "llama2"):
        expected = len(plain_ids(byte_tokenizer(TEMPLATES[name]), MESSAGE))
        assert catalog.count(f"folder:models/{name}", MESSAGE, chat=True) == Count(expected)
    typed = len(byte_tokenizer()(MESSAGE, add_special_tokens=False)["input_ids"])
    path = tmp_path / "models" / "zephyr" / "chat_template.jinja"
    for template in ("{{ raise_exception('no') }}", "{{ sep_token }}{{ messages[0]['content'] }}"):
        path.write_text(template)
        assert catalog.count("folder:models/zephyr", MESSAGE, chat=True) == Count(typed, typed=True)
    path.write_text("")
    assert not catalog.takes_chat("folder:models/zephyr"), "its card follows the file"


def test_a_worker_and_the_shell_run_a_message(
    settings: Settings, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    store, residents = RunStore.from_settings(settings), ResidentModels(settings)
    context = JobContext("k", store, lambda _progress: None, lambda **_changes: None)
    request = RunRequest("folder:models/zephyr", MESSAGE, chat=True)
    key = capture({"request": request.to_json()}, context, residents)
    run = store.open(key)
    assert run.key == key == run.request.key(run.header["fingerprint"]) != request.key(run.header["fingerprint"])
    stamp = run.stamp
    assert capture({"request": request.to_json()}, context, residents) == key
    assert store.open(key).stamp == stamp, "it is not computed again"
    summary = store.summary(key)
    assert summary is not None
    assert summary.chat
    assert summary.text == "What is 2 + 2, naïvely?"
    silent = RunRequest("folder:models/silent", MESSAGE, chat=True)
    with pytest.raises(DashboardError, match="silent has no chat template"):
        capture({"request": silent.to_json()}, context, residents)

    folder = tmp_path / "models"
    arguments = ["analyse", "--chat", "--text", "2 + 2", "--out", str(tmp_path / "run.npz")]
    for name, code in (("zephyr", 0), ("silent", 1)):
        done = main([*arguments, "--model", str(folder / name)])
        assert done == code, capsys.readouterr().err
    assert "has no chat template" in capsys.readouterr().err
    run = open_run(tmp_path / "run.npz")
    assert run.request.text == "2 + 2"
    assert run.text == "<|user|>\n2 + 2</s>\n<|assistant|>\n"
    assert main([*arguments, "--model", str(folder / "zephyr"), "--pair", "b"]) == 2


def test_loaded_from_files_it_reads_as_from_memory(settings: Settings, tmp_path: Path) -> None:
    loaded = load_model(tmp_path / "models" / "llama2", settings)
    run = capture_run(loaded, MESSAGE, chat=True)
    assert [token.id for token in run.tokens] == plain_ids(byte_tokenizer(TEMPLATES["llama2"]), MESSAGE)
