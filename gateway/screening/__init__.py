"""Screening beside the engine: drift, features for recalibration, the prompt classifier."""
