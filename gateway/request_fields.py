"""What requests of several services have in common: pages, filters, and the id of a request."""

from typing import Protocol

from google.protobuf.message import Message

from registry.paging import Asked
from registry.requests import Once
from sealgate.trust.digest import sha256


class ListRequest(Protocol):
    page_size: int
    page_token: str
    filter: str


def asked(request: ListRequest) -> Asked:
    """Which page is asked for. Raises: PARAMETER_MALFORMED."""
    return Asked(request.page_size, request.page_token, request.filter)


def once(request: Message) -> Once | None:
    """By what a request is known again: its id, and all that it says; None where it has no id.

    Raises: PARAMETER_MALFORMED.
    """
    request_id = request.request_id  # type: ignore[attr-defined]
    if not request_id:
        return None
    told = request.SerializeToString(deterministic=True)
    return Once(request_id, sha256(request.DESCRIPTOR.full_name.encode() + b"\0" + told))
