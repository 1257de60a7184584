"""Running a version's graphs while the version is being made."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from inference.model_config import ModelConfig
from inference.runtime import Session
from inference.screening import attack, contract

Array = npt.NDArray[Any]
Floats = npt.NDArray[np.float32]

_BATCH_ROWS = 256


@dataclass(frozen=True, slots=True)
class Classifier:
    """A serving graph, fp32 or INT8, on one thread."""

    session: Session
    input: str

    @classmethod
    def of(cls, graph: bytes, config: ModelConfig) -> "Classifier":
        """Raises: FORMAT_REFUSED, EXTERNAL_DATA, GRAPH_MISMATCH."""
        return cls(Session.open(graph, [config.output.name]), config.input.name)

    def logits(self, rows: Floats) -> Floats:
        """From rows [n, ...] to logits [n, classes]."""
        answers = [self.session.run({self.input: batch})[0] for batch in _batches(rows)]
        return np.concatenate(answers)


@dataclass(frozen=True, slots=True)
class ResponseGraph:
    """A response graph, on one thread, as `inference.screening.attack` wants it."""

    session: Session

    @classmethod
    def of(cls, graph: bytes) -> "ResponseGraph":
        """Raises: FORMAT_REFUSED, EXTERNAL_DATA, GRAPH_MISMATCH."""
        return cls(Session.open(graph, contract.OUTPUTS))

    def run(
        self, output_names: Sequence[str] | None, input_feed: Mapping[str, Array]
    ) -> list[Array]:
        return self.session.run(input_feed, output_names or ())

    def logits(self, rows: Floats, config: ModelConfig) -> Floats:
        """Its own forward: from rows [n, ...] to logits [n, classes]."""
        low, high = config.domain.min, config.domain.max
        answers = [
            self.run([contract.LOGITS], attack.feeds(batch, config.eps, low, high))[0]
            for batch in _batches(rows)
        ]
        return np.concatenate(answers)


def accuracy(logits: Floats, y: npt.NDArray[np.int64]) -> float:
    """The share of rows [n] whose largest logit [n, classes] is their class's."""
    return float(np.mean(logits.argmax(axis=1) == y))


def _batches(rows: Floats) -> Iterator[Floats]:
    for start in range(0, len(rows), _BATCH_ROWS):
        yield rows[start : start + _BATCH_ROWS]
