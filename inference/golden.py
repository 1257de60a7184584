"""The golden inputs of a version and the answers expected of them: `golden.safetensors`."""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Self

import numpy as np
import numpy.typing as npt
import safetensors
import safetensors.numpy

from inference.model_config import ModelConfig
from sealgate.reasons import Reason, Refusal

Floats = npt.NDArray[np.float32]

_MOST_ROWS = 4096


@dataclass(frozen=True, slots=True)
class Golden:
    """Inputs `x` [n, …] and `logits` [n, C], both float32, n from 1 to 4096."""

    x: Floats
    logits: Floats

    def __post_init__(self) -> None:
        rows = len(self.x)
        if not 1 <= rows <= _MOST_ROWS or len(self.logits) != rows:
            raise Refusal(Reason.FORMAT_REFUSED, f"golden tensors have 1 to {_MOST_ROWS} rows")
        if not np.isfinite(self.x).all() or not np.isfinite(self.logits).all():
            raise Refusal(Reason.FORMAT_REFUSED, "a golden tensor is not finite")

    def encode(self) -> bytes:
        """Return the file."""
        return bytes(safetensors.numpy.save({"x": self.x, "logits": self.logits}))

    @classmethod
    def decode(cls, data: bytes, config: ModelConfig) -> Self:
        """Read the file. Raises Refusal(FORMAT_REFUSED) for another form or other shapes."""
        try:
            tensors = safetensors.numpy.load(data)
        except (safetensors.SafetensorError, ValueError, KeyError) as error:
            raise Refusal(Reason.FORMAT_REFUSED, f"golden: {error}") from error
        rows = {"x": config.input.row, "logits": config.output.row}
        if tensors.keys() != rows.keys():
            raise Refusal(Reason.FORMAT_REFUSED, "golden tensors are x and logits")
        for name, row in rows.items():
            if tensors[name].dtype != np.float32 or tensors[name].shape[1:] != row:
                raise Refusal(Reason.FORMAT_REFUSED, f"golden {name} is not float32 [n, {row}]")
        return cls(**tensors)

    def batches(self, size: int) -> Iterator[tuple[Floats, Floats]]:
        """The rows in order, in batches of at most `size`."""
        for batch in range(math.ceil(len(self.x) / size)):
            rows = slice(batch * size, (batch + 1) * size)
            yield self.x[rows], self.logits[rows]

    def check(self, logits: Floats, tolerance: float) -> None:
        """Refuse with GOLDEN_MISMATCH answers that are neither equal nor within `tolerance`."""
        if logits.shape != self.logits.shape:
            raise Refusal(Reason.GOLDEN_MISMATCH, "the answers have another shape")
        if not np.allclose(logits, self.logits, rtol=tolerance, atol=tolerance):
            distance = float(np.abs(logits - self.logits).max())
            raise Refusal(Reason.GOLDEN_MISMATCH, f"an answer is off by {distance}")
