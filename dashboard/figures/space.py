"""Tokens in two or three principal components, and their paths through the layers.

On the page, Plotly draws the points of one layer in the plane (`page_points`). The browser itself draws their labels
and marks, all paths, and everything in three components (assets/overlays/points.js, space.js), so that changing the
token or layer needs no new figure: `space_frame` gives it axes and coordinates. `space_figure` draws any of these with
Plotly alone.
"""

from __future__ import annotations

import base64
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import plotly.graph_objects as go

from dashboard.contracts.token import Token
from dashboard.figures.labels import ADDED, MARKED, OTHERS, layer_rank, place_labels
from dashboard.figures.spec import Spec, typed
from dashboard.figures.text import BIDI_CONTROLS, escape, percent, place_name, place_sign
from dashboard.figures.theme import CHARACTER_WIDTH, COLOURS, TOKEN_FONT, axis, base_layout
from dashboard.figures.tokens import labels_of, numbered

LONGEST = 12  # characters of a token beside its point
MOST_PATHS = 40  # other tokens' paths drawn at most; above, every 2nd, 3rd … token's
ZOOMS_ABOVE = 80  # number of points above which dragging zooms
QUIET = 0.35  # opacity of other tokens' paths
MARGIN = {"l": 58, "r": 24, "t": 6, "b": 38}
PLANE = (720 - 58 - 24, 520 - 6 - 38)  # pixels between the margins, for which labels are placed
SIZES = {2: {"stop": 4, "mark": 15, "ring": 13}, 3: {"stop": 2, "mark": 7, "ring": 6}}  # pixels, by dimensions
# radians: the page's initial view of three components (assets/overlays/space.js)
TURNED, TILTED = -0.55, 0.27
# from the eye to the middle of the cube of three components, in sides of the cube; no effect in parallel projection
DISTANCE = 1.7
ASPECT = 1.15  # size of the cube
CUBE = 355  # pixels of one side of the cube as Plotly draws it, in a figure 520 high


@dataclass(frozen=True)
class Space:
    """Places of tokens.

    Attributes:
        coordinates: (place, token, component): one place, or the embeddings and every layer if paths are drawn; NaN for
            a token that was left out. explained: (component,) shares of variance, 0 … 1.
        at: index of the place whose points are shown. path: whether paths are drawn. dimensions: 2 or 3.
    """

    coordinates: np.ndarray
    explained: np.ndarray
    at: int
    path: bool
    dimensions: int

    @property
    def shown(self) -> list[int]:
        """The tokens whose points are drawn: neither left out nor lacking finite values at this place."""
        return [int(i) for i in np.flatnonzero(np.isfinite(self.coordinates[self.at, :, 0]))]

    @property
    def followed(self) -> list[int]:
        """The tokens that have coordinates at some place; those that were left out have none."""
        return [int(i) for i in np.flatnonzero(np.isfinite(self.coordinates[:, :, 0]).any(axis=0))]

    @property
    def titles(self) -> list[str]:
        """One axis title per drawn component."""
        return [f"PC {i + 1} ({percent(self.explained[i])} of variance)" for i in range(self.dimensions)]

    @property
    def step(self) -> int:
        """The step between drawn quiet paths, in tokens."""
        return max(1, math.ceil(self.coordinates.shape[1] / MOST_PATHS))

    @property
    def quiet(self) -> list[int]:
        """The tokens with thin paths, besides the selected and the second token."""
        return [token for token in self.followed if token % self.step == 0] if self.path else []

    def ranges(self) -> list[list[float]]:
        """[low, high] per component, with some margin; the same for every place, so that no step moves an axis."""
        found = []
        if not self.followed:
            return [[-1.0, 1.0]] * self.dimensions
        largest = float(np.nanmax(np.abs(self.coordinates)))
        for component in range(self.dimensions):
            values = self.coordinates[:, self.followed, component]
            low, high = float(np.nanmin(values)), float(np.nanmax(values))
            room = 0.06 * (high - low) if high - low > 1e-9 * largest else 1.0  # a smaller range is rounding error
            found.append([low - room, high + room])
        return found


def page_points(space: Space) -> Spec:
    """The points of one layer in the plane, as plain data."""
    points = _points(space)
    points |= {name: typed(np.round(points[name], 6)) for name in "xy"} | {"hoverinfo": "none"}
    return {"data": [points], "layout": {**base_layout(), **plane_axes(space.titles, space.coordinates.shape[1])}}


def space_frame(space: Space, follows: bool = True) -> go.Figure:
    """Axes without points, and under `layout.meta.space` what the browser needs to draw the points.

    Coordinates go as base64 of little-endian float32 in the order (place, token, component). `follows`: with paths,
    whether the points are those of the selected layer; otherwise they stay at `space.at`.
    """
    figure = go.Figure(go.Scatter(x=[None], y=[None], hoverinfo="skip"), layout=base_layout())
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
        figure.update_layout(**plane_axes(space.titles, places * tokens))
        figure.update_layout(xaxis={"range": ranges[0]}, yaxis={"range": ranges[1]})
    else:
        hidden = axis(visible=False, range=[0, 1])
        figure.update_layout(xaxis=hidden, yaxis=hidden, margin={"l": 4, "r": 4, "t": 4, "b": 4})
    figure.update_layout(meta={"space": told})
    return figure


def plane_axes(titles: Sequence[str], count: int) -> dict[str, Any]:
    """Axes and margins of points in two components."""
    shared = {
        "showgrid": True,
        "nticks": 6,
        "tickfont": {"size": 11, "color": COLOURS.muted},
        "fixedrange": count <= ZOOMS_ABOVE,
    }
    axes = [axis(title={"text": title, "font": {"size": 11}, "standoff": 4}, **shared) for title in titles]
    return {
        "xaxis": axes[0],
        "yaxis": axes[1],
        "margin": dict(MARGIN),
        "dragmode": "zoom" if count > ZOOMS_ABOVE else False,
    }


def space_figure(
    space: Space,
    tokens: Sequence[Token | str],
    selected: tuple[int | None, int | None] = (None, None),
    added: Sequence[int] = (),
) -> go.Figure:
    """Points, paths and marks, drawn by Plotly alone: for files and notebooks.

    A token carries its label if it fits beside the others' (and the figure says how many do not); the selected and the
    second token always carry theirs. Three components are shown in parallel projection, as in the page's initial view.

    Args:
        space: of these tokens. tokens: one label each. selected: the selected and the second token; added: further
            selected ones, whose labels are placed next. A token that was left out carries no mark.
    """
    figure = go.Figure(layout=base_layout())
    marked = [token for token in selected if token is not None]
    labels = numbered(labels_of(tokens), LONGEST)
    names = [(escape if space.dimensions == 2 else _plain)(label) for label in labels]
    further = [token for token in space.shown if token in added and token not in marked]
    stops = _stops(space, selected[0])
    sides = label_sides(space, [len(BIDI_CONTROLS.sub("", label)) for label in labels], marked, further, stops)
    side_of = dict(zip(space.shown, sides, strict=False))
    numbers = dict(zip(stops, sides[len(side_of) :], strict=True))
    plain, named = [token for token in space.shown if token not in further], {**side_of, **dict.fromkeys(marked)}
    figure.add_trace(_labelled(space, plain, names, named, COLOURS.mark, COLOURS.second_ink))
    if further:
        added_ones = _labelled(space, further, names, named, COLOURS.selected, COLOURS.selected)
        figure.add_trace({**added_ones, "meta": {"rank": ADDED}})  # for print, which places the labels again
    for quiet in space.quiet:
        if quiet not in marked:
            figure.add_trace(_line(space, quiet, {"color": COLOURS.mark, "width": 1}, opacity=QUIET, hoverinfo="skip"))
    styles = (
        ({"color": COLOURS.selected, "width": 2}, "circle-open"),
        ({"color": COLOURS.ink, "width": 1.5, "dash": "dash"}, "square-open"),
    )
    for token, (line, symbol) in zip(selected, styles, strict=True):
        if token is not None and space.path and token in space.followed:
            figure.add_trace(_path(space, token, line, numbers if token == selected[0] else {}))
        if token in side_of:
            figure.add_trace(_mark(space, token, str(line["color"]), symbol, names[token], side_of[token]))
    if further:
        figure.add_trace(_rings(space, further))
    ranges = space.ranges()
    if space.dimensions == 3:
        figure.update_layout(**_scene(space))
    else:
        figure.update_layout(**plane_axes(space.titles, len(tokens)))
        figure.update_layout(xaxis={"range": ranges[0]}, yaxis={"range": ranges[1]})
    left_out = sum(side is None for side in side_of.values())
    if left_out:
        words = f"{left_out} of {len(side_of)} labels found no room"
        below = -20 if space.dimensions == 2 else 18
        corner = {
            "xref": "paper",
            "yref": "paper",
            "x": 1,
            "y": 0,
            "yshift": below,
            "xanchor": "right",
            "yanchor": "top",
        }
        figure.add_annotation(text=words, showarrow=False, font={"size": 10, "color": COLOURS.muted}, **corner)
    return figure


def label_sides(
    space: Space, lengths: Sequence[int], first: Sequence[int], early: Sequence[int] = (), stops: Sequence[int] = ()
) -> list[str | None]:
    """Run `place_labels` on the shown tokens, and on places along a path.

    Args:
        lengths: characters of every token's label. first, early: tokens to place first, and next.
        stops: places on the path of the first of `first`; their sides come last.
    """
    shown = space.shown
    points = _pixels(space, space.coordinates[space.at, shown])
    wide = [lengths[token] * CHARACTER_WIDTH for token in shown]
    rank = [MARKED if token in first else ADDED if token in early else OTHERS for token in shown]
    if stops:
        points = np.concatenate([points, _pixels(space, _along(space, first[0])[list(stops)])])
        wide += [len(place_sign(place)) * CHARACTER_WIDTH for place in stops]
        rank += [layer_rank(place, len(space.coordinates)) for place in stops]
    return place_labels(points, wide, rank, (PLANE[0] + MARGIN["r"], PLANE[1]))


def _stops(space: Space, token: int | None) -> list[int]:
    """The places on a token's path, which carry their layers' numbers."""
    if token is None or not space.path:
        return []
    return np.flatnonzero(np.isfinite(_along(space, token)[:, 0])).tolist()


def _pixels(space: Space, coordinates: np.ndarray) -> np.ndarray:
    """(point, component) → (point, 2): pixels from the left and from the top of the plane."""
    ranges = np.array(space.ranges())
    share = (coordinates[:, : space.dimensions] - ranges[:, 0]) / (ranges[:, 1] - ranges[:, 0])
    if space.dimensions == 3:
        right, up = _view()
        share = np.stack(
            [0.5 + (share - 0.5) @ axis * CUBE / length for axis, length in zip((right, up), PLANE, strict=True)], 1
        )
    return np.stack([share[:, 0] * PLANE[0], (1 - share[:, 1]) * PLANE[1]], axis=1)


def _view() -> tuple[np.ndarray, np.ndarray]:
    """The directions in the cube of three components that point right and up in the figure."""
    cy, sy, cp, sp = math.cos(TURNED), math.sin(TURNED), math.cos(TILTED), math.sin(TILTED)
    return np.array([cy, sy, 0.0]), np.array([-sy * sp, cy * sp, cp])


def _plain(label: str) -> str:
    """A label for three components, whose text Plotly draws without decoding entities: a zero-width mark breaks up
    anything that looks like one of its own elements.
    """
    return label.replace("<", "<\u2060")


def _trace(coordinates: np.ndarray, **more: Any) -> go.Scatter | go.Scatter3d:
    """A trace of (point, component) in the plane or in space."""
    if coordinates.shape[1] == 2:
        return go.Scatter(x=coordinates[:, 0], y=coordinates[:, 1], cliponaxis=False, **more)
    return go.Scatter3d(x=coordinates[:, 0], y=coordinates[:, 1], z=coordinates[:, 2], **more)


def _along(space: Space, token: int) -> np.ndarray:
    return space.coordinates[:, token, : space.dimensions]


def _line(space: Space, token: int, line: dict[str, Any], **more: Any) -> go.Scatter | go.Scatter3d:
    return _trace(_along(space, token), mode="lines", line=line, **more)


def _path(space: Space, token: int, line: dict[str, Any], sides: dict[int, str | None]) -> go.Scatter | go.Scatter3d:
    """A token's path; `sides` has the places that carry their layer's number, unless there is no room."""
    count = len(space.coordinates)
    numbers = {
        "text": [place_sign(place) if sides.get(place) else "" for place in range(count)],
        "textposition": [sides.get(place) or "top center" for place in range(count)],
        "textfont": {"size": 10, "color": line["color"]},
    }
    return _trace(
        _along(space, token),
        mode="lines+markers+text" if sides else "lines+markers",
        line=line,
        marker={"size": SIZES[space.dimensions]["stop"], "color": line["color"]},
        customdata=[{"place": place} for place in range(count)],
        hovertext=[f"token {token}, {place_name(place)}" for place in range(count)],
        hovertemplate="%{hovertext}<extra></extra>",
        **(numbers if sides else {}),
    )


def _points(space: Space, tokens: Sequence[int] | None = None, colour: str = COLOURS.mark) -> dict[str, Any]:
    """The point of every shown token, or of these."""
    shown = space.shown if tokens is None else list(tokens)
    found = space.coordinates[space.at, shown, : space.dimensions]
    kind: dict[str, Any] = {"type": "scatter3d"}
    size, count = 3, len(space.shown)
    if space.dimensions == 2:
        kind = {"type": "scatter", "cliponaxis": False}
        size = 7 if count <= 80 else 6 if count <= 400 else 5
    return {
        **kind,
        **{name: found[:, i] for i, name in enumerate("xyz"[: space.dimensions])},
        "mode": "markers",
        "customdata": [{"token": i} for i in shown],
        "marker": {"size": size, "color": colour},
    }


def _labelled(
    space: Space, tokens: Sequence[int], names: list[str], sides: dict[int, str | None], dot: str, ink: str
) -> dict[str, Any]:
    """The points of these tokens with the labels that Plotly writes; a token whose side is None carries none."""
    return {
        **_points(space, tokens, dot),
        "mode": "markers+text",
        "text": ["" if sides[i] is None else names[i] for i in tokens],
        "textposition": [sides[i] or "middle right" for i in tokens],
        "textfont": {"family": TOKEN_FONT, "size": 11, "color": ink},
        "hovertext": [names[i] for i in tokens],
        "hovertemplate": "%{hovertext}<extra></extra>",
    }


def _rings(space: Space, tokens: Sequence[int]) -> go.Scatter | go.Scatter3d:
    """The thin rings of added tokens."""
    look = {"symbol": "circle-open", "size": SIZES[space.dimensions]["ring"], "color": COLOURS.selected}
    marker = {**look, "line": {"width": 1, "color": COLOURS.selected}}
    found = space.coordinates[space.at, list(tokens), : space.dimensions]
    return _trace(found, mode="markers", marker=marker, hoverinfo="skip")


def _mark(space: Space, token: int, colour: str, symbol: str, name: str, side: str | None) -> go.Scatter | go.Scatter3d:
    marker = {
        "symbol": symbol,
        "size": SIZES[space.dimensions]["mark"],
        "color": colour,
        "line": {"width": 2, "color": colour},
    }
    return _trace(
        space.coordinates[[space.at], token, : space.dimensions],
        mode="markers+text",
        text=[f"<b>{name}</b>"],
        textposition=side or "middle right",
        textfont={"family": TOKEN_FONT, "size": 11, "color": colour},
        marker=marker,
        hoverinfo="skip",
    )


def _camera() -> dict[str, Any]:
    right, up = _view()
    away = np.cross(up, right)
    eye = dict(zip("xyz", (-DISTANCE * away).tolist(), strict=True))
    return {"eye": eye, "up": {"x": 0, "y": 0, "z": 1}, "projection": {"type": "orthographic"}}


def _scene(space: Space) -> dict[str, Any]:
    def side(title: str) -> dict[str, Any]:
        font = {"size": 11, "color": COLOURS.second_ink}
        return {
            "title": {"text": title, "font": font},
            "gridcolor": COLOURS.hairline,
            "showbackground": False,
            "zeroline": False,
            "tickfont": {"size": 10, "color": COLOURS.muted},
        }

    axes = {f"{name}axis": side(title) for name, title in zip("xyz", space.titles, strict=True)}
    return {
        "scene": {**axes, "aspectmode": "manual", "aspectratio": dict.fromkeys("xyz", ASPECT), "camera": _camera()},
        "margin": {"l": 0, "r": 0, "t": 0, "b": 0},
    }
