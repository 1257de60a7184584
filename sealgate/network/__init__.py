"""Connections with bounds, to others and from them: their time, their number, and what they send."""
