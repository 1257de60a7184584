"""The consequence of a verdict, as an auditor derives it from the policy."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import pytest

from sealgate.audit.decision import find_beside, screening_outcome
from sealgate.audit.entries import LogExcerpt, ProvedEntry
from sealgate.reasons import Reason
from sealgate.trust import canonical
from sealgate.trust.canonical import sha256
from sealgate.trust.policy.screening import (
    ScreeningPolicy,
    ScreeningRules,
    SessionRules,
    StepUpRule,
    VerdictActions,
)
from sealgate.trust.statements import Freshness, sign_statement
from sealgate.trust.statements.allowance import Allowance
from sealgate.trust.transparency import Checkpoint
from tests.support.builders.documents.allowances import INPUT, an_allowance
from tests.support.builders.documents.people import VERSION_DIGEST, at, key, make_policy, refused

SESSIONS = SessionRules("label-only", "alert", 3600)
ANSWER = {
    "time": "2026-11-25T10:00:00.000001Z",
    "principal": "carla",
    "model": "digits",
    "version_digest": VERSION_DIGEST,
    "input": INPUT,
    "outcome": "answered",
    "verdict": "adversarial",
}
NOTHING: dict[str, str] = {}


@dataclass
class Opened:
    fields: Mapping[str, str] | None


def excerpt(*entries: ProvedEntry) -> LogExcerpt:
    freshness = Freshness(1, (), (), at(), at(hours=1))
    return LogExcerpt(Checkpoint("log", 0, bytes(32)), freshness, entries)


def used(allowance: Allowance, signer: str = "anna") -> tuple[str, LogExcerpt]:
    """The digest of an allowance, and the entry of its use."""
    envelope = sign_statement(allowance, key(signer))
    entry = {
        "type": "sealgate/entry/v1",
        "event": "request.allowed",
        "time": at(),
        "principal": "carla",
        "subject": "models/digits",
        "body": {"allowance": envelope.payload_digest, "envelope": sha256(envelope.encode())},
    }
    return envelope.payload_digest, excerpt(
        ProvedEntry.read(7, canonical.encode(entry), [envelope.encode()])
    )


def say(
    screen: ScreeningRules,
    beside: Mapping[str, str] = NOTHING,
    shown: LogExcerpt | None = None,
    of_rows: bool = True,
    **changes: str,
) -> list[str]:
    policy = make_policy(screens=ScreeningPolicy({"digits": screen}))
    return list(
        screening_outcome(
            {**ANSWER, **changes}, policy, lambda: beside, lambda _: shown or excerpt(), of_rows
        )
    )


STEP_UP = ScreeningRules(VerdictActions(adversarial="step-up"), step_up=StepUpRule("approver", 900))
LABELS = "the likeliest classes alone left, for "


def test_what_a_verdict_leads_to_follows_from_the_policy() -> None:
    flagged = ScreeningRules(VerdictActions(adversarial="flag"))
    assert say(flagged) == ["verdict adversarial, which leads to flag for carla"]
    assert say(flagged, verdict="clean") == ["verdict clean, which leads to nothing for carla"]
    assert say(flagged, verdict="") == ["screening came to no verdict"]
    assert say(flagged, outcome="ADVERSARIAL_INPUT") == ["verdict adversarial"]
    (exempt,) = say(ScreeningRules(VerdictActions(adversarial="block")))
    assert exempt.endswith("leads to block for carla, from which the version exempts its answers")


def test_an_exempt_version_reduces_what_would_block_as_it_does_what_is_suspect() -> None:
    text = ScreeningRules(VerdictActions(adversarial="block", suspect="label-only"))
    _, reduced = say(text, actions="label-only")
    assert reduced == LABELS + "the verdict adversarial"
    # Releases before let it out whole.
    assert len(say(text, actions="")) == 1


def test_that_the_float32_answer_left_is_told_with_what_follows() -> None:
    flagged = VerdictActions(adversarial="flag", disagreement="label-only")
    for arithmetic in ("float32", "mixed"):
        said = say(ScreeningRules(flagged), arithmetic=arithmetic)
        assert said[1:] == [
            "float32's answer left where that in INT8 was of another class",
            LABELS + "classes that differ in INT8 and float32",
        ]
    assert len(say(ScreeningRules(flagged), arithmetic="int8")) == 1


@pytest.mark.parametrize(
    ("screen", "beside", "why"),
    [
        (
            ScreeningRules(VerdictActions(adversarial="label-only")),
            NOTHING,
            "the verdict adversarial",
        ),
        (
            ScreeningRules(
                VerdictActions(adversarial="flag"), {"client": VerdictActions(labels_only=True)}
            ),
            NOTHING,
            "a role of carla",
        ),
        (
            ScreeningRules(VerdictActions(adversarial="flag"), sessions=SESSIONS),
            {"reduced": "session"},
            "what the session of carla looked like",
        ),
        (
            ScreeningRules(VerdictActions(adversarial="label-only"), sessions=SESSIONS),
            {"reduced": "session"},
            "the verdict adversarial and what the session of carla looked like",
        ),
    ],
)
def test_why_classes_alone_left(screen: ScreeningRules, beside: dict[str, str], why: str) -> None:
    assert say(screen, beside)[1:] == [LABELS + why]


def test_all_may_have_left() -> None:
    assert len(say(ScreeningRules(VerdictActions(adversarial="flag"), sessions=SESSIONS))) == 1
    others = ScreeningRules(
        VerdictActions(adversarial="flag"), {"publisher": VerdictActions(labels_only=True)}
    )
    assert len(say(others)) == 1


def test_who_allowed_what_was_held_back() -> None:
    digest, shown = used(an_allowance())
    _, who = say(STEP_UP, {"allowed": digest}, shown)
    assert who == (
        f"allowed by anna at {at(minutes=-5)}, used at {at()} (entry 7): the scan is genuine"
    )


@pytest.mark.parametrize(
    ("reason", "signer", "changes"),
    [
        (Reason.ALLOWANCE_MISMATCH, "anna", {"input": "sha256:" + "8" * 64}),
        (Reason.ALLOWANCE_MISMATCH, "anna", {"caller": "peter"}),
        (Reason.ALLOWANCE_MISMATCH, "anna", {"model": "letters"}),
        (Reason.ROLE_TOO_LOW, "carla", {"person": "carla"}),
        (Reason.SIGNER_MISMATCH, "arne", {}),
    ],
)
def test_an_allowance_that_does_not_fit_is_none(
    reason: Reason, signer: str, changes: dict[str, Any]
) -> None:
    digest, shown = used(an_allowance(**changes), signer)
    with refused(reason):
        say(STEP_UP, {"allowed": digest}, shown)


def test_nobody_allows_themselves() -> None:
    digest, shown = used(an_allowance(person="anna", caller="anna"))
    policy = make_policy(screens=ScreeningPolicy({"digits": STEP_UP}))
    with refused(Reason.ALLOWANCE_SIGNER):
        list(
            screening_outcome(
                {**ANSWER, "principal": "anna"},
                policy,
                lambda: {"allowed": digest},
                lambda _: shown,
                True,
            )
        )


def test_an_allowance_that_is_not_shown_is_missed() -> None:
    digest, shown = used(an_allowance())
    with refused(Reason.ENTRY_UNKNOWN):
        say(STEP_UP, shown=shown)
    with refused(Reason.ENTRY_UNKNOWN):
        say(STEP_UP, {"allowed": digest})
    other, _ = used(an_allowance(reason="another"))
    with refused(Reason.ENTRY_UNKNOWN):
        say(STEP_UP, {"allowed": other}, shown)


def test_a_generated_answer_is_neither_allowed_nor_reduced() -> None:
    assert say(STEP_UP, of_rows=False) == ["verdict adversarial"]


def test_other_entries_are_those_of_the_same_request() -> None:
    allowed = {**ANSWER, "outcome": "allowed", "output": "sha256:1", "verdict": ""}
    entries = [
        Opened(None),
        Opened({**allowed, "principal": "peter"}),
        Opened({**allowed, "input": "other", "outcome": "reduced"}),
        Opened(allowed),
    ]
    asked: list[Any] = []

    def search(*words: Any) -> list[Opened]:
        asked.append(words)
        return entries

    assert find_beside(ANSWER, 12, search) == {"allowed": "sha256:1"}
    assert find_beside(ANSWER, 5000, search) == {"allowed": "sha256:1"}
    values = [ANSWER[name] for name in ("time", "principal", "input")]
    assert asked == [(0, 12, values), (904, 5000, values)]
