"""The digest of a request's parameters, which its log entry commits to.

It covers every parameter of the protocol's request, by name, type and value, and the names of the
outputs that the request asks for: whatever may change the answer beside model, version, `id` and
tensors, which have fields of their own. Parameters of a single tensor are ignored by the gateway
and are not covered. Of a request by HTTP, `binary_data_output`, `binary_data` and
`binary_data_size` say how tensors travel and are not covered either.

The digest is SHA-256 over

    "sealgate/parameters/v1\n"
    number of parameters                     8 bytes
    for each, by the bytes of its name:
        length of the name, name             8 bytes, UTF-8
        type                                 1 byte: 1 bool, 2 int64, 3 string, 4 double, 5 uint64
                                             (the protocol's field numbers), 0 none of them
        length of the value, value           8 bytes, then one byte 0 or 1; 8 bytes, two's
                                             complement; UTF-8; IEEE 754 binary64; 8 bytes; none
    number of outputs                        8 bytes
    for each, in the request's order:
        length of the name, name             8 bytes, UTF-8

with every number big-endian. It is written as `sha256:` and 64 hexadecimal digits.
"""

import hashlib
import struct
from collections.abc import Callable
from typing import Any

from sealgate.oip import grpc_service_pb2 as oip
from sealgate.reasons import Reason, Refusal

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
    """Return the digest of a request's parameters. Raises Refusal(PARAMETER_MALFORMED)."""
    parameters, outputs = request.parameters, request.outputs
    if not parameters and not outputs:
        return _NOTHING
    if len(parameters) > MOST or len(outputs) > MOST:
        raise Refusal(Reason.PARAMETER_MALFORMED, "too many parameters or outputs")
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
