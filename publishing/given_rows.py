"""Rows that a person gives, for a version that takes numbers."""

import math

import numpy as np
import numpy.typing as npt

from inference.model.config import ModelConfig
from sealgate.reasons import Reason, Refusal

Rows = npt.NDArray[np.float32]


def in_shape(config: ModelConfig, rows: Rows) -> Rows:
    """Return them as [n, *row], whatever shape they came in. Raises Refusal: TENSOR_DATATYPE for a
    model of texts, TENSOR_SHAPE where they are no whole number of rows.
    """
    if config.input.datatype != "FP32":
        raise Refusal(Reason.TENSOR_DATATYPE, f"the version takes {config.input.datatype}")
    if rows.size % math.prod(config.input.row):
        raise Refusal(Reason.TENSOR_SHAPE, f"{rows.shape}")
    return rows.reshape(-1, *config.input.row)
