"""Texts: tokenizers, rows of tokens, and windows over long texts."""
