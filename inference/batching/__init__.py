"""Batching: a bounded, fair queue, and batches sized by measured cost."""
