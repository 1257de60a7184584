"""Canary, shadow, alias health and automatic rollback."""
