"""Runs a version's graphs while it is made, and gives its golden answers.

Golden answers are rows with the logits that leave: those of the INT8 model, or where the float32
one answers another class, that one's. They are part of the version, so that whoever loads it sees
that this machine computes what the publisher's did.
"""

import math
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from inference.engine import open_classifier
from inference.model.config import CLASSES, ModelConfig
from inference.model.decisions import Decision
from inference.model.golden import Golden
from inference.model.inputs import InputForm, form_of
from inference.runtime import response_contract
from inference.runtime.graph_rewrites import keep_outputs, with_gradient
from inference.runtime.session import Session
from inference.screening.detector import disagreeing, is_near
from publishing.attacks import in_parts
from publishing.source.dataset import DataSlice
from sealgate.reasons import Reason, SealgateError

Array = npt.NDArray[Any]
Floats = npt.NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class ServingGraph:
    """A serving graph, fp32 or INT8, on one thread for each part of the rows."""

    session: Session
    form: InputForm

    @classmethod
    def of(cls, graph: bytes, config: ModelConfig) -> "ServingGraph":
        """Raises: FORMAT_REFUSED, EXTERNAL_DATA, GRAPH_MISMATCH."""
        return cls(open_classifier(graph, config, threads=1), form_of(config))

    def logits(self, rows: Array) -> Floats:
        """From rows [n, ...] to logits [n, classes]."""
        return _logits(rows, self.form, lambda part: self.session.run(self.form.serving(part)))


class ResponseGraph:
    """A response graph for `inference.screening.gradient_attacks`; several threads may run it.

    A runtime computes all of a graph, whatever is asked for. So the part that computes the wanted
    outputs is cut out when they are first asked for; a step of an attack then costs a third.
    """

    def __init__(self, graph: bytes) -> None:
        """`graph` has been opened once before, so it is one."""
        self._graph = graph
        self._opening = threading.Lock()
        self._sessions: dict[tuple[str, ...], Session] = {}

    @classmethod
    def of(cls, graph: bytes) -> "ResponseGraph":
        """It shows its gradient, too, if that can be found. Raises: FORMAT_REFUSED, EXTERNAL_DATA,
        GRAPH_MISMATCH.
        """
        Session.open(graph, response_contract.OUTPUTS)
        return cls(with_gradient(graph, response_contract.X_ADV, response_contract.GRADIENT))

    def run(
        self, output_names: Sequence[str] | None, input_feed: Mapping[str, Array]
    ) -> list[Array]:
        names = tuple(output_names or response_contract.OUTPUTS)
        with self._opening:
            if names not in self._sessions:
                self._sessions[names] = Session.open(keep_outputs(self._graph, names), names)
        return self._sessions[names].run(input_feed)

    def logits(self, rows: Array, config: ModelConfig) -> Floats:
        """Its own forward: from rows [n, ...] to logits [n, classes]."""
        form = form_of(config)
        return _logits(
            rows, form, lambda part: self.run([response_contract.LOGITS], form.screening(part))
        )


@dataclass(frozen=True, slots=True)
class ReleasedGraphs:
    """Both models of a version, and which of their answers leaves: float32's where both differ and
    INT8's margin is below `least_margin`.
    """

    served: ServingGraph
    reference: ResponseGraph
    config: ModelConfig
    least_margin: float = math.inf

    def logits(self, rows: Array) -> Floats:
        """From rows [n, ...] to logits [n, classes], as `inference.engine.batch_run` does."""
        logits, reference = self.served.logits(rows), self.reference.logits(rows, self.config)
        apart = disagreeing(logits, reference) * is_near(logits, self.least_margin)
        for row in np.flatnonzero(apart):
            logits[row] = self.reference.logits(rows[row : row + 1], self.config)[0]
        return logits


def _logits(rows: Array, form: InputForm, work: Callable[[Array], list[Array]]) -> Floats:
    parts = in_parts(rows, lambda part: form.run(rows[part], lambda each: tuple(work(each)))[0])
    found: Floats = np.concatenate(parts)
    return found


ROWS = 32


class GoldenModel(Protocol):
    """The model that will answer."""

    def logits(self, rows: Array) -> Floats:
        """From rows [n, ...] to logits [n, classes]."""
        ...


def run_golden(
    served: GoldenModel,
    test: DataSlice,
    rng: np.random.Generator,
    tolerance: float = 0.0,
    decision: Decision = CLASSES,
) -> Golden:
    """Runs `served` on up to `ROWS` rows of the test slice, one of each class and so on.

    Raises: GOLDEN_MISMATCH where an answer depends on the batch that it sits in, by more than
    `tolerance` (relative and absolute).
    """
    x = golden_rows(test, rng, decision)
    logits = served.logits(x)
    alone = np.concatenate([served.logits(row[np.newaxis]) for row in x])
    if not np.allclose(logits, alone, rtol=tolerance, atol=tolerance):
        raise SealgateError(Reason.GOLDEN_MISMATCH, "answers change with their batch")
    return Golden(x, logits)


def golden_rows(test: DataSlice, rng: np.random.Generator, decision: Decision = CLASSES) -> Array:
    """The rows [n, ...] that `run_golden` runs."""
    return np.ascontiguousarray(test.x[_choose(decision.groups(test.y), rng)])


def golden_report(
    golden: Golden, reference: Floats, same: bool = True, decision: Decision = CLASSES
) -> dict[str, Any]:
    """The evidence of the run, beside the logits [n, C] of the fp32 model for the same rows; `same`
    is whether an answer is the same to the last bit in any batch, as integers' are.
    """
    return {
        "rows": len(golden.x),
        "classes_answered": len(np.unique(decision.index(golden.logits))),
        "same_class_as_fp32": float(np.mean(~decision.changed(golden.logits, reference))),
        "largest_difference_to_fp32": round(float(np.abs(golden.logits - reference).max()), 6),
        "same_alone_and_in_a_batch": same,
    }


def _choose(y: npt.NDArray[np.int64], rng: np.random.Generator) -> npt.NDArray[np.int64]:
    """Indices of rows in random order, but one of each class before a second of any."""
    shuffled = rng.permutation(len(y))
    counts: dict[int, int] = {}
    rounds = np.empty(len(y), np.int64)
    for place, row in enumerate(shuffled):
        label = int(y[row])
        rounds[place] = counts[label] = counts.get(label, -1) + 1
    return shuffled[np.argsort(rounds, kind="stable")][:ROWS]


Rows = npt.NDArray[np.float32]


def in_shape(config: ModelConfig, rows: Rows) -> Rows:
    """Return them as [n, *row], whatever shape they came in. Raises SealgateError: TENSOR_DATATYPE
    for a model of texts, TENSOR_SHAPE where they are no whole number of rows.
    """
    if config.input.datatype != "FP32":
        raise SealgateError(Reason.TENSOR_DATATYPE, f"the version takes {config.input.datatype}")
    if rows.size % math.prod(config.input.row):
        raise SealgateError(Reason.TENSOR_SHAPE, f"{rows.shape}")
    return rows.reshape(-1, *config.input.row)
