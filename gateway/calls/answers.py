"""Answers as they travel: protobuf's bytes of a `ModelInferResponse`.

The answers of a version differ in ids, receipts and numbers. All else is serialized once, and the
fields are put one behind the other in the order of their numbers, as protobuf itself has them.
"""

from collections.abc import Sequence
from functools import lru_cache

from gateway.calls.request_heads import varint
from sealgate.oip import grpc_service_pb2 as oip
from sealgate.tensors import Tensor

# A field's number and the wire type of what has a length, in one byte.
_ID, _PARAMETERS, _RAW_OUTPUT = b"\x1a", b"\x22", b"\x32"
# An entry of `parameters`: its key, and a value that is a `string_param`.
_RECEIPT, _VALUE, _STRING = b"\x0a\x07receipt", b"\x12", b"\x1a"
_KEPT = 1024


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
    """What an answer says of an output, apart from its numbers."""
    response = oip.ModelInferResponse()
    response.outputs.add(name=name, datatype=datatype, shape=shape)
    return response.SerializeToString()
