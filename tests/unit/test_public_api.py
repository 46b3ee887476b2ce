"""The Python interface: the names that scripts and notebooks rely on, imported when they are used."""

from __future__ import annotations

import ast
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

import dashboard
from dashboard.views import all_views

ROOT = Path(__file__).resolve().parents[2]
STABLE = (
    "load_model",
    "capture_run",
    "LoadedModel",
    "ModelRun",
    "plot_attention_heatmap",
    "plot_hidden_pca",
    "plot_token_probabilities",
    "show",
)
OF_ATTENTION = {  # view → the functions that draw it from plain Hugging Face outputs
    "attention": ("plot_attention_heatmap", "plot_attention_aggregate", "plot_attention_heads"),
    "lines": ("plot_attention_lines",),
    "everywhere": ("plot_attention_everywhere",),
    "heads": ("plot_head_scores",),
    "query-key": ("plot_query_key",),
    "norms": ("plot_attention_norms",),
}


def test_the_stable_names_are_there() -> None:
    assert set(STABLE) <= set(dashboard.__all__)
    assert set(dashboard._HOMES) == set(dashboard.__all__)


@pytest.mark.parametrize("name", dashboard.__all__)
def test_every_name_is_defined_where_it_is_said_to_be(name: str) -> None:
    home = ROOT / (dashboard._HOMES[name].replace(".", "/") + ".py")
    defined = {
        node.name for node in ast.parse(home.read_text()).body if isinstance(node, (ast.FunctionDef, ast.ClassDef))
    }
    assert name in defined


@pytest.mark.parametrize(
    "name",
    [
        "ModelRun",
        "aggregate_attention",
        "plot_attention_aggregate",
        "plot_attention_everywhere",
        "plot_attention_heads",
        "plot_attention_heatmap",
        "plot_attention_lines",
        "plot_attention_norms",
        "plot_classes",
        "plot_head_scores",
        "plot_hidden_pca",
        "plot_logit_lens",
        "plot_query_key",
        "plot_token_probabilities",
        "show",
    ],
)
def test_figures_and_runs_need_no_torch(name: str) -> None:
    code = f"import sys; from dashboard import {name}; assert callable({name}); print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"


def test_every_view_of_attention_has_its_function() -> None:
    assert set(OF_ATTENTION) <= {view.name for view in all_views() if view.card == "attention"}
    page = (ROOT / "docs" / "python.md").read_text(encoding="utf-8")
    _, table = page.split("Each tab of *Attention* has its function:\n\n")
    rows = dict(line.strip("| ").split(" | ") for line in table.split("\n\n")[0].splitlines()[2:])
    tabs = {view.name: view.tab for view in all_views() if view.card == "attention"}
    for view, names in OF_ATTENTION.items():
        assert set(names) <= set(dashboard.__all__)
        row = rows[f"*{tabs[view]}*"] + (rows["the grid of all heads"] if view == "attention" else "")
        assert [name for name in names if f"`{name}`" not in row] == []


def test_a_name_that_is_not_there_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="no_such_name"):
        _ = dashboard.no_such_name  # type: ignore[attr-defined]


def test_the_version_is_the_projects() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    assert project["project"]["dynamic"] == ["version"]
    assert project["tool"]["setuptools"]["dynamic"]["version"] == {"attr": "dashboard.version.__version__"}
