"""Tensors and parameters of the Open Inference Protocol: strict reading, writing, digests.

Raw contents are little-endian, row-major and unpadded; BYTES elements carry a uint32 length each.
BF16 has no numpy type: it is the high half of a float32 and is handed on as float32.
"""

import hashlib
import math
import struct
from collections.abc import Callable, Iterable, Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from sealgate.oip import grpc_service_pb2 as oip
from sealgate.reasons import Reason, SealgateError
from sealgate.trust.receipts.answer_entry import tensors_digest

Array = npt.NDArray[Any]

_FLOATS = frozenset({"FP16", "FP32", "FP64", "BF16"})
DTYPES: dict[str, np.dtype[Any]] = {
    "BOOL": np.dtype("?"),
    "UINT8": np.dtype("<u1"),
    "UINT16": np.dtype("<u2"),
    "UINT32": np.dtype("<u4"),
    "UINT64": np.dtype("<u8"),
    "INT8": np.dtype("<i1"),
    "INT16": np.dtype("<i2"),
    "INT32": np.dtype("<i4"),
    "INT64": np.dtype("<i8"),
    "FP16": np.dtype("<f2"),
    "FP32": np.dtype("<f4"),
    "FP64": np.dtype("<f8"),
}
"""The numpy types of the data types that have one, as they travel."""
_NAMES = {dtype: name for name, dtype in DTYPES.items()}
# Which field of InferTensorContents carries a data type; FP16 and BF16 travel raw only.
_CONTENTS = {
    "BOOL": "bool_contents",
    "INT8": "int_contents",
    "INT16": "int_contents",
    "INT32": "int_contents",
    "INT64": "int64_contents",
    "UINT8": "uint_contents",
    "UINT16": "uint_contents",
    "UINT32": "uint_contents",
    "UINT64": "uint64_contents",
    "FP32": "fp32_contents",
    "FP64": "fp64_contents",
    "BYTES": "bytes_contents",
}
DATATYPES = frozenset(DTYPES) | {"BF16", "BYTES"}
# More elements than this cannot be addressed by any array here, nor more dimensions.
_MAX_ELEMENTS = 2**31 - 1
_MAX_DIMENSIONS = 32
# No model takes more tensors; and each text is an object of its own. A message has room for many
# more of both, and to read those would keep other callers waiting.
_MAX_INPUTS = 4096
_MAX_TEXTS = 1 << 16


class Tensor(NamedTuple):
    """A named array as it travels.

    `data` has shape `shape`; `raw` is its wire form, of which digests are taken. `span` is the
    least and the largest number of an FP32 that was read.
    """

    name: str
    datatype: str
    shape: tuple[int, ...]
    data: Array
    raw: bytes
    span: tuple[float, float] | None = None

    @classmethod
    def of(cls, name: str, data: Array) -> "Tensor":
        """The tensor for a numpy array of a wire data type, or of bytes objects (BYTES).

        Raises: TENSOR_DATATYPE for any other element type.
        """
        if data.dtype == object:
            return cls(name, "BYTES", data.shape, data, _join_bytes(data.ravel().tolist()))
        plain = np.ascontiguousarray(data, data.dtype.newbyteorder("<"))
        datatype = _NAMES.get(plain.dtype)
        if datatype is None:
            raise SealgateError(Reason.TENSOR_DATATYPE, f"no wire type for {data.dtype}")
        return cls(name, datatype, data.shape, plain.reshape(data.shape), plain.tobytes())

    @classmethod
    def of_text(cls, name: str, text: bytes) -> "Tensor":
        """The tensor of one text (BYTES)."""
        array = np.empty(1, object)
        array[0] = text
        return cls.of(name, array)


def digest_of(tensors: Iterable[Tensor]) -> str:
    """The digest of tensors; see `tensors_digest`."""
    return tensors_digest([(t.name, t.datatype, t.shape, t.raw) for t in tensors])


def read_inputs(request: oip.ModelInferRequest) -> dict[str, Tensor]:
    """The request's inputs by name, each with exactly the contents that its type and shape ask for.

    Raises: TENSOR_NAME, TENSOR_DUPLICATE, TENSOR_DATATYPE, TENSOR_SHAPE, TENSOR_BYTES,
    TENSOR_RANGE, TENSOR_NOT_FINITE, RAW_CONTENTS_MISMATCH.
    """
    if len(request.inputs) > _MAX_INPUTS:
        raise SealgateError(Reason.TENSOR_NAME, f"{len(request.inputs)} inputs")
    raws: Sequence[bytes] = request.raw_input_contents
    if raws and len(raws) != len(request.inputs):
        raise SealgateError(
            Reason.RAW_CONTENTS_MISMATCH, f"{len(raws)} raw entries, {len(request.inputs)} inputs"
        )
    tensors: dict[str, Tensor] = {}
    for place, message in enumerate(request.inputs):
        if message.name in tensors:
            raise SealgateError(Reason.TENSOR_DUPLICATE)
        if raws and message.HasField("contents"):
            raise SealgateError(Reason.RAW_CONTENTS_MISMATCH, "both raw and typed contents")
        raw = raws[place] if raws else None
        tensors[message.name] = _read(message, raw)
    return tensors


def read_outputs(response: oip.ModelInferResponse) -> dict[str, Tensor]:
    """The answer's outputs by name, from their raw form.

    Raises: RAW_CONTENTS_MISMATCH, TENSOR_DATATYPE, TENSOR_SHAPE, TENSOR_BYTES.
    """
    if len(response.raw_output_contents) != len(response.outputs):
        raise SealgateError(Reason.RAW_CONTENTS_MISMATCH)
    tensors = {}
    for message, raw in zip(response.outputs, response.raw_output_contents, strict=True):
        tensors[message.name] = _read(message, raw)
    return tensors


def write_inputs(request: oip.ModelInferRequest, tensors: Iterable[Tensor]) -> None:
    """Appends inputs in raw form."""
    for tensor in tensors:
        request.inputs.add(name=tensor.name, datatype=tensor.datatype, shape=tensor.shape)
        request.raw_input_contents.append(tensor.raw)


def write_outputs(response: oip.ModelInferResponse, tensors: Iterable[Tensor]) -> None:
    """Appends outputs in raw form, the only one that every client decodes."""
    for tensor in tensors:
        response.outputs.add(name=tensor.name, datatype=tensor.datatype, shape=tensor.shape)
        response.raw_output_contents.append(tensor.raw)


def _read(
    message: oip.ModelInferRequest.InferInputTensor | oip.ModelInferResponse.InferOutputTensor,
    raw: bytes | None,
) -> Tensor:
    if len(message.shape) > _MAX_DIMENSIONS:
        raise SealgateError(Reason.TENSOR_SHAPE, f"{len(message.shape)} dimensions")
    if raw is not None:
        return TensorForm.of(message.name, message.datatype, tuple(message.shape)).read(raw)
    datatype, shape = message.datatype, tuple(message.shape)
    data = _from_typed(message.contents, _known(datatype), _element_count(shape, datatype))
    raw = _join_bytes(data.tolist()) if datatype == "BYTES" else data.tobytes()
    return _finite(message.name, datatype, shape, data, raw)


class TensorForm(NamedTuple):
    """The checked description of a raw entry. The shape has so many `elements`."""

    name: str
    datatype: str
    shape: tuple[int, ...]
    elements: int

    @classmethod
    def of(cls, name: str, datatype: str, shape: tuple[int, ...]) -> "TensorForm":
        """Raises: TENSOR_DATATYPE, TENSOR_SHAPE."""
        return cls(name, _known(datatype), shape, _element_count(shape, datatype))

    def read(self, raw: bytes) -> Tensor:
        """The tensor of a raw entry. Raises: TENSOR_BYTES, TENSOR_RANGE, TENSOR_NOT_FINITE."""
        name, datatype, shape, elements = self
        data = _from_raw(raw, datatype, elements)
        return _finite(name, datatype, shape, data, raw)


def _known(datatype: str) -> str:
    if datatype not in DATATYPES:
        raise SealgateError(Reason.TENSOR_DATATYPE)
    return datatype


def _finite(name: str, datatype: str, shape: tuple[int, ...], data: Array, raw: bytes) -> Tensor:
    span: tuple[float, float] | None = None
    if datatype == "FP32" and raw:
        span = _span_of(raw)
        # A NaN compares as false.
        if not (span[0] > -math.inf and span[1] < math.inf):
            raise SealgateError(Reason.TENSOR_NOT_FINITE)
    elif datatype in _FLOATS and not np.isfinite(data).all():
        raise SealgateError(Reason.TENSOR_NOT_FINITE)
    return Tensor(name, datatype, shape, data.reshape(shape), raw, span)


def _numpy_span(raw: bytes) -> tuple[float, float]:
    """The least and the largest of one or more little-endian float32; not a number where one of
    them is not.
    """
    data = np.frombuffer(raw, "<f4")
    return float(data.min()), float(data.max())


def _fastest_span() -> Callable[[bytes], tuple[float, float]]:
    """The fastest that is installed: of few numbers, numpy's takes four times as long."""
    try:
        from sealgate_front import float_span
    except ImportError:
        return _numpy_span
    return float_span


_span_of = _fastest_span()


def _element_count(shape: Sequence[int], datatype: str) -> int:
    # First of all: to multiply the sizes that fit into a message would take minutes.
    if len(shape) > _MAX_DIMENSIONS:
        raise SealgateError(Reason.TENSOR_SHAPE, f"{len(shape)} dimensions")
    if min(shape, default=0) < 0:
        raise SealgateError(Reason.TENSOR_SHAPE, "negative dimension")
    # Python's integers do not overflow, so the product can be compared as it is. A size of zero
    # does not make room for the others.
    if math.prod(size or 1 for size in shape) > _MAX_ELEMENTS:
        raise SealgateError(Reason.TENSOR_SHAPE, "more elements than can be addressed")
    count = math.prod(shape)
    if datatype == "BYTES" and count > _MAX_TEXTS:
        raise SealgateError(Reason.TENSOR_SHAPE, f"{count} texts")
    return count


def _from_raw(raw: bytes, datatype: str, count: int) -> Array:
    if datatype == "BYTES":
        return _object_array(_split_bytes(raw, count))
    size = 2 if datatype == "BF16" else DTYPES[datatype].itemsize
    if len(raw) != count * size:
        raise SealgateError(
            Reason.TENSOR_BYTES, f"{len(raw)} bytes for {count} elements of {datatype}"
        )
    if datatype == "BF16":
        return (np.frombuffer(raw, "<u2").astype(np.uint32) << 16).view(np.float32)
    if datatype == "BOOL" and raw.translate(None, b"\x00\x01"):
        raise SealgateError(Reason.TENSOR_RANGE, "a BOOL is 0 or 1")
    return np.frombuffer(raw, DTYPES[datatype])


def _from_typed(contents: oip.InferTensorContents, datatype: str, count: int) -> Array:
    field = _CONTENTS.get(datatype)
    if field is None:
        raise SealgateError(Reason.TENSOR_BYTES, f"{datatype} travels in raw contents only")
    if any(other.name != field for other, _ in contents.ListFields()):
        raise SealgateError(Reason.TENSOR_BYTES, "contents of another type")
    values = getattr(contents, field)
    if len(values) != count:
        raise SealgateError(Reason.TENSOR_BYTES, f"{len(values)} values for {count} elements")
    if datatype == "BYTES":
        return _object_array(list(values))
    dtype = DTYPES[datatype]
    if dtype.kind in "iu" and count:
        wide = np.array(values, np.int64 if dtype.kind == "i" else np.uint64)
        limits = np.iinfo(dtype)
        if wide.min() < limits.min or wide.max() > limits.max:
            raise SealgateError(Reason.TENSOR_RANGE)
        return wide.astype(dtype)
    return np.array(values, dtype)


def _split_bytes(raw: bytes, count: int) -> list[bytes]:
    items: list[bytes] = []
    offset = 0
    while offset < len(raw):
        if len(items) == count or offset + 4 > len(raw):
            raise SealgateError(Reason.TENSOR_BYTES, "surplus or truncated element")
        (length,) = struct.unpack_from("<I", raw, offset)
        offset += 4
        if length > len(raw) - offset:
            raise SealgateError(Reason.TENSOR_BYTES, "an element's length runs past the end")
        items.append(raw[offset : offset + length])
        offset += length
    if len(items) != count:
        raise SealgateError(Reason.TENSOR_BYTES, f"{len(items)} elements, not {count}")
    return items


def _join_bytes(items: Iterable[bytes]) -> bytes:
    return b"".join(struct.pack("<I", len(item)) + item for item in items)


def _object_array(items: list[bytes]) -> Array:
    array = np.empty(len(items), object)
    array[:] = items
    return array


MOST = 64
"""A request has no more parameters than this, and names no more outputs."""

_HEADER = b"sealgate/parameters/v1\n"
_number = struct.Struct(">Q").pack
_value = struct.Struct(">BQ").pack
_SIGNED, _UNSIGNED, _DOUBLE = (struct.Struct(form).pack for form in (">q", ">Q", ">d"))
# By the name of the protocol's field: its number, and how its value is written.
_KINDS: dict[str | None, tuple[int, Callable[[Any], bytes]]] = {
    "bool_param": (1, lambda value: b"\x01" if value else b"\x00"),
    "int64_param": (2, _SIGNED),
    "string_param": (3, str.encode),
    "double_param": (4, _DOUBLE),
    "uint64_param": (5, _UNSIGNED),
}
_NOTHING = "sha256:" + hashlib.sha256(_HEADER + bytes(16)).hexdigest()


def parameters_digest(request: oip.ModelInferRequest) -> str:
    """Return the digest of a request's parameters. Raises SealgateError(PARAMETER_MALFORMED)."""
    parameters, outputs = request.parameters, request.outputs
    if not parameters and not outputs:
        return _NOTHING
    if len(parameters) > MOST or len(outputs) > MOST:
        raise SealgateError(Reason.PARAMETER_MALFORMED, "too many parameters or outputs")
    parts = [_HEADER, _number(len(parameters))]
    for name, parameter in sorted((name.encode(), value) for name, value in parameters.items()):
        parts += _written(name, parameter)
    parts.append(_number(len(outputs)))
    for output in outputs:
        name = output.name.encode()
        parts += (_number(len(name)), name)
    return "sha256:" + hashlib.sha256(b"".join(parts)).hexdigest()


def _written(name: bytes, parameter: oip.InferParameter) -> tuple[bytes, ...]:
    kind = parameter.WhichOneof("parameter_choice")
    if kind is None:
        return _number(len(name)), name, _value(0, 0)
    number, write = _KINDS[kind]
    value = write(getattr(parameter, kind))
    return _number(len(name)), name, _value(number, len(value)), value
