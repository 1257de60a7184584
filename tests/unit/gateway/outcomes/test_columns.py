"""Drift by column of the rows that a promotion answers."""

from types import SimpleNamespace
from typing import Any

import numpy as np

from gateway.outcomes import ColumnWatch
from gateway.outcomes.columns import column_names
from inference.model.columns import Column
from inference.screening.column_bins import ColumnBins
from sealgate.trust.policy.health_limits import ModelOutcomes, OutcomeLimits, OutcomeRules
from tests.support.fakes.clock import Clock

LIMITS = OutcomeLimits(100, 10, "alarm", psi_percent=20)
RULES = OutcomeRules({"digits": ModelOutcomes({}, {"production": LIMITS})})
ROWS = np.random.default_rng(0).normal(size=(500, 2)).astype(np.float32)
BINS = ColumnBins.of(ROWS)


def live(pointer: str = "one", bins: Any = BINS, **changes: str) -> SimpleNamespace:
    config = SimpleNamespace(columns=(), input=SimpleNamespace(name="x", row=(2,)), tokens=None)
    ready = SimpleNamespace(detector=SimpleNamespace(inputs=bins))
    place = {"model": "digits", "alias": "production"} | changes
    return SimpleNamespace(pointer=pointer, ready=ready, config=config, **place)


def watch(clock: Clock, rules: OutcomeRules | None = RULES) -> ColumnWatch:
    return ColumnWatch(lambda: SimpleNamespace(outcomes=rules), clock)


def test_the_column_that_moved_comes_first() -> None:
    watched = watch(Clock())
    moved = ROWS + np.array([0, 2], np.float32)
    watched.observe(live(), [moved[:300], moved[300:]])
    first, second = watched.drift("one")
    assert (first.column, first.rows) == ("x[1]", 500)
    assert first.psi > 1
    assert first.ks > 0.5
    assert (second.column, round(second.psi, 6), round(second.ks, 6)) == ("x[0]", 0, 0)


def test_a_window_forgets_and_promotions_are_told_apart() -> None:
    clock = Clock()
    watched = watch(clock)
    watched.observe(live(), [ROWS])
    clock.now += 50
    watched.observe(live(), [ROWS[:10]])
    assert {each.rows for each in watched.drift("one")} == {510}
    clock.now += 60
    assert {each.rows for each in watched.drift("one")} == {10}
    clock.now += 100
    assert watched.drift("one") == []
    watched.observe(live("two"), [ROWS[:7]])
    assert {each.rows for each in watched.drift("two")} == {7}


def test_what_nobody_asks_about_is_not_watched() -> None:
    for rules, version in (
        (None, live()),
        (OutcomeRules({}), live()),
        (RULES, live(model="faces")),
        (RULES, live(bins=None)),
    ):
        watched = watch(Clock(), rules)
        watched.observe(version, [ROWS])
        assert watched.drift("one") == []


def test_promotions_are_bounded() -> None:
    watched = watch(Clock())
    for number in range(70):
        watched.observe(live(str(number)), [ROWS[:5]])
    assert watched.drift("0") == []
    assert watched.drift("69")


def test_columns_have_the_names_of_their_table() -> None:
    config: Any = SimpleNamespace(columns=(Column("age"), Column("purpose", "car")))
    assert column_names(config) == ["age", "purpose=car"]
