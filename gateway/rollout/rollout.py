"""Canary and shadow, and what watches over both: everything about a version's way into production.

A request that names neither alias nor version is production's. Of those, the share that the live
pointer of `canary` has is answered by its version instead: by session, if the request names one,
else by input, so that the same input is answered alike. The share of `shadow` is asked there
too, afterwards. An answer of `canary`'s is compared with production's where the policy limits how
often they may disagree.
"""

from collections.abc import Callable, Mapping
from datetime import datetime

from gateway.calls.params import InferenceParams
from gateway.recording.recorder import AuditRecord, AuditRecorder
from gateway.rollout.alias_health import AliasHealth
from gateway.rollout.auto_rollback import AutoRollback
from gateway.rollout.comparisons import ShadowComparison, ShadowComparisons
from inference.engine.engine import Engine, LiveVersion
from inference.engine.result import InferenceResult
from registry.promotion.pointers import Pointers
from sealgate.reasons import Reason, SealgateError
from sealgate.tensors import Tensor
from sealgate.trust.keys import Signer
from sealgate.trust.policy import DEFAULT_ALIAS, Policy
from sealgate.trust.policy.health_limits import HealthLimits
from sealgate.trust.policy.shares import CANARY, SHADOW, in_share


class Rollout:
    """What `InferencePipeline` asks; with two threads of its own."""

    def __init__(
        self,
        engine: Engine,
        recorder: AuditRecorder,
        pointers: Pointers,
        clock: Callable[[], datetime],
        signer: Signer | None,
    ) -> None:
        """`signer` is the key of a service of the role `rollback`, if there is one."""
        self._engine = engine
        self.alias_health = AliasHealth(self._limits)
        self.comparisons = ShadowComparisons(engine, recorder, self.alias_health, clock)
        self.auto_rollback = AutoRollback(self.alias_health, pointers, self._policy, clock, signer)

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
        canary = self._engine.share(live.model, CANARY)
        if (
            canary is None
            or canary.digest == live.digest
            or canary.pointer in self.auto_rollback.held
        ):
            return live
        here, there = live.config, canary.config
        if (here.input, here.output, here.labels) != (there.input, there.output, there.labels):
            return live
        told_apart = params.session or input_digest
        place = (CANARY, live.model, caller, told_apart)
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
            other = self._engine.share(live.model, SHADOW)
            place = (SHADOW, live.model, caller, input_digest)
            if other is None or not in_share(other.share, other.digest, *place):
                return
        else:
            limits = self._limits(live.model, CANARY) if live.alias == CANARY else None
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
