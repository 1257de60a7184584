"""Engine: verifies versions, loads them, publishes the live table and resolves requests."""
