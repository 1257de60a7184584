"""Breaches of several sources: one that fails holds up no other."""

from typing import Any

import pytest

from gateway.rollout.alias_health import Breach
from gateway.rollout.rollout import AutoRollback
from sealgate.reasons import Reason, SealgateError
from sealgate.trust.policy.health_limits import HealthLimits, OutcomeLimits
from tests.support.builders.documents.people import refused

HEALTH = HealthLimits(60, 10, error_percent=10)
OUTCOMES = OutcomeLimits(60, 10, "rollback", accuracy_percent=90)


class Source:
    def __init__(self, *found: Breach) -> None:
        self._found = found

    def breaches(self) -> list[Breach]:
        return list(self._found)


class Failing:
    def breaches(self) -> list[Breach]:
        raise SealgateError(Reason.REGISTRY_UNAVAILABLE)


def looked(*sources: Any) -> AutoRollback:
    """One without a key, which tells of breaches alone."""
    nothing: Any = None
    return AutoRollback(sources[0], nothing, nothing, nothing, None, sources[1:])


def test_all_sources_are_looked_at(caplog: pytest.LogCaptureFixture) -> None:
    health = Breach("digits", "production", "one", 1, HEALTH, "errors: many")
    outcomes = Breach("digits", "canary", "two", 2, OUTCOMES, "right: few")
    guard = looked(Source(health), Source(outcomes))
    guard.look()
    assert guard.done == {("digits", "production"): "one", ("digits", "canary"): "two"}
    assert "digits/canary passes a limit of the policy: right: few" in caplog.text


def test_what_came_before_a_failure_is_done() -> None:
    health = Breach("digits", "production", "one", 1, HEALTH, "errors: many")
    guard = looked(Source(health), Failing())
    with refused(Reason.REGISTRY_UNAVAILABLE):
        guard.look()
    assert guard.done == {("digits", "production"): "one"}
