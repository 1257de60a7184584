"""Returns an alias whose golden answers keep differing, where the signed policy says so.

The policy's section `health` says it by `golden_failures`: after how many checks in a row. Who
returns it is a principal of the role `rollback`, with its own credential and key; the registry and
the engines let it do what a gateway's own key for this may do, and nothing else: return exactly
such an alias to the version before, once after each promotion.
"""

from collections.abc import Callable

from sealgate.checkup.answers import Live
from sealgate.checkup.finding import Finding, State
from sealgate.governance import Governance
from sealgate.reasons import Reason, Refusal
from sealgate.trust.policy import Policy

CHECK = "rollback"
_PROMOTE = "promote"


def failures_allowed(policy: Policy, model: str, alias: str) -> int | None:
    """After how many failed checks in a row the policy lets the alias be returned; None: never."""
    limits = policy.health.limits(model, alias) if policy.health is not None else None
    return limits.golden_failures if limits is not None else None


def keeps_failing(first: Finding, times: int, again: Callable[[], Finding]) -> Finding:
    """The last of `times` checks, of which `first` is one, as long as each finds answers that
    differ; or else the first that does not.
    """
    found = first
    for _ in range(times - 1):
        if not differs(found):
            break
        found = again()
    return found


def differs(finding: Finding) -> bool:
    """Whether golden answers came out otherwise. What a version does not answer at all, gateways
    count themselves.
    """
    return finding.state is State.WRONG and finding.numbers.get("different", 0) > 0


def return_alias(service: Governance, failed: Live, reason: str) -> Finding:
    """Have the alias return from the version that failed. Raises grpc.RpcError, and Refusal:
    ROLLBACK_TARGET where the last move was no promotion or there is nothing to return to,
    SEQUENCE_STALE where it has moved.
    """
    moves = service.moves(failed.model, failed.alias)
    live = next(moves)
    if live.digest != failed.digest:
        raise Refusal(Reason.SEQUENCE_STALE, "it has moved")
    if live.action != _PROMOTE:
        raise Refusal(Reason.ROLLBACK_TARGET, "it was rolled back already, since a promotion")
    before = next((move for move in moves if move.digest != failed.digest), None)
    if before is None:
        raise Refusal(Reason.ROLLBACK_TARGET, "the alias has never named another version")
    why = f"automatic: {reason}"
    pointer = service.rollback(failed.model, failed.alias, before.version, why)
    detail = f"back at version {pointer.version}"
    return Finding(CHECK, failed.subject, State.WRONG, detail)
