"""A file is written whole or not at all, under a name that tells what it is a part of."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from dashboard.store.files import part_of, whole_file


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Path]:
    old = os.umask(0o022)
    try:
        yield tmp_path
    finally:
        os.umask(old)


def mode(path: Path) -> int:
    return path.stat().st_mode & 0o777


@pytest.mark.parametrize("durable", [False, True])
def test_a_reader_sees_the_old_content_until_the_new_one_is_whole(folder: Path, durable: bool) -> None:
    path = folder / "list.json"
    path.write_text("old")
    with whole_file(path, durable=durable) as part:
        assert (part.parent, part.exists()) == (folder, False)
        assert part.name.startswith("list.json.")
        assert part.suffix == ".part"
        part.write_text("half")
        assert path.read_text() == "old"
        part.write_text("new")
    assert path.read_text() == "new"
    assert os.listdir(folder) == ["list.json"]


def test_an_error_leaves_everything_as_it_was(folder: Path) -> None:
    path = folder / "list.json"
    path.write_text("old")
    with pytest.raises(ZeroDivisionError), whole_file(path, private=True) as part:  # noqa: PT012
        part.write_text("half")
        raise ZeroDivisionError
    assert path.read_text() == "old"
    assert os.listdir(folder) == ["list.json"]


def test_a_private_file_is_private_from_its_first_byte_on(folder: Path) -> None:
    path = folder / "secret"
    with whole_file(path, private=True) as part:
        assert mode(part) == 0o600
        other = folder / "other"
        other.write_text("written by a library under a name of its own")
        assert mode(other) == 0o644
        other.replace(part)
    assert mode(path) == 0o600
    with whole_file(folder / "public") as part:
        part.write_text("for everyone")
    assert mode(folder / "public") == 0o644


def test_a_part_is_named_and_leaves(folder: Path) -> None:
    with part_of(folder / "KEY.safetensors", "KEY") as part:
        part.write_text("x")
        assert part.name.count(".") == 2
        assert part.name.startswith("KEY.")
    assert os.listdir(folder) == []
