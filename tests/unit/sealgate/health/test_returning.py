"""When a check returns an alias: only where the signed policy says so, and it keeps failing."""

from types import SimpleNamespace
from typing import Any

import pytest

from sealgate.health.findings import CheckState, HealthFinding
from sealgate.health.golden_check import (
    GoldenTarget,
    differs,
    failures_allowed,
    keeps_failing,
    return_alias,
)
from sealgate.reasons import Reason
from sealgate.trust.policy.health_limits import HealthLimits, HealthRules
from tests.support.builders.documents.people import make_policy, refused

BAD = HealthFinding("golden", "digits/production", CheckState.WRONG, "", {}, {"different": 2})
HUNG = HealthFinding("golden", "digits/production", CheckState.WRONG, "", {}, {"different": 0})
GOOD = HealthFinding("golden", "digits/production", CheckState.WELL, "", {}, {"different": 0})
LIVE = GoldenTarget("digits", "production", 2, "sha256:b")


def test_the_policy_says_after_how_many() -> None:
    limits = HealthLimits(60, 1, golden_failures=3)
    other = HealthLimits(60, 1, error_percent=5)
    policy = make_policy(health=HealthRules({"digits": {"production": limits, "canary": other}}))
    assert failures_allowed(policy, "digits", "production") == 3
    assert failures_allowed(policy, "digits", "canary") is None
    assert failures_allowed(policy, "faces", "production") is None
    assert failures_allowed(make_policy(), "digits", "production") is None


@pytest.mark.parametrize("failures", [0, -1, "3", True, 1.5])
def test_a_number_that_is_none_is_refused(failures: Any) -> None:
    with refused(Reason.DOCUMENT_MALFORMED):
        HealthLimits(60, 1, golden_failures=failures)


def test_only_answers_that_came_out_otherwise_count() -> None:
    assert differs(BAD)
    assert not differs(HUNG)
    assert not differs(GOOD)


@pytest.mark.parametrize(
    ("times", "later", "asked", "last"),
    [(1, [], 0, BAD), (3, [BAD, BAD], 2, BAD), (3, [BAD, GOOD], 2, GOOD), (3, [HUNG], 1, HUNG)],
)
def test_it_is_asked_as_often_as_the_policy_says(
    times: int, later: list[HealthFinding], asked: int, last: HealthFinding
) -> None:
    answers = iter(later)
    assert keeps_failing(BAD, times, lambda: next(answers)) is last
    assert len(later) == asked
    assert next(answers, None) is None


def move(version: int, digest: str, action: str = "promote") -> SimpleNamespace:
    return SimpleNamespace(version=version, digest=digest, action=action)


class Service:
    """An alias's moves, newest first, and the moves that returned it."""

    def __init__(self, *moves: SimpleNamespace) -> None:
        self._moves = moves
        self.returned: tuple[Any, ...] | None = None

    def moves(self, model: str, alias: str) -> Any:
        return iter(self._moves)

    def rollback(self, *asked: Any) -> SimpleNamespace:
        self.returned = asked
        return SimpleNamespace(version=asked[2])


def test_it_returns_to_the_version_before() -> None:
    service = Service(move(2, "sha256:b"), move(2, "sha256:b"), move(1, "sha256:a"))
    found = return_alias(service, LIVE, "2 of 8 golden answers differ")
    assert service.returned == (
        "digits",
        "production",
        1,
        "automatic: 2 of 8 golden answers differ",
    )
    assert (found.state, found.detail) == (CheckState.WRONG, "back at version 1")


@pytest.mark.parametrize(
    ("moves", "reason"),
    [
        ([move(3, "sha256:c"), move(2, "sha256:b")], Reason.SEQUENCE_STALE),
        ([move(2, "sha256:b", "rollback"), move(1, "sha256:a")], Reason.ROLLBACK_TARGET),
        ([move(2, "sha256:b")], Reason.ROLLBACK_TARGET),
    ],
)
def test_it_returns_nothing_that_it_must_not(moves: list[SimpleNamespace], reason: Reason) -> None:
    service = Service(*moves)
    with refused(reason):
        return_alias(service, LIVE, "")
    assert service.returned is None
