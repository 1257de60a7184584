"""Describes a ready model (`inference.model.config`) by its data and by what its publisher says."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from inference.batching import Batching
from inference.model.columns import Column
from inference.model.config import InputDomain, ModelConfig, TrainingDataInfo
from inference.model.decisions import NUMBERS, Classes, Decision, Labels, Numbers
from inference.model.request_tensors import FP32, RequestTensor, TensorSpec
from publishing.ready.rows import names_of
from publishing.source.dataset import Dataset
from publishing.source.folder import SourceFolder
from sealgate.reasons import Reason, SealgateError
from sealgate.trust import canonical, fields

Answers = npt.NDArray[np.float32]
_LEVELS, _ROUNDS = 4, 20
_PATTERNS = 32
# By default, as a share of a prediction's standard deviation.
_TOLERANCE = 0.25
_CLOSE = 1e-6
_STEP = 0.03
# Requests may go this much further than the data did, as a share of a column's range.
_BEYOND = 0.1
_BATCHING = Batching(max_rows=64, delay_us=300, queue_rows=4096)


def decided(kind: str, answers: Answers, tolerance: tuple[float, ...] = ()) -> Decision:
    """The decision that answers [n, C] of this kind make. Raises PARAMETER_MALFORMED for a
    `tolerance` that is not one number for each prediction, and for predictions that are always the
    same.
    """
    if tolerance and (kind != NUMBERS or len(tolerance) != answers.shape[1]):
        detail = f"there are {answers.shape[1]} {kind}, and {len(tolerance)} tolerances"
        raise SealgateError(Reason.PARAMETER_MALFORMED, detail)
    if kind == NUMBERS:
        return _numbers(answers, tolerance)
    return Classes() if kind == Classes.kind else _labels(answers)


def _numbers(answers: Answers, tolerance: tuple[float, ...]) -> Numbers:
    spread = answers.std(axis=0, dtype=np.float64)
    if not (spread > _CLOSE * np.abs(answers).max(axis=0)).all():
        raise SealgateError(Reason.PARAMETER_MALFORMED, "a prediction is always the same")
    levels = _centers(answers / spread) * spread
    return Numbers(
        tolerance or tuple(_rounded(_TOLERANCE * spread)),
        tuple(_rounded(spread)),
        tuple(tuple(_rounded(level)) for level in levels),
    )


def _centers(z: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """The means of groups of alike answers, which begin as quantiles along the main direction."""
    main = np.linalg.svd(z - z.mean(axis=0), full_matrices=False)[2][0]
    order = np.argsort(z @ main, kind="stable")
    group = np.empty(len(z), np.intp)
    group[order] = np.arange(len(z)) * _LEVELS // len(z)
    for _ in range(_ROUNDS):
        centers = np.array([z[group == each].mean(axis=0) for each in np.unique(group)])
        group = ((z[:, None] - centers) ** 2).sum(axis=2).argmin(axis=1)
    return np.unique(centers, axis=0)


def _labels(answers: Answers) -> Labels:
    """The sets of labels that are answered most, and each of the commonest with one label turned:
    so an answer has neighbours in every label.
    """
    probable = bool(answers.min() >= 0 and answers.max() <= 1)
    threshold = 0.5 if probable else 0.0
    counted = Counter(map(tuple, (answers > threshold).astype(float).tolist()))
    common = [pattern for pattern, _ in counted.most_common(_PATTERNS)]
    turned = [
        tuple(1 - bit if at == label else bit for at, bit in enumerate(common[0]))
        for label in range(answers.shape[1])
    ]
    return Labels(threshold, tuple(dict.fromkeys([*common, *turned[:_PATTERNS]])))


def _rounded(values: npt.NDArray[np.float64]) -> list[float]:
    """As float32 holds them."""
    return [float(each) for each in np.asarray(values, np.float32)]


@dataclass(frozen=True, slots=True)
class NormalForm:
    """The names of a serving graph's input and output, and how many numbers an answer has."""

    input: str
    output: str
    width: int

    def encode(self) -> bytes:
        """Return canonical JSON."""
        return canonical.encode({"input": self.input, "output": self.output, "width": self.width})

    @classmethod
    def decode(cls, data: bytes) -> "NormalForm":
        """Read what `encode` wrote. Raises SealgateError(DOCUMENT_MALFORMED)."""
        item = fields.record(canonical.decode(data), ("input", "output", "width"))
        texts = fields.text(item["input"]), fields.text(item["output"])
        return cls(*texts, fields.integer(item["width"], 1))


@dataclass(frozen=True, slots=True)
class ModelDescription:
    """A publisher's description of a ready model; empty fields are taken from the data.

    `domain` is one range for all elements of a row. Without it, each column of a table has its own.
    """

    name: str
    labels: tuple[str, ...] = ()
    description: str = ""
    intended_use: str = ""
    data: TrainingDataInfo = field(default_factory=lambda: TrainingDataInfo("unnamed", "unstated"))
    output: str | None = None
    domain: tuple[float, float] | None = None
    columns: tuple[Column, ...] = ()
    column_names: tuple[str, ...] = ()
    quantized: bool = False
    differences: bool = False
    tolerance: tuple[float, ...] = ()
    tensors: tuple[RequestTensor, ...] = ()

    def config(self, normal: NormalForm, data: Dataset, answers: Answers) -> ModelConfig:
        """The configuration; `answers` are the model's, to the first rows of the fit slice. Raises:
        DOCUMENT_MALFORMED, PARAMETER_MALFORMED.
        """
        row = data.fit.x.shape[1:]
        columns = self.columns or self._columns(data, row)
        low, high = self.domain or _range(columns, data)
        return ModelConfig(
            name=self.name,
            description=self.description or f"The ready model {self.name}.",
            intended_use=self.intended_use or "Not stated by the publisher.",
            data=self.data,
            input=TensorSpec(normal.input, FP32, (-1, *row)),
            output=TensorSpec(normal.output, FP32, (-1, normal.width)),
            labels=self._labels(normal.width),
            domain=InputDomain(low, high),
            eps=_STEP if columns else _STEP * (high - low),
            batching=_BATCHING,
            columns=columns,
            relative=bool(columns),
            quantized=self.quantized,
            differences=self.differences,
            decision=decided(data.fit.kind, answers, self.tolerance),
            tensors=self.tensors,
        )

    def _labels(self, width: int) -> tuple[str, ...]:
        labels = self.labels or tuple(map(str, range(width)))
        if len(labels) != width:
            detail = f"{len(labels)} labels are given, and the model answers {width}"
            raise SealgateError(Reason.PARAMETER_MALFORMED, detail)
        return labels

    def _columns(self, data: Dataset, row: tuple[int, ...]) -> tuple[Column, ...]:
        """Of a table whose columns have ranges of their own."""
        if self.tensors:
            return _tensor_columns(self.tensors, _all_rows(data))
        if self.domain is not None or len(row) != 1:
            return ()
        names = self.column_names or tuple(f"column {at}" for at in range(row[0]))
        if len(names) != row[0]:
            detail = f"{len(names)} columns are named, and rows have {row[0]}"
            raise SealgateError(Reason.PARAMETER_MALFORMED, detail)
        rows = _all_rows(data)
        return tuple(_column(name, rows[:, at]) for at, name in enumerate(names))


def describe_input(source: SourceFolder) -> str:
    """For people: what it takes and gives."""
    config = source.config
    row = "x".join(map(str, config.input.row))
    how = "screened by " + ("finite differences" if config.differences else "the gradient")
    how = how if source.response else "NOT SCREENED"
    ranges = "each column in its range" if config.relative else "all in one range"
    taken = f"{config.input.name} [n, {row}]"
    if config.tensors:
        taken = ", ".join(f"{each.name} {each.datatype}" for each in config.tensors)
    return (
        f"{taken} ({ranges}) to {config.output.name} of {len(config.labels)}"
        f" {config.decision.kind}, in {config.arithmetic}; {how}"
    )


def _tensor_columns(
    tensors: Sequence[RequestTensor], rows: npt.NDArray[np.float32]
) -> tuple[Column, ...]:
    """A column for each place of a row: a number by its values, or a word."""
    return tuple(
        _column(name, rows[:, at]) if word is None else Column(name, word)
        for at, (name, word) in enumerate(names_of(tensors))
    )


def _column(name: str, values: npt.NDArray[np.float32]) -> Column:
    """A column by its values: whole numbers have steps, and one that never changes is immutable."""
    low, high = float(values.min()), float(values.max())
    whole = bool((values == np.rint(values)).all()) and high - low < 2**20
    if low == high:
        room = max(1.0, abs(low))
        return Column(name, immutable=True, min=low - room, max=high + room)
    if whole and high - low <= 1:
        return Column(name, step=1.0, min=low, max=high)
    beyond = _BEYOND * (high - low)
    beyond = float(np.ceil(beyond)) if whole else beyond
    least, most = low - beyond, high + beyond
    if low >= 0:
        least = max(least, 0.0)
    if whole:
        return Column(name, step=1.0, min=least, max=most)
    return Column(name, min=float(np.float32(least)), max=float(np.float32(most)))


def _range(columns: Sequence[Column], data: Dataset) -> tuple[float, float]:
    """Of all elements."""
    if columns:
        lows = [column.min for column in columns if column.min is not None]
        highs = [column.max for column in columns if column.max is not None]
        # A word is 0 or 1.
        return min([0.0, *lows]), max([1.0, *highs])
    rows = _all_rows(data)
    low, high = float(rows.min()), float(rows.max())
    if low == high:
        raise SealgateError(Reason.PARAMETER_MALFORMED, "all numbers of the data are the same")
    return low, high


def _all_rows(data: Dataset) -> npt.NDArray[np.float32]:
    return np.concatenate([part.x for part in (data.fit, data.calibration, data.test)])
