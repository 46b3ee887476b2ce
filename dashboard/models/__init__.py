"""The only place with torch: which models there are, how they load, and what a run captures of them."""
