"""Etags (AIP-154): what a resource looked like, for those who change it to say what they saw."""

from sealgate.reasons import Reason, Refusal
from sealgate.trust import canonical
from sealgate.trust.canonical import sha256

_LENGTH = 32


def etag(*parts: str) -> str:
    """A strong etag, in its quotes, over all that may change of a resource."""
    digest = sha256(canonical.encode(list(parts))).removeprefix("sha256:")
    return f'"{digest[:_LENGTH]}"'


def check_etag(given: str, present: str) -> None:
    """Raises Refusal(ETAG_STALE) unless `given` is empty or the one of the present state."""
    if given not in ("", present):
        raise Refusal(Reason.ETAG_STALE, f"{given} where {present} is")
