"""Which models there are, judged from files alone: bundled, folders, GGUF, the hub. No torch at module level."""
