"""A grid of shapes: the same job on many sizes, beside its peer, one process a cell."""
