"""Where the page's scripts and styles lie."""

from __future__ import annotations

from pathlib import Path

PACKAGE = Path(__file__).resolve().parents[1]
INSTALLED, BESIDE = PACKAGE / "assets", PACKAGE.parent / "assets"
# as pyproject.toml puts them into a wheel, or as they lie in the checkout
ASSETS = INSTALLED if INSTALLED.is_dir() else BESIDE
