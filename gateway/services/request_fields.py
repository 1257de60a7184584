"""What requests of several services have in common: pages, filters, and the id of a request."""

import re
from typing import Protocol

from google.protobuf.message import Message

from registry.listing.paging import ListQuery
from registry.state.unit_of_work import RequestKey
from sealgate.reasons import Reason, SealgateError
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
        raise SealgateError(Reason.NAME_MALFORMED, "not models/{model}/versions/{version}")
    if not _NUMBER.fullmatch(found[2]):
        raise SealgateError(Reason.VERSION_MALFORMED)
    return check_name(found[1]), int(found[2])


def parse_alias(name: str) -> tuple[str, str]:
    """The model and the alias of a pointer. Raises: NAME_MALFORMED."""
    found = _ALIAS_NAME.fullmatch(name)
    if found is None:
        raise SealgateError(Reason.NAME_MALFORMED, "not models/{model}/aliases/{alias}")
    return check_name(found[1]), check_name(found[2])
