"""What docs/adding-*.md add goes through the tests that every view goes through: from an empty file to all of them."""

from __future__ import annotations

import functools
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import dashboard.compute
import dashboard.views
from dashboard.contracts.context import Context
from dashboard.contracts.derived import Derived, DerivedRequest
from dashboard.contracts.model_info import ModelKind
from dashboard.contracts.run import ModelRun
from dashboard.contracts.selection import Selection
from dashboard.exports.figures import names
from dashboard.views import all_views
from dashboard.views.controls import SHOW
from dashboard.views.declaration import View
from tests.support import synthetic
from tests.support.synthetic import make_classifier, make_run, make_whole_run
from tests.unit.contracts import test_context
from tests.unit.exports import test_exports
from tests.unit.figures import test_one_label
from tests.unit.views import test_shown, test_tables, test_units

DOCS = Path(__file__).resolve().parents[3] / "docs"
BLOCK = re.compile(r"<!-- runs: (?P<how>[\w/.-]+) -->\n```python\n(?P<code>.*?)```", re.S)
CODE = {
    found["how"]: found["code"]
    for page in DOCS.glob("adding-*.md")
    for found in BLOCK.finditer(page.read_text("utf-8"))
}
ADDED = ("received", "earlier", "query-norms")
KINDS: tuple[ModelKind, ...] = ("causal", "encoder", "masked")


@pytest.fixture
def program(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The program with the documents' files, and nothing more."""
    for package in (dashboard.compute, dashboard.views):
        folder = tmp_path / package.__name__.rpartition(".")[2]
        folder.mkdir()
        for how, code in CODE.items():
            if how.startswith(f"{folder.name}/"):
                (folder / Path(how).name).write_text(code, encoding="utf-8")
        monkeypatch.setattr(package, "__path__", [*package.__path__, str(folder)])
    monkeypatch.setattr(test_exports, "VIEWS", all_views())
    made_by = {"run_of": make_run, "classifier_of": make_classifier, "whole_of": make_whole_run}
    for name, made in made_by.items():
        monkeypatch.setattr(test_context, name, functools.cache(made))
    synthetic._lacking.cache_clear()
    yield
    synthetic._lacking.cache_clear()
    for how in CODE:
        package, _, file = how.partition("/")
        sys.modules.pop(f"dashboard.{package}.{Path(file).stem}", None)
        if package in ("views", "compute"):
            vars(getattr(dashboard, package)).pop(Path(file).stem, None)


@pytest.fixture
def view(request: pytest.FixtureRequest, program: None, monkeypatch: pytest.MonkeyPatch) -> View:
    """One of them, and what the documents say to add to the synthetic run."""
    given: dict[str, Any] = {"ModelRun": ModelRun, "Derived": Derived, "DerivedRequest": DerivedRequest, "np": np}
    exec(CODE["synthetic/results"], given)
    monkeypatch.setattr(synthetic, "RESULTS", (*synthetic.RESULTS, given["shorter_context_results"]))
    monkeypatch.setattr(synthetic, "ARRAYS", {**synthetic.ARRAYS, "query_norms": ("head", "token")})
    return next(view for view in all_views() if view.name == request.param)


@pytest.mark.parametrize("view", ADDED, indirect=True)
def test_its_figure_reads_what_it_declares(view: View) -> None:
    controls = [control for control in view.controls if control is not SHOW]
    assert [test_context.undeclared(view, options) for options in test_context.every_choice(controls)] == [
        "" for _options in test_context.every_choice(controls)
    ]
    test_context.test_every_control_is_read(view)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("view", ADDED, indirect=True)
def test_its_table_its_words_and_its_labels_are_as_every_views(view: View, kind: ModelKind) -> None:
    for whole in (False, True):
        test_tables.test_every_table_is_as_long_and_wide_as_it_says(view, kind, whole)
    test_units.test_no_view_parts_a_number_from_its_unit(view, kind)
    test_one_label.test_figures_and_tables_do(view, kind)
    test_shown.test_every_figure_has_an_alternative(view, kind)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("view", ADDED, indirect=True)
def test_it_leaves_the_page_as_every_view(view: View, kind: ModelKind) -> None:
    assert view.name in names(all_views())
    test_exports.test_every_figure_stands_alone_with_where_it_comes_from(kind, view.name, test_exports.LIGHT)
    test_exports.test_every_table_is_read_back(kind, view.name)


@pytest.mark.parametrize("view", ["received"], indirect=True)
def test_it_says_in_words_what_is_not_finite(view: View) -> None:
    header, arrays = synthetic.make_parts()
    arrays["decoder/received"][1] = np.nan
    run = ModelRun(header, arrays)
    for by in ("head", "layer"):
        said = [view.text(Context(run, Selection(run.key, 3, layer, 0), {"by": by})) for layer in (0, 1)]
        assert [words.message is None for words in said] == [True, False]
        assert "The values are not finite from layer\u00a01 on" in synthetic.words_in(said[1].message)


def test_a_result_that_the_synthetic_run_lacks_is_named(program: None) -> None:
    with pytest.raises(
        AssertionError, match=r"view earlier shows “shorter-context”.*Add a function to RESULTS there\."
    ):
        make_whole_run("causal")
