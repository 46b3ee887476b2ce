"""The palette: the stylesheet and the figures hold the same colours, and every text can be read."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest

from dashboard.figures.theme import DARK, LIGHT, Theme, axis, base_layout, colour_table, theme_named

PALETTE = Path(__file__).resolve().parents[3] / "assets" / "style/palette.css"
BLOCKS = {"light": r":root \{(.*?)\}", "dark": r':root\[data-theme="dark"\] \{(.*?)\}'}
SINGLE = ("surface", "ink", "second_ink", "muted", "hairline", "selected", "mark")


def stylesheet(name: str) -> dict[str, str]:
    """The colour properties of one theme."""
    block = re.search(BLOCKS[name], PALETTE.read_text(), re.DOTALL)
    assert block is not None
    return dict(re.findall(r"--([a-z0-9-]+): (#[0-9A-F]{6});", block[1]))


def luminance(colour: str) -> float:
    """Relative luminance, WCAG 2.2."""
    channels = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in channels]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def contrast(one: str, other: str) -> float:
    """Contrast ratio, WCAG 2.2: 1 … 21."""
    light, dark = sorted((luminance(one), luminance(other)), reverse=True)
    return (light + 0.05) / (dark + 0.05)


def test_the_contrast_formula_is_right_at_its_ends() -> None:
    assert contrast("#000000", "#FFFFFF") == pytest.approx(21)
    assert contrast("#777777", "#777777") == 1


@pytest.mark.parametrize("theme", [LIGHT, DARK], ids=lambda theme: theme.name)
def test_the_stylesheet_holds_the_figures_colours(theme: Theme) -> None:
    colours = stylesheet(theme.name)
    assert {name: colours[name.replace("_", "-")] for name in SINGLE} == {name: getattr(theme, name) for name in SINGLE}
    for scale, prefix in ((theme.weights, "weight"), (theme.surprisal, "surprisal")):
        assert tuple(colours[f"{prefix}-{i}"] for i in range(len(scale))) == scale
        assert f"{prefix}-{len(scale)}" not in colours


def test_both_themes_name_the_same_properties() -> None:
    assert set(stylesheet("light")) == set(stylesheet("dark"))


def test_every_swatch_class_has_its_colour() -> None:
    text = PALETTE.read_text()
    for prefix, scale in (("weight", LIGHT.weights), ("surprisal", LIGHT.surprisal)):
        for i in range(len(scale)):
            assert f".{prefix}-{i} {{ background: var(--{prefix}-{i}); }}" in text


@pytest.mark.parametrize("theme", [LIGHT, DARK], ids=lambda theme: theme.name)
@pytest.mark.parametrize("name", ["ink", "second-ink", "muted", "selected"])
@pytest.mark.parametrize("ground", ["surface", "page"])
def test_text_can_be_read(theme: Theme, name: str, ground: str) -> None:
    colours = stylesheet(theme.name)
    assert contrast(colours[name], colours[ground]) >= 4.5


@pytest.mark.parametrize("theme", [LIGHT, DARK], ids=lambda theme: theme.name)
def test_errors_can_be_read_on_their_ground(theme: Theme) -> None:
    colours = stylesheet(theme.name)
    assert contrast(colours["error"], colours["error-ground"]) >= 4.5
    assert contrast(colours["ink"], colours["error-ground"]) >= 4.5


@pytest.mark.parametrize("theme", [LIGHT, DARK], ids=lambda theme: theme.name)
def test_tokens_can_be_read_on_every_shade_of_surprisal(theme: Theme) -> None:
    assert min(contrast(theme.ink, shade) for shade in theme.surprisal) >= 4.5


@pytest.mark.parametrize("theme", [LIGHT, DARK], ids=lambda theme: theme.name)
def test_controls_bars_and_points_stand_out(theme: Theme) -> None:
    colours = stylesheet(theme.name)
    assert contrast(colours["border"], colours["surface"]) >= 3
    assert contrast(theme.mark, theme.surface) >= 3


@pytest.mark.parametrize("theme", [LIGHT, DARK], ids=lambda theme: theme.name)
@pytest.mark.parametrize("scale", ["weights", "surprisal"])
def test_a_scale_is_ordered_by_lightness(theme: Theme, scale: str) -> None:
    steps = np.diff([luminance(colour) for colour in getattr(theme, scale)])
    assert (steps < 0).all() or (steps > 0).all()


@pytest.mark.parametrize("theme", [LIGHT, DARK], ids=lambda theme: theme.name)
def test_a_difference_is_palest_at_nothing(theme: Theme) -> None:
    distances = [contrast(colour, theme.surface) for colour in theme.difference]
    assert len(distances) % 2 == 1
    assert distances.index(min(distances)) == len(distances) // 2


def test_a_colour_table_runs_from_end_to_end() -> None:
    assert colour_table(("#000000", "#FF8000"), 3).tolist() == [[0, 0, 0], [128, 64, 0], [255, 128, 0]]
    table = colour_table(LIGHT.weights, 255)
    assert table.shape == (255, 3)
    assert table[0].tolist() == [0xEF, 0xF3, 0xF8]
    assert table[-1].tolist() == [0x0B, 0x21, 0x59]


@pytest.mark.parametrize(("name", "theme"), [("dark", DARK), ("light", LIGHT), (None, LIGHT), ("x", LIGHT), (3, LIGHT)])
def test_an_unknown_theme_is_light(name: object, theme: Theme) -> None:
    assert theme_named(name) is theme


def test_layouts_are_made_anew_each_time() -> None:
    base_layout(LIGHT)["margin"]["l"] = 99
    assert base_layout(LIGHT)["margin"]["l"] == 8
    assert axis(LIGHT, showgrid=True)["showgrid"] is True
    assert axis(LIGHT)["showgrid"] is False
