"""Bodies of the HTTP gateway: JSON that is read strictly, tensors in JSON or raw, and answers.

JSON is UTF-8, with no NaN or infinity, no key twice, and objects with known keys alone. Nesting is
bounded by the parser, which gives up at the interpreter's own depth. FP16 and BF16 travel raw
alone, as by gRPC. A BYTES element is a text, in UTF-8.

An answer is a status, a body, and few headers; a refusal has the protocol's form or OpenAI's.
"""

import json
import math
import threading
from collections.abc import Iterator, Sequence, Set
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import chain
from typing import Any, NoReturn, Protocol

import numpy as np
from google.protobuf.message import Message

from sealgate.reasons import Kind, Reason, SealgateError
from sealgate.remote.errors import retry_after
from sealgate.tensors import DATATYPES, DTYPES, Array, Tensor
from sealgate.trust import fields

# A parsed text takes up to thirty times its room, so large ones are parsed one at a time; the
# interpreter lets no two go on at once anyway.
_LARGE = 64 * 1024
# Arrays and objects, which take more than all else while the interpreter makes them; a tensor has
# few of them for its numbers.
_MOST_CONTAINERS = 1 << 16
_one_large = threading.Lock()
# By numpy's kind of a data type: what its elements are in JSON, and the widest type of that kind.
_ELEMENTS: dict[str, tuple[frozenset[type], np.dtype[Any]]] = {
    "b": (frozenset({bool}), np.dtype(bool)),
    "i": (frozenset({int}), np.dtype(np.int64)),
    "u": (frozenset({int}), np.dtype(np.uint64)),
    "f": (frozenset({int, float}), np.dtype(np.float64)),
}
JSON = "application/json"
BINARY = "application/octet-stream"
EVENTS = "text/event-stream"

STATUS: dict[Kind, int] = {
    Kind.UNAUTHENTICATED: 401,
    Kind.DENIED: 403,
    Kind.INVALID: 400,
    Kind.NOT_FOUND: 404,
    Kind.EXISTS: 409,
    Kind.PRECONDITION: 400,
    Kind.STALE: 409,
    Kind.EXHAUSTED: 429,
    Kind.UNAVAILABLE: 503,
    Kind.TOO_LATE: 504,
    Kind.DATA_LOSS: 500,
    Kind.INTERNAL: 500,
}
"""As google/rpc/code.proto maps the codes of `sealgate.remote.errors`."""
_OPENAI_TYPES = {
    401: "authentication_error",
    403: "permission_error",
    429: "rate_limit_error",
    500: "server_error",
    503: "server_error",
    504: "server_error",
}


@contextmanager
def room_for(size: int) -> Iterator[None]:
    """Hold the place for a large document while it is parsed and made smaller again."""
    if size <= _LARGE:
        yield
        return
    with _one_large:
        yield


def parse(document: bytes | bytearray | memoryview) -> Any:
    """Raises: MESSAGE_MALFORMED."""
    try:
        written = str(document, "utf-8")
        if written.count("[") + written.count("{") > _MOST_CONTAINERS:
            raise ValueError("too many arrays and objects")
        return json.loads(
            written, object_pairs_hook=fields.unique_members, parse_constant=_constant
        )
    except (ValueError, RecursionError) as error:
        raise SealgateError(
            Reason.MESSAGE_MALFORMED, f"not JSON: {type(error).__name__}"
        ) from error


def members(value: Any, needed: Set[str], optional: Set[str] = frozenset()) -> dict[str, Any]:
    """An object that has the needed keys and, of others, the optional ones at most.

    Raises: MESSAGE_MALFORMED.
    """
    found = any_members(value)
    if not needed <= found.keys() <= needed | optional:
        raise SealgateError(Reason.MESSAGE_MALFORMED, "an object has other keys")
    return found


def any_members(value: Any) -> dict[str, Any]:
    """An object, whatever its keys. Raises: MESSAGE_MALFORMED."""
    if type(value) is not dict:
        raise SealgateError(Reason.MESSAGE_MALFORMED, "not an object")
    return value


def items(value: Any) -> list[Any]:
    """Raises: MESSAGE_MALFORMED."""
    if type(value) is not list:
        raise SealgateError(Reason.MESSAGE_MALFORMED, "not an array")
    return value


def text(value: Any) -> str:
    """A string that is one in UTF-8 too. Raises: MESSAGE_MALFORMED."""
    if type(value) is not str:
        raise SealgateError(Reason.MESSAGE_MALFORMED, "not a string")
    try:
        value.encode()
    except UnicodeEncodeError as error:
        raise SealgateError(Reason.MESSAGE_MALFORMED, "half of a surrogate pair") from error
    return value


def _constant(name: str) -> NoReturn:
    raise SealgateError(Reason.MESSAGE_MALFORMED, name)


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


@dataclass(frozen=True, slots=True)
class HttpAnswer:
    """`kind` is the body's media type, `headers` what goes beside it and its length. `is_sent` says
    that it has left already, in parts.
    """

    status: int
    body: bytes
    kind: str = JSON
    headers: tuple[tuple[str, str], ...] = ()
    is_sent: bool = False


class HttpStream(Protocol):
    """Takes an answer in parts. Each raises OSError where the caller takes them no more."""

    def begin(self, kind: str) -> None:
        """Say that an answer of this media type comes, with status 200."""

    def send(self, data: bytes) -> None: ...

    def end(self) -> None: ...


def said(document: Any, status: int = 200) -> HttpAnswer:
    return HttpAnswer(status, json.dumps(document, separators=(",", ":")).encode())


def refused(
    refusal: SealgateError, receipt: bytes | None = None, openai: bool = False
) -> HttpAnswer:
    """The reason's sentence and name, its facts and the receipt where there are such."""
    reason = refusal.reason
    document = openai_error(refusal, receipt) if openai else _error(refusal, receipt)
    headers: list[tuple[str, str]] = []
    if reason.kind is Kind.UNAUTHENTICATED:
        headers.append(("www-authenticate", "Bearer"))
    seconds = retry_after(refusal)
    if seconds is not None:
        # HTTP knows whole seconds only.
        headers.append(("retry-after", str(max(1, math.ceil(seconds)))))
    body = json.dumps(document, separators=(",", ":")).encode()
    return HttpAnswer(STATUS[reason.kind], body, JSON, tuple(headers))


def openai_error(refusal: SealgateError, receipt: bytes | None) -> dict[str, Any]:
    """A refusal as OpenAI's clients read one; the reason's name is the `code`."""
    reason = refusal.reason
    error: dict[str, Any] = {
        "message": reason.sentence,
        "type": _OPENAI_TYPES.get(STATUS[reason.kind], "invalid_request_error"),
        "param": refusal.facts.get("param"),
        "code": reason.name,
    }
    if receipt is not None:
        error["receipt"] = receipt.decode()
    return {"error": error}


def _error(refusal: SealgateError, receipt: bytes | None) -> dict[str, Any]:
    reason = refusal.reason
    document: dict[str, Any] = {"error": reason.sentence, "reason": reason.name}
    if refusal.facts:
        document["metadata"] = refusal.facts
    if receipt is not None:
        document["receipt"] = receipt.decode()
    return document


MALFORMED = refused(SealgateError(Reason.MESSAGE_MALFORMED))
"""The answer to a request that is not HTTP."""
