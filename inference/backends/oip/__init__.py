"""Backend for versions that a third-party Open Inference Protocol server runs."""
