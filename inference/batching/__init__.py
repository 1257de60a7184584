"""Batching: a bounded, fair queue, and batches sized by measured cost."""

from inference.batching.batch_sizing import BatchSizes, RowCapacity
from inference.batching.batcher import Batcher
from inference.batching.cost_model import BatchCosts
from inference.batching.job import DEFAULT_OPTIONS, RequestOptions
from inference.batching.limits import (
    NO_BOUNDS,
    BatcherCounts,
    BatcherLimits,
    Batching,
    BatchingBounds,
    OperatorBounds,
    Pace,
)
from inference.batching.queue import QueueItem, fair_parts

__all__ = [
    "DEFAULT_OPTIONS",
    "NO_BOUNDS",
    "BatchCosts",
    "BatchSizes",
    "Batcher",
    "BatcherCounts",
    "BatcherLimits",
    "Batching",
    "BatchingBounds",
    "OperatorBounds",
    "Pace",
    "QueueItem",
    "RequestOptions",
    "RowCapacity",
    "fair_parts",
]
