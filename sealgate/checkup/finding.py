"""What a check found, in words for people and in numbers for programs."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum
from typing import Any

from sealgate.reasons import Kind, Reason, Refusal

# What keeps one from asking says nothing of what was to be asked.
_OUT_OF_REACH = frozenset({Kind.UNAUTHENTICATED, Kind.DENIED})


WELL, WRONG, UNASKED = range(3)
"""Exit statuses; see `exit_status`."""


class State(Enum):
    WELL = "well"
    WRONG = "wrong"
    UNASKED = "not asked"


@dataclass(frozen=True, slots=True)
class Finding:
    """How `check` of `subject` came out, and why in words; `numbers` are what was measured.

    `labels` tell its subject apart from others, as metrics do.
    """

    check: str
    subject: str
    state: State
    detail: str
    labels: Mapping[str, str] = field(default_factory=dict)
    numbers: Mapping[str, float] = field(default_factory=dict)


def exit_status(findings: Sequence[Finding]) -> int:
    """All is WELL; something is WRONG; or nothing that was asked is wrong, but something could not
    be asked, or there was nothing to ask: UNASKED.
    """
    states = {finding.state for finding in findings}
    if State.WRONG in states:
        return WRONG
    return UNASKED if State.UNASKED in states or not states else WELL


def refused(check: str, subject: str, refusal: Refusal, **found: Any) -> Finding:
    """That the check ended with a refusal: the gateway's, or our own of what came back."""
    reason = refusal.reason
    unasked = reason is Reason.CALL_FAILED or reason.kind in _OUT_OF_REACH
    state = State.UNASKED if unasked else State.WRONG
    return Finding(check, subject, state, f"{reason.name}: {reason.sentence}", **found)
