"""The request path: inference, generation, and the enforcement that both share."""

from gateway.pipeline.enforcement import Enforcement
from gateway.pipeline.generate import GenerationPipeline
from gateway.pipeline.generation_context import OPENING, RECEIPT, SEED
from gateway.pipeline.infer import LARGEST_BURST, InferencePipeline
from gateway.pipeline.observation import Observation
from gateway.pipeline.pending import PendingRequest

__all__ = [
    "LARGEST_BURST",
    "OPENING",
    "RECEIPT",
    "SEED",
    "Enforcement",
    "GenerationPipeline",
    "InferencePipeline",
    "Observation",
    "PendingRequest",
]
