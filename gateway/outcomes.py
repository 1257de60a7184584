"""What entries say alike, whatever answered: whose they are, by which version and which policy."""

from collections.abc import Callable
from datetime import datetime

from gateway.front_door import Call
from gateway.question import Question
from gateway.recorder import Outcome
from inference.live import Live
from sealgate.trust.policy import Policy


def outcome_of(
    call: Call,
    time: datetime,
    question: Question | None,
    live: Live | None,
    judged_by: str,
    current: Callable[[], Policy],
    **found: str,
) -> Outcome:
    """The outcome of a call that came as far as a question, a version and a policy (`judged_by`, a
    digest), or not so far; `found` is all else that is known.

    It is about the caller where no subject was named. What came to no policy of its own names the
    one that its version was looked up by, or else the `current` one.
    """
    principal = call.principal.name
    return Outcome(
        subject=question.subject if question and question.subject else principal,
        time=time,
        principal=principal,
        method=call.method,
        model=question.model if question else "",
        version=str(live.version) if live else "",
        version_digest=live.digest if live else "",
        pointer_sequence=str(live.sequence) if live else "",
        policy_digest=judged_by or (live.policy if live else current().digest),
        **found,
    )
