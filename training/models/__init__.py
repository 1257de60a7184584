"""Networks that recipes can train or import."""
