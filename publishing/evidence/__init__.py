"""Evidence: signed statements about a version, on which approvers base a promotion."""
