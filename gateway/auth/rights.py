"""Holds what a request names against the policy's rights, before anything is looked up for it.

What people sign names its model in a payload that is read here unverified: the registry verifies
the very same bytes afterwards, so nobody gets past with another name than the signed one.
"""

from collections.abc import Callable
from typing import TypeVar

from gateway.calls.call import Call
from sealgate.reasons import Reason, SealgateError
from sealgate.trust.dsse import Envelope
from sealgate.trust.policy import Policy
from sealgate.trust.policy.rights import ALL
from sealgate.trust.statements.base import Statement

_S = TypeVar("_S", bound=Statement)


_MOST_KEPT = 4096


class Rights:
    """Refuses what no right of the policy in force covers, in this gateway's environment.

    What a policy allowed is kept until another one is in force: to look through the rights of a
    large policy takes longer than the rest of a request.
    """

    def __init__(self, policy: Callable[[], Policy], environment: str = "") -> None:
        self._policy = policy
        self._environment = environment
        # Together, so that nothing is ever kept for another policy than the one that allowed it.
        self._allowed: tuple[Policy | None, set[tuple[object, ...]]] = (None, set())

    def allows(self, call: Call, action: str, model: str, alias: str | None = None) -> bool:
        """Whether `check` would raise nothing."""
        try:
            self.check(call, action, model, alias)
        except SealgateError as refusal:
            if refusal.reason is not Reason.RIGHT_MISSING:
                raise
            return False
        return True

    def check(self, call: Call, action: str, model: str = ALL, alias: str | None = None) -> None:
        """Raises: RIGHT_MISSING. `model` must be a name; without an alias all of them are meant."""
        policy, principal = self._policy(), call.principal
        under, allowed = self._allowed
        if under is not policy:
            self._allowed = (policy, allowed := set())
        asked = (principal.name, principal.roles, action, model, alias)
        if asked in allowed:
            return
        target = policy.target(action, model, ALL if alias is None else alias, self._environment)
        policy.check_right(principal, target)
        if len(allowed) < _MOST_KEPT:
            allowed.add(asked)


def unverified(kind: type[_S], envelope: bytes) -> _S:
    """What an envelope says, whoever signed it. Raises: DOCUMENT_MALFORMED and the like."""
    return kind.decode(Envelope.decode(envelope).payload)
