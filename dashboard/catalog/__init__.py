"""The models to choose from, judged from files alone: bundled, folders, GGUF, the hub. No torch at module level."""
