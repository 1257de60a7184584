"""The request of the worker's publishing task: a described model, its rows and a seed.

Publisher and worker (`publishing.worker_tasks.trial`) draw the same golden rows from the seed.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from safetensors import numpy as safetensors_numpy

from inference.model.config import ModelConfig
from inference.screening.detector import Detector
from publishing.attacks import MOST_REPORTED_TEXTS
from publishing.source.dataset import SLICES, DataSlice


@dataclass(frozen=True, slots=True, eq=False)
class TrialRequest:
    """A described model: `source` as it was trained, `serving` and `response` marked; its rows.
    Without screening `response` is empty.
    Without `first_stage` the response graph screens every row, whatever it costs. With `keeps_rows`
    that graph keeps rows of the first half of the fit slice.
    """

    config: ModelConfig
    source: bytes
    serving: bytes
    response: bytes
    fit: DataSlice
    calibration: DataSlice
    test: DataSlice
    seed: int
    tokenizer: bytes | None = None
    traffic: npt.NDArray[np.float32] | None = None
    earlier: Detector | None = None
    first_stage: bool = True
    keeps_rows: bool = False

    @property
    def unkept(self) -> npt.NDArray[Any]:
        """The rows of the fit slice that the response graph does not keep."""
        return self.fit.halves()[1].x if self.keeps_rows else self.fit.x

    @property
    def asks_float32(self) -> bool:
        """Whether float32 is asked by itself, about rows of small margin: a text's response graph
        has no float32 forward in its features.
        """
        if self.earlier is not None:
            return self.earlier.least_margin > 0
        return self.config.quantized and self.config.tokens is not None

    def encode(self) -> bytes:
        """Return safetensors."""
        texts = {
            "config": self.config.encode(),
            "source": self.source,
            "serving": self.serving,
            "response": self.response,
        }
        if self.tokenizer is not None:
            texts["tokenizer"] = self.tokenizer
        if self.earlier is not None:
            texts["earlier"] = self.earlier.encode()
        tensors: dict[str, npt.NDArray[Any]] = {
            name: np.frombuffer(data, np.uint8) for name, data in texts.items()
        }
        for name, part in zip(SLICES, (self.fit, self.calibration, self.test), strict=True):
            x, y = np.ascontiguousarray(part.x), np.ascontiguousarray(part.y)
            tensors |= {f"x_{name}": x, f"y_{name}": y}
        tensors["seed"] = np.array([self.seed], np.int64)
        tensors["first_stage"] = np.array([self.first_stage])
        tensors["keeps_rows"] = np.array([self.keeps_rows])
        if self.traffic is not None:
            tensors["traffic"] = np.ascontiguousarray(self.traffic)
        return bytes(safetensors_numpy.save(tensors))

    @classmethod
    def decode(cls, data: bytes) -> "TrialRequest":
        """Read what `encode` wrote; the publisher's word needs no doubt."""
        tensors = safetensors_numpy.load(data)
        fit, calibration, test = (DataSlice(tensors[f"x_{n}"], tensors[f"y_{n}"]) for n in SLICES)
        return cls(
            ModelConfig.decode(tensors["config"].tobytes()),
            tensors["source"].tobytes(),
            tensors["serving"].tobytes(),
            tensors["response"].tobytes(),
            fit,
            calibration,
            test,
            int(tensors["seed"][0]),
            tensors["tokenizer"].tobytes() if "tokenizer" in tensors else None,
            tensors.get("traffic"),
            Detector.decode(tensors["earlier"].tobytes()) if "earlier" in tensors else None,
            bool(tensors["first_stage"][0]),
            bool(tensors["keeps_rows"][0]),
        )


def random_generators(seed: int) -> tuple[np.random.Generator, np.random.Generator]:
    """The random generators for choosing golden rows and for making noise."""
    golden, noise = map(np.random.default_rng, np.random.SeedSequence(seed).spawn(2))
    return golden, noise


def rows_to_screen(rows: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """The test rows to screen: all rows of numbers, or the first few texts."""
    return rows[:MOST_REPORTED_TEXTS] if rows.dtype == np.int64 else rows
