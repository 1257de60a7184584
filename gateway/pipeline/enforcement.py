"""The policy's rules on the request path, one implementation for inference and generation.

1. A right of the policy covers the model or alias that the request names (RIGHT_MISSING).
2. It names a live version; `shadow` answers nobody (VERSION_NOT_LIVE).
3. A request with less time than its answer is delayed is refused (DEADLINE_TOO_SHORT); see
   `gateway.pipeline.response_delay`.
4. A caller whose session is blocked is refused (SESSION_BLOCKED).
5. A verdict that blocks is refused (ADVERSARIAL_INPUT), unless the version says that its verdicts
   do not block: a text's flag alone.
6. A verdict that steps up is refused (STEP_UP) unless the request brings a second person's
   allowance, which is used up, in the registry's log, before the answer leaves.
7. Where verdict, role or session say so, only the likeliest class of each row leaves.

A prompt's verdict blocks unless it only flags or records, because no part of a stream can be
withheld later; so does an injection that the policy's classifier finds (PROMPT_INJECTION).
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from gateway.auth.rights import Rights
from gateway.pipeline.params import InferenceParams
from gateway.pipeline.response_delay import ResponseDelay
from gateway.transport.call import Call
from inference.engine.engine import Engine
from inference.engine.result import InferenceResult
from inference.engine.table import LiveVersion
from sealgate.reasons import Reason, Refusal
from sealgate.trust.dsse import Envelope
from sealgate.trust.policy import Policy, Principal
from sealgate.trust.policy.principals import BLOCK, FLAG, LABEL_ONLY, RECORD
from sealgate.trust.policy.screening import STEP_UP, ScreeningRules
from sealgate.trust.policy.shares import SHADOW
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
    """Applies the policy in force. `policy` may raise POLICY_INVALID."""

    def __init__(
        self,
        engine: Engine,
        policy: Callable[[], Policy],
        rights: Rights,
        allowances: AllowanceUse,
    ) -> None:
        self.policy = policy
        self.delay = ResponseDelay(policy)
        self._engine = engine
        self._rights = rights
        self._allowances = allowances

    def resolve(self, call: Call, params: InferenceParams) -> LiveVersion:
        """Steps 1 and 2, but for `check_answers`: the live version that a request names."""
        # 1.
        self._rights.check(call, "infer", params.model, params.alias)
        # 2.
        return self._engine.resolve(params.model, params.version, params.alias)

    def check_answers(self, live: LiveVersion) -> None:
        """Step 2: fewer people may have approved a shadow version, so it answers nobody."""
        if live.alias == SHADOW:
            raise Refusal(Reason.VERSION_NOT_LIVE, "shadow answers nobody")

    def decide(
        self,
        live: LiveVersion,
        params: InferenceParams,
        caller: Principal,
        input_digest: str,
        answer: InferenceResult,
        session: str | None = None,
    ) -> EnforcedAnswer:
        """`session` is what the policy says of a session like this one, if it looks like an attack.

        Raises Refusal: SESSION_BLOCKED, ADVERSARIAL_INPUT, STEP_UP, or as `AllowanceUse.use` does.
        """
        policy = self.policy()
        screen = policy.screen(live.model)
        action = screen.action(answer.verdict.value, caller.roles, policy.rules)
        # 4.
        if session == BLOCK:
            raise Refusal(Reason.SESSION_BLOCKED, caller.name)
        # 5.
        if action == BLOCK and live.config.blocks:
            raise Refusal(Reason.ADVERSARIAL_INPUT)
        # 6.
        allowance = ""
        if action == STEP_UP:
            held = HeldRequest(caller.name, live.model, live.digest, input_digest)
            allowance = self._allowed(params, held, live.version)
        # 7.
        labels_only = LABEL_ONLY in (action, session) or screen.labels_only(caller.roles)
        return EnforcedAnswer(labels_only, allowance, policy.digest)

    def decide_prompt(
        self, screen: ScreeningRules, caller: Principal, verdict: str, measured: bool, injected: str
    ) -> None:
        """Step 5 for a prompt. `injected` is the action of the policy's classifier, empty where it
        found nothing.

        Raises: ADVERSARIAL_INPUT, PROMPT_INJECTION, ENGINE_UNSUITABLE for an unmeasured prompt.
        """
        # 5. A prompt without a verdict is treated as an adversarial one.
        action = screen.action(verdict or "adversarial", caller.roles, self.policy().rules)
        if action not in (FLAG, RECORD):
            if not measured:
                raise Refusal(Reason.ENGINE_UNSUITABLE, "nobody measures prompts there")
            raise Refusal(Reason.ADVERSARIAL_INPUT)
        if injected == BLOCK:
            raise Refusal(Reason.PROMPT_INJECTION)

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


def requested_seconds(call: Call, params: InferenceParams) -> float | None:
    """The time that a request gives itself: its deadline or its `timeout`, whichever is less."""
    limits = (call.time_remaining(), params.timeout)
    return min((limit for limit in limits if limit is not None), default=None)
