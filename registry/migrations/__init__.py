"""Alembic revisions of the databases: registry, answers and subjects."""
