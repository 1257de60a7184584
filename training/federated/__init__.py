"""Federated training: clients train on their own rows, and only sums of updates are seen."""
