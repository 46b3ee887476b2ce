"""types/page.d.ts says of the server's answers what the server says."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from dashboard.contracts.selection import FIELDS, fields_for_browser
from dashboard.views.run_info import describe_run
from tests.support.synthetic import make_run

TYPES = (Path(__file__).resolve().parents[2] / "types" / "page.d.ts").read_text(encoding="utf-8")


def members(name: str) -> dict[str, bool]:
    """The members of an interface, and whether each is always there."""
    [body] = re.findall(rf"^interface {name} \{{$(.*?)^\}}$", TYPES, re.MULTILINE | re.DOTALL)
    return {found: not optional for found, optional in re.findall(r"^  (\w+)(\??):", body, re.MULTILINE)}


@pytest.mark.parametrize("kind", ["causal", "encoder", "masked"])
def test_a_run(kind: str) -> None:
    always = {name for name, is_there in members("Info").items() if is_there}
    assert always == {*describe_run(make_run(kind)), "start"}


def test_a_selection() -> None:
    optional = {"second_run", "stream", "stamp"}  # what the page leaves to the server
    assert members("Selection") == {field.name: field.name not in optional for field in FIELDS}


def test_a_field_of_it() -> None:
    of_several = {name for name, always in members("Field").items() if not always}
    for field in fields_for_browser():
        assert set(field) - set(members("Field")) == set()
        assert set(members("Field")) - set(field) in (set(), of_several)
