"""Results of health checks: text for people, and metrics in Prometheus' text format."""

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum
from pathlib import Path
from typing import Any

from sealgate.files import replace_file
from sealgate.reasons import Kind, Reason, SealgateError

# A check that may not ask says nothing about its subject.
_OUT_OF_REACH = frozenset({Kind.UNAUTHENTICATED, Kind.DENIED})


WELL, WRONG, UNASKED = range(3)
"""Exit statuses; see `exit_status`."""


class CheckState(Enum):
    WELL = "well"
    WRONG = "wrong"
    UNASKED = "not asked"


@dataclass(frozen=True, slots=True)
class HealthFinding:
    """The result of one `check` of a `subject`, with its reason; `numbers` are measurements.

    `labels` tell its subject apart from others, as metrics do.
    """

    check: str
    subject: str
    state: CheckState
    detail: str
    labels: Mapping[str, str] = field(default_factory=dict)
    numbers: Mapping[str, float] = field(default_factory=dict)


def exit_status(findings: Sequence[HealthFinding]) -> int:
    """Return 0 if all is WELL, 1 if something is WRONG, 2 (UNASKED) if something could not be
    checked.
    """
    states = {finding.state for finding in findings}
    if CheckState.WRONG in states:
        return WRONG
    return UNASKED if CheckState.UNASKED in states or not states else WELL


def refused_finding(
    check: str, subject: str, refusal: SealgateError, **found: Any
) -> HealthFinding:
    """That the check ended with a refusal: the gateway's, or our own of what came back."""
    reason = refusal.reason
    unasked = reason is Reason.CALL_FAILED or reason.kind in _OUT_OF_REACH
    state = CheckState.UNASKED if unasked else CheckState.WRONG
    return HealthFinding(check, subject, state, f"{reason.name}: {reason.sentence}", **found)


_PREFIX = "sealgate_health"
# The collector is another user, and nothing here is secret.
_MODE = 0o644
_STATES = {CheckState.WELL: 1, CheckState.WRONG: 0}


@dataclass(frozen=True, slots=True)
class MetricFamily:
    """A gauge; `check` and `number` say which findings it shows, and what of them."""

    name: str
    meaning: str
    check: str = ""
    number: str = ""


FAMILIES = (
    MetricFamily("asked_timestamp_seconds", "When the last check ended"),
    MetricFamily("status", "How it ended, as the exit status of `sealgate health`: 0, 1 or 2"),
    MetricFamily(
        "well", "1 for what is well, 0 for what is wrong; none for what could not be asked"
    ),
    MetricFamily("same_answers", "Golden answers that came out", "golden", "same"),
    MetricFamily("different_answers", "Golden answers that differ", "golden", "different"),
    MetricFamily(
        "withheld_answers", "Golden inputs that screening let not pass", "golden", "withheld"
    ),
    MetricFamily(
        "largest_difference", "By how much they differ at most", "golden", "largest_difference"
    ),
    MetricFamily(
        "slowest_answer_seconds", "The slowest golden answer", "golden", "slowest_seconds"
    ),
    MetricFamily(
        "freshness_end_timestamp_seconds",
        "Until when a version is covered, the grace not included",
        "freshness",
        "end_timestamp_seconds",
    ),
    MetricFamily(
        "certificate_end_timestamp_seconds",
        "When the certificate of the gateway, or the check's own, expires",
        "certificate",
        "end_timestamp_seconds",
    ),
    MetricFamily(
        "policy_end_timestamp_seconds",
        "When the policy expires, its grace not included",
        "policy",
        "end_timestamp_seconds",
    ),
)


def write_textfile(path: Path, findings: Sequence[HealthFinding], ended: float) -> None:
    """Replace the file; `ended` is in seconds of the epoch. Raises OSError."""
    replace_file(path, textfile_text(findings, ended).encode())
    os.chmod(path, _MODE)


def textfile_text(findings: Sequence[HealthFinding], ended: float) -> str:
    """Every family that has a value."""
    lines = []
    for family in FAMILIES:
        samples = _samples(family, findings, ended)
        if samples:
            name = f"{_PREFIX}_{family.name}"
            lines += [f"# HELP {name} {family.meaning}", f"# TYPE {name} gauge"]
            lines += [f"{name}{sample}" for sample in samples]
    return "\n".join(lines) + "\n"


def _samples(family: MetricFamily, findings: Sequence[HealthFinding], ended: float) -> list[str]:
    if family.name == "asked_timestamp_seconds":
        return [f" {ended}"]
    if family.name == "status":
        return [f" {exit_status(findings)}"]
    if family.name == "well":
        told = [each for each in findings if each.state in _STATES]
        return [
            _sample({"check": each.check, "subject": each.subject}, _STATES[each.state])
            for each in told
        ]
    shown = [each for each in findings if each.check == family.check]
    return [
        _sample(each.labels, each.numbers[family.number])
        for each in shown
        if family.number in each.numbers
    ]


def _sample(labels: Mapping[str, str], value: float) -> str:
    inside = ",".join(f'{name}="{_escaped(held)}"' for name, held in labels.items())
    return f"{{{inside}}} {value}" if inside else f" {value}"


def _escaped(value: str) -> str:
    return value.replace("\\", r"\\").replace('"', r"\"").replace("\n", r"\n")
