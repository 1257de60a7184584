"""Watermarks: marks in a model's weights that show whose it is, which version, and for whom."""
