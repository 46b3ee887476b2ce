"""The selected token's path through the layers, in one basis for all layers."""

from __future__ import annotations

from dashboard.views.declaration import View
from dashboard.views.hidden_states import projected

VIEW = View(
    name="path",
    title="Path through the layers",
    card="hidden",
    tab="Path",
    order=2,
    invitation=(
        "Run a text to see how a token's representation moves.",
        "Each layer moves it a little further; the path shows all of them in one plane.",
    ),
    selects="drawn",
    figure_reads=("run", "stream"),  # the browser has all coordinates, so it marks token and layer itself
    export_reads=projected.export_reads,
    draw=projected.draw,
    text=projected.text,
    explain=projected.explain,
    controls=(projected.AXES, projected.AT, projected.SCALING, projected.FIRST),
    table=projected.table,
    export=projected.export,
)
