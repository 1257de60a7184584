"""Requests whose head has come before: what they ask for is read once.

A request of one tensor is, in protobuf's usual order, a head and the tensor's raw bytes behind it:

    head    all other fields: model, parameters, the tensor's name, type and shape
    tail    field 7, `raw_input_contents`: 0x3a, its length as a varint, the bytes

Callers ask the same again and again with other bytes. A head is kept once a request with it was
read and accepted, and if it is a message by itself: then head and tail of a later request are its
fields as well, because protobuf joins messages by joining their bytes. What a head says is taken
as read; the tail is checked each time.
"""

from dataclasses import dataclass
from functools import lru_cache
from typing import NamedTuple

from google.protobuf.message import DecodeError

from gateway.calls.params import InferenceParams
from sealgate.oip import grpc_service_pb2 as oip
from sealgate.tensors import Tensor, TensorForm

LARGEST_HEAD = 4096
"""In bytes; whoever sends a longer one has it read each time."""
_RAW = 0x3A
_MOST = 1024


@dataclass(frozen=True, slots=True)
class RequestHead:
    """What a request asks for, apart from its tensor's bytes."""

    request_id: str
    parameters: str
    """The digest of all parameters."""
    params: InferenceParams
    form: TensorForm
    tail: bytes
    """What goes before the raw bytes."""
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


@lru_cache(_MOST)
def varint(number: int) -> bytes:
    """A number as protobuf writes lengths: seven bits a byte, the lowest first."""
    found = bytearray()
    while number > 0x7F:
        found.append(number & 0x7F | 0x80)
        number >>= 7
    found.append(number)
    return bytes(found)
