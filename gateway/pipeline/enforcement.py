"""The policy's rules on the request path, one implementation for inference and generation.

1. A right of the policy covers the model or alias that the request names (RIGHT_MISSING).
2. It names a live version; `shadow` answers nobody (VERSION_NOT_LIVE).
3. A request whose time is shorter than the delay of its answer is refused (DEADLINE_TOO_SHORT);
   see `ResponseDelay`.
4. A caller whose session is blocked is refused (SESSION_BLOCKED).
5. A verdict that blocks is refused (ADVERSARIAL_INPUT). If the version says that its verdicts do
   not block, as a text's, it leads to what `suspect` leads to instead, or to labels alone. An
   answer in whose stead the float32 one would leave is refused, if the policy blocks those.
6. A verdict that steps up is refused (STEP_UP) unless the request brings a second person's
   allowance, which is used up, in the registry's log, before the answer leaves.
7. Where verdict, role or session say so, only the likeliest class of each row leaves.

One policy decides in steps 4 to 7, and how long an answer is delayed: the one in force when the
answer has been computed. If the caller was admitted by another, who they are and step 1 are looked
at again, so no answer leaves by the rights of one policy and the screening of another.

A prompt's verdict blocks unless it only flags or records, because no part of a stream can be
withheld later; so does an injection that the policy's classifier finds (PROMPT_INJECTION).
"""

import threading
import time
from collections import OrderedDict, deque
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime
from typing import NamedTuple, Protocol

from gateway.auth import Rights
from gateway.calls.call import Call
from gateway.calls.params import InferenceParams
from inference.engine import Engine, InferenceResult, LiveVersion
from inference.screening.detector import Verdict
from sealgate.reasons import Reason, SealgateError
from sealgate.trust.dsse import Envelope
from sealgate.trust.policy import SHADOW_ALIAS, Consequence, Policy, Principal, ScreeningRules
from sealgate.trust.statements.allowance import Allowance, HeldRequest

KEPT = 256
# Versions that are live at once; the one asked longest ago is forgotten first.
_VERSIONS = 64
# Combinations of model, roles and verdict whose consequence is kept.
_MOST_KEPT = 4096


@dataclass(slots=True)
class _Clock:
    """Of a version: the seconds that its last requests took which had a row for the response graph,
    and how many were refused on arrival since.
    """

    took: deque[float] = field(default_factory=lambda: deque(maxlen=KEPT))
    refused: int = 0

    def reads(self) -> float:
        return max(self.took, default=0.0)


class ResponseDelay:
    """Delays answers and refusals by the policy's section `screens`. Safe for many threads.

    `hold_ms` is a time after the request came. `hold_stage` delays every request of a version with
    two stages of screening, or one that asks float32 about some rows, to the slower stage's clock:
    the longest that any of the last KEPT requests took that had a row for the response graph, or
    one that float32 answered. That clock follows the load, and tells of none of these requests
    which stage decided, or whether float32 was asked. Before the first such request, only
    `hold_ms` delays. `suspect_hold_ms` is a longer time for what is suspect or worse.

    A request with less time than this delay is refused on arrival, whatever its row: otherwise,
    running out of time would tell that it had a row for the response graph. Such requests could
    keep a slow clock for ever, so it is forgotten after KEPT of them in a row.

    `now` is in nanoseconds, of a clock that only grows.
    """

    def __init__(
        self,
        policy: Callable[[], Policy],
        now: Callable[[], int] = time.monotonic_ns,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        """`policy` may raise POLICY_INVALID."""
        self._policy = policy
        self._now = now
        self._sleep = sleep
        self._mutex = threading.Lock()
        self._slower: OrderedDict[str, _Clock] = OrderedDict()

    def admit(self, live: LiveVersion, own: float | None) -> None:
        """Raises DEADLINE_TOO_SHORT where a request gives itself `own` seconds (None: no bound) and
        is held for longer, by the stage's clock.
        """
        screen = self._policy().screen(live.model)
        if own is None or not _by_stage(screen, live):
            return
        with self._mutex:
            clock = self._clock(live.digest)
            if own >= max(screen.hold_ms / 1000, clock.reads()):
                return
            clock.refused += 1
            if clock.refused >= KEPT:
                clock.took.clear()
                clock.refused = 0
        raise SealgateError(Reason.DEADLINE_TOO_SHORT, "less than it is held to")

    def wait(
        self,
        live: LiveVersion,
        answer: InferenceResult | None,
        session: str | None,
        began: int,
        remaining: float | None,
        policy: Policy | None = None,
    ) -> None:
        """Wait as long as `seconds_left` says."""
        left = self.seconds_left(live, answer, session, began, remaining, policy)
        if left > 0:
            self._sleep(left)

    def seconds_left(
        self,
        live: LiveVersion,
        answer: InferenceResult | None,
        session: str | None,
        began: int,
        remaining: float | None,
        policy: Policy | None = None,
    ) -> float:
        """In how many seconds the request that came at `began` may be answered, `remaining` at
        most; to be asked once.

        `session` is what the policy says of a session like this one, if it looks like an attack;
        `policy` is the one that decided, or by default the one in force.
        """
        took = (self._now() - began) / 1e9
        screen = (policy or self._policy()).screen(live.model)
        least = screen.hold_ms / 1000
        if _by_stage(screen, live):
            slow = answer is not None and (answer.graph_rows or answer.float32_rows)
            least = max(least, self._slowest(live.digest, took if slow else None))
        if answer is not None and answer.verdict is not Verdict.CLEAN:
            least = max(least, screen.suspect_hold_ms / 1000)
        if session == Consequence.SLOW and screen.sessions:
            least += screen.sessions.slow_ms / 1000
        left = least - took
        return max(0.0, left if remaining is None else min(left, remaining))

    def wait_least(self, screen: ScreeningRules, began: float) -> None:
        """Wait until `hold_ms` have passed since `began`, in seconds of the same clock."""
        self._sleep(max(0.0, screen.hold_ms / 1000 - (self._now() / 1e9 - began)))

    def _slowest(self, digest: str, took: float | None) -> float:
        """The slower stage's clock of a version, after a request that `took` so long in it."""
        with self._mutex:
            clock = self._clock(digest)
            if took is not None:
                clock.took.append(took)
                clock.refused = 0
            return clock.reads()

    def _clock(self, digest: str) -> _Clock:
        clock = self._slower.setdefault(digest, _Clock())
        self._slower.move_to_end(digest)
        if len(self._slower) > _VERSIONS:
            self._slower.popitem(last=False)
        return clock


def _by_stage(screen: ScreeningRules, live: LiveVersion) -> bool:
    """Whether requests of the version are held to the clock of its slower rows."""
    return screen.hold_stage and live.ready.detector.has_slower_rows


class AllowanceUse(Protocol):
    def use(self, envelope: Envelope, held: HeldRequest) -> Allowance:
        """Raises SealgateError where it lets nothing pass, or has been used."""
        ...


class EnforcedAnswer(NamedTuple):
    """`labels_only`: the likeliest class of each row, and no more, leaves. `allowance` is the
    digest of the statement by which it passed; empty where none was needed.
    """

    labels_only: bool
    allowance: str


class Enforcement:
    """Applies the policy in force. `policy` may raise POLICY_INVALID; `readmit` is the auth
    interceptor's.
    """

    def __init__(
        self,
        engine: Engine,
        policy: Callable[[], Policy],
        rights: Rights,
        allowances: AllowanceUse,
        readmit: Callable[[Call, Policy], bool],
    ) -> None:
        self.policy = policy
        self._readmit = readmit
        self.delay = ResponseDelay(policy)
        self._engine = engine
        self._rights = rights
        self._allowances = allowances
        self._consequences: tuple[Policy | None, dict[tuple[object, ...], tuple[str, bool]]]
        self._consequences = None, {}

    def resolve(
        self, call: Call, params: InferenceParams, time: datetime | None = None
    ) -> LiveVersion:
        """Steps 1 and 2, but for `check_answers`: the live version that a request names, as of
        `time`, or now.
        """
        # 1.
        self._rights.check(call, "infer", params.model, params.alias)
        # 2.
        return self._engine.resolve(params.model, params.version, params.alias, time)

    def check_answers(self, live: LiveVersion) -> None:
        """Step 2: fewer people may have approved a shadow version, so it answers nobody."""
        if live.alias == SHADOW_ALIAS:
            raise SealgateError(Reason.VERSION_NOT_LIVE, "shadow answers nobody")

    def check_again(self, policy: Policy, call: Call, params: InferenceParams) -> None:
        """Step 1 by the policy that decides, if the call was admitted by another.

        Raises: RIGHT_MISSING, and as `AuthInterceptor.readmit`.
        """
        if self._readmit(call, policy):
            self._rights.check(call, "infer", params.model, params.alias, policy)

    def decide(
        self,
        policy: Policy,
        live: LiveVersion,
        params: InferenceParams,
        caller: Principal,
        input_digest: str,
        answer: InferenceResult,
        session: str | None = None,
    ) -> EnforcedAnswer:
        """`session` is what the policy says of a session like this one, if it looks like an attack.

        Raises SealgateError: SESSION_BLOCKED, ADVERSARIAL_INPUT, STEP_UP, or as `AllowanceUse.use`
        does.
        """
        action, labels = self._consequence(policy, live, caller, answer)
        # 4.
        if session == Consequence.BLOCK:
            raise SealgateError(Reason.SESSION_BLOCKED, caller.name)
        # 5.
        if action == Consequence.BLOCK:
            raise SealgateError(Reason.ADVERSARIAL_INPUT)
        # 6.
        allowance = ""
        if action == Consequence.STEP_UP:
            held = HeldRequest(caller.name, live.model, live.digest, input_digest)
            allowance = self._allowed(params, held, live.version)
        # 7.
        labels_only = labels or Consequence.LABEL_ONLY in (action, session)
        return EnforcedAnswer(labels_only, allowance)

    def withholds(
        self, policy: Policy, live: LiveVersion, caller: Principal, answer: InferenceResult
    ) -> bool:
        """Whether steps 5 and 6 refuse such an answer, but for an allowance."""
        if answer.verdict is Verdict.CLEAN and not answer.float32_rows:
            return False
        action, _ = self._consequence(policy, live, caller, answer)
        return action in (Consequence.STEP_UP, Consequence.BLOCK)

    def _consequence(
        self, policy: Policy, live: LiveVersion, caller: Principal, answer: InferenceResult
    ) -> tuple[str, bool]:
        """The consequences of an answer's verdict and disagreement for a caller, and whether the
        caller gets only labels under any verdict. It is looked up once under each policy.
        """
        under, known = self._consequences
        if under is not policy:
            # Together, so that nothing is ever kept for another policy.
            self._consequences = policy, known = policy, {}
        blocks = live.config.blocks
        asked = live.model, caller.roles, answer.verdict, answer.float32_rows > 0, blocks
        found = known.get(asked)
        if found is None:
            screen = policy.screen(live.model)
            action_for = screen.action if blocks else screen.action_without_block
            action = action_for(answer.verdict.value, caller.roles, policy.rules)
            if answer.float32_rows:
                action = screen.with_disagreement(action, caller.roles)
            found = action, screen.labels_only(caller.roles)
            if len(known) < _MOST_KEPT:
                known[asked] = found
        return found

    def decide_prompt(
        self,
        policy: Policy,
        screen: ScreeningRules,
        caller: Principal,
        verdict: str,
        measured: bool,
        injected: str,
    ) -> None:
        """Step 5 for a prompt, by a policy and its rules for the model. `injected` is the action of
        the policy's classifier, empty where it found nothing.

        Raises: ADVERSARIAL_INPUT, PROMPT_INJECTION, ENGINE_UNSUITABLE for an unmeasured prompt.
        """
        # 5. A prompt without a verdict is treated as an adversarial one.
        action = screen.action(verdict or "adversarial", caller.roles, policy.rules)
        if action not in (Consequence.FLAG, Consequence.RECORD):
            if not measured:
                raise SealgateError(Reason.ENGINE_UNSUITABLE, "nobody measures prompts there")
            raise SealgateError(Reason.ADVERSARIAL_INPUT)
        if injected == Consequence.BLOCK:
            raise SealgateError(Reason.PROMPT_INJECTION)

    def _allowed(self, params: InferenceParams, held: HeldRequest, version: int) -> str:
        if params.allowance is None:
            facts = {
                "caller": held.caller,
                "model": held.model,
                "version": str(version),
                "version_digest": held.digest,
                "input": held.input,
            }
            raise SealgateError(Reason.STEP_UP, facts=facts)
        return self._allowances.use(params.allowance, held).payload_digest


def requested_seconds(call: Call, params: InferenceParams) -> float | None:
    """The time that a request gives itself: its deadline or its `timeout`, whichever is less."""
    left, timeout = call.time_remaining(), params.timeout
    if left is None or timeout is None:
        return timeout if left is None else left
    return min(left, timeout)
