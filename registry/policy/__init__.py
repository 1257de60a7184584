"""The chain of policies in force, and the freshness statement."""
