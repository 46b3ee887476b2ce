"""The Python interface: the names that scripts and notebooks rely on, imported when they are used."""

from __future__ import annotations

import ast
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

import dashboard

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
        "plot_attention_aggregate",
        "plot_attention_heatmap",
        "plot_attention_norms",
        "plot_classes",
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


def test_a_name_that_is_not_there_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="no_such_name"):
        _ = dashboard.no_such_name  # type: ignore[attr-defined]


def test_the_version_is_the_projects() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    assert project["project"]["dynamic"] == ["version"]
    assert project["tool"]["setuptools"]["dynamic"]["version"] == {"attr": "dashboard.__version__"}
