"""Callers' sessions: fingerprints of inputs, evidence of a search or an extraction."""
