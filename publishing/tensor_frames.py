"""Texts and arrays as one piece of safetensors: what a worker is asked, and what it answers."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
import safetensors
from safetensors import numpy as safetensors_numpy

from sealgate.reasons import Reason, Refusal

Array = npt.NDArray[Any]


def pack(texts: Mapping[str, bytes], arrays: Mapping[str, Array]) -> bytes:
    """One piece from texts and arrays, whose names differ."""
    tensors = {name: np.frombuffer(text, np.uint8) for name, text in texts.items()}
    tensors |= {name: np.ascontiguousarray(array) for name, array in arrays.items()}
    return bytes(safetensors_numpy.save(tensors))


def unpack(data: bytes) -> dict[str, Array]:
    """The arrays by name; a text is one of bytes (`tobytes`). Raises Refusal(WORKER_FAILED)."""
    try:
        return dict(safetensors_numpy.load(data))
    except (safetensors.SafetensorError, ValueError, KeyError) as error:
        raise Refusal(Reason.WORKER_FAILED, "its answer is no safetensors") from error
