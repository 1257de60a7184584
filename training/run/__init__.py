"""Runs: from a recipe to a folder that can be published."""
