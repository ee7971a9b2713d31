"""Tabular: rows of 64 numbers in, the most probable of ten classes out. The example to start from."""
