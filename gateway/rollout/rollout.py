"""Rollout: shares of production's requests for canary and shadow, and automatic rollback.

A request that names neither alias nor version is production's. Of those, the share that the live
pointer of `canary` has is answered by its version instead: by session, if the request names one,
else by input, so that the same input is answered alike. The share of `shadow` is asked there too,
afterwards. An answer of `canary`'s is compared with production's where the policy limits how often
they may disagree.

Rolls an alias back by itself where its version passes the limits of the policy. The key that signs
this is a service's whose only role is `rollback`. Registry and engines accept of it nothing but a
return to the version before, of an alias that the policy's section `health` names, and once after
each promotion: after that a person must promote. Without the key the breach is told in our own log
alone. Where several gateways see the same, one moves the alias, and the others find it moved.
"""

import logging
import time
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from typing import Protocol

from gateway.calls.params import InferenceParams
from gateway.recording import AuditRecord, AuditRecorder
from gateway.rollout.alias_health import AliasHealth, Breach
from gateway.rollout.comparisons import ShadowComparison, ShadowComparisons
from inference.engine import Engine, InferenceResult, LiveVersion
from inference.model.config import ModelConfig
from registry.promotion import Pointers
from sealgate.periodic import PeriodicThread
from sealgate.reasons import Reason, SealgateError
from sealgate.tensors import Tensor
from sealgate.trust.keys import Signer
from sealgate.trust.policy import (
    CANARY_ALIAS,
    DEFAULT_ALIAS,
    SHADOW_ALIAS,
    HealthLimits,
    Policy,
    in_share,
)
from sealgate.trust.statements import Pointer, PointerBundle, sign_statement
from sealgate.trust.statements.types import ROLLBACK
from sealgate.trust.times import format_time

_log = logging.getLogger(__name__)

_LOOK_SECONDS = 0.5
_LONGEST_REST_SECONDS = 60.0
# Failures that may pass: the rollback is tried again after another window.
_PASSING = frozenset({Reason.REGISTRY_UNAVAILABLE, Reason.RECORD_FAILED, Reason.KEY_UNAVAILABLE})


class BreachSource(Protocol):
    def breaches(self) -> list[Breach]: ...


class AutoRollback:
    """A thread that acts on breaches. `held` are pointers of `canary` that get no share any more:
    they passed a limit, and there is nothing to return to.
    """

    def __init__(
        self,
        alias_health: BreachSource,
        pointers: Pointers,
        policy: Callable[[], Policy],
        clock: Callable[[], datetime],
        signer: Signer | None,
        also: Sequence[BreachSource] = (),
    ) -> None:
        """`also` are further sources of breaches."""
        self._sources = (alias_health, *also)
        self._pointers = pointers
        self._policy = policy
        self.clock = clock
        self._signer = signer
        self._thread = PeriodicThread("auto-rollback", _LOOK_SECONDS, self.look)
        self.done: dict[tuple[str, str], str] = {}
        self.rests_until: dict[tuple[str, str], float] = {}
        self.held: frozenset[str] = frozenset()

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        self._thread.stop()

    def look(self) -> None:
        """Act on every breach once."""
        for source in self._sources:
            for breach in source.breaches():
                place = (breach.model, breach.alias)
                rests = self.rests_until.get(place, 0.0) > time.monotonic()
                if not rests and self.done.get(place) != breach.pointer and self._act(breach):
                    self.done[place] = breach.pointer

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
                rest = min(breach.limits.window_seconds, _LONGEST_REST_SECONDS)
                self.rests_until[breach.model, breach.alias] = time.monotonic() + rest
                _log.error("%s is not rolled back yet: %s", name, refusal)
                return False
            if refusal.reason is Reason.SEQUENCE_STALE:
                _log.info("%s was moved by another", name)
            else:
                _log.error("%s is not rolled back: %s", name, refusal)
            if refusal.reason is Reason.ROLLBACK_TARGET and breach.alias == CANARY_ALIAS:
                self.held |= {breach.pointer}
        return True

    def _roll_back(self, breach: Breach, signer: Signer) -> None:
        """Sign and send the rollback, unless the alias has moved. Raises SealgateError."""
        if self._pointers.get(breach.model, breach.alias).digest != breach.pointer:
            raise SealgateError(Reason.SEQUENCE_STALE, "it has moved")
        policy = self._policy()
        holder = policy.holder(signer.public.keyid)
        if holder is None:
            raise SealgateError(
                Reason.ROLE_TOO_LOW, "the policy names no principal with the key of [rollback]"
            )
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


class Rollout:
    """The rollout of aliases, as `InferencePipeline` uses it; with two threads of its own."""

    def __init__(
        self,
        engine: Engine,
        recorder: AuditRecorder,
        pointers: Pointers,
        clock: Callable[[], datetime],
        signer: Signer | None,
        also: Sequence[BreachSource] = (),
    ) -> None:
        """`signer` is the key of a service of the role `rollback`, if there is one; `also` are
        further sources of breaches.
        """
        self._engine = engine
        self.alias_health = AliasHealth(self._limits)
        self.comparisons = ShadowComparisons(engine, recorder, self.alias_health, clock)
        self.auto_rollback = AutoRollback(
            self.alias_health, pointers, self._policy, clock, signer, also
        )

    def start(self) -> None:
        self.comparisons.start()
        self.auto_rollback.start()

    def stop(self) -> None:
        self.auto_rollback.stop()
        self.comparisons.stop()

    def select_version(
        self, live: LiveVersion, params: InferenceParams, caller: str, input_digest: str
    ) -> LiveVersion:
        """The version to answer a request that resolved to `live`: `canary`'s or itself.

        `canary` is left out while it cannot answer, takes other tensors than production, or has
        passed a limit and can return to nothing.
        """
        if params.named or live.alias != DEFAULT_ALIAS:
            return live
        canary = self._engine.share(live.model, CANARY_ALIAS)
        if (
            canary is None
            or canary.digest == live.digest
            or canary.pointer in self.auto_rollback.held
        ):
            return live
        here, there = live.config, canary.config
        if _signature(here) != _signature(there):
            return live
        told_apart = params.session or input_digest
        place = (CANARY_ALIAS, live.model, caller, told_apart)
        return canary if in_share(canary.share, canary.digest, *place) else live

    def answered(
        self,
        live: LiveVersion,
        tensors: Mapping[str, Tensor],
        answer: InferenceResult,
        caller: str,
        input_digest: str,
        record: Callable[[], AuditRecord],
    ) -> None:
        """Have the answer compared where it is in the share of `shadow`, or `canary`'s own."""
        if live.alias == DEFAULT_ALIAS:
            other = self._engine.share(live.model, SHADOW_ALIAS)
            place = (SHADOW_ALIAS, live.model, caller, input_digest)
            if other is None or not in_share(other.share, other.digest, *place):
                return
        else:
            limits = self._limits(live.model, CANARY_ALIAS) if live.alias == CANARY_ALIAS else None
            other = self._engine.live().get((live.model, DEFAULT_ALIAS))
            if limits is None or limits.disagreement_percent is None or other is None:
                return
        self.comparisons.offer(ShadowComparison(live, other, tensors, answer, record()))

    def _limits(self, model: str, alias: str) -> HealthLimits | None:
        policy = self._engine.policy
        health = policy.health if policy is not None else None
        return health.limits(model, alias) if health is not None else None

    def _policy(self) -> Policy:
        policy = self._engine.policy
        if policy is None:
            raise SealgateError(Reason.POLICY_INVALID, "none could be established")
        return policy


def _signature(config: ModelConfig) -> tuple[object, ...]:
    """The parts of a configuration that a caller relies on."""
    return config.inputs, config.output, config.labels, config.decision.kind
