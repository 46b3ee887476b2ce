"""Only `assets/overlays/plot.js` reads Plotly's private parts, and only overlays hear of a pointer over a figure."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
SCRIPTS = sorted((ROOT / "assets").rglob("*.js"))
WHERE = ROOT / "assets" / "overlays" / "plot.js"
# a property with an underscore, what d3 leaves at an element, and parts of the drawing that Plotly does not document
PRIVATE = re.compile(r"\._\w+|\bcalcdata\b|\b__data__\b|\bnsewdrag\b|\bg\.\$\{axis\}tick\b|\b[xy]tick\b|\bhoverlayer\b")


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: path.stem)
def test_plotlys_private_parts_are_read_in_one_place(script: Path) -> None:
    found = PRIVATE.findall(script.read_text(encoding="utf-8"))
    assert bool(found) == (script == WHERE), found


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: path.stem)
def test_only_overlays_listen_to_a_pointer_over_a_figure(script: Path) -> None:
    heard = re.findall(r"graph\.(?:on|addEventListener)\(\s*\"(\w+)\"", script.read_text(encoding="utf-8"))
    own = {"overlay": {"click", "mousemove", "mouseleave", "plotly_afterplot", "plotly_relayout"}}
    own |= {"axes": {"pointerdown"}, "space": {"mousedown", "pointerdown", "dblclick"}}  # to drag a line, to turn
    assert set(heard) <= own.get(script.stem, {"plotly_afterplot"})
