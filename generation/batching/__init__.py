"""Batching of generation: many answers at once, with a bounded cache and per-request sampling."""
