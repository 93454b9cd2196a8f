"""Grids of cells: a job on many rows, two contenders, one process a cell."""
