"""Colours and the base layout of every figure, light and dark. assets/style/palette.css holds the same palette
(tested)."""

from __future__ import annotations

import html
import textwrap
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import plotly.graph_objects as go

ThemeName = Literal["light", "dark"]
TEXT_FONT = "Inter, system-ui, sans-serif"
TOKEN_FONT = "JetBrains Mono, ui-monospace, monospace"
CHARACTER_WIDTH = 6.65  # pixels of one character of TOKEN_FONT at 11 pixels


@dataclass(frozen=True)
class Theme:
    """One palette. Scales run from their low to their high end, with steps even in OKLab."""

    name: ThemeName
    surface: str
    ink: str
    second_ink: str
    muted: str
    hairline: str
    selected: str
    mark: str
    weights: tuple[str, ...]
    surprisal: tuple[str, ...]
    difference: tuple[str, ...]


LIGHT = Theme(
    name="light",
    surface="#FFFFFF",
    ink="#16191D",
    second_ink="#434A54",
    muted="#5C6470",
    hairline="#DDE1E6",
    selected="#C2410C",
    mark="#7B8694",
    weights=("#EFF3F8", "#C2DAF6", "#97C1F3", "#71A5E8", "#4C88DB", "#316CC4", "#2151A2", "#15387E", "#0B2159"),
    surprisal=("#F1F9F5", "#D2EFE2", "#B3E5CF", "#92DBBB", "#72CFA7", "#59BF94", "#3EB080"),
    difference=("#68288E", "#8D59B1", "#AF8CC9", "#D1BFE0", "#F2F3F6", "#C9C8B0", "#A19E71", "#7A7530", "#554F00"),
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
    weights=("#23252A", "#2E3B50", "#365279", "#406C9F", "#4788C7", "#5DA5E2", "#7EC2F7", "#ABDCFF", "#DEF2FF"),
    surprisal=("#242C29", "#253932", "#24453A", "#215241", "#1F5F49", "#216D52", "#247A5A"),
    difference=("#E0B7FF", "#B58BD4", "#826796", "#52465C", "#252628", "#4E4C32", "#79753C", "#A8A143", "#D8CF5F"),
)


def theme_named(name: object) -> Theme:
    """DARK for "dark", LIGHT for everything else."""
    return DARK if name == "dark" else LIGHT


def colour_table(stops: tuple[str, ...], size: int) -> np.ndarray:
    """(size, 3) uint8: the scale's colours at `size` even steps, linear between the stops."""
    rgb = np.array([[int(stop[i : i + 2], 16) for i in (1, 3, 5)] for stop in stops], dtype=float)
    at = np.linspace(0, len(stops) - 1, size)
    columns = [np.interp(at, np.arange(len(stops)), rgb[:, channel]) for channel in range(3)]
    return np.stack(columns, axis=1).round().astype(np.uint8)


def base_layout(theme: Theme) -> dict[str, Any]:
    """What every figure shares: transparent grounds, no zero lines, the page's type."""
    return {
        "template": {},
        "paper_bgcolor": "rgba(0,0,0,0)",
        "plot_bgcolor": "rgba(0,0,0,0)",
        "font": {"family": TEXT_FONT, "size": 11, "color": theme.second_ink},
        "margin": {"l": 8, "r": 8, "t": 8, "b": 8},
        "showlegend": False,
        "dragmode": False,
        "hovermode": "closest",
        "hoverlabel": {
            "bgcolor": theme.ink,
            "bordercolor": theme.ink,
            "font": {"color": theme.surface, "size": 12, "family": TEXT_FONT},
        },
    }


def axis(theme: Theme, **more: Any) -> dict[str, Any]:
    """An axis without lines and ticks; gridlines only where `showgrid=True` is given."""
    return {
        "showgrid": False,
        "zeroline": False,
        "showline": False,
        "ticks": "",
        "gridcolor": theme.hairline,
        "fixedrange": True,
        "ticklabelstandoff": 4,
        **more,
    }


def empty_figure(message: str | None, theme: Theme) -> go.Figure:
    """Nothing, or one sentence in the middle of nothing."""
    figure = go.Figure(layout=base_layout(theme))
    figure.update_layout(xaxis={"visible": False}, yaxis={"visible": False})
    if message:
        lines = "<br>".join(html.escape(line, quote=False) for line in textwrap.wrap(message, 48))
        figure.add_annotation(text=lines, x=0.5, y=0.5, xref="paper", yref="paper", showarrow=False, font={"size": 13})
    return figure
