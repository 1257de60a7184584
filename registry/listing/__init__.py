"""Lists: filters (AIP-160) and pages (AIP-158)."""
