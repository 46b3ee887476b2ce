"""Which files of a model's folder its fingerprint covers; and that the fingerprints of today's models stay."""

from __future__ import annotations

import os
import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from dashboard.catalog import digests
from dashboard.catalog.fingerprint import (
    fingerprint_memories,
    folder_fingerprint,
    is_kept,
    known_fingerprint,
    model_files,
)
from dashboard.errors import StorageError
from dashboard.jobs.preparation import prepare
from dashboard.jobs.work import JobContext
from dashboard.settings import Settings

MODELS = Path(__file__).parents[2] / "data" / "first_runs" / "models"
TOKENIZER = (
    "tokenizer.json",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "added_tokens.json",
    "vocab.json",
    "vocab.txt",
    "merges.txt",
    "tokenizer.model",
    "spiece.model",
    "sentencepiece.bpe.model",
)
UNREAD = {
    "README.md": "words",
    "generation_config.json": "{}",
    "chat_template.jinja": "x",
    "training_args.bin": "x",
    "unigram.json": "[]",
    "preprocessor_config.json": "{}",
    "pytorch_model.bin": "other",  # beside model.safetensors, which is what is loaded
    "modules.json": "[]",
    ".gitattributes": "x",
    "quant.model.txt": "x",
}
PLAIN = {"config.json": "{}", "model.safetensors": "weights", "tokenizer.json": "{}", "tokenizer_config.json": "{}"}
PARTS = {
    "model-00001-of-00002.safetensors": "a",
    "model-00002-of-00002.safetensors": "b",
    "model.safetensors.index.json": "{}",
}
FOLDERS = {  # what stands in a folder, and its fingerprint as the first version of this program computed it
    "plain": ({**PLAIN, "README.md": "words"}, "5d1c873875b0e2586df6e01903b7cccb21fad1ab79db910c91806b2e2518a982"),
    "everything": (
        {"config.json": "{}", "model.safetensors": "weights", **{name: name for name in TOKENIZER}, **UNREAD},
        "930b416716bdf5de4c192cb3bc384210b2ea7b4563986a1fd3c49f3aa91f9fae",
    ),
    "parts": (
        {"config.json": "{}", **PARTS, "vocab.txt": "a"},
        "807ca70029f5d4a8317a923f6e0f5326d2c1b7e04274580ed55623832f51cb10",
    ),
    "pickled": (
        {"config.json": "{}", "pytorch_model.bin": "weights", "vocab.json": "{}", "merges.txt": ""},
        "5712fd4c5c0cac0cc54830f3d370a0da599d4788047ee2eacbb03dc8aa1763b2",
    ),
}


def written(folder: Path, files: dict[str, str]) -> Path:
    folder.mkdir(exist_ok=True)
    for name, content in files.items():
        (folder / name).write_text(content)
    return folder


@pytest.mark.parametrize("name", FOLDERS)
def test_fingerprints_stay(tmp_path: Path, name: str) -> None:
    files, fingerprint = FOLDERS[name]
    assert folder_fingerprint(written(tmp_path / name, files)) == fingerprint


@pytest.mark.parametrize(
    ("name", "fingerprint"),
    [
        ("llama", "65620b740a09730096030f024d9ee4eb6dff0e362f4a577a43f4d1131d3aed31"),
        ("bert", "9ff584824077f36a94c93f9c96ac6585dc1545eed471cbe6260db67a296f4006"),
        ("encoder", "413f58e0016f4616526d9ca113dce0c0ed006d3198f615d33836ad044efc6715"),
    ],
)
def test_fingerprints_of_folders_with_saved_models_stay(name: str, fingerprint: str) -> None:
    assert folder_fingerprint(MODELS / name) == fingerprint


@pytest.mark.parametrize(
    ("name", "fingerprint"),
    [
        ("minilm-l6", "47383fb40c7e59c8b70373d993a55dc0fc8877f469a545384de511df1efd8885"),
        ("rxnmapper", "fcfc407058cf579bdcedd530fb2f491212962769be1a6c5c1fd2eb49155a1ff0"),
    ],
)
def test_fingerprints_of_bundled_models_stay(name: str, fingerprint: str) -> None:
    folder = Settings().models_folder / name
    if not folder.is_dir():
        pytest.skip("the bundled models are not here")
    assert folder_fingerprint(folder) == fingerprint


READ = (
    *PLAIN,
    *TOKENIZER,
    "adapter_config.json",
    "adapter_model.safetensors",
    "adapter_model.bin",
    "bpe.codes",
    "dict.txt",
    "entity_vocab.json",
    "normalizer.json",
    "prophetnet.tokenizer",
    "qwen.tiktoken",
    "sentencepiece.model",
    "source.spm",
    "spm.model",
    "spm_char.model",
    "target.spm",
    "target_vocab.json",
    "tekken.json",
    "tokenizer.4.0.0.json",
    "vocab-src.json",
    "vocab-tgt.json",
    "vocab.bpe",
    "word_shape.json",
)


@pytest.mark.parametrize("name", dict.fromkeys(READ))
def test_an_edit_of_a_file_that_is_read_changes_the_fingerprint(tmp_path: Path, name: str) -> None:
    folder = written(tmp_path / "model", PLAIN)
    found = {folder_fingerprint(folder)}
    if name not in PLAIN:
        written(folder, {name: "one"})
        found.add(folder_fingerprint(folder))
    written(folder, {name: "two, and longer"})
    found.add(folder_fingerprint(folder))
    (folder / name).unlink()
    assert len(found) == (2 if name in PLAIN else 3)
    assert name not in {path.name for path in model_files(folder)}


@pytest.mark.parametrize("name", list(UNREAD))
def test_a_file_that_is_not_read_changes_nothing(tmp_path: Path, name: str) -> None:
    folder = written(tmp_path / "model", PLAIN)
    before = folder_fingerprint(folder)
    written(folder, {name: "anything"})
    assert folder_fingerprint(folder) == before


def test_an_edit_that_keeps_size_and_time_is_seen(tmp_path: Path) -> None:
    folder, memory = written(tmp_path / "model", PLAIN), tmp_path / "memory.json"
    path = folder / "model.safetensors"
    before, first = path.stat(), folder_fingerprint(folder, [memory])
    path.write_text("WEIGHTS")
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert folder_fingerprint(folder, [memory]) != first


def test_a_pipe_or_a_folder_with_the_name_of_a_file_is_not_read(tmp_path: Path) -> None:
    folder = written(tmp_path / "model", PLAIN)
    before = folder_fingerprint(folder)
    os.mkfifo(folder / "adapter_config.json")
    (folder / "spm.model").mkdir()
    assert folder_fingerprint(folder) == before


def big(folder: Path, megabytes: int = 20) -> Path:
    """A model whose weights are more than a click reads."""
    written(folder, PLAIN)
    (folder / "model.safetensors").write_bytes(bytes(megabytes * 1_000_000))
    return folder


class SlowDisk:
    """In place of the reading of weights: it goes on only when it is told to."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.reads, self.go_on = threading.Event(), threading.Event()
        read = digests._read_whole

        def slowly(stream: Any, report: Any) -> str:
            if "/slow/" in os.readlink(f"/proc/self/fd/{stream.fileno()}"):
                self.reads.set()
                assert self.go_on.wait(30)
            return read(stream, report)

        monkeypatch.setattr(digests, "_read_whole", slowly)


def test_nobody_waits_for_the_hash_of_another_model(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """While a large file is read, other models' fingerprints are made and known ones are given, with the same
    memory."""
    memory, disk = tmp_path / "memory.json", SlowDisk(monkeypatch)
    known = folder_fingerprint(big(tmp_path / "known"), [memory])
    with ThreadPoolExecutor(1) as pool:
        slow = pool.submit(folder_fingerprint, big(tmp_path / "slow"), [memory])
        assert disk.reads.wait(30)
        assert known_fingerprint(tmp_path / "known", [memory]) == known
        assert known_fingerprint(tmp_path / "slow", [memory]) is None
        other = folder_fingerprint(big(tmp_path / "other", 21), [memory])
        disk.go_on.set()
        fingerprint = slow.result(30)
    digests._known.clear()  # as in another process: what both have read is in the file
    found = [known_fingerprint(tmp_path / name, [memory]) for name in ("known", "other", "slow")]
    assert found == [known, other, fingerprint]


def test_a_click_reads_no_large_file_and_small_edits_at_once(tmp_path: Path) -> None:
    folder, memory = big(tmp_path / "model"), tmp_path / "memory.json"
    assert known_fingerprint(folder, [memory]) is None
    whole = folder_fingerprint(folder, [memory])
    (folder / "config.json").write_text('{"a": 1}')
    assert known_fingerprint(folder, [memory]) == folder_fingerprint(folder) != whole


def test_the_reading_says_how_far_it_is_and_can_be_stopped(tmp_path: Path) -> None:
    folder, steps = big(tmp_path / "model"), []
    folder_fingerprint(folder, report=steps.append)
    total = sum(path.stat().st_size for path in model_files(folder))
    assert {step.total for step in steps} == {total}
    assert [step.done for step in steps] == sorted(step.done for step in steps)
    assert steps[-1].done == total
    assert steps[-1].message == "Reading the model's checksum: 20 of 20 MB"

    class StoppedError(Exception):
        pass

    def stop(progress: Any) -> None:
        if progress.done:
            raise StoppedError

    (folder / "model.safetensors").touch()
    with pytest.raises(StoppedError):
        folder_fingerprint(folder, report=stop)


def test_what_cannot_be_remembered_beside_the_models_is_remembered_in_the_cache(tmp_path: Path) -> None:
    settings = Settings(cache_dir=tmp_path / "cache", models_dir=tmp_path / "nowhere" / "models")
    assert fingerprint_memories(settings)[0].parent == tmp_path / "cache"
    folder_fingerprint(big(tmp_path / "model"), fingerprint_memories(settings))
    digests._known.clear()
    assert known_fingerprint(tmp_path / "model", fingerprint_memories(settings))
    (tmp_path / "nowhere" / "models").mkdir(parents=True)
    assert fingerprint_memories(settings)[0].parent == tmp_path / "nowhere" / "models"


@pytest.mark.parametrize("broken", [".fingerprints.lock", ".fingerprints.json"])
def test_a_memory_that_cannot_be_written_is_not_the_only_one(tmp_path: Path, broken: str) -> None:
    """Another program's lock, say: its folder may be written, and it may not."""
    settings = Settings(cache_dir=tmp_path / "cache", models_dir=tmp_path / "models")
    (tmp_path / "models" / broken / "full").mkdir(parents=True)
    memories = fingerprint_memories(settings)
    whole = folder_fingerprint(big(tmp_path / "model"), memories)
    digests._known.clear()  # as in another process
    assert known_fingerprint(tmp_path / "model", memories) == whole
    assert is_kept(tmp_path / "model", memories)


def test_what_is_known_here_alone_is_not_kept(tmp_path: Path) -> None:
    (tmp_path / "cache" / ".fingerprints.lock").mkdir(parents=True)
    settings = Settings(cache_dir=tmp_path / "cache", models_dir=tmp_path / "nowhere")
    memories = fingerprint_memories(settings)
    assert folder_fingerprint(big(tmp_path / "model"), memories) == known_fingerprint(tmp_path / "model", memories)
    assert not is_kept(tmp_path / "model", memories)
    job_context = JobContext("", None, lambda progress: None, lambda **changes: None)  # type: ignore[arg-type]
    settings = replace(settings, model_folders=(tmp_path / "folders",))
    (tmp_path / "folders").mkdir()
    big(tmp_path / "folders" / "model")
    with pytest.raises(StorageError, match="checksum could not be saved on the server's disk"):
        prepare({"model": "folder:folders/model"}, job_context, settings)
    (tmp_path / "cache" / ".fingerprints.lock").rmdir()
    digests._known.clear()
    assert prepare({"model": "folder:folders/model"}, job_context, settings) == folder_fingerprint(tmp_path / "model")
    assert is_kept(tmp_path / "folders" / "model", memories)
