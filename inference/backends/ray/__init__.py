"""Backend that runs versions in replicas on Ray Serve."""
