"""The answer log: entries with encrypted openings, their index, and the subjects' keys."""
