"""Findings as metrics in Prometheus' text format, for the textfile collector of its node exporter.

The file is replaced as a whole: the collector reads it at any moment.
"""

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from sealgate.checkup.finding import Finding, State, exit_status
from sealgate.files import replace_file

_PREFIX = "sealgate_health"
# The collector is another user, and nothing here is secret.
_MODE = 0o644
_STATES = {State.WELL: 1, State.WRONG: 0}


@dataclass(frozen=True, slots=True)
class Family:
    """A gauge; `check` and `number` say which findings it shows, and what of them."""

    name: str
    meaning: str
    check: str = ""
    number: str = ""


FAMILIES = (
    Family("asked_timestamp_seconds", "When the last check ended"),
    Family("status", "How it ended, as the exit status of `sealgate health`: 0, 1 or 2"),
    Family("well", "1 for what is well, 0 for what is wrong; none for what could not be asked"),
    Family("same_answers", "Golden answers that came out", "golden", "same"),
    Family("different_answers", "Golden answers that differ", "golden", "different"),
    Family("withheld_answers", "Golden inputs that screening let not pass", "golden", "withheld"),
    Family("largest_difference", "By how much they differ at most", "golden", "largest_difference"),
    Family("slowest_answer_seconds", "The slowest golden answer", "golden", "slowest_seconds"),
    Family(
        "freshness_end_timestamp_seconds",
        "Until when a version is covered, the grace not included",
        "freshness",
        "end_timestamp_seconds",
    ),
    Family(
        "certificate_end_timestamp_seconds",
        "When the certificate of the gateway, or the check's own, expires",
        "certificate",
        "end_timestamp_seconds",
    ),
    Family(
        "policy_end_timestamp_seconds",
        "When the policy expires, its grace not included",
        "policy",
        "end_timestamp_seconds",
    ),
)


def write(path: Path, findings: Sequence[Finding], ended: float) -> None:
    """Replace the file; `ended` is in seconds of the epoch. Raises OSError."""
    replace_file(path, text(findings, ended).encode())
    os.chmod(path, _MODE)


def text(findings: Sequence[Finding], ended: float) -> str:
    """Every family that has a value."""
    lines = []
    for family in FAMILIES:
        samples = _samples(family, findings, ended)
        if samples:
            name = f"{_PREFIX}_{family.name}"
            lines += [f"# HELP {name} {family.meaning}", f"# TYPE {name} gauge"]
            lines += [f"{name}{sample}" for sample in samples]
    return "\n".join(lines) + "\n"


def _samples(family: Family, findings: Sequence[Finding], ended: float) -> list[str]:
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
    inside = ",".join(f'{name}="{_escaped(text)}"' for name, text in labels.items())
    return f"{{{inside}}} {value}" if inside else f" {value}"


def _escaped(value: str) -> str:
    return value.replace("\\", r"\\").replace('"', r"\"").replace("\n", r"\n")
