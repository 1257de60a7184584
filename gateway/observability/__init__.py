"""Metrics, readiness, and what they are read from."""
