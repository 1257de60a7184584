"""How an answer is compressed: as the caller asks, one call at a time.

A handler is not told how its request was compressed, so an answer cannot follow it; and compressing
every answer would cost all callers what few need. gRPC sends an answer as it is to a caller that
does not take what was chosen. Compressed requests are no business of gRPC's, which keeps what they
unfold to: `gateway.unpacking` measures it first.
"""

import grpc

from gateway.front_door import Call
from sealgate.reasons import Reason, Refusal

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
        raise Refusal(Reason.PARAMETER_MALFORMED, ENCODING_METADATA)
    call.set_compression(_ENCODINGS[wished[0]])
