"""Audit queries, and the comparison of the registry's database with its log."""
