"""Reads a safetensors file tensor by tensor, and writes it again with some tensors replaced.

The format: the header's length, 8 bytes, little-endian; the header, JSON, with each tensor's type,
shape and place; then the tensors. The `safetensors` library cannot read bfloat16 into numpy, and
reads whole files into memory.
"""

import json
import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import BinaryIO

import ml_dtypes
import numpy as np
import numpy.typing as npt

from publishing.watermark.carrier_weights import MIN_ELEMENTS, CarrierWeight
from publishing.watermark.dequantize import Array, Floats, dequantize, unpack_nibbles
from sealgate.reasons import Reason, SealgateError

_LARGEST_HEADER = 100_000_000
_METADATA = "__metadata__"
_DTYPES: Mapping[str, npt.DTypeLike] = {
    "F64": "<f8",
    "F32": "<f4",
    "F16": "<f2",
    "BF16": ml_dtypes.bfloat16,
    "I64": "<i8",
    "I32": "<i4",
    "I16": "<i2",
    "I8": "i1",
    "U8": "u1",
    "BOOL": "?",
}
_FLOATS = frozenset({"F64", "F32", "F16", "BF16"})
# How files name the scale and the zero point of a tensor of integers.
_SCALES = ("_scale", "_scales", ".scale", ".scales")
_ZEROS = ("_zero_point", "_zeros", ".zero_point", ".zeros")
_ENDINGS = ("_quantized", ".qweight", "_q")


@dataclass(frozen=True, slots=True)
class TensorEntry:
    """One tensor: its type by the format's name, its shape, and where its bytes lie."""

    dtype: str
    shape: tuple[int, ...]
    start: int
    end: int


@dataclass(frozen=True, slots=True, eq=False)
class TensorFile:
    """The tensors by name, in the order of their bytes; `data` is the file, or a map of it."""

    data: npt.NDArray[np.uint8]
    metadata: Mapping[str, str]
    entries: Mapping[str, TensorEntry]

    @classmethod
    def parse(cls, data: npt.NDArray[np.uint8]) -> "TensorFile":
        """Raises: FORMAT_REFUSED where the header is malformed, or its tensors do not fill the file
        one after another.
        """
        size = int.from_bytes(data[:8].tobytes(), "little")
        if len(data) < 8 or not 2 <= size <= min(_LARGEST_HEADER, len(data) - 8):
            raise _refused("it is cut short, or none")
        try:
            header = json.loads(data[8 : 8 + size].tobytes().decode())
            metadata = dict(header.pop(_METADATA, {}))
            found = {name: _entry(value, 8 + size) for name, value in header.items()}
        except (AttributeError, KeyError, TypeError, ValueError, RecursionError) as error:
            raise _refused("a malformed header") from error
        entries = dict(sorted(found.items(), key=lambda item: (item[1].start, item[0])))
        place = 8 + size
        for entry in entries.values():
            if entry.start != place or entry.end > len(data):
                raise _refused("tensors that overlap, or reach beyond the end")
            place = entry.end
        if place != len(data):
            raise _refused("bytes behind the last tensor")
        return cls(data, metadata, entries)

    def tensor(self, name: str) -> Array:
        """The tensor's values, not copied."""
        entry = self.entries[name]
        raw = self.data[entry.start : entry.end]
        values: Array = np.frombuffer(raw, _DTYPES[entry.dtype]).reshape(entry.shape)
        return values

    def floats(self) -> tuple[str, ...]:
        """The names of the weights that are floats."""
        return tuple(
            name
            for name, entry in self.entries.items()
            if entry.dtype in _FLOATS
            and len(entry.shape) >= 2
            and math.prod(entry.shape) >= MIN_ELEMENTS
        )

    def floating(self, name: str) -> Floats:
        """A tensor of floats. Raises: FORMAT_REFUSED where it is not finite."""
        values = self.tensor(name).astype(np.float32, copy=False)
        if not np.isfinite(values).all():
            raise _refused(f"{name} is not finite")
        return values

    def kept(self, name: str, values: Floats) -> Floats:
        """The values, rounded to that tensor's own type."""
        return values.astype(_DTYPES[self.entries[name].dtype]).astype(np.float32)

    def carriers(self) -> tuple[CarrierWeight, ...]:
        """The weights as they lie, dequantized where they are integers with a scale.

        Raises: FORMAT_REFUSED where one is not finite, or a scale does not fit.
        """
        return tuple(self._carriers())

    def _carriers(self) -> Iterable[CarrierWeight]:
        for name, entry in self.entries.items():
            if len(entry.shape) < 2 or math.prod(entry.shape) < MIN_ELEMENTS:
                continue
            if entry.dtype in _FLOATS:
                yield CarrierWeight(name, tuple(range(len(entry.shape))), self.floating(name))
            elif entry.dtype in ("I8", "U8"):
                stem = next((name.removesuffix(e) for e in _ENDINGS if name.endswith(e)), name)
                values = self._integers(name, stem)
                yield CarrierWeight(stem, tuple(range(values.ndim)), values, integers=True)

    def _integers(self, name: str, stem: str) -> Floats:
        """Scaled by the tensor that is named after it: one number, one a row, or one a block of a
        row. Bytes with a scale for each block hold two weights of four bits each.
        """
        values = self.tensor(name)
        scale, zero = self._beside(name, stem, _SCALES), self._beside(name, stem, _ZEROS)
        if scale is None:
            return values.astype(np.float32)
        if scale.ndim == 2 and scale.shape[1] > 1:
            if values.dtype == np.uint8:
                values = unpack_nibbles(values.view(np.uint8))
                zero = zero if zero is not None else np.full((), 8, np.float32)
            block = -(-values.shape[-1] // scale.shape[1])
            return dequantize(values, scale, zero, axis=values.ndim - 1, block=block)
        flat_zero = zero.reshape(-1) if zero is not None else None
        return dequantize(values, scale.reshape(-1), flat_zero, axis=0)

    def _beside(self, name: str, stem: str, endings: Iterable[str]) -> Array | None:
        names = (each + ending for each in (name, stem) for ending in endings)
        found = next((each for each in names if each in self.entries), None)
        return self.tensor(found) if found is not None else None


def write_tensor_file(
    file: BinaryIO,
    source: TensorFile,
    metadata: Mapping[str, str],
    replaced: Callable[[str], Floats | None],
) -> None:
    """Writes the source's tensors again, each with the values that `replaced` has for its name, in
    its own type; one at a time, so that no more than one is in memory.
    """
    header: dict[str, object] = {}
    if metadata:
        header[_METADATA] = dict(metadata)
    place = 0
    for name, entry in source.entries.items():
        size = entry.end - entry.start
        offsets = [place, place + size]
        header[name] = {"dtype": entry.dtype, "shape": list(entry.shape), "data_offsets": offsets}
        place += size
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    file.write(len(text).to_bytes(8, "little") + text)
    for name, entry in source.entries.items():
        values = replaced(name)
        if values is None:
            file.write(source.data[entry.start : entry.end].tobytes())
        else:
            file.write(values.astype(_DTYPES[entry.dtype]).tobytes())


def _entry(value: Mapping[str, object], start: int) -> TensorEntry:
    dtype, shape, offsets = value["dtype"], value["shape"], value["data_offsets"]
    if not isinstance(dtype, str) or not isinstance(shape, list) or not isinstance(offsets, list):
        raise TypeError("a tensor's entry")
    first, last = offsets
    sizes = (*shape, first, last)
    if any(type(number) is not int or number < 0 for number in sizes) or dtype not in _DTYPES:
        raise ValueError("a tensor's entry")
    if last - first != math.prod(shape) * np.dtype(_DTYPES[dtype]).itemsize:
        raise ValueError("a tensor's size")
    return TensorEntry(dtype, tuple(shape), start + first, start + last)


def _refused(detail: str) -> SealgateError:
    return SealgateError(Reason.FORMAT_REFUSED, f"a safetensors file: {detail}")
