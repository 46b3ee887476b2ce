"""The labels of a figure's points, and the numbers along a path, placed again for another width."""

from __future__ import annotations

import html
import re
import unicodedata
from dataclasses import dataclass
from typing import Any

import numpy as np
import plotly.graph_objects as go

from dashboard.figures.labels import MARKED, OTHERS, layer_rank, place_labels
from dashboard.figures.text import BIDI_CONTROLS, place_sign
from dashboard.figures.theme import CHARACTER_WIDTH

NARROW = 600  # pixels below which a sheet is narrow, and the labels of a path's other tokens give way to its numbers
LINE = 14  # between labels one above the other
CUBE = 355 / 520  # side of the cube of three components, relative to the figure's height
MARK = re.compile("<[^>]+>")


@dataclass(frozen=True)
class _Labels:
    """The labels of one trace's points: text, place in pixels, and rank of each (`place_labels`); "" for none."""

    trace: Any
    texts: list[str]
    where: np.ndarray
    ranks: list[int]

    @classmethod
    def of(cls, trace: Any, where: np.ndarray) -> _Labels:
        if trace.mode == "lines+markers+text":  # a path: its layers' numbers
            places, count = [item["place"] for item in trace.customdata], len(trace.customdata)
            there = np.isfinite(where).all(axis=1)
            texts = [place_sign(place) if is_there else "" for place, is_there in zip(places, there, strict=True)]
            return cls(trace, texts, where, [layer_rank(place, count) for place in places])
        texts = list(trace.hovertext or trace.text)
        rank = MARKED if trace.hovertext is None else (trace.meta or {}).get("rank", OTHERS)
        return cls(trace, texts, where, [rank] * len(texts))

    @property
    def is_path(self) -> bool:
        return self.trace.mode == "lines+markers+text"

    def put(self, sides: list[str | None]) -> None:
        """Write the labels that have a side, there."""
        self.trace.text = [text if side else "" for text, side in zip(self.texts, sides, strict=True)]
        self.trace.textposition = [side or "middle right" for side in sides]


def label_points(figure: go.Figure) -> None:
    """Place the labels of points, and the numbers along a path, again."""
    drawn = [trace for trace in figure.data if trace.type.startswith("scatter")]
    named = [trace for trace in drawn if "markers+text" in (trace.mode or "")]
    in_space = any(trace.type == "scatter3d" for trace in named)
    if not named or not (in_space or (figure.layout.xaxis.range and figure.layout.yaxis.range)):
        return
    project, plot = _projection(figure), plot_size(figure)
    labels = [_Labels.of(trace, project(trace)) for trace in named]
    texts = [text for part in labels for text in part.texts]
    ranks = [rank for part in labels for rank in part.ranks]
    on_path = [part.is_path for part in labels for _text in part.texts]
    where = np.concatenate([part.where for part in labels])
    marked = where[[rank == MARKED for rank in ranks]]
    own = [  # labels of points that carry a mark with a label, too
        not path and rank != MARKED and bool(len(marked)) and bool((np.abs(marked - at).max(axis=1) < 0.5).any())
        for at, rank, path in zip(where, ranks, on_path, strict=True)
    ]
    kept = [index for index, text in enumerate(texts) if text and not own[index]]
    if any(on_path) and figure.layout.width < NARROW:  # room for a path's numbers
        kept = [index for index in kept if ranks[index] != OTHERS]
    stops = [project(trace) for trace in drawn if (trace.mode or "").startswith("lines+markers")]
    sides = place_labels(
        where[kept],
        [text_width(texts[i]) for i in kept],
        [ranks[i] for i in kept],
        (plot[0] + figure.layout.margin.r, plot[1]),
        np.concatenate([where[[not path for path in on_path]], *stops]),
    )
    side_of, start = dict(zip(kept, sides, strict=True)), 0
    for part in labels:
        part.put([side_of.get(start + i) for i in range(len(part.texts))])
        start += len(part.texts)
    points = [index for index, path in enumerate(on_path) if not path and not own[index]]
    _count_left_out(figure, sum(side_of.get(index) is None for index in points), len(points))


def _count_left_out(figure: go.Figure, left_out: int, count: int) -> None:
    for note in figure.layout.annotations:
        if "found no room" in (note.text or ""):
            note.update(text=f"{left_out} of {count} labels found no room", visible=left_out > 0)
            if figure.layout.width < NARROW and figure.layout.xaxis.title.text:  # below the axis title, not beside it
                note.yshift -= LINE + 2
                figure.layout.margin.b += LINE
                figure.layout.height += LINE


def _projection(figure: go.Figure) -> Any:
    """A function from a trace to (point, 2) pixels from the left and the top of the plot."""
    across, down = plot_size(figure)
    if not any(trace.type == "scatter3d" for trace in figure.data):
        (left, right), (bottom, top) = figure.layout.xaxis.range, figure.layout.yaxis.range

        def in_plane(trace: Any) -> np.ndarray:
            x, y = (np.asarray(values, dtype=float) for values in (trace.x, trace.y))
            return np.stack([(x - left) / (right - left) * across, (top - y) / (top - bottom) * down], axis=1)

        return in_plane
    every = np.concatenate([_coordinates(trace) for trace in figure.data])
    low, high = np.nanmin(every, axis=0), np.nanmax(every, axis=0)
    eye, up = (
        np.array([getattr(part, name) or 0 for name in "xyz"], dtype=float)
        for part in (figure.layout.scene.camera.eye, figure.layout.scene.camera.up)
    )
    rightwards = np.cross(up, eye)
    rightwards /= np.linalg.norm(rightwards)
    upwards = np.cross(eye, rightwards)
    upwards /= np.linalg.norm(upwards)

    def in_space(trace: Any) -> np.ndarray:
        share = (_coordinates(trace) - low) / np.where(high > low, high - low, 1) - 0.5
        x, y = share @ rightwards, share @ upwards
        return np.stack([across / 2 + x * CUBE * down, down / 2 - y * CUBE * down], axis=1)

    return in_space


def _coordinates(trace: Any) -> np.ndarray:
    return np.stack([np.asarray(values, dtype=float) for values in (trace.x, trace.y, trace.z)], axis=1)


def text_width(text: str, character: float = CHARACTER_WIDTH) -> float:
    """The approximate width of a label in pixels: Chinese and Japanese characters are wider."""
    plain = BIDI_CONTROLS.sub("", html.unescape(MARK.sub("", text)))
    wide = sum(unicodedata.east_asian_width(one) in "WF" for one in plain)
    narrow = sum(unicodedata.combining(one) == 0 for one in plain) - wide
    return narrow * character + wide * 11.5


def plot_size(figure: go.Figure) -> tuple[float, float]:
    """Width and height between the margins; margins that are not given become 0."""
    layout, margin = figure.layout, figure.layout.margin
    margin.update({side: margin[side] or 0 for side in "lrtb"})
    return layout.width - margin.l - margin.r, layout.height - margin.t - margin.b
