"""Colours and the base layout of every figure.

A figure refers to colours by name (`COLOURS`): "var(--ink)" is the custom property of that name in
assets/style/palette.css, which holds the same palettes as LIGHT and DARK (tested). One figure therefore suits both
themes: the page substitutes its own colours (assets/overlays/colours.js); `in_theme` does so for files and notebooks.
"""

from __future__ import annotations

import html
import re
import textwrap
from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any

import numpy as np
import plotly.graph_objects as go

from dashboard.figures.pixels import coloured_png
from dashboard.figures.spec import Spec

TEXT_FONT = "Inter, system-ui, sans-serif"
TOKEN_FONT = "JetBrains Mono, ui-monospace, monospace"
CHARACTER_WIDTH = 6.65  # pixels of one character of TOKEN_FONT at 11 pixels


@dataclass(frozen=True)
class Theme:
    """One palette. Scales run from their low to their high end, in steps that are even in OKLab.

    Attributes:
        on_middle: of text on the middle of `weights` (figures/lens.py): ink in one theme, the surface's colour in the
            other.
        lines: of lines beside ink and the accent. classes: grounds of tokens, one for each group of classes.
    """

    name: str
    surface: str
    ink: str
    second_ink: str
    muted: str
    hairline: str
    selected: str
    mark: str
    on_middle: str
    weights: tuple[str, ...]
    surprisal: tuple[str, ...]
    difference: tuple[str, ...]
    lines: tuple[str, ...]
    classes: tuple[str, ...]


LIGHT = Theme(
    name="light",
    surface="#FFFFFF",
    ink="#16191D",
    second_ink="#434A54",
    muted="#5C6470",
    hairline="#DDE1E6",
    selected="#C2410C",
    mark="#7B8694",
    on_middle="#16191D",
    weights=("#EFF3F8", "#C2DAF6", "#97C1F3", "#71A5E8", "#4C88DB", "#316CC4", "#2151A2", "#15387E", "#0B2159"),
    surprisal=("#F1F9F5", "#D2EFE2", "#B3E5CF", "#92DBBB", "#72CFA7", "#59BF94", "#3EB080"),
    difference=("#68288E", "#8D59B1", "#AF8CC9", "#D1BFE0", "#F2F3F6", "#C9C8B0", "#A19E71", "#7A7530", "#554F00"),
    lines=("#2151A2", "#0F766E", "#9333EA"),
    classes=("#BFD9F7", "#F7CFA6", "#BCE5C6", "#DCCBF5", "#EBDD8C", "#F6C5D5"),
)
DARK = Theme(
    name="dark",
    surface="#171B20",
    ink="#EEF1F5",
    second_ink="#BAC2CC",
    muted="#98A1AD",
    hairline="#2A3038",
    selected="#FF9A5C",
    mark="#8591A0",
    on_middle="#171B20",
    weights=("#23252A", "#2E3B50", "#365279", "#406C9F", "#4788C7", "#5DA5E2", "#7EC2F7", "#ABDCFF", "#DEF2FF"),
    surprisal=("#242C29", "#253932", "#24453A", "#215241", "#1F5F49", "#216D52", "#247A5A"),
    difference=("#E0B7FF", "#B58BD4", "#826796", "#52465C", "#252628", "#4E4C32", "#79753C", "#A8A143", "#D8CF5F"),
    lines=("#7EC2F7", "#5EC9BA", "#C79BFF"),
    classes=("#1D4470", "#5F3A16", "#1B5235", "#4B3674", "#514A10", "#682B44"),
)
SCALES = {
    "weights": "weight",
    "surprisal": "surprisal",
    "difference": "difference",
    "lines": "line",
    "classes": "class",
}
PROPERTY = re.compile(r'(?<=style="color:)var\(--[a-z0-9-]+\)')  # in the markup of a label


def _named() -> Theme:
    """Name each colour as a style sheet does."""
    found: dict[str, Any] = {"name": "named"}
    for item in fields(Theme):
        value = getattr(LIGHT, item.name)
        if isinstance(value, tuple):
            found[item.name] = tuple(f"var(--{SCALES[item.name]}-{i})" for i in range(len(value)))
        elif item.name != "name":
            found[item.name] = f"var(--{item.name.replace('_', '-')})"
    return Theme(**found)


COLOURS = _named()


def theme_named(name: object) -> Theme:
    """DARK for "dark", LIGHT for everything else."""
    return DARK if name == "dark" else LIGHT


def colour_table(stops: tuple[str, ...], size: int) -> np.ndarray:
    """(size, 3) uint8: the scale's colours at `size` even steps, linear between the stops."""
    rgb = np.array([[int(stop[i : i + 2], 16) for i in (1, 3, 5)] for stop in stops], dtype=float)
    at = np.linspace(0, len(stops) - 1, size)
    columns = [np.interp(at, np.arange(len(stops)), rgb[:, channel]) for channel in range(3)]
    return np.stack(columns, axis=1).round().astype(np.uint8)


def colours_of(theme: Theme) -> dict[str, str]:
    """Map each colour name to its value in a theme."""
    pairs: dict[str, str] = {}
    for item in fields(Theme):
        name, colour = getattr(COLOURS, item.name), getattr(theme, item.name)
        if item.name != "name":
            pairs.update(zip(name, colour, strict=True) if isinstance(name, tuple) else [(name, colour)])
    return pairs


def in_theme(figure: go.Figure | Spec, theme: Theme) -> go.Figure:
    """The same figure with a theme's colours in place of their names, and its shade images in colour."""
    if isinstance(figure, go.Figure):  # part by part: converted as a whole, its arrays would become bytes
        figure = {"data": [trace.to_plotly_json() for trace in figure.data], "layout": figure.layout.to_plotly_json()}
    found: Spec = _coloured(figure, "", colours_of(theme))
    table = np.zeros((256, 3), dtype=np.uint8)
    table[1:] = colour_table(theme.weights, 255)
    for image in found.get("layout", {}).get("images", ()):
        image["source"] = coloured_png(image["source"], table)
    return go.Figure(found)


def _coloured(value: Any, key: str, colours: Mapping[str, str]) -> Any:
    """`value` of a figure's property `key`, with names replaced in colour properties and in a label's markup."""
    if isinstance(value, dict):
        return {name: item if name == "meta" else _coloured(item, name, colours) for name, item in value.items()}
    if isinstance(value, (list, tuple)):
        return value if key == "customdata" else [_coloured(item, key, colours) for item in value]
    if not isinstance(value, str):
        return value
    if key == "ticktext":
        return PROPERTY.sub(lambda found: colours[found[0]], value)
    return colours.get(value, value) if "color" in key else value


def base_layout() -> dict[str, Any]:
    """What every figure shares: transparent backgrounds, no zero lines, the page's font."""
    return {
        "template": {},
        "paper_bgcolor": "rgba(0,0,0,0)",
        "plot_bgcolor": "rgba(0,0,0,0)",
        "font": {"family": TEXT_FONT, "size": 11, "color": COLOURS.second_ink},
        "margin": {"l": 8, "r": 8, "t": 8, "b": 8},
        "showlegend": False,
        "dragmode": False,
        "hovermode": "closest",
        "hoverlabel": {
            "bgcolor": COLOURS.ink,
            "bordercolor": COLOURS.ink,
            "font": {"color": COLOURS.surface, "size": 12, "family": TEXT_FONT},
        },
    }


def axis(**more: Any) -> dict[str, Any]:
    """An axis without lines and ticks, and with gridlines only if `showgrid=True`."""
    return {
        "showgrid": False,
        "zeroline": False,
        "showline": False,
        "ticks": "",
        "gridcolor": COLOURS.hairline,
        "fixedrange": True,
        "ticklabelstandoff": 4,
        **more,
    }


def empty_figure(message: str | None = None) -> go.Figure:
    """An empty figure, or one with a single sentence in the middle."""
    figure = go.Figure(layout=base_layout())
    figure.update_layout(xaxis={"visible": False}, yaxis={"visible": False})
    if message:
        lines = "<br>".join(html.escape(line, quote=False) for line in textwrap.wrap(message, 48))
        figure.add_annotation(text=lines, x=0.5, y=0.5, xref="paper", yref="paper", showarrow=False, font={"size": 13})
    return figure
