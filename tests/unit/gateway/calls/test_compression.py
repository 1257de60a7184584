"""Compressed gRPC messages are recognised by their first bytes and unpacked within bounds."""

import gzip
import itertools
import zlib
from collections.abc import Callable
from functools import partial

import grpc
import pytest

from gateway.calls.messages import encoding_of, only, parsed
from gateway.services.health import SERVICES
from sealgate.oip.grpc_service_pb2 import ModelReadyRequest
from sealgate.reasons import Reason, SealgateError

MESSAGE = ModelReadyRequest(name="n" * 1000)
PLAIN = MESSAGE.SerializeToString()
PACKERS: dict[str, Callable[..., bytes]] = {"gzip": gzip.compress, "deflate": zlib.compress}


def received(message: bytes, largest: int = len(PLAIN)) -> ModelReadyRequest:
    """The message that a handler gets."""
    handler = grpc.unary_unary_rpc_method_handler(
        lambda request, context: request, ModelReadyRequest.FromString
    )
    return only(parsed(iter([message]), handler, largest))


def reason_of(message: bytes, largest: int = len(PLAIN)) -> Reason:
    with pytest.raises(SealgateError) as caught:
        received(message, largest)
    return caught.value.reason


@pytest.mark.parametrize(("name", "level"), [*itertools.product(PACKERS, range(10))], ids=str)
def test_each_form_at_each_level(name: str, level: int) -> None:
    pack = partial(PACKERS[name], PLAIN, level)
    assert encoding_of(pack()) == name
    # A packed form without compression is longer than the message.
    assert received(pack(), len(PLAIN) + 100) == MESSAGE


@pytest.mark.parametrize("name", PACKERS)
def test_the_largest_counts_unpacked(name: str) -> None:
    packed = PACKERS[name](PLAIN)
    assert received(packed) == MESSAGE
    assert reason_of(packed, len(PLAIN) - 1) is Reason.MESSAGE_TOO_LARGE
    assert reason_of(packed, len(packed) - 1) is Reason.MESSAGE_TOO_LARGE


@pytest.mark.parametrize("name", PACKERS)
def test_what_does_not_unpack(name: str) -> None:
    packed = PACKERS[name](PLAIN)
    spoiled = packed[:-1] + bytes([packed[-1] ^ 1])
    for bad in (packed[:-1], packed + b"x", packed * 2, packed[:5], spoiled):
        assert reason_of(bad) is Reason.MESSAGE_MALFORMED


def test_what_is_packed_twice_is_unpacked_once() -> None:
    assert reason_of(gzip.compress(gzip.compress(PLAIN))) is Reason.MESSAGE_MALFORMED


def test_no_request_begins_like_what_is_compressed() -> None:
    methods = [method for service in SERVICES for method in service.methods]
    assert len(methods) > 50
    numbers = {field.number for method in methods for field in method.input_type.fields}
    assert 1 in numbers
    # The field and the wire type of a first byte: 3 and 7, which protobuf does not have; 15 and 0.
    assert (0x1F >> 3, 0x1F & 7, 0x78 >> 3, 0x78 & 7) == (3, 7, 15, 0)
    assert 15 not in numbers


@pytest.mark.parametrize("message", [b"", b"x", b"\x1f", PLAIN])
def test_what_is_not_compressed(message: bytes) -> None:
    assert encoding_of(message) is None
