"""Recipes: strict TOML files that describe how a model is made."""
