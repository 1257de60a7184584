"""Screening beside the engine: drift, features for recalibration, the prompt classifier."""

from gateway.screening.drift import DriftWatch
from gateway.screening.features import FeatureKeeper
from gateway.screening.prompt_classifier import PromptClassifier

__all__ = [
    "DriftWatch",
    "FeatureKeeper",
    "PromptClassifier",
]
