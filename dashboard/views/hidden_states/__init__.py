"""The hidden states card: tokens in a plane or in space, their path through the layers, and curves over layers."""
