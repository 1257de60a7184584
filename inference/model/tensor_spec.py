"""A tensor of a version by name, data type and shape, as `model.json` states it."""

import math
from dataclasses import dataclass
from typing import Any

from sealgate.trust import fields

FP32, INT64, BYTES = "FP32", "INT64", "BYTES"
TOKENS_SHAPE = (-1, -1)
_TEXT_SHAPES = ((-1,), (-1, 1))


@dataclass(frozen=True, slots=True)
class TensorSpec:
    """A tensor's name, Open Inference Protocol data type, and shape with -1 for its rows."""

    name: str
    datatype: str
    shape: tuple[int, ...]

    def __post_init__(self) -> None:
        if not self.name or len(self.name) > 128 or not self.name.isprintable():
            raise fields.malformed("a tensor's name is empty, long or unprintable")
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
        """The object that `model.json` holds."""
        return {"name": self.name, "datatype": self.datatype, "shape": list(self.shape)}

    @classmethod
    def decode(cls, value: Any) -> "TensorSpec":
        """Read what `encode` made. Raises SealgateError(DOCUMENT_MALFORMED)."""
        item = fields.record(value, ("name", "datatype", "shape"))
        shape = tuple(fields.integer(size, least=-1) for size in fields.items(item["shape"]))
        return cls(fields.text(item["name"]), fields.text(item["datatype"]), shape)
