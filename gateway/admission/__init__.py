"""Who waits and who is refused: quotas, stream limits, load shedding."""
