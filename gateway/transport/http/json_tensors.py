"""Tensors' contents as JSON has them, and as they travel raw.

FP16 and BF16 travel raw alone, as by gRPC. A BYTES element is a text, in UTF-8.
"""

from collections.abc import Sequence
from itertools import chain
from typing import Any

import numpy as np
from google.protobuf.message import Message

from sealgate.reasons import Reason, SealgateError
from sealgate.tensors import DATATYPES, DTYPES, Array, Tensor

# By numpy's kind of a data type: what its elements are in JSON, and the widest type of that kind.
_ELEMENTS: dict[str, tuple[frozenset[type], np.dtype[Any]]] = {
    "b": (frozenset({bool}), np.dtype(bool)),
    "i": (frozenset({int}), np.dtype(np.int64)),
    "u": (frozenset({int}), np.dtype(np.uint64)),
    "f": (frozenset({int, float}), np.dtype(np.float64)),
}


def raw_contents(data: list[Any], datatype: str, shape: Sequence[int]) -> bytes:
    """The raw form of `data`, which is flat or nested as `shape` says.

    Raises: TENSOR_DATATYPE, TENSOR_BYTES where elements are of another type or form, TENSOR_RANGE.
    """
    if datatype not in DATATYPES:
        raise SealgateError(Reason.TENSOR_DATATYPE)
    values = _flat(data, shape)
    kinds = set(map(type, values))
    if datatype == "BYTES":
        return _texts(values, kinds)
    dtype = DTYPES.get(datatype)
    if dtype is None or datatype == "FP16":
        raise SealgateError(Reason.TENSOR_BYTES, f"{datatype} travels raw only")
    accepted, wide = _ELEMENTS[dtype.kind]
    if not kinds <= accepted:
        raise SealgateError(Reason.TENSOR_BYTES, "elements of another type")
    try:
        return _narrow(np.array(values, wide), dtype).tobytes()
    except OverflowError as error:
        raise SealgateError(Reason.TENSOR_RANGE) from error


def json_contents(tensor: Tensor) -> list[Any]:
    """The elements, flat and row by row, each as a JSON number, boolean or string.

    Raises: ANSWER_MALFORMED for bytes that are no text.
    """
    values: list[Any] = tensor.data.ravel().tolist()
    if tensor.datatype != "BYTES":
        return values
    try:
        return [value.decode() for value in values]
    except UnicodeDecodeError as error:
        raise SealgateError(Reason.ANSWER_MALFORMED, "bytes that are no text") from error


def _flat(data: list[Any], shape: Sequence[int]) -> list[Any]:
    """Raises: TENSOR_BYTES where lists are nested in another way than the shape says."""
    if list not in map(type, data):
        return data
    level = data
    for place, size in enumerate(shape):
        if place:
            if any(type(row) is not list for row in level):
                raise SealgateError(Reason.TENSOR_BYTES, "nested in part")
            if any(len(row) != size for row in level):
                raise SealgateError(Reason.TENSOR_BYTES, f"another length in dimension {place}")
            level = list(chain.from_iterable(level))
        elif len(level) != size:
            raise SealgateError(Reason.TENSOR_BYTES, "another length in dimension 0")
    return level


def _texts(values: list[Any], kinds: set[type]) -> bytes:
    if not kinds <= {str}:
        raise SealgateError(Reason.TENSOR_BYTES, "elements that are no strings")
    array = np.empty(len(values), object)
    try:
        array[:] = [value.encode() for value in values]
    except UnicodeEncodeError as error:
        raise SealgateError(Reason.TENSOR_BYTES, "half of a surrogate pair") from error
    return Tensor.of("", array).raw


def _narrow(wide: Array, dtype: np.dtype[Any]) -> Array:
    if dtype.kind in "iu" and wide.size:
        limits = np.iinfo(dtype)
        if wide.min() < limits.min or wide.max() > limits.max:
            raise SealgateError(Reason.TENSOR_RANGE)
    with np.errstate(over="ignore"):
        narrow = wide.astype(dtype)
    # JSON has no infinity, so one was a number that is too large.
    if dtype.kind == "f" and not np.isfinite(narrow).all():
        raise SealgateError(Reason.TENSOR_RANGE)
    return narrow


def plain(message: Message) -> dict[str, Any]:
    """Every field that says something; plain values and lists also where they are empty."""
    found: dict[str, Any] = {}
    for field in message.DESCRIPTOR.fields:
        value = getattr(message, field.name)
        if _is_map(field):
            found[field.name] = {key: _mapped(field, value[key]) for key in sorted(value)}
        elif field.is_repeated:
            found[field.name] = [_value(field, each) for each in value]
        elif not field.has_presence or message.HasField(field.name):
            found[field.name] = _value(field, value)
    return found


def _is_map(field: Any) -> bool:
    return field.message_type is not None and bool(field.message_type.GetOptions().map_entry)


def _mapped(field: Any, value: Any) -> Any:
    return _value(field.message_type.fields_by_name["value"], value)


def _value(field: Any, value: Any) -> Any:
    if field.message_type is not None:
        return plain(value)
    if field.enum_type is not None:
        return field.enum_type.values_by_number[value].name
    return value
