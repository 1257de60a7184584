"""A confined worker process for files and models that nobody has approved (Linux)."""
