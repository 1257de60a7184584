"""Messages as bytes: requests are unpacked within bounds and read once; answers are put together.

A request is parsed once its caller is known. A request of one tensor is, in protobuf's usual order,
a head and the tensor's raw bytes behind it:

    head    all other fields: model, parameters, the tensor's name, type and shape
    tail    field 7, `raw_input_contents`: 0x3a, its length as a varint, the bytes

Callers ask the same again and again with other bytes. A head is kept once a request with it was
read and accepted, and if it is a message by itself: then head and tail of a later request are its
fields as well, because protobuf joins messages by joining their bytes. The head's fields are not
read again; the tail is checked each time.

The answers of a version differ in ids, receipts and numbers. All else is serialized once, and the
fields are put one behind the other in the order of their numbers, as protobuf itself has them.
"""

import zlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, NamedTuple, TypeAlias, TypeVar

import grpc
from google.protobuf.message import DecodeError

from gateway.calls.call import Call
from gateway.calls.params import InferenceParams
from sealgate.oip import grpc_service_pb2 as oip
from sealgate.reasons import Reason, SealgateError
from sealgate.tensors import Tensor, TensorForm

# zlib's `wbits` of the two forms: with gzip's header, and with its own, which HTTP calls deflate.
_FORMS = {"gzip": 31, "deflate": 15}
# The first bytes of gzip's form (RFC 1952), and of zlib's at each of its levels (RFC 1950).
_GZIP = b"\x1f\x8b"
_ZLIB = (b"\x78\x01", b"\x78\x5e", b"\x78\x9c", b"\x78\xda")
_PIECE = 256 * 1024

Body: TypeAlias = bytes | bytearray
# Generic for the type checker only.
Handler: TypeAlias = "grpc.RpcMethodHandler[Any, Any]"
T = TypeVar("T")
LARGEST_HEAD = 4096
"""In bytes; whoever sends a longer one has it read each time."""
_RAW = 0x3A
_MOST = 1024
# A field's number and the wire type of what has a length, in one byte.
_ID, _PARAMETERS, _RAW_OUTPUT = b"\x1a", b"\x22", b"\x32"
# An entry of `parameters`: its key, and a value that is a `string_param`.
_RECEIPT, _VALUE, _STRING = b"\x0a\x07receipt", b"\x12", b"\x1a"
_KEPT = 1024


def encoding_of(message: bytes) -> str | None:
    """How the caller's gRPC compressed a message; None where it did not.

    gRPC tells no handler, but the first bytes do: as protobuf, gzip's would be of a wire type that
    does not exist, and zlib's a number in field 15, which no request has.
    """
    if message.startswith(_GZIP):
        return "gzip"
    return "deflate" if message.startswith(_ZLIB) else None


def unpacked(body: Body, encoding: str | None, largest: int) -> Body:
    """The body as it was before it was compressed, `largest` bytes at most.

    Raises: MESSAGE_TOO_LARGE, as soon as it has grown beyond; MESSAGE_MALFORMED for another
    encoding, or what is cut short or goes on behind its end.
    """
    if encoding is None or encoding.lower() == "identity":
        return body
    form = _FORMS.get(encoding.lower())
    if form is None:
        raise SealgateError(Reason.MESSAGE_MALFORMED, "content-encoding")
    try:
        if _grows_beyond(largest, body, form):
            raise SealgateError(
                Reason.MESSAGE_TOO_LARGE, f"{encoding} of {len(body)} bytes unfolds"
            )
        unpacker = zlib.decompressobj(form)
        plain = unpacker.decompress(body, largest + 1)
    except zlib.error as error:
        raise SealgateError(Reason.MESSAGE_MALFORMED, f"{encoding}: {error}") from error
    if not unpacker.eof or unpacker.unused_data:
        raise SealgateError(Reason.MESSAGE_MALFORMED, f"{encoding} is cut short or goes on")
    return plain


def _grows_beyond(largest: int, body: Body, form: int) -> bool:
    """Whether it unpacks to more, found out piece by piece, none of which is kept: where many come
    at once, what is refused would else fill memory as what is answered does. Raises: zlib.error.
    """
    unpacker, size, rest = zlib.decompressobj(form), 0, body
    while size <= largest:
        piece = unpacker.decompress(rest, _PIECE)
        rest = unpacker.unconsumed_tail
        if not piece:
            return False
        size += len(piece)
    return True


ENCODING_METADATA = "sealgate-answer-encoding"

_ENCODINGS = {
    "gzip": grpc.Compression.Gzip,
    "deflate": grpc.Compression.Deflate,
    "identity": grpc.Compression.NoCompression,
}


def choose_encoding(call: Call) -> None:
    """Sets how the call's answer travels. Raises: PARAMETER_MALFORMED."""
    wished = [value for key, value in call.invocation_metadata() if key == ENCODING_METADATA]
    if not wished:
        return
    if len(wished) > 1 or wished[0] not in _ENCODINGS:
        raise SealgateError(Reason.PARAMETER_MALFORMED, ENCODING_METADATA)
    call.set_compression(_ENCODINGS[wished[0]])


def parsed(messages: Iterator[bytes], handler: Handler, largest: int) -> Iterator[Any]:
    """The handler's messages, of `largest` bytes at most each, also where they were compressed.

    Raises: MESSAGE_TOO_LARGE, MESSAGE_MALFORMED; DEADLINE_TOO_SHORT where the caller has gone.
    """
    parse: Any = handler.request_deserializer
    try:
        for message in messages:
            yield parse_message(message, parse, largest)
    except grpc.RpcError as error:
        raise SealgateError(
            Reason.DEADLINE_TOO_SHORT, "the call ended before its request"
        ) from error


def parse_message(message: bytes, parse: Callable[[Any], T], largest: int) -> T:
    """A message of `largest` bytes at most, before and after it is decompressed.

    Raises: MESSAGE_TOO_LARGE, MESSAGE_MALFORMED.
    """
    if len(message) > largest:
        raise SealgateError(Reason.MESSAGE_TOO_LARGE, f"{len(message)} bytes")
    try:
        return parse(unpacked(message, encoding_of(message), largest))
    except DecodeError as error:
        raise SealgateError(Reason.MESSAGE_MALFORMED, "not a message of the method's") from error


def only(parsed: Iterator[Any]) -> Any:
    """The one message of a call that is no stream. Raises: MESSAGE_MALFORMED."""
    try:
        return next(parsed)
    except StopIteration:
        raise SealgateError(Reason.MESSAGE_MALFORMED, "no message was received") from None


@dataclass(frozen=True, slots=True)
class RequestHead:
    """The fields of a request apart from its tensor's bytes."""

    request_id: str
    parameters: str
    """The digest of all parameters."""
    params: InferenceParams
    form: TensorForm
    tail: bytes
    """The bytes before the raw ones."""
    size: int
    """How many raw bytes the tail announces."""


class KnownRequest(NamedTuple):
    """A request with a known head."""

    head: RequestHead
    raw: bytes

    def tensors(self) -> dict[str, Tensor]:
        """Its one tensor, by name. Raises as `sealgate.tensors.read_inputs` does."""
        form = self.head.form
        return {form.name: form.read(self.raw)}


class RequestHeads:
    """The heads of one thread's requests; all are forgotten when there are too many."""

    def __init__(self, most: int = _MOST) -> None:
        self._most = most
        self._heads: dict[bytes, RequestHead] = {}
        # By the length of a message, that of the head that such messages had last.
        self._sizes: dict[int, int] = {}

    def __len__(self) -> int:
        return len(self._heads)

    def find(self, message: bytes) -> KnownRequest | None:
        """The request, if its head is known."""
        size = self._sizes.get(len(message))
        if size is None:
            return None
        head = self._heads.get(message[:size])
        if head is None or not message.startswith(head.tail, size):
            return None
        raw = message[size + len(head.tail) :]
        return KnownRequest(head, raw) if len(raw) == head.size else None

    def keep(
        self,
        message: bytes,
        request: oip.ModelInferRequest,
        request_id: str,
        parameters: str,
        params: InferenceParams,
    ) -> None:
        """Keep the head of a request that was read from this message and accepted."""
        if len(request.inputs) != 1 or len(request.raw_input_contents) != 1 or params.allowance:
            return
        raw, tensor = request.raw_input_contents[0], request.inputs[0]
        tail = bytes([_RAW]) + varint(len(raw))
        size = len(message) - len(tail) - len(raw)
        if (
            not 0 < size <= LARGEST_HEAD
            or message[size:] != tail + raw
            or not _is_message(message[:size])
        ):
            return
        if len(self._heads) >= self._most:
            self._heads.clear()
            self._sizes.clear()
        if (old := self._heads.get(message[:size])) is not None:
            # A text's length is not in its head.
            self._sizes.pop(size + len(old.tail) + old.size, None)
        self._sizes[len(message)] = size
        form = TensorForm.of(tensor.name, tensor.datatype, tuple(tensor.shape))
        self._heads[message[:size]] = RequestHead(
            request_id, parameters, params, form, tail, len(raw)
        )


def _is_message(head: bytes) -> bool:
    """Whether a head is a whole message, without raw contents of its own."""
    try:
        return not oip.ModelInferRequest.FromString(head).raw_input_contents
    except DecodeError:
        return False


def name_field(model: str) -> bytes:
    """How the field `model_name` is written, which begins a request as libraries write it."""
    name = model.encode()
    return bytes((0x0A, len(name))) + name


@lru_cache(_MOST)
def varint(number: int) -> bytes:
    """A number as protobuf writes lengths: seven bits a byte, the lowest first."""
    found = bytearray()
    while number > 0x7F:
        found.append(number & 0x7F | 0x80)
        number >>= 7
    found.append(number)
    return bytes(found)


def answer_bytes(
    model: str, version: str, request_id: str, outputs: Sequence[Tensor], receipt: bytes | None
) -> bytes:
    """The answer of a version, with its outputs in raw form and the receipt as a parameter."""
    parts = [_head(model, version)]
    if request_id:
        parts += _with_length(_ID, request_id.encode())
    if receipt is not None:
        value = b"".join(_with_length(_STRING, receipt))
        entry = b"".join((_RECEIPT, *_with_length(_VALUE, value)))
        parts += _with_length(_PARAMETERS, entry)
    parts += [_form(t.name, t.datatype, t.shape) for t in outputs]
    for tensor in outputs:
        parts += _with_length(_RAW_OUTPUT, tensor.raw)
    return b"".join(parts)


def _with_length(field: bytes, value: bytes) -> tuple[bytes, bytes, bytes]:
    return field, varint(len(value)), value


@lru_cache(_KEPT)
def _head(model: str, version: str) -> bytes:
    return oip.ModelInferResponse(model_name=model, model_version=version).SerializeToString()


@lru_cache(_KEPT)
def _form(name: str, datatype: str, shape: tuple[int, ...]) -> bytes:
    """The serialized description of an output, without its numbers."""
    response = oip.ModelInferResponse()
    response.outputs.add(name=name, datatype=datatype, shape=shape)
    return response.SerializeToString()
