"""Whether an answer may leave, and as what: the policy's section `screens` at work. When it may,
`gateway.pipeline.response_delay` says.

1. A caller whose session is blocked is refused (SESSION_BLOCKED).
2. A verdict that blocks is refused (ADVERSARIAL_INPUT), unless the version says that its verdicts
   do not block: a text's flag alone.
3. A verdict that steps up is refused (STEP_UP) unless the request brings a second person's
   allowance, which is used up, in the registry's log, before the answer leaves.
4. Where verdict, role or session say so, the likeliest classes alone leave.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from gateway.pipeline.params import InferenceParams
from inference.engine.result import Answer
from inference.engine.table import Live
from sealgate.reasons import Reason, Refusal
from sealgate.trust.dsse import Envelope
from sealgate.trust.policy import Policy, Principal
from sealgate.trust.policy.principals import BLOCK, LABEL_ONLY
from sealgate.trust.policy.screening import STEP_UP
from sealgate.trust.statements.allowance import Allowance, HeldRequest


class AllowanceUse(Protocol):
    def use(self, envelope: Envelope, held: HeldRequest) -> Allowance:
        """Raises Refusal where it lets nothing pass, or has been used."""
        ...


@dataclass(frozen=True, slots=True)
class EnforcedAnswer:
    """`labels_only`: the likeliest class of each row, and no more, leaves. `allowance` is the
    digest of the statement by which it passed; empty where none was needed. `policy` is the digest
    of the policy that decided.
    """

    labels_only: bool
    allowance: str
    policy: str


class Enforcement:
    """Decides by the policy in force. `policy` may raise POLICY_INVALID."""

    def __init__(self, policy: Callable[[], Policy], allowances: AllowanceUse) -> None:
        self._policy = policy
        self._allowances = allowances

    def decide(
        self,
        live: Live,
        params: InferenceParams,
        caller: Principal,
        input_digest: str,
        answer: Answer,
        session: str | None = None,
    ) -> EnforcedAnswer:
        """`session` is what the policy says of a session like this one, if it looks like an attack.

        Raises Refusal: SESSION_BLOCKED, ADVERSARIAL_INPUT, STEP_UP, or as `AllowanceUse.use` does.
        """
        policy = self._policy()
        screen = policy.screen(live.model)
        action = screen.action(answer.verdict.value, caller.roles, policy.rules)
        # 1.
        if session == BLOCK:
            raise Refusal(Reason.SESSION_BLOCKED, caller.name)
        # 2.
        if action == BLOCK and live.config.blocks:
            raise Refusal(Reason.ADVERSARIAL_INPUT)
        # 3.
        allowance = ""
        if action == STEP_UP:
            held = HeldRequest(caller.name, live.model, live.digest, input_digest)
            allowance = self._allowed(params, held, live.version)
        # 4.
        labels_only = LABEL_ONLY in (action, session) or screen.labels_only(caller.roles)
        return EnforcedAnswer(labels_only, allowance, policy.digest)

    def _allowed(self, params: InferenceParams, held: HeldRequest, version: int) -> str:
        if params.allowance is None:
            facts = {
                "caller": held.caller,
                "model": held.model,
                "version": str(version),
                "version_digest": held.digest,
                "input": held.input,
            }
            raise Refusal(Reason.STEP_UP, facts=facts)
        return self._allowances.use(params.allowance, held).payload_digest
