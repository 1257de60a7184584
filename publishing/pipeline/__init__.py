"""The publishing chain: makes and signs the files of a version, and keeps it until registered."""
