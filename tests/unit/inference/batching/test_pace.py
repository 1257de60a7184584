"""The measured pace: when waiting pays, and which deadlines cannot be met."""

import pytest

from inference.batching.cost_model import RateEstimate


def measured(fixed: float, per_row: float, gap: float, lanes: int = 1) -> RateEstimate:
    pace = RateEstimate(lanes)
    for rows in (1, 2, 4, 8) * 4:
        pace.ran(rows, fixed + per_row * rows)
    for number in range(40):
        pace.came(100 + number * gap, 1)
    return pace


def test_the_cost_of_batches_is_learnt() -> None:
    pace = measured(0.004, 0.001, 1.0)
    assert pace.fixed == pytest.approx(0.004)
    assert pace.per_row == pytest.approx(0.001)
    assert pace.seconds(10) == pytest.approx(0.014)
    assert pace.least(10) == pytest.approx(0.007)


def test_nobody_waits_under_a_load_that_single_runs_could_carry() -> None:
    # A run alone takes 5 ms: at a request every 5 ms or more, even every 3 ms, waiting costs more.
    for gap in (0.05, 0.005, 0.003):
        assert measured(0.004, 0.001, gap).worth_waiting_for() <= 1


def test_in_a_burst_a_batch_waits_until_more_rows_would_cost_more_than_they_save() -> None:
    pace = measured(0.004, 0.0001, 0.0002)
    assert pace.worth_waiting_for() == int((0.004 - 0.0002) / (0.0002 + 0.0001))
    # If a row costs as much in a batch as alone, waiting never pays.
    assert measured(0.0, 0.004, 0.0002).worth_waiting_for() == 0


def test_other_lanes_make_waiting_less_worth() -> None:
    alone, among = (measured(0.004, 0.0001, 0.0002, lanes) for lanes in (1, 4))
    assert 0 < among.worth_waiting_for() < alone.worth_waiting_for() / 2


def test_a_long_gap_ends_a_burst_at_once() -> None:
    pace = measured(0.004, 0.0001, 0.0002)
    pace.came(200.0, 1)
    assert pace.worth_waiting_for() <= 1


def test_runs_of_one_size_alone_do_not_tell_what_is_fixed() -> None:
    pace = RateEstimate()
    for number in range(20):
        pace.ran(4, 0.01)
        pace.came(number * 1e-4, 1)
    assert pace.worth_waiting_for() == 0
    assert pace.seconds(4) == pytest.approx(0.01)


def test_a_few_runs_tell_nothing() -> None:
    pace = RateEstimate()
    for rows in (1, 2, 4, 8, 1, 2, 4):
        pace.ran(rows, 60.0)
    assert (pace.seconds(8), pace.least(8), pace.worth_waiting_for()) == (0.0, 0.0, 0)


def test_an_estimate_that_refuses_everything_is_lowered_until_something_runs() -> None:
    pace = measured(0.4, 0.1, 1.0)
    refused = 0
    while pace.least(1) > 0.01:
        pace.doubt()
        refused += 1
        assert refused < 100
    pace.ran(1, 0.5)
    assert pace.seconds(1) > 0.02
