"""The request path: inference, generation, and the enforcement that both share."""
