"""Serving of language models: the generator's process, from verified bytes to streamed answers."""
