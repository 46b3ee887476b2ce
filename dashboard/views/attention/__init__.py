"""The attention card: one head as a heatmap beside the grid of all heads, and a table of their scores."""
