"""The predictions card: the most likely tokens, and what the earlier layers would predict."""
