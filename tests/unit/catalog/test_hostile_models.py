"""Damaged and hostile models: each is listed with its reason at the end of the list, and takes no other with it."""

from __future__ import annotations

import os
import pickle
import time
import tracemalloc
import zipfile
from pathlib import Path

import pytest
from plotly.io.json import to_json_plotly

from dashboard.catalog import catalog as catalog_module
from dashboard.catalog import description, folders, foreign_files, weight_headers
from dashboard.catalog.adapters import beside_weights, has_adapter, read_adapter
from dashboard.catalog.catalog import Catalog
from dashboard.catalog.fingerprint import folder_fingerprint, model_files, strange_weights
from dashboard.catalog.foreign_files import parse_object, read_bytes, shown
from dashboard.catalog.hub import cached_ids, cached_snapshot
from dashboard.catalog.model_card import ModelCard
from dashboard.catalog.weight_headers import Headers, read_headers
from dashboard.errors import ForeignFileError, ModelError, ModelNotFoundError, UnsupportedModelError
from dashboard.settings import Settings
from dashboard.views import all_views
from dashboard.web.layout import layout
from tests.support.hostile import (
    DEVICES,
    FOLDERS,
    GGUF_FILES,
    OLD,
    STRANGE_NAMES,
    Spoil,
    good_model,
    index_of,
    pickled,
    safetensors,
)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    folder = tmp_path / "weights"
    good_model(folder / "good")
    return folder


@pytest.fixture
def settings(tmp_path: Path, root: Path, monkeypatch: pytest.MonkeyPatch) -> Settings:
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setattr(catalog_module, "LISTING_SECONDS", 60.0)  # of a busy machine
    return Settings(cache_dir=tmp_path / "cache", model_folders=(root,))


def cached_model(tmp_path: Path, name: str) -> Path:
    """A good model in the hub's local cache."""
    repository = tmp_path / "hub" / f"models--{name.replace('/', '--')}"
    (repository / "refs").mkdir(parents=True)
    (repository / "refs" / "main").write_text("abc")
    return good_model(repository / "snapshots" / "abc")


def listed(settings: Settings) -> dict[str, ModelCard]:
    """The entries by name, once the page was made of them, too."""
    entries = Catalog(settings).entries()
    assert len(to_json_plotly(layout(settings, entries, all_views()))) < 1_000_000
    refused = [bool(entry.refusal) for entry in entries]
    assert refused == sorted(refused), "what cannot be run comes last"
    return {entry.name: entry for entry in entries}


def check(entry: ModelCard) -> None:
    assert entry.refusal
    assert len(entry.refusal) <= 300
    assert entry.refusal.isprintable()
    assert "/" not in entry.refusal.replace("UTF-8", ""), "no path of the server"


@pytest.mark.parametrize("spoil", FOLDERS.values(), ids=FOLDERS)
def test_a_spoiled_folder_is_listed_with_its_reason(settings: Settings, root: Path, spoil: Spoil) -> None:
    spoil(good_model(root / "bad"))
    found = listed(settings)
    assert found["folder:weights/good"].refusal == ""
    check(found["folder:weights/bad"])
    with pytest.raises(UnsupportedModelError, match="bad cannot be run: "):
        Catalog(settings).admit("folder:weights/bad")


@pytest.mark.parametrize("spoil", [*FOLDERS.values(), *DEVICES.values()], ids=[*FOLDERS, *DEVICES])
def test_a_spoiled_model_of_the_local_cache_is_listed_with_its_reason(
    settings: Settings, tmp_path: Path, spoil: Spoil
) -> None:
    spoil(cached_model(tmp_path, "someone/bad"))
    found = listed(settings)
    assert found["folder:weights/good"].refusal == ""
    check(found["someone/bad"])
    with pytest.raises(UnsupportedModelError, match="bad cannot be run: "):
        Catalog(settings).admit("someone/bad")


@pytest.mark.parametrize("content", GGUF_FILES.values(), ids=GGUF_FILES)
def test_a_spoiled_gguf_file_is_listed_with_its_reason(settings: Settings, root: Path, content: bytes) -> None:
    (root / "bad.gguf").write_bytes(content)
    found = listed(settings)
    assert found["folder:weights/good"].refusal == ""
    check(found["folder:weights/bad.gguf"])


def test_a_pipe_with_a_ggufs_name_is_no_file(settings: Settings, root: Path) -> None:
    os.mkfifo(root / "bad.gguf")
    assert listed(settings)["folder:weights/bad.gguf"].refusal == "bad.gguf is a named pipe, not a file"


def test_links_that_lead_nowhere_or_in_a_circle_are_no_models(settings: Settings, root: Path) -> None:
    bad = good_model(root / "bad")
    for name, target in (("config.json", "config.json"), ("model.safetensors", "nowhere")):
        (bad / name).unlink()
        (bad / name).symlink_to(target)
    (root / "circle").symlink_to("circle")
    (root / "around").symlink_to(".")
    (root / "gone.gguf").symlink_to("nowhere")
    found = listed(settings)
    assert {name for name in found if name.startswith("folder:")} == {
        "folder:weights/good",
        "folder:weights/around/good",
    }


def test_names_that_no_page_can_show_as_they_are(settings: Settings, root: Path) -> None:
    for name in STRANGE_NAMES:
        good_model(Path(os.fsdecode(os.fsencode(root) + b"/" + name)))
    entries = [entry for entry in listed(settings).values() if entry.name.startswith("folder:")]
    assert len(entries) == len(STRANGE_NAMES) + 1
    assert all(entry.title.isprintable() and entry.note.isprintable() for entry in entries)
    refused = [entry for entry in entries if entry.refusal]
    assert [entry.refusal for entry in refused] == ["its name is not UTF-8 text, so it cannot be requested"]
    for entry in entries:
        entry.name.encode("utf-8")
        if entry.refusal:
            with pytest.raises(ModelNotFoundError):
                Catalog(settings).admit(entry.name)
        else:
            Catalog(settings).admit(entry.name)


def test_a_folder_of_very_many_entries_is_not_looked_through(
    settings: Settings, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (root / "crowd").mkdir()
    for number in range(foreign_files.MOST_NAMES + 1):
        (root / "crowd" / f"{number}").touch()
    assert listed(settings)["folder:weights/crowd"].refusal == "it holds more than 10,000 files and folders"
    monkeypatch.setattr(folders, "MOST_SECONDS", -1.0)
    assert "the rest was not searched" in listed(settings)["folder:weights"].refusal
    monkeypatch.setattr(folders._Walk, "left", 0)
    assert "the rest was not searched" in listed(settings)["folder:weights"].refusal


def test_a_root_of_very_many_models_says_how_many_are_listed(
    settings: Settings, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(folders, "MOST", 3)
    for number in range(4):
        good_model(root / f"m{number}")
    found = listed(settings)
    assert found["folder:weights"].refusal == "it holds more than 3 models; only 3 are listed"
    assert len([name for name in found if name.startswith("folder:weights/")]) == 3


def test_what_takes_too_long_to_look_at_is_looked_at_by_the_next_page(
    settings: Settings, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    good_model(root / "slow")
    read = description._read_folder

    def slowly(folder: Path) -> ModelCard:
        monkeypatch.setattr(catalog_module.time, "monotonic", lambda: end)
        return read(folder)

    end = time.monotonic() + 1000
    monkeypatch.setattr(description, "_read_folder", slowly)
    reasons = sorted(entry.refusal for name, entry in listed(settings).items() if name.startswith("folder:"))
    assert reasons == ["", description.NOT_YET]
    monkeypatch.undo()
    monkeypatch.setattr(catalog_module, "LISTING_SECONDS", 60.0)
    monkeypatch.setenv("HF_HUB_CACHE", str(root.parent / "hub"))
    assert [entry.refusal for name, entry in listed(settings).items() if name.startswith("folder:")] == ["", ""]


def test_a_parser_may_raise_anything(settings: Settings, root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    read = description._read_folder
    for number, error in enumerate(
        (MemoryError(), RecursionError(), OverflowError(), KeyError("x"), ZeroDivisionError())
    ):
        good_model(root / f"bad{number}")

        def raising(folder: Path, error: BaseException = error) -> ModelCard:
            if folder.name.startswith("bad"):
                raise error
            return read(folder)

        monkeypatch.setattr(description, "_read_folder", raising)
        found = listed(settings)
        assert found[f"folder:weights/bad{number}"].refusal == f"its files cannot be read ({type(error).__name__})"
        assert found["folder:weights/good"].refusal == ""


def test_a_model_that_was_put_right_can_be_run(settings: Settings, root: Path) -> None:
    bad = good_model(root / "bad")
    good = (bad / "config.json").read_bytes()
    (bad / "config.json").write_text("{")
    assert listed(settings)["folder:weights/bad"].refusal
    (bad / "config.json").write_bytes(good)
    assert Catalog(settings).admit("folder:weights/bad").layers == 3


@pytest.mark.parametrize("content", ["../../../outside", "/etc", "a/b", "", "x" * 5000, "\0"])
def test_a_reference_of_the_local_cache_leads_to_its_own_snapshots_only(
    settings: Settings, tmp_path: Path, content: str
) -> None:
    cached_model(tmp_path, "someone/bad")
    good_model(tmp_path / "outside")
    (tmp_path / "hub" / "models--someone--bad" / "refs" / "main").write_text(content)
    assert cached_snapshot("someone/bad") is None
    assert cached_snapshot("someone/bad", "../snapshots/abc") is None
    assert cached_ids() == ()


def test_a_reference_may_be_a_pipe(settings: Settings, tmp_path: Path) -> None:
    cached_model(tmp_path, "someone/bad")
    reference = tmp_path / "hub" / "models--someone--bad" / "refs" / "main"
    reference.unlink()
    os.mkfifo(reference)
    assert "someone/bad" not in listed(settings)


def test_a_fingerprint_waits_for_no_pipe(settings: Settings, root: Path) -> None:
    bad = good_model(root / "bad")
    (bad / "model.safetensors").unlink()
    os.mkfifo(bad / "model.safetensors")
    with pytest.raises(ModelError, match="is a named pipe, not a file"):
        folder_fingerprint(bad)


def test_an_index_that_cannot_be_read_is_not_taken_for_none(root: Path) -> None:
    bad = good_model(root / "bad")
    whole = (bad / "model.safetensors").read_bytes()
    (bad / "model.safetensors").unlink()
    for part in ("1", "2"):
        (bad / f"model-0000{part}-of-00002.safetensors").write_bytes(whole)
    (bad / "model.safetensors.index.json").write_text('{"weight_map": {"a": "../../x.bin"}}')
    assert strange_weights(bad) == "../../x.bin"
    (bad / "model.safetensors.index.json").write_text(" " * (foreign_files.MOST_BYTES + 1))
    with pytest.raises(ForeignFileError, match="is larger than"):
        strange_weights(bad)


def test_headers_of_all_weights_have_a_bound_together(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    bad = good_model(root / "bad")
    (bad / "model.safetensors").unlink()
    for part in range(1, 4):
        (bad / f"model-{part}-of-3.safetensors").write_bytes(safetensors(b"{}" + b" " * 998, 0))
    assert description.describe_folder(bad).refusal == ""
    (bad / "note").touch()
    monkeypatch.setattr(weight_headers, "LONGEST_HEADERS", 2000)
    with pytest.raises(ForeignFileError, match="the headers of its weights are longer"):
        read_headers(bad, {})


HEAVY = [name for name in FOLDERS if name.startswith(("index-", "directory"))]


@pytest.mark.parametrize("name", HEAVY)
def test_an_index_takes_little_memory(root: Path, name: str) -> None:
    """A web process reads it, under a lock that all pages share."""
    FOLDERS[name](good_model(root / "bad"))
    tracemalloc.start()
    try:
        with pytest.raises(ForeignFileError):
            read_headers(root / "bad", {})
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 60_000_000


def test_all_files_of_a_model_may_name_only_so_many_weights(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    bad = good_model(root / "bad")
    one = {"dtype": "F32", "shape": [1], "data_offsets": [0, 4]}
    (bad / "model.safetensors").unlink()
    for part in (1, 2):
        (bad / f"model-{part}-of-2.safetensors").write_bytes(safetensors({f"{part}.{i}": one for i in range(50)}, 4))
    monkeypatch.setattr(weight_headers, "MOST_WEIGHTS", 100)
    assert read_headers(bad, {}) == Headers(frozenset(f"{part}.{i}" for part in (1, 2) for i in range(50)), 100)
    monkeypatch.setattr(weight_headers, "MOST_WEIGHTS", 99)
    with pytest.raises(ForeignFileError, match="its files name more than"):
        read_headers(bad, {})
    assert "name more than" in description.describe_folder(bad).refusal


def test_names_come_from_the_indexes_of_both_formats(root: Path) -> None:
    """What is no name of a weight is not kept; where one file has a format of its own, no names are told."""
    index = index_of(b"h.0.attn.c_attn.weight", 3)[:-2] + b"\x8c\x08no point\x8c\x0btwo. words.e."
    for content in (pickled(index), pickled(index, zipfile.ZIP_STORED), OLD + index + pickle.dumps(["a key"], 2)):
        model = good_model(root / f"pickled{len(content)}")
        (model / "model.safetensors").unlink()
        (model / "pytorch_model-1-of-2.bin").write_bytes(content)
        (model / "pytorch_model-2-of-2.bin").write_bytes(pickled(index_of(b"h.1.attn.bias", 1)))
        found = read_headers(model, {})
        assert found.names == {"h.0.attn.c_attn.weight", "h.1.attn.bias"}
        assert found.parameters == sum(path.stat().st_size // 4 for path in model.glob("*.bin"))
        (model / "pytorch_model-2-of-2.bin").write_bytes(b"some other format")
        assert read_headers(model, {}).names == frozenset()
        assert description.describe_folder(model).refusal == ""


def test_settings_of_an_adapter_may_be_a_pipe_or_nested(settings: Settings, root: Path) -> None:
    for number, make in enumerate((os.mkfifo, lambda path: path.write_text("[" * 100_000), lambda path: path.mkdir())):
        alone = root / f"adapter{number}"
        alone.mkdir()
        (alone / "adapter_model.bin").touch()
        make(alone / "adapter_config.json")
        with pytest.raises(ForeignFileError, match=r"it is an adapter \(unknown kind\): adapter_config\.json is "):
            read_adapter(alone)
        check(listed(settings)[f"folder:weights/adapter{number}"])


def test_a_crowded_folder_is_no_adapter_and_has_no_further_files(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    crowd = good_model(root / "crowd")
    (crowd / "adapter_model.bin").touch()
    (crowd / "spm.model").touch()
    assert has_adapter(crowd)
    monkeypatch.setattr(foreign_files, "MOST_NAMES", 3)
    monkeypatch.setattr(foreign_files.entries_of, "__defaults__", (3,))
    monkeypatch.setattr(Path, "iterdir", None)
    assert not has_adapter(crowd)
    assert beside_weights(crowd) == ""
    assert crowd / "spm.model" not in model_files(crowd)


def test_foreign_text_is_shown_in_one_line() -> None:
    assert shown("a\nb\u202ec\x00") == "a\N{REPLACEMENT CHARACTER}b\N{REPLACEMENT CHARACTER}c\N{REPLACEMENT CHARACTER}"
    assert shown("x" * 400) == "x" * 299 + "…"
    assert shown("Ümläut 中文 אב") == "Ümläut 中文 אב"


def test_what_is_read_is_bounded(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"12345")
    assert read_bytes(tmp_path / "a", 5) == b"12345"
    with pytest.raises(ForeignFileError, match="a is larger than"):
        read_bytes(tmp_path / "a", 4)
    for path in (tmp_path, tmp_path / "nothing", tmp_path / "x\0y", tmp_path / ("x" * 300)):
        with pytest.raises(ForeignFileError):
            read_bytes(path)
    assert parse_object(b'{"a": [1, 2.5, null]}', "a") == {"a": [1, 2.5, None]}
