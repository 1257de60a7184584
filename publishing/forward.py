"""Running a version's graphs while the version is being made."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from inference.engine.graphs import open_classifier
from inference.model.config import ModelConfig
from inference.model.forms import Form, form_of
from inference.runtime import response_contract
from inference.runtime.session import Session

Array = npt.NDArray[Any]
Floats = npt.NDArray[np.float32]

_BATCH_ROWS = 256


@dataclass(frozen=True, slots=True)
class Classifier:
    """A serving graph, fp32 or INT8, on one thread."""

    session: Session
    form: Form

    @classmethod
    def of(cls, graph: bytes, config: ModelConfig) -> "Classifier":
        """Raises: FORMAT_REFUSED, EXTERNAL_DATA, GRAPH_MISMATCH."""
        return cls(open_classifier(graph, config, threads=1), form_of(config))

    def logits(self, rows: Array) -> Floats:
        """From rows [n, ...] to logits [n, classes]."""
        return _logits(rows, self.form, lambda part: self.session.run(self.form.serving(part)))


@dataclass(frozen=True, slots=True)
class ResponseGraph:
    """A response graph, on one thread, as `inference.screening.attack` wants it."""

    session: Session

    @classmethod
    def of(cls, graph: bytes) -> "ResponseGraph":
        """Raises: FORMAT_REFUSED, EXTERNAL_DATA, GRAPH_MISMATCH."""
        return cls(Session.open(graph, response_contract.OUTPUTS))

    def run(
        self, output_names: Sequence[str] | None, input_feed: Mapping[str, Array]
    ) -> list[Array]:
        return self.session.run(input_feed, output_names or ())

    def logits(self, rows: Array, config: ModelConfig) -> Floats:
        """Its own forward: from rows [n, ...] to logits [n, classes]."""
        form = form_of(config)
        return _logits(
            rows, form, lambda part: self.run([response_contract.LOGITS], form.screening(part))
        )


def accuracy(logits: Floats, y: npt.NDArray[np.int64]) -> float:
    """The share of rows [n] whose largest logit [n, classes] is their class's."""
    return float(np.mean(logits.argmax(axis=1) == y))


def _logits(rows: Array, form: Form, work: Callable[[Array], list[Array]]) -> Floats:
    answers = [
        form.run(rows[start : start + _BATCH_ROWS], lambda part: tuple(work(part)))[0]
        for start in range(0, len(rows), _BATCH_ROWS)
    ]
    found: Floats = np.concatenate(answers)
    return found
