"""The response graph of a model without gradients, of trees above all: by finite differences.

Each column that a caller may change is moved by small and larger shares of its range, all in one
batch of the graph. From how the scores move, a slope is fitted for each column; along it, the graph
steps and measures as `publishing.differentiate.response` does along a gradient. Further features
say how far single columns move the margin, where the row lies among the leaves of its class, and
how likely its columns are there.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from inference.runtime import response_contract
from inference.runtime.session import Session
from publishing.differentiate import response
from publishing.differentiate.graphs import Emitter, MeasuredGraph
from publishing.differentiate.reference import ReferenceLayer
from publishing.differentiate.response import Answer, Rows, Units

_BINS = 12
_FLOOR = -1e30
COLUMN_FEATURES = 3
"""How many features it gives."""
# Shares of a column's range by which it is moved alone.
SHARES = (-0.12, -0.03, 0.03, 0.12)
MOST_COLUMNS = 16
"""Each column costs a row of the batch for each share."""
_TINY = 1e-4
_LARGEST = 3
FEATURES = 3 * len(SHARES) + _LARGEST


@dataclass(frozen=True, slots=True, eq=False)
class ColumnLikelihood:
    """`edges` [D, B - 1] part each column's values into B bins; `logs` [D, B, C] are logarithms of
    their shares among the rows of each class.
    """

    edges: npt.NDArray[np.float32]
    logs: npt.NDArray[np.float32]

    @classmethod
    def fit(
        cls, x: npt.NDArray[np.float32], y: npt.NDArray[np.int64], classes: int
    ) -> "ColumnLikelihood":
        """From rows x [n, D] of classes y [n]."""
        edges = np.quantile(x, np.linspace(0, 1, _BINS + 1)[1:-1], axis=0).T.astype(np.float32)
        places = (x[:, :, np.newaxis] >= edges).sum(axis=2)
        counts = np.ones((x.shape[1], _BINS, classes))
        columns = np.arange(x.shape[1])
        for label in range(classes):
            for row in places[y == label]:
                counts[columns, row, label] += 1
        logs = np.log(counts / counts.sum(axis=1, keepdims=True))
        return cls(edges, logs.astype(np.float32))

    def features(self, e: Emitter, x: str, own: str) -> list[str]:
        """How likely the row [n, D] is in the class that `own` [n, C] marks, by how much more than
        in the best other one, and its least likely column there; each [n, 1].
        """
        columns, bins, classes = self.logs.shape
        above = e.op("GreaterOrEqual", e.op("Unsqueeze", x, e.integers(2)), e.constant(self.edges))
        place = e.sum(e.op("Cast", above, to=1), 2, keep=False)
        first = e.constant(np.arange(columns, dtype=np.float32) * bins)
        at = e.op("Cast", e.op("Add", place, first), to=7)
        table = e.constant(self.logs.reshape(columns * bins, classes))
        logs = e.op("Gather", table, at, axis=0)
        total = e.mean(logs, 1, keep=False)
        mine = e.sum(e.op("Where", own, total, e.number(0.0)), 1)
        others = e.op("Where", own, e.number(_FLOOR), total)
        best = e.op("ReduceMax", others, e.integers(1), keepdims=1)
        marked = e.op("Unsqueeze", own, e.integers(1))
        each = e.sum(e.op("Where", marked, logs, e.number(0.0)), 2, keep=False)
        least = e.op("ReduceMin", each, e.integers(1), keepdims=1)
        return [mine, e.op("Sub", mine, best), least]


@dataclass(frozen=True, slots=True, eq=False)
class ColumnMoves:
    """`moves` [M, D] is added to a row, and `shares` [M] of column `columns` [M] are what it is."""

    moves: npt.NDArray[np.float32]
    shares: npt.NDArray[np.float32]
    columns: npt.NDArray[np.intp]

    @classmethod
    def of(
        cls, units: Units, whole: npt.NDArray[np.float64], columns: npt.NDArray[np.intp]
    ) -> "ColumnMoves":
        """Moves of these columns; where values lie `whole` [D] apart, by one step at least."""
        moves, shares = [], []
        for column in columns:
            for share in SHARES:
                size = share * float(units.span[column])
                if whole[column] > 0:
                    steps = max(1.0, round(abs(size) / whole[column]))
                    size = float(np.copysign(steps * whole[column], share))
                move = np.zeros(len(units.span), np.float32)
                move[column] = size
                moves.append(move)
                shares.append(size / float(units.span[column]))
        which = np.repeat(columns, len(SHARES))
        return cls(np.array(moves), np.array(shares, np.float32), which)

    def slopes(self, e: Emitter, changes: str) -> str:
        """From the changes [n, M] of a value, its slope [n, D] by shares of each column: the least
        squares through the row itself. A slope near zero becomes zero.
        """
        fit = np.zeros((len(self.shares), self.moves.shape[1]), np.float32)
        fit[np.arange(len(self.shares)), self.columns] = self.shares
        fit /= np.maximum((fit * fit).sum(axis=0), 1e-12)
        slope = e.op("MatMul", changes, e.constant(fit))
        small = e.op("Less", e.op("Abs", slope), e.number(_TINY))
        return e.op("Where", small, e.number(0.0), slope)


def influential(
    graph: MeasuredGraph,
    scores: str,
    units: Units,
    free: npt.NDArray[np.bool_],
    x: npt.NDArray[np.float32],
) -> npt.NDArray[np.intp]:
    """Of the columns that are `free` [D], the MOST_COLUMNS whose moves change the scores of rows
    x [n, D] most, in their order.
    """
    columns = np.flatnonzero(free)
    if len(columns) <= MOST_COLUMNS:
        return columns
    session = Session.open(graph.showing([scores]), [scores])
    (before,) = session.run({graph.row_input: x})
    changes = np.zeros(len(columns))
    for place, column in enumerate(columns):
        for share in SHARES:
            moved = x.copy()
            moved[:, column] += np.float32(share * units.span[column])
            np.clip(moved, units.low, units.low + units.span, out=moved)
            (after,) = session.run({graph.row_input: moved})
            changes[place] += float(np.abs(after - before).mean())
    return np.sort(columns[np.argsort(-changes, kind="stable")[:MOST_COLUMNS]])


def difference_graph(
    graph: MeasuredGraph,
    answer: Answer,
    units: Units,
    moves: ColumnMoves,
    layers: Mapping[str, ReferenceLayer],
    likelihood: ColumnLikelihood,
) -> bytes:
    """The response graph of a model of rows [n, D] whose input is `x`, as
    `publishing.differentiate.response_graph` makes it of one with gradients.
    """
    e = Emitter("response")
    rows = Rows.of(e, graph.row_input, units)
    _, own = response.margin_slope(e, answer)
    scores = _moved_scores(e, graph, answer, rows, moves)
    changes = e.op("Sub", _margins(e, scores, own), _margins(e, _single(e, answer), own))
    slope = e.op("Div", moves.slopes(e, changes), rows.span or e.number(1.0))
    step = e.op("Mul", rows.step(e, _loss_slope(e, answer, own, scores, moves)), rows.eps)
    x_adv = rows.clip(e, e.op("Add", rows.x, step))
    features = response.margin_features(e, graph, answer, rows, own, slope)
    features += _change_features(e, answer, changes, own, len(moves.shares))
    features += response.reference_features(e, rows, layers, own)
    features += likelihood.features(e, rows.x, own)
    outputs = {
        response_contract.LOGITS: answer.output,
        response_contract.X_ADV: x_adv,
        response_contract.FEATURES: e.op("Concat", *features, axis=1),
    }
    width = response.FEATURES + FEATURES + COLUMN_FEATURES
    width += sum(layer.width for layer in layers.values())
    return response.assembled(graph, e, outputs, answer, width)


def _moved_scores(
    e: Emitter, graph: MeasuredGraph, answer: Answer, rows: Rows, moves: ColumnMoves
) -> str:
    """The scores [n, M, C] after each move."""
    count, columns = moves.moves.shape
    moved = e.op("Add", e.op("Unsqueeze", rows.x, e.integers(1)), e.constant(moves.moves))
    flat = e.op("Reshape", rows.clip(e, moved), e.integers(-1, columns))
    scores = response.forward_again(e, graph, answer.scores, flat, "single/")
    return e.op("Reshape", scores, e.integers(-1, count, answer.classes))


def _single(e: Emitter, answer: Answer) -> str:
    return e.op("Unsqueeze", answer.scores, e.integers(1))


def _margins(e: Emitter, scores: str, own: str) -> str:
    """The margins [n, M] of the own class, of scores [n, M, C]."""
    return response.margins(e, scores, e.op("Unsqueeze", own, e.integers(1)))


def _loss_slope(e: Emitter, answer: Answer, own: str, scores: str, moves: ColumnMoves) -> str:
    """The slope [n, D] of the cross-entropy to the attacked class."""
    attacked = e.op("Unsqueeze", response.attacked_class(e, answer, own), e.integers(1))

    def loss(of: str) -> str:
        log_p = e.op("LogSoftmax", of, axis=2)
        return e.op("Neg", e.sum(e.op("Where", attacked, log_p, e.number(0.0)), 2, keep=False))

    return moves.slopes(e, e.op("Sub", loss(scores), loss(_single(e, answer))))


def _change_features(e: Emitter, answer: Answer, changes: str, own: str, count: int) -> list[str]:
    """Of each share: the worst and the mean change of the margin over the columns, and how many of
    them turn the answer; and the worst changes of all. [n, S] three times, and [n, 3].
    """
    shares = len(SHARES)
    table = e.op("Reshape", changes, e.integers(-1, count // shares, shares))
    before = _margins(e, _single(e, answer), own)
    lost = e.op("Less", e.op("Add", changes, before), e.number(0.0))
    turned = e.op("Reshape", e.op("Cast", lost, to=1), e.integers(-1, count // shares, shares))
    padded = e.op("Pad", changes, e.integers(0, 0, 0, _LARGEST), e.number(0.0))
    worst = e.several("TopK", (padded, e.integers(_LARGEST)), 2, axis=1, largest=0)[0]
    least = e.op("ReduceMin", table, e.integers(1), keepdims=0)
    return [least, e.mean(table, 1, keep=False), e.mean(turned, 1, keep=False), worst]
