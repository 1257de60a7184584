"""The names of resources, as `models/{model}/versions/{version}`, taken apart."""

import re

from sealgate.reasons import Reason, Refusal
from sealgate.trust.names import check_name

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
