"""Reads the rows of a ready model: one tensor and its answers, several tensors by name, or a table.

x, y, or their slices     safetensors, as `publishing.source.dataset.Dataset` reads them
NAME for each input, y    safetensors, for a model of several tensors of numbers
a header and lines        .csv: the columns that `--target` names are the answers, the others
                          the model's inputs by name, or the places of its one input in order
"""

import contextlib
import csv
import io
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import safetensors
from safetensors import numpy as safetensors_numpy

from inference.model.request_tensors import BYTES, RequestTensor
from publishing.source.dataset import Dataset
from publishing.source.folder import read_plain_file
from sealgate.reasons import Reason, SealgateError
from sealgate.tensors import DTYPES

Array = npt.NDArray[Any]
Inputs = Sequence[tuple[str, str, tuple[int, ...]]]
LARGEST_ROW = 224 * 224 * 3
"""Numbers of a row, at most: an image of 224x224x3."""
_MOST_WORDS = 256


@dataclass(frozen=True, slots=True, eq=False)
class NamedRows:
    """Data by name, of [n, ...] each, with the answers y; `words` are what a target's texts were,
    and `table` says that the names are a CSV file's.
    """

    values: Mapping[str, Array]
    y: Array
    content: bytes
    words: tuple[str, ...] = ()
    table: bool = False

    def names_columns(self, inputs: Inputs) -> bool:
        """Whether they are the places of a model's one input of numbers."""
        return self.table and len(inputs) == 1 and inputs[0][0] not in self.values


def check_row_sizes(path: Path) -> None:
    """Look at what a safetensors file says that it holds, before any of it is read. Another file is
    not looked at.

    Raises: TENSOR_SHAPE for rows of more than LARGEST_ROW numbers.
    """
    try:
        with safetensors.safe_open(path, "numpy") as file:
            shapes = {name: file.get_slice(name).get_shape() for name in file.keys()}  # noqa: SIM118
    except (safetensors.SafetensorError, OSError):
        return
    for name, shape in shapes.items():
        if (size := math.prod(shape[1:])) > LARGEST_ROW:
            detail = f"a row of {name} has {size} numbers, {LARGEST_ROW} at most (224x224x3)"
            raise SealgateError(Reason.TENSOR_SHAPE, detail)


def read_named(path: Path, targets: Sequence[str]) -> NamedRows | None:
    """The data by name; None where a file has slices, or rows x alone.

    Raises: FORMAT_REFUSED, PARAMETER_MALFORMED.
    """
    content = read_plain_file(path)
    if path.suffix == ".csv":
        return _table(content, targets)
    if targets:
        raise SealgateError(Reason.PARAMETER_MALFORMED, "--target names columns of a .csv file")
    try:
        tensors = safetensors_numpy.load(content)
    except safetensors.SafetensorError as error:
        raise SealgateError(Reason.FORMAT_REFUSED, "not a safetensors file") from error
    if "x" in tensors or "x_fit" in tensors or "y" not in tensors:
        return None
    y = tensors.pop("y")
    if any(value.shape[:1] != y.shape[:1] for value in tensors.values()):
        raise SealgateError(Reason.TENSOR_SHAPE, "tensors have as many rows as y")
    return NamedRows(tensors, y, content)


def column_rows(named: NamedRows) -> tuple[Dataset, tuple[str, ...]]:
    """The dataset of a table whose columns are numbers, and their names."""
    texts = [name for name, value in named.values.items() if value.dtype == object]
    if texts:
        detail = f"column {texts[0]} has texts, and the model takes one tensor of numbers"
        raise SealgateError(Reason.TENSOR_DATATYPE, detail)
    x = np.stack([value.astype(np.float32) for value in named.values.values()], axis=1)
    return Dataset.divided(x, named.y, named.content), tuple(named.values)


def tensor_rows(
    named: NamedRows, inputs: Inputs, optional: Mapping[str, str]
) -> tuple[Dataset, tuple[RequestTensor, ...]]:
    """The dataset of the rows of these inputs, and their tensors. `optional` has the default of
    each input that a caller may leave out.

    Raises: PARAMETER_MALFORMED where an input has no data, or data no input; TENSOR_SHAPE.
    """
    names = [name for name, _, _ in inputs]
    if unknown := sorted(set(optional) - set(names)) or sorted(set(named.values) ^ set(names)):
        detail = f"{unknown[0]}: the model takes {', '.join(names)}, and the data are of these"
        raise SealgateError(Reason.PARAMETER_MALFORMED, detail)
    tensors, parts = [], []
    for name, datatype, row in inputs:
        tensor, data = _tensor(name, datatype, row, named.values[name], optional.get(name))
        tensors.append(tensor)
        parts.append(tensor.read(data))
    return Dataset.divided(np.concatenate(parts, axis=1), named.y, named.content), tuple(tensors)


def names_of(tensors: Sequence[RequestTensor]) -> list[tuple[str, str | None]]:
    """For each place of a row its column's name, and its word or None."""
    found: list[tuple[str, str | None]] = []
    for tensor in tensors:
        for at in range(tensor.elements):
            name = tensor.name if tensor.elements == 1 else f"{tensor.name}[{at}]"
            found += [(name, word) for word in tensor.words] or [(name, None)]
    return found


def _tensor(
    name: str, datatype: str, row: tuple[int, ...], data: Array, default: str | None
) -> tuple[RequestTensor, Array]:
    """A free dimension has the size that it has in the data."""
    if len(row) == 1 and data.ndim == 1:
        data = data.reshape(-1, 1)
    if data.ndim != 1 + len(row) or any(
        size not in (-1, found) for size, found in zip(row, data.shape[1:], strict=True)
    ):
        raise SealgateError(Reason.TENSOR_SHAPE, f"{name} is {data.shape}, not [n, {row}]")
    shape = (-1, *data.shape[1:])
    if datatype != BYTES:
        if data.dtype == object:
            raise SealgateError(Reason.TENSOR_DATATYPE, f"{name} has texts, not {datatype}")
        stated = None if default is None else _default(name, default)
        return RequestTensor(name, datatype, shape, (), stated), data.astype(DTYPES[datatype])
    texts = np.array([str(each).encode() for each in data.ravel()], object).reshape(data.shape)
    words = {each.decode() for each in texts.ravel()} | (
        {default} if default is not None else set()
    )
    if len(words) > _MOST_WORDS:
        detail = f"{name} has {len(words)} words, {_MOST_WORDS} at most: it is no category"
        raise SealgateError(Reason.PARAMETER_MALFORMED, detail)
    return RequestTensor(name, datatype, shape, tuple(sorted(words)), default), texts


def _default(name: str, text: str) -> float:
    with contextlib.suppress(ValueError):
        if math.isfinite(value := float(text)):
            return value
    raise SealgateError(Reason.PARAMETER_MALFORMED, f"{name}: its default {text} is no number")


def _table(content: bytes, targets: Sequence[str]) -> NamedRows:
    try:
        lines = [line for line in csv.reader(io.StringIO(content.decode("utf-8"))) if line]
    except (UnicodeDecodeError, csv.Error) as error:
        raise SealgateError(Reason.FORMAT_REFUSED, "not a CSV file in UTF-8") from error
    header, rows = (lines[0], lines[1:]) if lines else ([], [])
    if not rows or len(set(header)) < len(header) or {len(row) for row in rows} != {len(header)}:
        detail = "a CSV file has a header of different names, and lines that are as long"
        raise SealgateError(Reason.FORMAT_REFUSED, detail)
    columns = {name: _values([row[at].strip() for row in rows]) for at, name in enumerate(header)}
    if not targets or set(targets) - columns.keys():
        detail = f"--target names a column with the answers: one of {', '.join(header)}"
        raise SealgateError(Reason.PARAMETER_MALFORMED, detail)
    answers = [columns.pop(name) for name in targets]
    if len(answers) > 1:
        if any(each.dtype == object for each in answers):
            raise SealgateError(Reason.PARAMETER_MALFORMED, "several targets are numbers")
        return NamedRows(columns, np.stack(answers, axis=1), content, table=True)
    if answers[0].dtype != object:
        return NamedRows(columns, answers[0], content, table=True)
    # In their order, as scikit-learn has its classes.
    words, y = np.unique(answers[0].astype(str), return_inverse=True)
    return NamedRows(columns, y.astype(np.int64), content, tuple(words.tolist()), table=True)


def _values(texts: Sequence[str]) -> Array:
    """Whole numbers, real numbers, or texts."""
    for kind in (np.int64, np.float64):
        try:
            return np.array([kind(text) for text in texts])
        except (ValueError, OverflowError):
            continue
    return np.array(texts, object)
