"""What pyproject.toml says: ranges that hold what is pinned, every package and asset in the wheel, one version."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

import dashboard

ROOT = Path(__file__).resolve().parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))


def pins(file: str) -> dict[str, str]:
    """The versions that a file of requirements pins, by package."""
    lines = (ROOT / file).read_text(encoding="utf-8").splitlines()
    pinned = [line.split("==") for line in lines if re.match(r"[a-z]", line)]
    return {canonicalize_name(name): version.split(" ")[0] for name, version in pinned}


RANGES = [Requirement(line) for line in PROJECT["project"]["dependencies"]]


def test_what_is_pinned_is_what_the_package_needs() -> None:
    assert sorted(canonicalize_name(one.name) for one in RANGES) == sorted(pins("requirements.txt"))


@pytest.mark.parametrize("needed", RANGES, ids=lambda one: one.name)
def test_the_tested_version_is_in_the_range(needed: Requirement) -> None:
    name = canonicalize_name(needed.name)
    assert needed.specifier.contains(pins("requirements.txt")[name])
    assert needed.specifier.contains(pins("constraints.txt")[name])
    assert any(one.operator == "<" for one in needed.specifier), "the next major version is not tested"


def test_every_package_is_named() -> None:
    packages = {".".join(path.parent.relative_to(ROOT).parts) for path in (ROOT / "dashboard").rglob("__init__.py")}
    assert set(PROJECT["tool"]["setuptools"]["packages"]) == packages | {"dashboard.assets"}


def test_the_version_stands_once() -> None:
    assert PROJECT["project"]["dynamic"] == ["version"]
    assert "version" not in PROJECT["project"]
    sources = [*(ROOT / "dashboard").rglob("*.py"), ROOT / "pyproject.toml"]
    holding = [
        path.name for path in sources if f'_version__ = "{dashboard.__version__}"' in path.read_text(encoding="utf-8")
    ]
    assert holding == ["version.py"]
    assert dashboard.__version__ in (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")


def test_one_script_reads_the_private_parts_of_plotly() -> None:
    private = re.compile(r"\._(?:full\w+|context|hoverdata|offset|length)\b|\bcalcdata\b|__data__|\.[lp]2[lp]\b")
    scripts = (ROOT / "assets").rglob("*.js")
    found = {path.name for path in scripts if private.search(path.read_text(encoding="utf-8"))}
    assert found == {"plot.js"}
