"""`sealgate model`: versions of models, and the promotion of them."""
