"""Map of hidden states: PCA of all tokens at the selected layer."""

from __future__ import annotations

from dashboard.views.declaration import View
from dashboard.views.hidden_states import projected

VIEW = View(
    name="hidden",
    title="Hidden states",
    card="hidden",
    tab="Map",
    order=1,
    invitation=(
        "Run a text to see which tokens the model treats alike.",
        "Each token becomes a point at the chosen layer; nearby points have similar representations.",
    ),
    selects="drawn",
    figure_reads=("run", "stream", "layer"),
    reads=projected.reads,
    export_reads=projected.export_reads,
    draw=projected.draw,
    text=projected.text,
    explain=projected.explain,
    controls=(projected.AXES, projected.AT, projected.FIT, projected.SCALING, projected.FIRST),
    table=projected.table,
    export=projected.export,
)
