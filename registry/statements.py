"""Opening what a caller has signed."""

from collections.abc import Collection
from typing import TypeVar

from sealgate.reasons import Reason, Refusal
from sealgate.trust.dsse import Envelope
from sealgate.trust.policy import Policy
from sealgate.trust.statements import open_statement
from sealgate.trust.statements.base import Statement

_S = TypeVar("_S", bound=Statement)


def open_own(
    principal: str, envelope: Envelope, kind: type[_S], policy: Policy, roles: Collection[str]
) -> _S:
    """Return a statement whose author is the caller: nobody hands in what another has signed.

    Raises Refusal: SIGNER_MISMATCH, and like `open_statement`.
    """
    statement = open_statement(envelope, kind, policy, roles)
    if statement.author != principal:
        raise Refusal(Reason.SIGNER_MISMATCH, f"{principal} handed in what is not theirs")
    return statement
