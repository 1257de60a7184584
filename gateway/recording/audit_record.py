"""What entries say alike, whatever answered: whose they are, by which version and which policy."""

from collections.abc import Callable, Collection
from datetime import datetime

from gateway.pipeline.params import InferenceParams
from gateway.recording.recorder import AuditRecord
from gateway.transport.call import Call
from inference.engine.table import LiveVersion
from sealgate.reasons import Reason
from sealgate.trust.policy import Policy
from sealgate.trust.receipts.answer_entry import BLOCKED, FULL, TWO_STAGE

# With these reasons the policy withholds an answer for what screening or a session said of it.
_WITHHELD = frozenset(
    reason.name
    for reason in (
        Reason.ADVERSARIAL_INPUT,
        Reason.PROMPT_INJECTION,
        Reason.SESSION_BLOCKED,
        Reason.STEP_UP,
    )
)


def record_of(
    call: Call,
    time: datetime,
    params: InferenceParams | None,
    live: LiveVersion | None,
    judged_by: str,
    current: Callable[[], Policy],
    **found: str,
) -> AuditRecord:
    """The audit record of a call that came as far as a params, a version and a policy (`judged_by`,
    a digest), or not so far; `found` is all else that is known.

    It is about the caller where no subject was named. What came to no policy of its own names the
    one that its version was looked up by, or else the `current` one.
    """
    principal = call.principal.name
    return AuditRecord(
        subject=params.subject if params and params.subject else principal,
        time=time,
        principal=principal,
        method=call.method,
        model=params.model if params else "",
        version=str(live.version) if live else "",
        version_digest=live.digest if live else "",
        pointer_sequence=str(live.sequence) if live else "",
        policy_digest=judged_by or (live.policy if live else current().digest),
        alias=(params.alias or "") if params else "",
        **found,
    )


def actions_of(outcome: str, actions: Collection[str] = ()) -> str:
    """The words of an entry about what the policy did to the answer, whose outcome this is."""
    return ",".join(sorted({*actions, *((BLOCKED,) if outcome in _WITHHELD else ())}))


def screening_of(live: LiveVersion) -> str:
    """Which screening judged an answer of the version. Not which of its stages did: that is not for
    the caller.
    """
    return FULL if live.ready.detector.first is None else TWO_STAGE
