"""The tensors that `model.json` states: those of a version's graph, and those of a request.

The section `inputs` lists the tensors of a request, from which one row is made:

    {"name": "age", "datatype": "INT64", "shape": [-1, 1]}
    {"name": "city", "datatype": "BYTES", "shape": [-1, 1], "words": ["Bern", "Basel"]}
    {"name": "bonus", "datatype": "FP32", "shape": [-1, 2], "default": 0}

A row has their elements in order: a number as it is, and a text one-hot, with one place for each of
its words. A tensor with a `default` may be left out of a request.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import combinations
from typing import Any

import numpy as np
import numpy.typing as npt

from inference.model.columns import number
from sealgate.reasons import Reason, SealgateError
from sealgate.tensors import DTYPES, Tensor
from sealgate.trust import fields

Array = npt.NDArray[Any]
# float32 represents every integer up to this one.
_LARGEST_INTEGER = 2**24
MOST_PLACES = 4096
"""The largest width of such a row: each place is a column with rules of its own."""
_MOST_OPTIONAL = 8
_LONGEST_WORD = _LONGEST_NAME = 128
FP32, INT64, BYTES = "FP32", "INT64", "BYTES"
TOKENS_SHAPE = (-1, -1)
_TEXT_SHAPES = ((-1,), (-1, 1))


# Enough for the text tensors of all live models.
@lru_cache(256)
def _places_of(words: tuple[str, ...]) -> Mapping[bytes, int]:
    return {word.encode(): at for at, word in enumerate(words)}


@dataclass(frozen=True, slots=True)
class RequestTensor:
    """A tensor of a request; its shape has -1 for the rows. A text is one of `words`. `default` is
    the value of every element if a caller leaves the tensor out.
    """

    name: str
    datatype: str
    shape: tuple[int, ...]
    words: tuple[str, ...] = ()
    default: float | str | None = None

    def __post_init__(self) -> None:
        _check_tensor_name(self.name)
        if self.datatype not in DTYPES and self.datatype != BYTES:
            raise fields.malformed("a tensor has numbers or texts")
        if not self.shape or self.shape[0] != -1 or min(self.shape[1:], default=1) < 1:
            raise fields.malformed("a shape must be -1 followed by positive sizes")
        if (self.datatype == BYTES) is not (len(self.words) > 1):
            raise fields.malformed("a text has two words or more, and a number has none")
        if len(fields.unique(self.words)) and max(map(len, self.words)) > _LONGEST_WORD:
            raise fields.malformed("a word is too long")
        if isinstance(self.default, str) and self.default not in self.words:
            raise fields.malformed("a default is one of the words")
        if self.words and not isinstance(self.default, str | None):
            raise fields.malformed("a default is one of the words")

    @property
    def row(self) -> tuple[int, ...]:
        """The shape of one row."""
        return self.shape[1:]

    @property
    def elements(self) -> int:
        return math.prod(self.row)

    @property
    def places(self) -> int:
        """The number of places that it takes in a row."""
        return self.elements * max(1, len(self.words))

    def admits(self, shape: tuple[int, ...]) -> bool:
        """Whether a tensor of this shape is one or more such rows."""
        return len(shape) > 0 and shape[0] > 0 and shape[1:] == self.row

    def read(self, data: Array) -> npt.NDArray[np.float32]:
        """The places [n, places] of data [n, ...]. Raises: TENSOR_TEXT, TENSOR_RANGE."""
        flat = data.reshape(len(data), self.elements)
        if not self.words:
            if flat.dtype.kind in "iu" and (abs(flat.astype(np.float64)) > _LARGEST_INTEGER).any():
                raise SealgateError(Reason.TENSOR_RANGE, f"{self.name}: an integer is too large")
            return flat.astype(np.float32)
        known = _places_of(self.words)
        try:
            chosen = np.array([[known[bytes(each)] for each in row] for row in flat], np.intp)
        except KeyError:
            raise SealgateError(Reason.TENSOR_TEXT, f"{self.name}: an unknown word") from None
        one_hot = np.zeros((*chosen.shape, len(self.words)), np.float32)
        np.put_along_axis(one_hot, chosen[..., None], 1.0, axis=2)
        return one_hot.reshape(len(data), self.places)

    def missing(self, rows: int) -> npt.NDArray[np.float32]:
        """The places [rows, places] of a tensor that was left out."""
        if self.words:
            texts = np.full((rows, self.elements), str(self.default).encode(), object)
            return self.read(texts)
        return np.full((rows, self.places), self.default, np.float32)

    def write(self, places: npt.NDArray[np.float32]) -> Tensor:
        """The tensor from which `read` made these places."""
        shape = (len(places), *self.row)
        if not self.words:
            return Tensor.of(self.name, places.astype(DTYPES[self.datatype]).reshape(shape))
        chosen = places.reshape(len(places), self.elements, len(self.words)).argmax(axis=2)
        words = np.array([word.encode() for word in self.words], object)
        return Tensor.of(self.name, words[chosen].reshape(shape))

    def encode(self) -> dict[str, Any]:
        value = {"name": self.name, "datatype": self.datatype, "shape": list(self.shape)}
        stated = {"words": list(self.words), "default": self.default}
        return value | {name: each for name, each in stated.items() if each not in (None, [])}

    @classmethod
    def decode(cls, value: Any) -> "RequestTensor":
        """Read what `encode` made. Raises SealgateError(DOCUMENT_MALFORMED)."""
        stated = [each for each in ("words", "default") if each in fields.mapping(value)]
        item = fields.record(value, ("name", "datatype", "shape", *stated))
        default = item.get("default")
        return cls(
            fields.text(item["name"]),
            fields.text(item["datatype"]),
            tuple(fields.integer(size, least=-1) for size in fields.items(item["shape"])),
            fields.texts(item["words"]) if "words" in item else (),
            default if default is None or isinstance(default, str) else number(default),
        )


def decode_tensors(value: Any) -> tuple[RequestTensor, ...]:
    """Read the section. Raises SealgateError(DOCUMENT_MALFORMED)."""
    tensors = tuple(RequestTensor.decode(item) for item in fields.items(value))
    fields.unique([each.name for each in tensors])
    if not 0 < sum(each.places for each in tensors) <= MOST_PLACES:
        raise fields.malformed(f"a row of several tensors has 1 to {MOST_PLACES} places")
    optional = sum(each.default is not None for each in tensors)
    if optional > _MOST_OPTIONAL or optional == len(tensors):
        raise fields.malformed(f"at most {_MOST_OPTIONAL} tensors, and not all, are optional")
    return tensors


def joined(
    specs: Sequence[RequestTensor], tensors: Mapping[str, Tensor]
) -> npt.NDArray[np.float32]:
    """The rows [n, D] of a request's tensors.

    Raises: TENSOR_NAME, TENSOR_DATATYPE, TENSOR_SHAPE, TENSOR_TEXT, TENSOR_RANGE.
    """
    if tensors.keys() - {spec.name for spec in specs}:
        raise SealgateError(Reason.TENSOR_NAME)
    counts = set()
    for spec in specs:
        tensor = tensors.get(spec.name)
        if tensor is None and spec.default is None:
            raise SealgateError(Reason.TENSOR_NAME, f"{spec.name} is missing")
        if tensor is None:
            continue
        if tensor.datatype != spec.datatype:
            raise SealgateError(Reason.TENSOR_DATATYPE)
        if not spec.admits(tensor.shape):
            raise SealgateError(Reason.TENSOR_SHAPE)
        counts.add(tensor.shape[0])
    if len(counts) != 1:
        raise SealgateError(Reason.TENSOR_SHAPE, "all tensors must have the same number of rows")
    (count,) = counts
    parts = [
        spec.read(tensors[spec.name].data) if spec.name in tensors else spec.missing(count)
        for spec in specs
    ]
    return np.concatenate(parts, axis=1)


def parted(specs: Sequence[RequestTensor], rows: Array) -> list[Tensor]:
    """All tensors of rows [n, D], including optional ones."""
    ends = np.cumsum([spec.places for spec in specs])[:-1]
    return [
        spec.write(part) for spec, part in zip(specs, np.split(rows, ends, axis=1), strict=True)
    ]


def requests_of(specs: Sequence[RequestTensor], rows: Array) -> list[list[Tensor]]:
    """All requests that give rows [n, D]: with and without tensors that equal their default."""
    tensors = parted(specs, rows)
    optional = [
        each.name
        for each, spec in zip(tensors, specs, strict=True)
        if spec.default is not None
        and np.array_equal(spec.read(each.data), spec.missing(len(rows)))
    ]
    left_out = [set(c) for k in range(len(optional) + 1) for c in combinations(optional, k)]
    return [[each for each in tensors if each.name not in names] for names in left_out]


@dataclass(frozen=True, slots=True)
class TensorSpec:
    """A tensor's name, Open Inference Protocol data type, and shape with -1 for its rows."""

    name: str
    datatype: str
    shape: tuple[int, ...]

    def __post_init__(self) -> None:
        _check_tensor_name(self.name)
        if self.datatype == INT64 or self.datatype == BYTES:
            shapes = (TOKENS_SHAPE,) if self.datatype == INT64 else _TEXT_SHAPES
            if self.shape not in shapes:
                raise fields.malformed(f"a tensor of {self.datatype} is {shapes}")
            return
        if self.datatype != FP32:
            raise fields.malformed("a tensor's data type is not FP32, INT64 or BYTES")
        if len(self.shape) < 2 or self.shape[0] != -1 or min(self.shape[1:]) < 1:
            raise fields.malformed("a shape must be -1 followed by positive sizes")
        if math.prod(self.shape[1:]) >= 2**31:
            raise fields.malformed("a row has too many elements")

    @property
    def row(self) -> tuple[int, ...]:
        """The shape of one row."""
        return self.shape[1:]

    def admits(self, shape: tuple[int, ...]) -> bool:
        """Whether a tensor of this shape is one or more such rows."""
        row = shape[1:]
        free = self.datatype == INT64 and len(row) == 1 and row[0] > 0
        return (free or row == self.row) and len(shape) > 0 and shape[0] > 0

    def encode(self) -> dict[str, Any]:
        """The tensor's JSON object in `model.json`."""
        return {"name": self.name, "datatype": self.datatype, "shape": list(self.shape)}

    @classmethod
    def decode(cls, value: Any) -> "TensorSpec":
        """Read what `encode` made. Raises SealgateError(DOCUMENT_MALFORMED)."""
        item = fields.record(value, ("name", "datatype", "shape"))
        shape = tuple(fields.integer(size, least=-1) for size in fields.items(item["shape"]))
        return cls(fields.text(item["name"]), fields.text(item["datatype"]), shape)


def _check_tensor_name(name: str) -> None:
    if not name or len(name) > _LONGEST_NAME or not name.isprintable():
        raise fields.malformed("a tensor's name is empty, long or unprintable")
