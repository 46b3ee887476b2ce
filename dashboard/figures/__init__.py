"""Results and a selection in, a `plotly.graph_objects.Figure` out; pure functions."""
