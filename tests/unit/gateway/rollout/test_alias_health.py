"""Failures that count against a version, their window, and the limits that they pass."""

from dataclasses import replace
from types import SimpleNamespace

import pytest

from gateway.rollout.alias_health import AliasHealth, HealthWindow, finding
from sealgate.reasons import Reason, SealgateError
from sealgate.trust.policy.health_limits import HealthLimits
from tests.support.fakes.clock import Clock

LIMITS = HealthLimits(
    60, 10, error_percent=10, p99_ms=500, screening_percent=20, disagreement_percent=30
)
FINE = {"requests": 100, "errors": 10, "slow": 1, "screened": 20, "compared": 10, "differed": 3}


def live(sequence: int = 1, alias: str = "production") -> SimpleNamespace:
    return SimpleNamespace(
        model="digits", alias=alias, sequence=sequence, pointer=f"sha256:{sequence}"
    )


def run(
    alias_health: AliasHealth, of: SimpleNamespace, verdict: str = "clean", count: int = 1
) -> None:
    for _ in range(count):
        alias_health.run(of, lambda: SimpleNamespace(verdict=verdict))


def fail(alias_health: AliasHealth, of: SimpleNamespace, reason: Reason, count: int = 1) -> None:
    def work() -> None:
        raise SealgateError(reason)

    for _ in range(count):
        with pytest.raises(SealgateError):
            alias_health.run(of, work)


def test_limits_are_reached_without_being_passed() -> None:
    assert finding(FINE, LIMITS) is None


@pytest.mark.parametrize(
    ("more", "words"),
    [
        ("errors", "errors: 11.0 % of 100 requests in 60 s, limit 10 %"),
        ("slow", "slower than 500 ms: 2.0 % of 100 requests in 60 s, limit 1 %"),
        ("screened", "suspect or adversarial: 21.0 % of 100 requests in 60 s, limit 20 %"),
        ("differed", "answered differently: 40.0 % of 10 requests in 60 s, limit 30 %"),
    ],
)
def test_one_more_passes(more: str, words: str) -> None:
    counts = FINE | {more: FINE[more] + 1}
    assert finding(counts, LIMITS) == words
    # Without limits in the policy, no count passes one.
    none = {"error_percent": None, "p99_ms": None, "screening_percent": None}
    assert finding(counts, replace(LIMITS, **none, disagreement_percent=None)) is None


def test_few_requests_say_nothing() -> None:
    assert finding({"requests": 9, "errors": 9, "compared": 9, "differed": 9}, LIMITS) is None
    assert finding({}, LIMITS) is None


def test_a_window_forgets() -> None:
    window = HealthWindow(10)
    for second in range(30):
        window.add(float(second), "requests")
    assert window.total(29.0)["requests"] == 10
    assert window.total(34.0)["requests"] == 5
    assert window.total(60.0)["requests"] == 0


def test_what_the_version_does_counts() -> None:
    alias_health = AliasHealth(lambda model, alias: LIMITS, Clock())
    run(alias_health, live(), count=8)
    assert alias_health.breaches() == []
    fail(alias_health, live(), Reason.INTERNAL, 2)
    (breach,) = alias_health.breaches()
    assert (breach.model, breach.alias, breach.pointer) == ("digits", "production", "sha256:1")
    assert breach.finding.startswith("errors: 20.0 % of 10")


@pytest.mark.parametrize(
    "reason",
    [Reason.QUEUE_FULL, Reason.DEADLINE_TOO_SHORT, Reason.BATCH_TOO_LARGE, Reason.DRAINING],
)
def test_what_others_do_does_not(reason: Reason) -> None:
    alias_health = AliasHealth(lambda model, alias: LIMITS, Clock())
    fail(alias_health, live(), reason, 20)
    assert alias_health.breaches() == []


def test_slow_runs_count_whatever_they_come_to() -> None:
    clock = Clock()
    alias_health = AliasHealth(lambda model, alias: LIMITS, clock)

    def late() -> None:
        clock.now += 0.6
        raise SealgateError(Reason.DEADLINE_TOO_SHORT)

    run(alias_health, live(), count=10)
    with pytest.raises(SealgateError):
        alias_health.run(live(), late)
    (breach,) = alias_health.breaches()
    assert breach.finding.startswith("slower than 500 ms: 9.1 %")


def test_verdicts_and_comparisons_count() -> None:
    alias_health = AliasHealth(lambda model, alias: LIMITS, Clock())
    run(alias_health, live(), "suspect", 10)
    assert alias_health.breaches()[0].finding.startswith("suspect or adversarial")
    alias_health = AliasHealth(lambda model, alias: LIMITS, Clock())
    for number in range(10):
        alias_health.compared(live(), agreed=number > 3)
    assert alias_health.breaches()[0].finding.startswith("answered differently: 40.0 %")


def test_a_new_pointer_begins_anew_and_the_old_one_counts_no_more() -> None:
    alias_health = AliasHealth(lambda model, alias: LIMITS, Clock())
    fail(alias_health, live(1), Reason.INTERNAL, 10)
    assert alias_health.breaches()
    run(alias_health, live(2))
    assert alias_health.breaches() == []
    fail(alias_health, live(1), Reason.INTERNAL, 10)
    assert alias_health.breaches() == []


def test_an_alias_without_limits_is_not_counted() -> None:
    limits: dict[str, HealthLimits] = {"production": LIMITS}
    alias_health = AliasHealth(lambda model, alias: limits.get(alias), Clock())
    fail(alias_health, live(alias="canary"), Reason.INTERNAL, 20)
    assert alias_health.breaches() == []
    fail(alias_health, live(), Reason.INTERNAL, 20)
    assert len(alias_health.breaches()) == 1
    # A policy without these limits ends the breach as well.
    limits.clear()
    assert alias_health.breaches() == []
