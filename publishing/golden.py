"""Golden answers: rows with the logits that the served INT8 model gives for them.

They travel in the version, so that whoever loads it sees that this machine computes what the
publisher's did.
"""

from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from inference.model.golden import Golden
from publishing.data import Slice
from publishing.forward import Array, Floats, accuracy
from sealgate.reasons import Reason, Refusal

ROWS = 32


class Served(Protocol):
    """The model that will answer."""

    def logits(self, rows: Array) -> Floats:
        """From rows [n, ...] to logits [n, classes]."""
        ...


def run_golden(served: Served, test: Slice, rng: np.random.Generator) -> Golden:
    """Runs `served` on up to `ROWS` rows of the test slice, one of each class and so on.

    Raises: GOLDEN_MISMATCH where an answer depends on the batch that it sits in.
    """
    x = golden_rows(test, rng)
    logits = served.logits(x)
    alone = np.concatenate([served.logits(row[np.newaxis]) for row in x])
    if not np.array_equal(logits, alone):
        raise Refusal(Reason.GOLDEN_MISMATCH, "answers change with the batch they sit in")
    return Golden(x, logits)


def golden_rows(test: Slice, rng: np.random.Generator) -> Array:
    """The rows [n, ...] that `run_golden` runs."""
    return np.ascontiguousarray(test.x[_choose(test.y, rng)])


def golden_report(golden: Golden, reference: Floats) -> dict[str, Any]:
    """The evidence of the run, beside the logits [n, C] of the fp32 model for the same rows."""
    return {
        "rows": len(golden.x),
        "classes_answered": len(np.unique(golden.logits.argmax(axis=1))),
        "same_class_as_fp32": accuracy(golden.logits, reference.argmax(axis=1)),
        "largest_difference_to_fp32": round(float(np.abs(golden.logits - reference).max()), 6),
        "same_alone_and_in_a_batch": True,
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
