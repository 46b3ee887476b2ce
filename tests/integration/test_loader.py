"""Loading: the head that the checkpoint has, limits, and every refusal by name."""

from __future__ import annotations

import json
import os
import pickle
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import huggingface_hub
import pytest
import torch
from huggingface_hub import errors
from tokenizers import Tokenizer, models, pre_tokenizers, processors
from transformers import (
    BertConfig,
    BertForMaskedLM,
    BertForSequenceClassification,
    BertModel,
    GPT2Config,
    GPT2LMHeadModel,
    PreTrainedModel,
    PreTrainedTokenizerFast,
    RobertaConfig,
    RobertaForMaskedLM,
    T5Config,
    T5ForConditionalGeneration,
)

from dashboard.capture import loader
from dashboard.capture.loader import load_model, wrap_model
from dashboard.catalog import digests, fingerprint
from dashboard.contracts.job import Progress
from dashboard.errors import ModelError, ModelNotFoundError, NotReadyError, UnsafeModelError, UnsupportedModelError
from dashboard.jobs.preparation import prepare
from dashboard.jobs.work import JobContext
from dashboard.settings import Settings

pytestmark = pytest.mark.integration
TINY_GPT2 = {"n_layer": 1, "n_head": 2, "n_embd": 8, "vocab_size": 12, "n_positions": 32}
SMALL = {"hidden_size": 8, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 16, "vocab_size": 12}


@pytest.fixture
def settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Settings:
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path / "hub"))
    return Settings(cache_dir=tmp_path / "cache")


def tokenizer() -> PreTrainedTokenizerFast:
    words = Tokenizer(models.WordLevel({"[UNK]": 0, **{f"w{i}": i for i in range(1, 12)}}, unk_token="[UNK]"))
    words.pre_tokenizer = pre_tokenizers.Whitespace()
    return PreTrainedTokenizerFast(tokenizer_object=words, unk_token="[UNK]")


def save(model: PreTrainedModel, folder: Path, **config: Any) -> Path:
    model.save_pretrained(folder)
    tokenizer().save_pretrained(folder)
    path = folder / "config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **config}))
    return folder


def split_gpt2(folder: Path) -> Path:
    """A checkpoint in several parts, with its index."""
    model = GPT2LMHeadModel(GPT2Config(n_layer=2, n_head=2, n_embd=8, vocab_size=12, n_positions=32))
    model.save_pretrained(folder, max_shard_size="2KB")
    tokenizer().save_pretrained(folder)
    assert len(list(folder.glob("model-*.safetensors"))) > 1
    return folder


def test_a_checkpoint_in_parts_is_loaded_and_its_index_belongs_to_the_fingerprint(
    settings: Settings, tmp_path: Path
) -> None:
    folder = split_gpt2(tmp_path / "mine")
    before = load_model(folder, settings).fingerprint
    index = folder / "model.safetensors.index.json"
    index.write_text(index.read_text() + "\n")
    assert load_model(folder, settings).fingerprint != before


@pytest.mark.parametrize("name", ["../other/model.safetensors", "/etc/passwd", "pytorch_model.bin", 3])
def test_an_index_that_leads_elsewhere_is_refused(settings: Settings, tmp_path: Path, name: Any) -> None:
    folder = split_gpt2(tmp_path / "mine")
    index = folder / "model.safetensors.index.json"
    content = json.loads(index.read_text())
    content["weight_map"][next(iter(content["weight_map"]))] = name
    index.write_text(json.dumps(content))
    with pytest.raises(UnsafeModelError, match="names weights that are not among its own files"):
        load_model(folder, settings)


def test_a_configuration_that_names_other_weights_is_refused(settings: Settings, tmp_path: Path) -> None:
    model = GPT2LMHeadModel(GPT2Config(n_layer=1, n_head=2, n_embd=8, vocab_size=12, n_positions=32))
    folder = save(model, tmp_path / "mine", transformers_weights="evil.bin")
    with pytest.raises(UnsafeModelError, match=r"not among its own files \(evil.bin\)"):
        load_model(folder, settings)


def test_a_causal_folder_is_loaded_as_it_was_saved(settings: Settings, tmp_path: Path) -> None:
    saved = GPT2LMHeadModel(GPT2Config(n_layer=2, n_head=2, n_embd=8, vocab_size=12, n_positions=32)).eval()
    steps: list[Progress] = []
    loaded = load_model(save(saved, tmp_path / "mine"), settings, progress=steps.append)
    info = loaded.info
    assert (info.kind, info.family, info.title, info.layers, info.heads, info.limit) == (
        "causal",
        "gpt2",
        "mine",
        2,
        2,
        32,
    )
    assert info.parameters == sum(parameter.numel() for parameter in saved.parameters())
    ids = torch.tensor([[1, 2, 3]])
    assert torch.equal(loaded.model(ids).logits, saved(ids).logits)
    assert [step.message for step in steps] == ["Loading mine"]
    assert load_model(str(tmp_path / "mine"), settings).fingerprint == loaded.fingerprint


def test_half_precision_weights_are_loaded_in_float32(settings: Settings, tmp_path: Path) -> None:
    saved = BertForMaskedLM(BertConfig(**SMALL)).to(torch.float16)
    loaded = load_model(save(saved, tmp_path / "half"), settings)
    assert {parameter.dtype for parameter in loaded.model.parameters()} == {torch.float32}
    assert loaded.info.kind == "masked"


def test_roberta_keeps_two_positions_for_itself(settings: Settings, tmp_path: Path) -> None:
    config = RobertaConfig(**SMALL, max_position_embeddings=514, pad_token_id=1)
    loaded = load_model(save(RobertaForMaskedLM(config), tmp_path / "roberta"), settings)
    assert loaded.info.limit == 512
    ids = torch.full((1, 512), 5)
    assert loaded.model(ids).logits.shape == (1, 512, 12)
    with pytest.raises((IndexError, RuntimeError)):
        loaded.model(torch.full((1, 513), 5))


def test_a_head_that_the_checkpoint_lacks_is_left_off(settings: Settings, tmp_path: Path) -> None:
    folder = save(BertModel(BertConfig(**SMALL)), tmp_path / "headless", architectures=["BertForMaskedLM"])
    loaded = load_model(folder, settings)
    assert (type(loaded.model), loaded.info.kind) == (BertModel, "encoder")


def test_a_classifier_is_read_with_its_head(settings: Settings, tmp_path: Path) -> None:
    loaded = load_model(save(BertForSequenceClassification(BertConfig(**SMALL)), tmp_path / "classifier"), settings)
    assert (type(loaded.model), loaded.info.kind) == (BertForSequenceClassification, "encoder")


def test_a_classifier_whose_files_do_not_say_what_it_classifies_is_read_as_its_encoder(
    settings: Settings, tmp_path: Path
) -> None:
    whole = BertForSequenceClassification(BertConfig(**SMALL))
    loaded = load_model(save(whole, tmp_path / "classifier", architectures=None), settings)
    assert (type(loaded.model), loaded.info.kind, loaded.classes) == (BertModel, "encoder", None)


def test_a_checkpoint_with_a_hole_is_refused(settings: Settings, tmp_path: Path) -> None:
    folder = save(BertForMaskedLM(BertConfig(**SMALL)), tmp_path / "hole", num_hidden_layers=3)
    with pytest.raises(ModelError, match=r"lacks bert\.encoder\.layer\.2.* more"):
        load_model(folder, settings)


def test_damaged_weights_are_named(settings: Settings, tmp_path: Path) -> None:
    folder = save(BertForMaskedLM(BertConfig(**SMALL)), tmp_path / "damaged")
    whole = (folder / "model.safetensors").read_bytes()
    (folder / "model.safetensors").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(ModelError, match="weights of damaged cannot be read"):
        load_model(folder, settings)


class Bomb:
    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> Any:
        return os.mkdir, (str(self.path),)


def test_pickled_code_is_never_run(settings: Settings, tmp_path: Path) -> None:
    folder = save(BertForMaskedLM(BertConfig(**SMALL)), tmp_path / "pickled")
    (folder / "model.safetensors").unlink()
    torch.save({"bert.embeddings.word_embeddings.weight": Bomb(tmp_path / "ran")}, folder / "pytorch_model.bin")
    with pytest.raises(UnsafeModelError, match="pickled hold more than tensors"):
        load_model(folder, settings)
    (folder / "pytorch_model.bin").write_bytes(pickle.dumps(Bomb(tmp_path / "ran")))
    with pytest.raises(UnsafeModelError):
        load_model(folder, settings)
    assert not (tmp_path / "ran").exists()


def test_plain_pickled_tensors_are_read(settings: Settings, tmp_path: Path) -> None:
    model = BertForMaskedLM(BertConfig(**SMALL))
    folder = save(model, tmp_path / "plain")
    (folder / "model.safetensors").unlink()
    torch.save(model.state_dict(), folder / "pytorch_model.bin")
    assert load_model(folder, settings).info.kind == "masked"


def test_code_that_comes_with_a_model_is_never_run(settings: Settings, tmp_path: Path) -> None:
    mapped = {"AutoConfig": "code.Config", "AutoModelForCausalLM": "code.Model"}
    folder = save(BertModel(BertConfig(**SMALL)), tmp_path / "custom", model_type="made-up", auto_map=mapped)
    (folder / "code.py").write_text(f"import os; os.mkdir({str(tmp_path / 'ran')!r})")
    with pytest.raises(UnsafeModelError, match="running code"):
        load_model(folder, settings)
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize("left", [(), ("tokenizer_config.json",)])
def test_a_folder_without_a_vocabulary_is_refused(settings: Settings, tmp_path: Path, left: tuple[str, ...]) -> None:
    folder = save(BertForMaskedLM(BertConfig(**SMALL)), tmp_path / "mute")
    for path in folder.glob("*token*"):
        if path.name not in left:
            path.unlink()
    with pytest.raises(UnsupportedModelError, match="mute has no tokenizer"):
        load_model(folder, settings)


def test_an_unknown_architecture_is_refused(settings: Settings, tmp_path: Path) -> None:
    folder = save(BertModel(BertConfig(**SMALL)), tmp_path / "unknown", model_type="made-up")
    with pytest.raises(UnsupportedModelError, match="does not know"):
        load_model(folder, settings)


def test_an_encoder_decoder_model_is_refused_by_name(settings: Settings, tmp_path: Path) -> None:
    model = T5ForConditionalGeneration(T5Config(d_model=8, d_ff=8, d_kv=4, num_layers=1, num_heads=2, vocab_size=12))
    with pytest.raises(UnsupportedModelError, match=r"\(t5\) is an encoder–decoder model"):
        load_model(save(model, tmp_path / "t5"), settings)
    with pytest.raises(UnsupportedModelError, match="tiny"):
        wrap_model(model, tokenizer(), "tiny")


def test_a_model_in_memory_is_wrapped() -> None:
    model = GPT2LMHeadModel(GPT2Config(n_layer=2, n_head=2, n_embd=8, vocab_size=12, n_positions=32)).train()
    loaded = wrap_model(model, tokenizer(), "mine", title="My model")
    assert (loaded.info.kind, loaded.info.title, loaded.model.training) == ("causal", "My model", False)
    again = wrap_model(model, tokenizer(), "mine").fingerprint
    assert again == loaded.fingerprint
    called = tokenizer()
    called("w2 w3", truncation=True, max_length=1)
    called.backend_tokenizer.enable_padding(length=8)
    assert wrap_model(model, called, "mine").fingerprint == again, "what a call asked for is no part of it"
    with torch.no_grad():
        model.transformer.wte.weight[0, 0] += 1
    assert wrap_model(model, tokenizer(), "mine").fingerprint != again


@pytest.mark.parametrize("change", ["words", "around", "special", "inputs"])
def test_a_model_in_memory_with_another_tokenizer_is_another_model(change: str) -> None:
    model, other = GPT2LMHeadModel(GPT2Config(**TINY_GPT2)), tokenizer()
    other.pad_token = "w1"
    plain = tokenizer()
    plain.pad_token = "w1"
    first = wrap_model(model, plain, "mine").fingerprint
    if change == "words":
        other.add_tokens(["w11.5"])
    elif change == "around":
        other.backend_tokenizer.post_processor = processors.TemplateProcessing("w1 $A", special_tokens=[("w1", 1)])
    elif change == "special":
        other.pad_token = "w2"
    else:
        other.model_input_names = ["input_ids"]
    assert wrap_model(model, other, "mine").fingerprint != first


def test_a_bundled_model_that_is_not_converted_says_what_to_run(settings: Settings) -> None:
    with pytest.raises(ModelNotFoundError, match="Run python -m dashboard models fetch"):
        load_model("smollm2-135m", settings)


@pytest.mark.parametrize("name", ["no such model", "../x", "a/b/c", ""])
def test_what_is_no_name_and_no_folder_is_refused_without_a_network(name: str, settings: Settings) -> None:
    with pytest.raises(ModelNotFoundError):
        load_model(name, settings)


def test_a_hub_model_in_the_local_cache_needs_no_network(settings: Settings, tmp_path: Path) -> None:
    model = GPT2LMHeadModel(GPT2Config(n_layer=2, n_head=2, n_embd=8, vocab_size=12, n_positions=32))
    repository = tmp_path / "hub" / "models--gpt2"
    save(model, repository / "snapshots" / "abc")
    (repository / "refs").mkdir()
    (repository / "refs" / "main").write_text("abc")
    loaded = load_model("gpt2", settings)
    assert (loaded.info.name, loaded.info.title, loaded.info.layers) == ("gpt2", "gpt2", 2)


def test_without_a_network_a_hub_model_fails_at_once(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    def unplugged(*args: Any, **kwargs: Any) -> Any:
        return real(token=False, endpoint="http://127.0.0.1:9")

    real = huggingface_hub.HfApi
    monkeypatch.setattr(huggingface_hub, "HfApi", unplugged)
    began = time.perf_counter()
    with pytest.raises(ModelNotFoundError, match=r"cannot be reached.*choose a bundled model"):
        load_model("bert-base-uncased", settings)
    assert time.perf_counter() - began < 10


@pytest.mark.parametrize(
    ("error", "message"),
    [
        (errors.GatedRepoError, "is gated"),
        (errors.RepositoryNotFoundError, "has no model"),
        (errors.RevisionNotFoundError, "has no revision “v9”"),
        (errors.OfflineModeIsEnabled, "cannot be reached"),
        (KeyError, "could not be fetched"),
    ],
)
def test_what_the_hub_answers_is_said(
    error: type[Exception], message: str, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    def answer(*args: Any, **kwargs: Any) -> Any:
        raise error.__new__(error)  # these errors want a whole HTTP response, which does not matter here

    monkeypatch.setattr(huggingface_hub.HfApi, "model_info", answer)
    with pytest.raises(ModelNotFoundError, match=message) as caught:
        load_model("someone/something", settings, revision="v9")
    assert caught.value.retry == ("is gated" not in message and "has no" not in message)


# the checksum


@pytest.fixture
def unread(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """No file is small enough to be read at once; the names of those that are read."""
    read, found = digests._read_whole, []

    def noted(stream: Any, report: Any) -> str:
        found.append(Path(os.readlink(f"/proc/self/fd/{stream.fileno()}")).name)
        return read(stream, report)

    monkeypatch.setattr(fingerprint, "READ_AT_ONCE", 0)
    monkeypatch.setattr(digests, "_read_whole", noted)
    digests._known.clear()
    return found


def test_who_brings_nothing_reads_no_checksum(settings: Settings, tmp_path: Path, unread: list[str]) -> None:
    """A worker: to read through gigabytes is a preparation's work, and can be stopped."""
    folder = save(GPT2LMHeadModel(GPT2Config(**TINY_GPT2)), tmp_path / "weights" / "model")
    settings = replace(settings, model_folders=(folder.parent,))
    with pytest.raises(NotReadyError, match=r"^model is not ready: .*Try again\.$"):
        load_model("folder:weights/model", settings, folders=False, brings=False)
    assert unread == []
    job_context = JobContext("", None, lambda progress: None, lambda **changes: None)  # type: ignore[arg-type]
    whole = prepare({"model": "folder:weights/model"}, job_context, settings)
    assert "model.safetensors" in unread
    unread.clear()
    digests._known.clear()  # the preparation was in a process of its own
    assert load_model("folder:weights/model", settings, folders=False, brings=False).fingerprint == whole
    assert unread == []


def test_the_reading_of_a_checksum_can_be_stopped(settings: Settings, tmp_path: Path, unread: list[str]) -> None:
    folder = save(GPT2LMHeadModel(GPT2Config(**TINY_GPT2)), tmp_path / "model")

    class StoppedError(Exception):
        pass

    def stop(progress: Progress) -> None:
        assert progress.phase == "fetch"
        if progress.done:
            raise StoppedError

    with pytest.raises(StoppedError):
        load_model(folder, settings, progress=stop)
    assert unread == ["config.json"]


def test_a_bundled_model_starts_although_its_checksum_is_not_known(tmp_path: Path, unread: list[str]) -> None:
    here = Settings().models_folder / "minilm-l6"
    if not here.is_dir():
        pytest.skip("the bundled models are not here")
    (tmp_path / "models").mkdir()
    (tmp_path / "models" / "minilm-l6").symlink_to(here)
    settings = Settings(cache_dir=tmp_path / "cache", models_dir=tmp_path / "models")
    assert load_model("minilm-l6", settings, folders=False, brings=False).info.layers == 6
    assert "model.safetensors" in unread


def test_files_that_change_while_they_are_loaded_give_no_model(
    settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its runs would bear the name of other weights."""
    folder = save(GPT2LMHeadModel(GPT2Config(**TINY_GPT2)), tmp_path / "model")
    read = loader.read_model

    def editing(*arguments: Any) -> Any:
        found = read(*arguments)
        content = (folder / "model.safetensors").read_bytes()
        (folder / "model.safetensors").write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
        return found

    monkeypatch.setattr(loader, "read_model", editing)
    with pytest.raises(NotReadyError, match="The files of model changed while they were read"):
        load_model(folder, settings)
