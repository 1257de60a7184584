"""The rows of a run in disjoint slices, and the files that a run writes."""
