"""Requests' messages, parsed from the bytes that came once their caller is known."""

from collections.abc import Callable, Iterator
from typing import Any, TypeAlias, TypeVar

import grpc
from google.protobuf.message import DecodeError

from gateway.calls.compression import encoding_of, unpacked
from sealgate.reasons import Reason, SealgateError

# Generic for the type checker only.
Handler: TypeAlias = "grpc.RpcMethodHandler[Any, Any]"
T = TypeVar("T")


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
