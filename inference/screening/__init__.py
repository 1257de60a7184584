"""Screening: features of a row become a score, and the detector turns scores into verdicts."""
