"""The predictions card: the most likely tokens, and what the layers before the last would predict."""
