"""A model without a tokenizer reads with another's: at load, in keys and fingerprints, on the shell and in a worker."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from transformers import LlamaConfig, LlamaForCausalLM

from dashboard.capture.capture import capture_run
from dashboard.capture.loader import load_model
from dashboard.catalog.catalog import Catalog
from dashboard.catalog.fingerprint import tokenizer_files
from dashboard.cli import main
from dashboard.contracts.request import ModelRequest, RunRequest
from dashboard.errors import BadRequestError, DashboardError, ModelNotFoundError, UnsupportedModelError
from dashboard.jobs.preparation import prepare
from dashboard.jobs.work import JobContext, ResidentModels, capture
from dashboard.settings import Settings
from dashboard.store.run_store import RunStore
from tests.support.tiny_models import adapter_of, randomised, tokenizer, words

pytestmark = pytest.mark.integration
TEXT, MUTE, SPEAKING = words(9), "folder:models/mute", "folder:models/speaking"
SIZES = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 24, "vocab_size": 64}


@pytest.fixture
def settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Settings:
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path / "hub"))
    for name in ("mute", "speaking"):
        model = randomised(LlamaForCausalLM(LlamaConfig(**SIZES, max_position_embeddings=64)))
        model.save_pretrained(tmp_path / "models" / name)
    tokenizer(False).save_pretrained(tmp_path / "models" / "speaking")
    return Settings(cache_dir=tmp_path / "cache", models_dir=tmp_path / "bundled", model_folders=(tmp_path / "models",))


@pytest.mark.parametrize("by", ["name", "path"])
def test_a_model_without_a_tokenizer_reads_with_anothers(settings: Settings, tmp_path: Path, by: str) -> None:
    folder = tmp_path / "models" / "mute"
    model, other = (folder, folder.parent / "speaking") if by == "path" else (MUTE, SPEAKING)
    loaded = load_model(model, settings, tokenizer=other)
    run = capture_run(loaded, TEXT)
    plain = LlamaForCausalLM.from_pretrained(folder)
    with torch.no_grad():
        expected = plain(**tokenizer(False)(TEXT, return_tensors="pt"), output_hidden_states=True)
    for ours, theirs in zip(run.hidden_states, expected.hidden_states, strict=True):
        np.testing.assert_allclose(ours, theirs[0].numpy(), rtol=1e-5, atol=1e-5)
    assert run.request.tokenizer == loaded.tokenizer_of == str(other)


def test_fingerprint_and_key_say_which(settings: Settings, tmp_path: Path) -> None:
    catalog = Catalog(settings, patience=60)
    loaded = load_model(MUTE, settings, tokenizer=SPEAKING)
    assert loaded.fingerprint == catalog.fingerprint(ModelRequest(MUTE, tokenizer=SPEAKING))
    assert loaded.fingerprint == catalog.readiness(ModelRequest(MUTE, tokenizer=SPEAKING)).fingerprint
    assert loaded.fingerprint not in (
        catalog.fingerprint(ModelRequest(MUTE)),
        catalog.fingerprint(ModelRequest(SPEAKING)),
    )
    files = tokenizer_files(tmp_path / "models" / "speaking")
    assert {path.name for path in files} >= {"config.json", "tokenizer.json", "tokenizer_config.json"}
    assert "model.safetensors" not in {path.name for path in files}
    assert RunRequest("a", "b", tokenizer="c").key("f") != RunRequest("a", "b").key("f")
    assert catalog.count_tokens(MUTE, TEXT, tokenizer=SPEAKING) == 9
    assert catalog.count_tokens(MUTE, TEXT) is None
    path = tmp_path / "models" / "speaking" / "tokenizer_config.json"
    path.write_text(path.read_text() + " ")
    assert loaded.fingerprint != catalog.fingerprint(ModelRequest(MUTE, tokenizer=SPEAKING))


def test_the_key_of_a_request_without_the_field_stays() -> None:
    assert RunRequest.from_json({"model": "a", "text": "b"}).key("f") == RunRequest("a", "b", tokenizer=None).key("f")
    assert RunRequest.from_json(RunRequest("a", "b", tokenizer="c").to_json()).tokenizer == "c"
    for wrong in ("", 3, "x" * 2_000):
        with pytest.raises(BadRequestError, match="No tokenizer has that name"):
            RunRequest("a", "b", tokenizer=wrong)  # type: ignore[arg-type]


def test_what_cannot_be_lent_is_one_sentence(settings: Settings, tmp_path: Path) -> None:
    said: list[tuple[str, str | None, type[DashboardError], str]] = [
        (MUTE, None, UnsupportedModelError, "mute has no tokenizer.*--tokenizer"),
        (SPEAKING, SPEAKING, UnsupportedModelError, "speaking has its own tokenizer.*Leave the other one out"),
        (MUTE, MUTE, UnsupportedModelError, "mute has no tokenizer. Choose another"),
        (MUTE, "folder:models/none", ModelNotFoundError, "no model “models/none”"),
        (MUTE, "someone/else", ModelNotFoundError, "else, whose tokenizer was requested, are not on this machine"),
    ]
    for model, other, error, words_said in said:
        with pytest.raises(error, match=words_said):
            load_model(model, settings, tokenizer=other)
    catalog = Catalog(settings)
    for other in (
        "~nobody/model",
        str(tmp_path / "models" / "speaking"),
        "../speaking",
        "folder:models/../x",
        "x" * 9_000,
    ):
        with pytest.raises(ModelNotFoundError) as caught:  # as a request names it: no place outside the catalog
            catalog.count_tokens(MUTE, TEXT, tokenizer=other)
        assert len(str(caught.value)) < 400
    for model, other in ((MUTE, None), (SPEAKING, MUTE)):
        with pytest.raises(UnsupportedModelError):
            catalog.admit(model, other)
    assert catalog.admit(MUTE, SPEAKING).mute


def test_an_adapter_reads_with_the_tokenizer_that_its_base_is_lent(settings: Settings, tmp_path: Path) -> None:
    model = LlamaForCausalLM.from_pretrained(tmp_path / "models" / "mute")
    adapter_of(model, tmp_path / "models" / "tuned", "mute", target_modules=["q_proj"])
    assert Catalog(settings).get("folder:models/tuned").mute
    run = capture_run(load_model("folder:models/tuned", settings, tokenizer=SPEAKING), TEXT)
    assert len(run) == 9


def test_a_worker_keeps_apart_what_reads_with_different_tokenizers(settings: Settings, tmp_path: Path) -> None:
    other = tokenizer(True)
    other.save_pretrained(tmp_path / "models" / "around")
    (tmp_path / "models" / "around" / "config.json").write_bytes(
        (tmp_path / "models" / "speaking" / "config.json").read_bytes()
    )
    (tmp_path / "models" / "around" / "model.safetensors").write_bytes(
        (tmp_path / "models" / "speaking" / "model.safetensors").read_bytes()
    )
    store = RunStore(tmp_path / "runs", 10**9)
    job = JobContext("k", store, lambda _progress: None, lambda **_changes: None)
    models, lengths = ResidentModels(settings), []
    for name in (SPEAKING, "folder:models/around", SPEAKING):
        request = RunRequest(MUTE, TEXT, tokenizer=name)
        fingerprint = prepare({"model": MUTE, "revision": None, "tokenizer": name}, job, settings)
        key = capture({"request": request.to_json(), "fingerprint": fingerprint}, job, models)
        assert key == request.key(fingerprint)
        lengths.append(len(store.open(key)))
    assert lengths == [9, 11, 9]


def test_on_the_shell(
    settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for name, value in settings.to_env().items():
        monkeypatch.setenv(name, value)
    out = tmp_path / "out.csv"
    given = ["analyse", "--model", MUTE, "--text", TEXT, "--out", str(out)]
    assert main(given) == 1
    assert "mute has no tokenizer" in capsys.readouterr().err
    assert main([*given, "--tokenizer", SPEAKING]) == 0
    assert f"# Tokenizer of: {SPEAKING}" in out.read_text()
    assert len([line for line in out.read_text().splitlines() if line.startswith('1,"')]) == 9
    assert main([*given, "--tokenizer", SPEAKING]) == 0
    assert "is in the output already" in capsys.readouterr().err
