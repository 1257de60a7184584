"""Keeps the engine in step with the registry."""
