"""The arithmetic that the benchmarks' figures come from."""

import pytest

from benchmarks.figures import Cell, Spread, ratio, summary


def cell(**more):
    figures = {
        "seconds": 2.0,
        "ok": 1000,
        "cpu": 0.5,
        "p50_ms": 1.0,
        "p99_ms": 4.0,
        "memory": 50_000_000,
        "client_cpu": 0.4,
        "answered": 1200,
        "distinct": 1100,
        "failures": {},
    }
    return Cell(**{**figures, **more})


def test_a_cell_counts_answers_a_second_and_what_each_cost_the_server():
    assert (cell().rate, cell().cpu_ms) == (500.0, 0.5)


def test_a_cell_without_an_answer_cost_without_bound():
    assert cell(ok=0).cpu_ms == float("inf")


def test_a_spread_is_the_median_between_its_ends():
    assert Spread.of([3.0, 1.0, 10.0]) == Spread(3.0, 1.0, 10.0)


def test_nothing_has_no_spread():
    with pytest.raises(ValueError, match="no values"):
        Spread.of([])


def test_ratios_are_taken_round_by_round():
    # The machine became three times slower; the ratio did not change.
    assert ratio([300.0, 100.0], [150.0, 50.0]) == Spread(2.0, 2.0, 2.0)


def test_rounds_that_do_not_match_have_no_ratio():
    with pytest.raises(ValueError, match="zip"):
        ratio([1.0], [1.0, 2.0])


def test_a_row_tells_medians_the_largest_memory_and_every_failure():
    row = summary(
        [
            cell(failures={"Unavailable": 1}),
            cell(ok=2000, memory=60_000_000, failures={"Unavailable": 2, "Unknown": 1}),
            cell(distinct=1000),
        ]
    )
    assert row["rate"] == {"median": 500.0, "least": 500.0, "most": 1000.0}
    assert row["cpu_ms"] == {"median": 0.5, "least": 0.25, "most": 0.5}
    assert row["memory_mb"] == 60.0
    assert row["client_cpu"] == 0.2
    assert row["answered"] == 3600
    assert row["distinct_inputs"] == 1000
    assert row["failures"] == {"Unavailable": 3, "Unknown": 1}
    assert "recorded" not in row


def test_a_row_tells_what_the_answer_log_gained():
    assert summary([cell(recorded=1200), cell(recorded=1201)])["recorded"] == 2401
