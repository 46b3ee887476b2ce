"""Tokens in two or three principal components, and their paths through the layers.

On the page the browser draws points, paths and marks itself (assets/55-points.js, 56-space.js), so that a step of token
or layer costs no new figure: `space_frame` gives it axes and coordinates. `space_figure` is the same by Plotly alone.
"""

from __future__ import annotations

import base64
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import plotly.graph_objects as go

from dashboard.contracts.run import Token
from dashboard.figures.theme import LIGHT, TOKEN_FONT, Theme, axis, base_layout
from dashboard.figures.tokens import elide, escape, labels_of, numbered

MOST_PATHS = 40  # other tokens' paths that are drawn; above, every 2nd, 3rd … token's
ZOOMS_ABOVE = 80  # places of tokens above which dragging zooms
QUIET = 0.35  # opacity of other tokens' paths


@dataclass(frozen=True)
class Space:
    """Places of tokens.

    Attributes:
        coordinates: (place, token, component): one place, or the embeddings and every layer where paths are drawn; NaN
            for a token that was left out. explained: (component,) shares of variance, 0 … 1.
        at: index of the place whose points are shown. path: whether paths are drawn. dimensions: 2 or 3.
    """

    coordinates: np.ndarray
    explained: np.ndarray
    at: int
    path: bool
    dimensions: int

    @property
    def shown(self) -> list[int]:
        """The tokens that were not left out."""
        return [int(i) for i in np.flatnonzero(np.isfinite(self.coordinates[self.at, :, 0]))]

    @property
    def titles(self) -> list[str]:
        """An axis title per component that is drawn."""
        return [f"PC {i + 1} ({100 * self.explained[i]:.1f} % of variance)" for i in range(self.dimensions)]

    @property
    def step(self) -> int:
        """Every how many tokens a quiet path is drawn."""
        return max(1, math.ceil(self.coordinates.shape[1] / MOST_PATHS))

    @property
    def quiet(self) -> list[int]:
        """The tokens whose paths are drawn thin, beside those of the selected and the second token."""
        return [token for token in self.shown if token % self.step == 0] if self.path else []

    def ranges(self) -> list[list[float]]:
        """[low, high] per component, with some room; the same for every place, so that a step moves no axis."""
        found = []
        largest = float(np.nanmax(np.abs(self.coordinates)))
        for component in range(self.dimensions):
            values = self.coordinates[:, self.shown, component]
            low, high = float(values.min()), float(values.max())
            room = 0.06 * (high - low) if high - low > 1e-9 * largest else 1.0  # less is rounding, not a spread
            found.append([low - room, high + room])
        return found


def place_name(place: int) -> str:
    """ "embeddings", "after layer 0" …"""
    return "embeddings" if place == 0 else f"after layer {place - 1}"


def space_frame(space: Space, theme: Theme = LIGHT, follows: bool = True) -> go.Figure:
    """Axes without points, and under `layout.meta.space` what the browser needs to draw them.

    Coordinates go as base64 of little-endian float32 in the order (place, token, component). `follows`: where there are
    paths, whether the points are those of the selected layer; else they stay at `space.at`.
    """
    figure = go.Figure(go.Scatter(x=[None], y=[None], hoverinfo="skip"), layout=base_layout(theme))
    places, tokens, _components = space.coordinates.shape
    kept = np.ascontiguousarray(space.coordinates[:, :, : space.dimensions], dtype="<f4")
    ranges = space.ranges()
    told = {
        "coordinates": base64.b64encode(kept.tobytes()).decode(),
        "shape": [places, tokens, space.dimensions],
        "ranges": ranges,
        "titles": space.titles,
        "at": space.at,
        "path": space.path,
        "follows": space.path and follows,
        "quiet": space.quiet,
    }
    if space.dimensions == 2:
        figure.update_layout(**plane_axes(space.titles, theme, places * tokens))
        figure.update_layout(xaxis={"range": ranges[0]}, yaxis={"range": ranges[1]})
    else:
        hidden = axis(theme, visible=False, range=[0, 1])
        figure.update_layout(xaxis=hidden, yaxis=hidden, margin={"l": 4, "r": 4, "t": 4, "b": 4})
    figure.update_layout(meta={"space": told})
    return figure


def plane_axes(titles: Sequence[str], theme: Theme, count: int) -> dict[str, Any]:
    """Axes and margins of points in two components."""
    shared = {"showgrid": True, "nticks": 6, "tickfont": {"size": 11, "color": theme.muted}, "fixedrange": count <= ZOOMS_ABOVE}
    axes = [axis(theme, title={"text": title, "font": {"size": 11}, "standoff": 4}, **shared) for title in titles]
    return {
        "xaxis": axes[0],
        "yaxis": axes[1],
        "margin": {"l": 58, "r": 24, "t": 6, "b": 38},
        "dragmode": "zoom" if count > ZOOMS_ABOVE else False,
    }


def space_figure(
    space: Space, tokens: Sequence[Token | str], selected: tuple[int | None, int | None] = (None, None), theme: Theme = LIGHT
) -> go.Figure:
    """Points, paths and marks, drawn by Plotly alone: for files and notebooks.

    Args:
        space: of these tokens. tokens: one label each. selected: the selected and the second token; what was left out
            carries no mark. theme: LIGHT or DARK.
    """
    figure = go.Figure(layout=base_layout(theme))
    marked = [token for token in selected if token is not None]
    figure.add_trace(_points(space, numbered(labels_of(tokens)), theme))
    for quiet in space.quiet:
        if quiet not in marked:
            figure.add_trace(_line(space, quiet, {"color": theme.mark, "width": 1}, opacity=QUIET, hoverinfo="skip"))
    styles = (
        ({"color": theme.selected, "width": 2}, "circle-open"),
        ({"color": theme.ink, "width": 1.5, "dash": "dash"}, "square-open"),
    )
    for token, (line, symbol) in zip(selected, styles, strict=True):
        if token is None or token not in space.shown:
            continue
        if space.path:
            figure.add_trace(_path(space, token, line))
        figure.add_trace(_mark(space, token, str(line["color"]), symbol))
    figure.update_layout(**(plane_axes(space.titles, theme, len(tokens)) if space.dimensions == 2 else _scene(space, theme)))
    return figure


def _trace(coordinates: np.ndarray, **more: Any) -> go.Scatter | go.Scatter3d:
    """A trace of (point, component) in the plane or in space."""
    if coordinates.shape[1] == 2:
        return go.Scatter(x=coordinates[:, 0], y=coordinates[:, 1], **more)
    return go.Scatter3d(x=coordinates[:, 0], y=coordinates[:, 1], z=coordinates[:, 2], **more)


def _along(space: Space, token: int) -> np.ndarray:
    return space.coordinates[:, token, : space.dimensions]


def _line(space: Space, token: int, line: dict[str, Any], **more: Any) -> go.Scatter | go.Scatter3d:
    return _trace(_along(space, token), mode="lines", line=line, **more)


def _path(space: Space, token: int, line: dict[str, Any]) -> go.Scatter | go.Scatter3d:
    count = len(space.coordinates)
    step = max(1, math.ceil(count / 12))
    names = [
        "E" if place == 0 else str(place - 1) if (place - 1) % step == 0 or place == count - 1 else "" for place in range(count)
    ]
    return _trace(
        _along(space, token),
        mode="lines+markers+text",
        line=line,
        marker={"size": 4, "color": line["color"]},
        text=names,
        textposition="top center",
        textfont={"size": 10, "color": line["color"]},
        customdata=[{"place": place} for place in range(count)],
        hovertext=[f"token {token}, {place_name(place)}" for place in range(count)],
        hovertemplate="%{hovertext}<extra></extra>",
    )


def _points(space: Space, labels: list[str], theme: Theme) -> go.Scatter | go.Scatter3d:
    names = [escape(elide(labels[i])) for i in space.shown]
    return _trace(
        space.coordinates[space.at, space.shown, : space.dimensions],
        mode="markers+text",
        text=names,
        textposition="middle right",
        textfont={"family": TOKEN_FONT, "size": 11, "color": theme.second_ink},
        customdata=[{"token": i} for i in space.shown],
        hovertemplate="%{text}<extra></extra>",
        marker={"size": 7 if space.dimensions == 2 else 4, "color": theme.mark},
    )


def _mark(space: Space, token: int, colour: str, symbol: str) -> go.Scatter | go.Scatter3d:
    marker = {
        "symbol": symbol,
        "size": 15 if space.dimensions == 2 else 9,
        "color": colour,
        "line": {"width": 2, "color": colour},
    }
    return _trace(space.coordinates[[space.at], token, : space.dimensions], mode="markers", marker=marker, hoverinfo="skip")


def _scene(space: Space, theme: Theme) -> dict[str, Any]:
    def side(title: str) -> dict[str, Any]:
        font = {"size": 11, "color": theme.second_ink}
        return {
            "title": {"text": title, "font": font},
            "gridcolor": theme.hairline,
            "showbackground": False,
            "zeroline": False,
            "tickfont": {"size": 10, "color": theme.muted},
        }

    axes = {f"{name}axis": side(title) for name, title in zip("xyz", space.titles, strict=True)}
    return {
        "scene": {**axes, "aspectmode": "cube", "camera": {"eye": {"x": 1.6, "y": 1.6, "z": 0.8}, "center": {"z": -0.15}}},
        "margin": {"l": 0, "r": 0, "t": 0, "b": 0},
    }
