"""The hidden states card: tokens in a plane or in space, their paths through the layers, and curves over layers."""
