"""Show what a transformer is doing: attention, hidden states and token predictions, linked.

    from dashboard import load_model, capture_run
    run = capture_run(load_model("smollm2-135m"), "When Mary and John went to the shops")
    run.attention(24, 4), run.hidden_states[3], run.top_k(5)

Each name is imported when it is first used, so that `import dashboard` costs nothing and never imports torch.
"""

from __future__ import annotations

import importlib
import warnings
from typing import TYPE_CHECKING, Any

from dashboard.version import __version__ as __version__

if TYPE_CHECKING:
    from dashboard.analysis.aggregates import aggregate_attention
    from dashboard.capture.capture import capture_run
    from dashboard.capture.loader import LoadedModel, load_model, wrap_model
    from dashboard.compute.deriving import derive
    from dashboard.contracts.run import ModelRun
    from dashboard.exports.frames import read_table
    from dashboard.exports.run_files import open_run, save_run
    from dashboard.figures.attention_lines import plot_attention_lines
    from dashboard.figures.attention_norms import plot_attention_norms
    from dashboard.figures.attention_plot import plot_attention_aggregate, plot_attention_heatmap
    from dashboard.figures.classes import plot_classes
    from dashboard.figures.head_scores_plot import plot_attention_everywhere, plot_head_scores
    from dashboard.figures.heads import plot_attention_heads
    from dashboard.figures.lens_plot import plot_logit_lens
    from dashboard.figures.pca_plot import plot_hidden_pca
    from dashboard.figures.prediction import plot_token_probabilities
    from dashboard.figures.query_key import plot_query_key
    from dashboard.notebook.linked_page import show

__all__ = [
    "LoadedModel",
    "ModelRun",
    "aggregate_attention",
    "capture_run",
    "derive",
    "load_model",
    "open_run",
    "plot_attention_aggregate",
    "plot_attention_everywhere",
    "plot_attention_heads",
    "plot_attention_heatmap",
    "plot_attention_lines",
    "plot_attention_norms",
    "plot_classes",
    "plot_head_scores",
    "plot_hidden_pca",
    "plot_logit_lens",
    "plot_query_key",
    "plot_token_probabilities",
    "read_table",
    "save_run",
    "show",
    "wrap_model",
]
_HOMES = {
    "LoadedModel": "dashboard.capture.loader",
    "ModelRun": "dashboard.contracts.run",
    "capture_run": "dashboard.capture.capture",
    "derive": "dashboard.compute.deriving",
    "load_model": "dashboard.capture.loader",
    "open_run": "dashboard.exports.run_files",
    "read_table": "dashboard.exports.frames",
    "save_run": "dashboard.exports.run_files",
    "aggregate_attention": "dashboard.analysis.aggregates",
    "plot_attention_heads": "dashboard.figures.heads",
    "plot_attention_everywhere": "dashboard.figures.head_scores_plot",
    "plot_head_scores": "dashboard.figures.head_scores_plot",
    "plot_attention_aggregate": "dashboard.figures.attention_plot",
    "plot_attention_heatmap": "dashboard.figures.attention_plot",
    "plot_attention_lines": "dashboard.figures.attention_lines",
    "plot_attention_norms": "dashboard.figures.attention_norms",
    "plot_classes": "dashboard.figures.classes",
    "plot_hidden_pca": "dashboard.figures.pca_plot",
    "plot_logit_lens": "dashboard.figures.lens_plot",
    "plot_query_key": "dashboard.figures.query_key",
    "plot_token_probabilities": "dashboard.figures.prediction",
    "show": "dashboard.notebook.linked_page",
    "wrap_model": "dashboard.capture.loader",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'dashboard' has no attribute {name!r}")
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="IProgress not found")  # bars for notebooks: none is shown here
        return getattr(importlib.import_module(_HOMES[name]), name)
