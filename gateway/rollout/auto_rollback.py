"""Rolls an alias back by itself where its version passes the limits of the policy.

The key that signs this is a service's whose only role is `rollback`. Registry and engines accept of
it nothing but a return to the version before, of an alias that the policy's section `health` names,
and once after each promotion: after that a person must promote. Without the key the breach is told
in our own log alone. Where several gateways see the same, one moves the alias, and the others find
it moved.
"""

import logging
import threading
import time
from collections.abc import Callable
from datetime import datetime

from gateway.rollout.alias_health import AliasHealth, Breach
from registry.promotion.pointers import Pointers
from sealgate.reasons import Reason, SealgateError
from sealgate.trust.keys import Signer
from sealgate.trust.policy import Policy
from sealgate.trust.policy.shares import CANARY
from sealgate.trust.statements import Pointer, PointerBundle, sign_statement
from sealgate.trust.statements.types import ROLLBACK
from sealgate.trust.times import format_time

_log = logging.getLogger(__name__)

_LOOK_SECONDS = 0.5
# What may go otherwise when it is tried again, after another window.
_PASSING = frozenset({Reason.REGISTRY_UNAVAILABLE, Reason.RECORD_FAILED, Reason.KEY_UNAVAILABLE})


class AutoRollback:
    """A thread that acts on breaches. `held` are pointers of `canary` that get no share any more:
    they passed a limit, and there is nothing to return to.
    """

    def __init__(
        self,
        alias_health: AliasHealth,
        pointers: Pointers,
        policy: Callable[[], Policy],
        clock: Callable[[], datetime],
        signer: Signer | None,
    ) -> None:
        self._alias_health = alias_health
        self._pointers = pointers
        self._policy = policy
        self.clock = clock
        self._signer = signer
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="auto-rollback", daemon=True)
        self.done: dict[tuple[str, str], str] = {}
        self.rests_until: dict[tuple[str, str], float] = {}
        self.held: frozenset[str] = frozenset()

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        self._stopping.set()
        if self._thread.is_alive():
            self._thread.join()

    def look(self) -> None:
        """Act on every breach once."""
        for breach in self._alias_health.breaches():
            place = (breach.model, breach.alias)
            rests = self.rests_until.get(place, 0.0) > time.monotonic()
            if not rests and self.done.get(place) != breach.pointer and self._act(breach):
                self.done[place] = breach.pointer

    def _run(self) -> None:
        while not self._stopping.wait(_LOOK_SECONDS):
            try:
                self.look()
            except Exception:  # it must outlive every error, or nothing is guarded any more
                _log.exception("guarding aliases")

    def _act(self, breach: Breach) -> bool:
        """Whether all was done that can be."""
        name = f"{breach.model}/{breach.alias}"
        _log.error("%s passes a limit of the policy: %s", name, breach.finding)
        if self._signer is None:
            return True
        try:
            self._roll_back(breach, self._signer)
        except SealgateError as refusal:
            if refusal.reason in _PASSING:
                rest = breach.limits.window_seconds
                self.rests_until[breach.model, breach.alias] = time.monotonic() + rest
                _log.error("%s is not rolled back yet: %s", name, refusal)
                return False
            if refusal.reason is Reason.SEQUENCE_STALE:
                _log.info("%s was moved by another", name)
            else:
                _log.error("%s is not rolled back: %s", name, refusal)
            if refusal.reason is Reason.ROLLBACK_TARGET and breach.alias == CANARY:
                self.held |= {breach.pointer}
        return True

    def _roll_back(self, breach: Breach, signer: Signer) -> None:
        """Sign and send the rollback, unless the alias has moved. Raises SealgateError."""
        if self._pointers.get(breach.model, breach.alias).digest != breach.pointer:
            raise SealgateError(Reason.SEQUENCE_STALE, "it has moved")
        policy = self._policy()
        holder = policy.holder(signer.public.keyid)
        if holder is None:
            raise SealgateError(Reason.ROLE_TOO_LOW, "the key of [rollback] is nobody's")
        bundle = PointerBundle.decode(self._pointers.previous(breach.model, breach.alias).bundle)
        target = (bundle.returned or bundle).pointer
        earlier = Pointer.decode(target.payload)
        pointer = Pointer(
            action=ROLLBACK,
            model=breach.model,
            alias=breach.alias,
            version=earlier.version,
            digest=earlier.digest,
            sequence=breach.sequence + 1,
            proposal=earlier.proposal,
            approvals=earlier.approvals,
            returns_to=target.payload_digest,
            policy=policy.digest,
            admin=holder.name,
            time=format_time(self.clock()),
            reason=f"automatic: {breach.finding}",
        )
        self._pointers.rollback(holder.name, sign_statement(pointer, signer).encode())
        _log.error("%s/%s is back at version %d", breach.model, breach.alias, earlier.version)
