"""The commands `sealgate serve`, `artifacts` and `log prune`."""
