"""What requests of several services have in common: pages, filters, and the id of a request."""

import re
from collections.abc import Iterator
from typing import Any, Protocol, TypeAlias

import grpc
from google.protobuf.message import DecodeError, Message

from gateway.transport.compression import encoding_of, unpacked
from registry.listing.paging import ListQuery
from registry.state.requests import RequestKey
from sealgate.reasons import Reason, Refusal
from sealgate.trust.canonical import sha256
from sealgate.trust.fields import check_name


class ListRequest(Protocol):
    page_size: int
    page_token: str
    filter: str


def asked(request: ListRequest) -> ListQuery:
    """Which page is asked for. Raises: PARAMETER_MALFORMED."""
    return ListQuery(request.page_size, request.page_token, request.filter)


def once(request: Message) -> RequestKey | None:
    """By what a request is known again: its id, and all that it says; None where it has no id.

    Raises: PARAMETER_MALFORMED.
    """
    request_id = request.request_id  # type: ignore[attr-defined]
    if not request_id:
        return None
    told = request.SerializeToString(deterministic=True)
    return RequestKey(request_id, sha256(request.DESCRIPTOR.full_name.encode() + b"\0" + told))


_VERSION_NAME = re.compile(r"models/([^/]*)/versions/([^/]*)")
_ALIAS_NAME = re.compile(r"models/([^/]*)/aliases/([^/]*)")
_NUMBER = re.compile(r"[1-9][0-9]{0,8}")


def parse_version(name: str) -> tuple[str, int]:
    """The model and the number of a version. Raises: NAME_MALFORMED, VERSION_MALFORMED."""
    found = _VERSION_NAME.fullmatch(name)
    if found is None:
        raise Refusal(Reason.NAME_MALFORMED, "not models/{model}/versions/{version}")
    if not _NUMBER.fullmatch(found[2]):
        raise Refusal(Reason.VERSION_MALFORMED)
    return check_name(found[1]), int(found[2])


def parse_alias(name: str) -> tuple[str, str]:
    """The model and the alias of a pointer. Raises: NAME_MALFORMED."""
    found = _ALIAS_NAME.fullmatch(name)
    if found is None:
        raise Refusal(Reason.NAME_MALFORMED, "not models/{model}/aliases/{alias}")
    return check_name(found[1]), check_name(found[2])


# Generic for the type checker only.
Handler: TypeAlias = "grpc.RpcMethodHandler[Any, Any]"


def parsed(messages: Iterator[bytes], handler: Handler, largest: int) -> Iterator[Any]:
    """The handler's messages, of `largest` bytes at most each, also where they were compressed.

    Raises: MESSAGE_TOO_LARGE, MESSAGE_MALFORMED; DEADLINE_TOO_SHORT where the caller has gone.
    """
    parse: Any = handler.request_deserializer
    try:
        for message in messages:
            if len(message) > largest:
                raise Refusal(Reason.MESSAGE_TOO_LARGE, f"{len(message)} bytes")
            yield parse(unpacked(message, encoding_of(message), largest))
    except DecodeError as error:
        raise Refusal(Reason.MESSAGE_MALFORMED, "not a message of the method's") from error
    except grpc.RpcError as error:
        raise Refusal(Reason.DEADLINE_TOO_SHORT, "the call ended before its request") from error


def only(parsed: Iterator[Any]) -> Any:
    """The one message of a call that is no stream. Raises: MESSAGE_MALFORMED."""
    try:
        return next(parsed)
    except StopIteration:
        raise Refusal(Reason.MESSAGE_MALFORMED, "no message came") from None
