"""A version's golden inputs and their expected answers: `golden.safetensors`."""

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any, Self

import numpy as np
import numpy.typing as npt
import safetensors
import safetensors.numpy

from inference.model.config import ModelConfig
from inference.text.tokens import Ids
from sealgate.reasons import Reason, SealgateError

Floats = npt.NDArray[np.float32]

_MOST_ROWS = 4096
PROBE, PROBE_LOGITS = "probe", "probe_logits"


@dataclass(frozen=True, slots=True)
class Golden:
    """Inputs `x` [n, …] and `logits` float32 [n, C], n from 1 to 4096.

    The inputs are float32, or tokens int64 [n, s]. If the model takes texts, `probes` has the texts
    of `sealgate.probes.PROBES` as its tokenizer splits them, with their logits.
    """

    x: npt.NDArray[Any]
    logits: Floats
    probes: "Golden | None" = None

    def __post_init__(self) -> None:
        rows = len(self.x)
        if not 1 <= rows <= _MOST_ROWS or len(self.logits) != rows:
            raise SealgateError(
                Reason.FORMAT_REFUSED, f"golden tensors have 1 to {_MOST_ROWS} rows"
            )
        if not np.isfinite(self.x).all() or not np.isfinite(self.logits).all():
            raise SealgateError(Reason.FORMAT_REFUSED, "a golden tensor is not finite")

    def encode(self) -> bytes:
        """Return the file."""
        tensors = {"x": self.x, "logits": self.logits}
        if self.probes is not None:
            tensors |= {PROBE: self.probes.x, PROBE_LOGITS: self.probes.logits}
        return bytes(safetensors.numpy.save(tensors))

    @classmethod
    def decode(cls, data: bytes, config: ModelConfig) -> Self:
        """Read the file. Raises SealgateError(FORMAT_REFUSED) for another form or other shapes."""
        try:
            tensors = safetensors.numpy.load(data)
        except (safetensors.SafetensorError, ValueError, KeyError) as error:
            raise SealgateError(Reason.FORMAT_REFUSED, f"golden: {error}") from error
        most = (config.tokens.most,) if config.tokens is not None else ()
        forms: dict[str, tuple[np.dtype[Any], tuple[int, ...]]] = {
            "x": (np.dtype(np.int64), most) if most else (np.dtype(np.float32), config.input.row),
            "logits": (np.dtype(np.float32), config.output.row),
        }
        if config.is_text:
            forms |= {PROBE: forms["x"], PROBE_LOGITS: forms["logits"]}
        if tensors.keys() != forms.keys():
            raise SealgateError(Reason.FORMAT_REFUSED, f"golden tensors are {', '.join(forms)}")
        for name, (dtype, row) in forms.items():
            if tensors[name].dtype != dtype or tensors[name].shape[1:] != row:
                raise SealgateError(
                    Reason.FORMAT_REFUSED, f"golden {name} is not {dtype} [n, {row}]"
                )
        golden = cls(tensors["x"], tensors["logits"])
        if config.tokens is not None:
            config.tokens.checked(golden.x)
        if not config.is_text:
            return golden
        return replace(golden, probes=cls(tensors[PROBE], tensors[PROBE_LOGITS]))

    def batches(self, size: int) -> Iterator[tuple[npt.NDArray[Any], Floats]]:
        """The rows in order, in batches of at most `size`."""
        for batch in range(math.ceil(len(self.x) / size)):
            rows = slice(batch * size, (batch + 1) * size)
            yield self.x[rows], self.logits[rows]

    def check_probe(self, found: Ids | None) -> None:
        """Check that `found`, the probe texts as split here, equal the publisher's tokens.

        Raises: GOLDEN_MISMATCH.
        """
        if self.probes is None:
            return
        if found is None or not np.array_equal(found, self.probes.x):
            raise SealgateError(
                Reason.GOLDEN_MISMATCH, "the tokenizer splits texts differently here"
            )

    def check(self, logits: Floats, tolerance: float) -> None:
        """Check that answers are equal or within `tolerance`. Raises: GOLDEN_MISMATCH."""
        if logits.shape != self.logits.shape:
            raise SealgateError(Reason.GOLDEN_MISMATCH, "the answers have another shape")
        if not np.allclose(logits, self.logits, rtol=tolerance, atol=tolerance):
            distance = float(np.abs(logits - self.logits).max())
            raise SealgateError(Reason.GOLDEN_MISMATCH, f"an answer is off by {distance}")
