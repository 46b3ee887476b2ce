"""The palette: the stylesheet and the figures hold the same colours, and every text can be read."""

from __future__ import annotations

import base64
import io
import re
from pathlib import Path

import numpy as np
import plotly.graph_objects as go
import pytest
from PIL import Image

from dashboard.figures.pixels import URI, coloured_png, grey_png, grey_uri
from dashboard.figures.theme import (
    COLOURS,
    DARK,
    LIGHT,
    Theme,
    axis,
    base_layout,
    colour_table,
    colours_of,
    in_theme,
    theme_named,
)

PALETTE = Path(__file__).resolve().parents[3] / "assets" / "style/palette.css"
BLOCKS = {"light": r":root \{(.*?)\}", "dark": r':root\[data-theme="dark"\] \{(.*?)\}'}


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
    alone = {"page", "border", "error", "error-ground"}  # the page's own
    assert colours_of(theme) == {f"var(--{name})": colour for name, colour in colours.items() if name not in alone}
    assert (colours["ink"], colours["second-ink"]) == (theme.ink, theme.second_ink)
    for scale, prefix in ((theme.weights, "weight"), (theme.surprisal, "surprisal"), (theme.lines, "line")):
        assert tuple(colours[f"{prefix}-{i}"] for i in range(len(scale))) == scale


def test_both_themes_name_the_same_properties() -> None:
    assert set(stylesheet("light")) == set(stylesheet("dark"))


def test_every_swatch_class_has_its_colour() -> None:
    text = PALETTE.read_text()
    for prefix, scale in (("weight", LIGHT.weights), ("surprisal", LIGHT.surprisal), ("class", LIGHT.classes)):
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
def test_tokens_can_be_read_on_every_shade_of_surprisal_and_every_class(theme: Theme) -> None:
    assert min(contrast(theme.ink, shade) for shade in (*theme.surprisal, *theme.classes, theme.hairline)) >= 4.5
    assert min(contrast(theme.second_ink, ground) for ground in theme.classes) >= 4.5, "signs of white space"


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
    base_layout()["margin"]["l"] = 99
    assert base_layout()["margin"]["l"] == 8
    assert axis(showgrid=True)["showgrid"] is True
    assert axis()["showgrid"] is False


@pytest.mark.parametrize("theme", [LIGHT, DARK], ids=lambda theme: theme.name)
def test_names_of_colours_get_a_theme_s_values_and_texts_stay(theme: Theme) -> None:
    ink, weak, strong = COLOURS.ink, COLOURS.weights[0], COLOURS.weights[-1]
    markup = f'<b style="color:{COLOURS.selected}">var(--ink)</b>'
    bars = {"type": "bar", "x": [1, 2], "text": [ink, "b"], "customdata": [ink, ink]}
    bars["marker"] = {"color": [ink, "rgba(0,0,0,0)"], "line": {"color": COLOURS.mark}}
    cells = {"type": "heatmap", "z": [[1]], "colorscale": [[0, weak], [1, strong]]}
    layout = {"title": {"text": ink}, "xaxis": {"tickvals": [1], "ticktext": [markup], "gridcolor": COLOURS.hairline}}
    layout |= {"shapes": [{"type": "rect", "line": {"color": COLOURS.selected}}], "meta": {"color": ink}}
    figure = in_theme({"data": [bars, cells], "layout": layout}, theme)
    one, other = figure.data
    assert one.marker.color == (theme.ink, "rgba(0,0,0,0)")
    assert one.marker.line.color == theme.mark
    assert other.colorscale == ((0, theme.weights[0]), (1, theme.weights[-1]))
    assert (one.text, one.customdata, figure.layout.title.text) == ((ink, "b"), (ink, ink), ink)
    assert figure.layout.xaxis.ticktext == (f'<b style="color:{theme.selected}">var(--ink)</b>',)
    assert (figure.layout.xaxis.gridcolor, figure.layout.shapes[0].line.color) == (theme.hairline, theme.selected)
    assert figure.layout.meta == {"color": ink}, "the page's own data"


def test_a_figure_s_names_outlast_it_being_shown() -> None:
    figure = go.Figure(
        {"data": [{"type": "bar", "x": [1], "marker": {"color": [COLOURS.ink]}}], "layout": base_layout()}
    )
    light, dark = in_theme(figure, LIGHT), in_theme(figure, DARK)
    assert [one.data[0].marker.color for one in (figure, light, dark)] == [(COLOURS.ink,), (LIGHT.ink,), (DARK.ink,)]
    assert [one.layout.font.color for one in (light, dark)] == [LIGHT.second_ink, DARK.second_ink]


def test_a_picture_of_shades_is_grey_until_it_has_a_theme() -> None:
    shade = np.array([[0, 1, 128], [255, 2, 0]], dtype=np.uint8)
    with Image.open(io.BytesIO(grey_png(shade))) as grey:
        assert (grey.mode, grey.info["transparency"]) == ("L", 0)
        np.testing.assert_array_equal(np.asarray(grey), shade)
    table = np.arange(768, dtype=np.int64).reshape(256, 3).astype(np.uint8)
    with Image.open(io.BytesIO(base64.b64decode(coloured_png(grey_uri(shade), table).removeprefix(URI)))) as picture:
        pixels = np.asarray(picture.convert("RGBA"))
    np.testing.assert_array_equal(pixels[:, :, 3], np.where(shade == 0, 0, 255))
    np.testing.assert_array_equal(pixels[:, :, :3][shade > 0], table[shade[shade > 0]])
    layout = {"images": [{"source": grey_uri(shade)}]}
    [image] = in_theme({"data": [], "layout": layout}, DARK).layout.images
    with Image.open(io.BytesIO(base64.b64decode(image.source.removeprefix(URI)))) as picture:
        assert picture.convert("RGB").getpixel((0, 1)) == (0xDE, 0xF2, 0xFF)
        assert picture.convert("RGB").getpixel((1, 0)) == (0x23, 0x25, 0x2A)
