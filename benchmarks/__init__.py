"""What the dashboard costs, measured: `python -m benchmarks` prints every table. README.md here says how to read
them."""
