"""Commands that serve, publish and audit language models."""
