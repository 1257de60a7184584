"""Witnesses' cosignatures of this gateway's logs."""
