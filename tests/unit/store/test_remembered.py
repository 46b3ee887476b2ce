"""What a process remembers of files: as long as each is the file that it was, and only so many."""

from __future__ import annotations

from pathlib import Path

from dashboard.store.remembered import Identity, Remembered

ONE, OTHER = Identity(1, 2, 3), Identity(1, 4, 3)


def test_the_least_recently_used_value_leaves() -> None:
    values: Remembered[int] = Remembered(2)
    values.keep("a", ONE, 1)
    values.keep("b", ONE, 2)
    assert values.get("a", ONE) == 1
    values.keep("c", ONE, 3)
    assert [values.get(key, ONE) for key in "abc"] == [1, None, 3]


def test_a_value_of_a_replaced_file_is_forgotten() -> None:
    values: Remembered[int] = Remembered(2)
    values.keep("a", ONE, 1)
    assert values.get("a", OTHER) is None
    assert values.get("a", ONE) is None


def test_values_of_files_that_left_or_were_replaced_are_forgotten_together(tmp_path: Path) -> None:
    values: Remembered[int] = Remembered(3)
    for name in "abc":
        (tmp_path / name).write_text(name)
        found = Identity.at(tmp_path / name)
        assert found is not None
        values.keep(name, found, ord(name))
    before = {name: Identity.of((tmp_path / name).stat()) for name in "abc"}
    (tmp_path / "a").unlink()
    (tmp_path / "b").write_text("longer")
    values.forget_gone(lambda key: tmp_path / key)
    assert [values.get(name, before[name]) for name in "abc"] == [None, None, ord("c")]
