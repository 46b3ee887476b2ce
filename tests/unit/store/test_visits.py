"""Visitors' lists of runs: what is kept, for whom, and what cannot be got at."""

from __future__ import annotations

import json
import os
import stat
import threading
import time
from pathlib import Path

import pytest

from dashboard.errors import BadRequestError, NoSpaceError, RunNotFoundError
from dashboard.store import visits
from dashboard.store.visits import COOKIE, LONGEST_NAME, VisitorLists, clean_name, new_visitor

ONE, TWO, THREE = ("1" * 64, "2" * 64, "3" * 64)
ANN, BOB = "a" * 32, "b" * 32


@pytest.fixture
def lists(tmp_path: Path) -> VisitorLists:
    return VisitorLists(tmp_path / "visitors")


def test_visitors_are_names_that_nobody_guesses(lists: VisitorLists) -> None:
    names = {new_visitor() for _ in range(100)}
    assert len(names) == 100
    assert all(lists.visitor_in({COOKIE: lists.cookie_of(name)}) == name for name in names)


@pytest.mark.parametrize(
    "raw",
    [
        None,
        "",
        "a" * 31,
        "A" * 32,
        "../" + "a" * 29,
        "a" * 33,
        "g" * 32,
        "a" * 31 + "\n",
        5,
        "a" * 32,
        "a" * 32 + ".x",
        "é" * 9,
    ],
)
def test_a_cookie_that_is_no_visitor_names_none(lists: VisitorLists, raw: object) -> None:
    assert lists.visitor_in({COOKIE: raw}) is None
    assert lists.visitor_in({}) is None


def test_nobody_names_a_visitor_but_the_server(lists: VisitorLists, tmp_path: Path) -> None:
    """Another server's signature, another name under a signature, or a cookie cut short."""
    cookie = lists.cookie_of(ANN)
    elsewhere = VisitorLists(tmp_path / "other" / "visitors").cookie_of(ANN)
    for forged in (elsewhere, BOB + cookie[32:], cookie[:-1], cookie + "x" * 500, ANN):
        assert lists.visitor_in({COOKIE: forged}) is None


def test_an_unsigned_name_of_an_older_version_counts_where_its_list_is_there(lists: VisitorLists) -> None:
    lists.opened(ANN, ONE)
    assert lists.visitor_in({COOKIE: ANN}) == ANN
    assert lists.visitor_in({COOKIE: BOB}) is None


def test_a_cookie_outlives_the_secrets_file(lists: VisitorLists) -> None:
    cookie = lists.cookie_of(ANN)
    (lists.folder.parent / "signing-secret").unlink()
    assert lists.visitor_in({COOKIE: cookie}) == ANN
    assert VisitorLists(lists.folder).visitor_in({COOKIE: cookie}) == ANN


def test_of_too_many_lists_those_that_hold_least_leave(lists: VisitorLists, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(visits, "MOST_VISITORS", 3)
    monkeypatch.setattr(visits.secrets, "randbelow", lambda _most: 1)  # no sweep by chance before ours
    visitors = [f"{number:032x}" for number in range(6)]
    for visitor in visitors:
        lists.opened(visitor, ONE)
    lists.change(visitors[0], ONE, pinned=True)
    lists.opened(visitors[1], TWO)
    lists.sweep()
    assert [visitor for visitor in visitors if lists.of(visitor)] == [visitors[0], visitors[1], visitors[5]]


def test_each_sees_their_own_runs_the_latest_first_pinned_ones_before(lists: VisitorLists) -> None:
    for key in (ONE, TWO, THREE):
        lists.opened(ANN, key)
    lists.opened(ANN, ONE)
    lists.opened(BOB, TWO)
    assert list(lists.of(ANN)) == [ONE, THREE, TWO]
    assert list(lists.of(BOB)) == [TWO]
    lists.change(ANN, TWO, pinned=True)
    assert list(lists.of(ANN)) == [TWO, ONE, THREE]
    assert lists.pinned() == {TWO}
    assert not lists.of(BOB)[TWO].pinned
    lists.change(ANN, TWO, pinned=False)
    assert list(lists.of(ANN)) == [ONE, THREE, TWO]
    assert lists.pinned() == frozenset()


def test_a_name_lasts_through_opening_again_and_can_be_taken_away(lists: VisitorLists) -> None:
    lists.opened(ANN, ONE)
    assert lists.change(ANN, ONE, name="  The\n bank ").name == "The bank"
    assert lists.opened(ANN, ONE).name == "The bank"
    assert VisitorLists(lists.folder).of(ANN)[ONE].name == "The bank"
    assert lists.change(ANN, ONE, name="").name == ""


@pytest.mark.parametrize(
    ("raw", "name"),
    [
        ("a\x00b\u202ec", "a b c"),
        ("x" * 200, "x" * LONGEST_NAME),
        (" \t ", ""),
        ("日本語 ünï", "日本語 ünï"),
        ("<b>", "<b>"),
    ],
)
def test_names_are_one_clean_line(raw: str, name: str) -> None:
    assert clean_name(raw) == name


def test_removing_says_whether_anyone_else_has_the_run(lists: VisitorLists) -> None:
    lists.opened(ANN, ONE)
    lists.opened(BOB, ONE)
    assert lists.remove(ANN, ONE) is False
    assert lists.of(ANN) == {}
    assert lists.remove(BOB, ONE) is True


def test_nobody_changes_what_is_not_in_their_list(lists: VisitorLists) -> None:
    lists.opened(ANN, ONE)
    for attempt in (
        lambda: lists.change(BOB, ONE, name="mine"),
        lambda: lists.remove(BOB, ONE),
        lambda: lists.remove(ANN, "../x"),
    ):
        with pytest.raises(RunNotFoundError):
            attempt()
    for wrong in ("", "../../etc", "a" * 31):
        with pytest.raises(BadRequestError):
            lists.opened(wrong, ONE)
    assert lists.of(ANN)[ONE].name == ""


def test_the_folder_is_private_and_nothing_is_left_beside_the_lists(lists: VisitorLists) -> None:
    lists.opened(ANN, ONE)
    assert stat.S_IMODE(lists.folder.stat().st_mode) == 0o700
    assert {path.name: stat.S_IMODE(path.stat().st_mode) for path in lists.folder.iterdir()} == {
        f"{ANN}.json": 0o600,
        "lock": 0o600,
    }
    assert json.loads((lists.folder / f"{ANN}.json").read_text())["runs"][ONE]["pinned"] is False


@pytest.mark.parametrize(
    "content",
    [
        "",
        "[]",
        "{",
        '{"runs": []}',
        '{"runs": {"x": 1}}',
        "[" * 5000,
        '{"runs": null}',
        "\x00\xff",
        f'{{"runs": {{"{ONE}": {{"opened": true}}}}}}',
    ]
    + [f'{{"runs": {{"{ONE}": {{"opened": {wrong}}}}}}}' for wrong in ("NaN", "Infinity", '"1"', "null")],
)
def test_a_file_that_is_none_counts_as_empty_and_is_replaced(lists: VisitorLists, content: str) -> None:
    lists.opened(ANN, TWO)
    (lists.folder / f"{ANN}.json").write_bytes(content.encode("latin-1"))
    assert lists.of(ANN) == {}
    lists.opened(ANN, TWO)
    assert list(lists.of(ANN)) == [TWO]


def test_a_list_is_bounded_and_pinned_runs_leave_last(lists: VisitorLists, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(visits, "MOST_RUNS", 2)
    lists.opened(ANN, ONE)
    lists.change(ANN, ONE, pinned=True)
    lists.opened(ANN, TWO)
    lists.opened(ANN, THREE)
    assert list(lists.of(ANN)) == [ONE, THREE]


def test_a_list_of_pinned_runs_takes_no_file(lists: VisitorLists, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(visits, "MOST_RUNS", 1)
    lists.opened(ANN, ONE)
    lists.change(ANN, ONE, pinned=True)
    with pytest.raises(NoSpaceError, match="Unpin or delete one, then open the file again"):
        lists.uploaded(ANN, TWO, lambda _others: None)
    assert list(lists.of(ANN)) == [ONE]
    lists.uploaded(ANN, ONE, lambda _others: None)
    assert lists.of(ANN)[ONE].uploaded


def test_many_at_once_lose_nothing(lists: VisitorLists) -> None:
    keys = [f"{i:064x}" for i in range(24)]
    threads = [threading.Thread(target=VisitorLists(lists.folder).opened, args=(ANN, key)) for key in keys]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert set(lists.of(ANN)) == set(keys)


def test_lists_of_visitors_who_never_come_again_are_forgotten(lists: VisitorLists) -> None:
    lists.opened(ANN, ONE)
    lists.opened(BOB, ONE)
    old = time.time() - visits.FORGOTTEN_SECONDS - 60
    os.utime(lists.folder / f"{ANN}.json", (old, old))
    lists.sweep()
    assert lists.of(ANN) == {}
    assert list(lists.of(BOB)) == [ONE]
