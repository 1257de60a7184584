"""Holds what a request names against the policy's rights, before anything is looked up for it.

What people sign names its model in a payload that is read here unverified: the registry verifies
the very same bytes afterwards, so nobody gets past with another name than the signed one.
"""

from collections.abc import Callable
from typing import TypeVar

from gateway.calls.call import Call
from sealgate.trust.dsse import Envelope
from sealgate.trust.policy import Policy
from sealgate.trust.policy.rights import ALL
from sealgate.trust.statements.base import Statement

_S = TypeVar("_S", bound=Statement)


class Rights:
    """Refuses what no right of the policy in force covers, in this gateway's environment."""

    def __init__(self, policy: Callable[[], Policy], environment: str = "") -> None:
        self._policy = policy
        self._environment = environment

    def check(self, call: Call, action: str, model: str = ALL, alias: str | None = None) -> None:
        """Raises: RIGHT_MISSING. `model` must be a name; without an alias all of them are meant."""
        policy = self._policy()
        alias = ALL if alias is None else alias
        policy.check_right(call.principal, policy.target(action, model, alias, self._environment))


def unverified(kind: type[_S], envelope: bytes) -> _S:
    """What an envelope says, whoever signed it. Raises: DOCUMENT_MALFORMED and the like."""
    return kind.decode(Envelope.decode(envelope).payload)
