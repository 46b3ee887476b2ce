"""Pure functions that turn results and a selection into a `plotly.graph_objects.Figure`."""
