"""The location of the page's scripts and styles."""

from __future__ import annotations

from pathlib import Path

PACKAGE = Path(__file__).resolve().parents[1]
INSTALLED, BESIDE = PACKAGE / "assets", PACKAGE.parent / "assets"
# in a wheel (see pyproject.toml), or in the checkout
ASSETS = INSTALLED if INSTALLED.is_dir() else BESIDE
