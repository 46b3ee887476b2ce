"""The attention card: one head as a heatmap with the grid of all heads, and their scores as a table."""
