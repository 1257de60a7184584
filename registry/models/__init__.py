"""Models, their versions, and the evidence that belongs to a version."""
