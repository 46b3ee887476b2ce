"""The tour's five steps: each points at a part of the page, and where there is no run to show there is no tour."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from dashboard.catalog.catalog import Catalog
from dashboard.components import ids
from dashboard.components.glossary import GLOSSARY
from dashboard.settings import Settings
from dashboard.views import all_views
from dashboard.web.layout import layout
from dashboard.web.tour import EXAMPLE, INDEX, STEPS, tour_box


def page(folder: Path, embedded: bool = False, without: str = "") -> str:
    settings = Settings(cache_dir=folder, models_dir=folder / "models")
    entries = [entry for entry in Catalog(settings).entries() if entry.name != without]
    return json.dumps(layout(settings, entries, all_views(), embedded).to_plotly_json(), default=_plain)


def _plain(component: Any) -> Any:
    return component.to_plotly_json()


def tree() -> list[Any]:
    return list(json.loads(getattr(tour_box(), "data-tree")))


def test_each_step_points_at_a_part_of_the_page(tmp_path: Path) -> None:
    whole = page(tmp_path)
    assert len(STEPS) == 5
    for step in STEPS:
        if step.points_at.startswith("#"):
            assert f'"id": "{step.points_at[1:]}"' in whole
        else:
            assert f'"className": "{step.points_at[1:]}"' in whole
        assert not step.tab or f'"id": "{step.tab}"' in whole


def test_the_steps_are_sent_as_plain_words() -> None:
    steps, buttons = tree()
    shown = steps[2:]
    assert [node[2][2] for node in shown] == [f"Step {i} of 5" for i in range(1, 6)]
    assert [node[1]["data-step"] for node in shown] == [step.points_at for step in STEPS]
    assert [node[3][2] for node in shown] == [step.title for step in STEPS]
    assert [node[1]["data-tour"] for node in buttons[2:]] == ["leave", "back", "next"]
    text = json.dumps(shown, ensure_ascii=False)
    assert "`" not in text
    assert "*" not in text
    named = [part[1]["data-term"] for node in shown for line in node[4:] for part in line[2:] if "dfn" in part]
    assert set(named) == {"token", "surprisal", "head", "attention", "hidden state", "cosine", "probability"}
    assert set(named) <= set(GLOSSARY)


def test_it_selects_what_its_example_does() -> None:
    box = tour_box()
    assert getattr(box, "data-example-of-tour") == str(INDEX)
    wanted = {"token": EXAMPLE.token, "second": EXAMPLE.second, "layer": EXAMPLE.layer, "head": EXAMPLE.head}
    assert json.loads(getattr(box, "data-selection")) == wanted


def test_a_word_that_the_glossary_lacks_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    odd = replace(STEPS[0], first="Of the *soul*.")
    monkeypatch.setattr("dashboard.web.tour.STEPS", (odd,))
    with pytest.raises(ValueError, match="no “soul”"):
        tour_box()


def test_there_is_none_without_its_model_and_none_in_a_notebook(tmp_path: Path) -> None:
    start = f'"id": "{ids.TOUR}"'
    assert start in page(tmp_path)
    for without in (page(tmp_path, embedded=True), page(tmp_path, without=EXAMPLE.model)):
        assert start not in without
        assert "data-tour-start" not in without
