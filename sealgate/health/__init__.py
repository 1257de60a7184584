"""Health checks of a gateway from a caller's side: golden inputs, freshness, certificates."""
