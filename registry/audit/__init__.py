"""What auditors read of the registry, and the comparison of its database with its log."""
