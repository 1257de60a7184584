"""A request's tensors held against what the version's signed configuration says it takes."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from inference.model_config import ModelConfig
from sealgate.reasons import Reason, Refusal
from sealgate.tensors import Tensor


def model_input(config: ModelConfig, tensors: Mapping[str, Tensor]) -> npt.NDArray[Any]:
    """The one input, [rows, …], of the model's name, data type and shape, inside its domain.

    Screening measures responses inside the domain only, so nothing outside may pass.
    Raises: TENSOR_NAME, TENSOR_DATATYPE, TENSOR_SHAPE, TENSOR_RANGE, BATCH_TOO_LARGE.
    """
    spec = config.input
    if len(tensors) != 1 or spec.name not in tensors:
        raise Refusal(Reason.TENSOR_NAME)
    tensor = tensors[spec.name]
    if tensor.datatype != spec.datatype:
        raise Refusal(Reason.TENSOR_DATATYPE)
    if tensor.shape[1:] != spec.row or not tensor.shape[0]:
        raise Refusal(Reason.TENSOR_SHAPE)
    if tensor.shape[0] > config.batching.max_rows:
        raise Refusal(Reason.BATCH_TOO_LARGE)
    domain = config.domain
    # float32 cannot hold every bound exactly, so the bounds are compared as it would hold them.
    if tensor.data.min() < np.float32(domain.min) or tensor.data.max() > np.float32(domain.max):
        raise Refusal(Reason.TENSOR_RANGE)
    return tensor.data


def wanted_outputs(config: ModelConfig, asked: Sequence[str]) -> tuple[str, ...]:
    """The outputs to answer with: those asked for, else all. Raises: OUTPUT_UNKNOWN."""
    if any(name != config.output.name for name in asked):
        raise Refusal(Reason.OUTPUT_UNKNOWN)
    return (config.output.name,)
