"""Compares the answers of a batch with those of the float32 model.

If the response graph also gives its logits, the last feature of each measured row says whether the
float32 class differs from the answer's class. If the detector states a least margin, the float32
forward runs separately, and only on rows of less margin; if another server answers, it runs on all
rows, since that server's margins cannot be trusted. If the detector says so, rows whose class
differs are answered with float32 logits. An answer must not depend on the batch: if float32 sums
do, the logits are computed again with that row alone.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from inference.model.inputs import InputForm
from inference.runtime.session import Session
from inference.screening.detector import disagreeing, is_near
from sealgate.reasons import Reason, SealgateError

Array = npt.NDArray[Any]


class LogitsSource(Protocol):
    """Computes the logits of rows."""

    def run(self, feeds: Mapping[str, Array]) -> list[Array]: ...


@dataclass(frozen=True, slots=True)
class MarginComparison:
    """Runs the float32 forward `reference`, which gives only logits, on rows whose margin is
    below `least`; infinity is every row. If it `spares` no run, all rows run, so that batches keep
    their sizes. `is_steady` says that a row's logits are the same in any batch (`gives_same_bits`).
    """

    reference: Session
    least: float
    spares: bool = True
    is_steady: bool = False

    def run(self, x: Array, logits: Array, form: InputForm) -> tuple[Array, Array]:
        """The last feature [n, 1] of rows: 1 where the float32 class differs, otherwise 0; and the
        logits [n, C], with those of the float32 model for such rows.
        """
        near = is_near(logits, self.least)
        column = np.zeros((len(x), 1), np.float32)
        if not near.any():
            return column, logits
        asked = near if self.spares else np.ones_like(near)
        (reference,) = self.reference.run(form.screening(x[asked]))
        column[asked] = _apart(logits[asked], reference)
        column[~near] = 0
        if not self.is_steady:
            return column, by_float32(x, logits, column, self.reference, form)
        apart = column[:, 0] == 1
        logits = logits.copy()
        logits[apart] = reference[apart[asked]]
        return column, logits


def gives_same_bits(reference: LogitsSource, rows: Array, form: InputForm) -> bool:
    """Whether rows have bit-identical logits together and one by one."""

    def logits(x: Array) -> Array:
        (found,) = reference.run(form.screening(x))
        return found

    def both(x: Array) -> tuple[Array, Array]:
        return logits(x), np.concatenate([logits(x[at : at + 1]) for at in range(len(x))])

    together, alone = form.run(rows, both)
    return np.array_equal(together, alone)


def compared(measured: Sequence[Array], logits: Array) -> Array:
    """The features that the response graph gave; behind them, where it gave logits of its own, how
    those compare with the answer's.
    """
    features, *reference = measured
    if not reference:
        return features
    column = _apart(logits, reference[0])
    if len(features) != len(column):
        raise SealgateError(
            Reason.GRAPH_MISMATCH, "a graph's answer has another shape than it declares"
        )
    return np.concatenate([features, column], axis=1)


def _apart(logits: Array, reference: Array) -> Array:
    """Whether float32 says another class, [n, 1]."""
    if reference.shape != logits.shape:
        raise SealgateError(
            Reason.GRAPH_MISMATCH, "a graph's answer has another shape than it declares"
        )
    return disagreeing(logits, reference)[:, np.newaxis]


def by_float32(
    x: Array, logits: Array, features: Array, reference: LogitsSource, form: InputForm
) -> Array:
    """The logits [n, C], with those of the float32 model for rows on which it answers otherwise;
    they are the last output of `reference`.
    """
    (apart,) = np.nonzero(features[:, -1] == 1)
    if not len(apart):
        return logits
    logits = logits.copy()
    for row in apart:
        *_, (logits[row],) = reference.run(form.screening(x[row : row + 1]))
    return logits
