"""Figures of a window of outcomes, and the limits that they pass."""

import numpy as np
import pytest

from gateway.outcomes import JudgedAnswer
from gateway.outcomes.series import MOST_ROWS, OutcomeSeries, OutcomeWindow, finding
from sealgate.trust.policy.health_limits import OutcomeLimits


def judged(right: int, wrong: int, confidence: float | None = None, **groups: str) -> JudgedAnswer:
    count = right + wrong
    labels = ["a"] * count
    sure = [] if confidence is None else [confidence] * count
    return JudgedAnswer(labels, labels, [True] * right + [False] * wrong, sure, groups=groups)


def window(*answers: JudgedAnswer) -> OutcomeWindow:
    series = OutcomeSeries()
    for number, each in enumerate(answers):
        series.add(float(number), each, number)
    return series.since(0.0)


def limits(**wanted: int) -> OutcomeLimits:
    return OutcomeLimits(60, 10, "alarm", **wanted)


def test_nothing_says_nothing() -> None:
    empty = window()
    assert (len(empty), empty.accuracy, empty.ece, empty.mean_error) == (0, 0.0, None, None)
    assert (empty.bins(), empty.groups(), empty.points(), empty.gap(1)) == ([], [], [], None)
    assert finding(empty, limits(accuracy_percent=100, ece_percent=0)) is None


def test_accuracy_is_over_rows() -> None:
    found = window(judged(3, 0), judged(0, 1))
    assert (len(found), found.accuracy) == (4, 0.75)


def test_calibration_error_is_worked_out_by_hand() -> None:
    # 6 of 10 right at 0.9 and 5 of 5 right at 0.75: (10 * 0.3 + 5 * 0.25) / 15.
    found = window(judged(6, 4, 0.9), judged(5, 0, 0.75), judged(1, 1))
    assert found.ece == pytest.approx((10 * 0.3 + 5 * 0.25) / 15, abs=1e-6)
    assert [(each.lower, each.outcomes) for each in found.bins()] == [(0.7, 5), (0.9, 10)]
    assert window(judged(2, 0, 1.0)).bins()[0].lower == 0.9


def test_groups_are_told_apart_and_small_ones_left_out_of_the_gap() -> None:
    found = window(
        judged(8, 2, age="old", sex="f"), judged(5, 5, age="young"), judged(0, 1, age="child")
    )
    errors = {(each.attribute, each.group): each.error for each in found.groups()}
    assert errors == {
        ("age", "old"): 0.2,
        ("age", "young"): 0.5,
        ("age", "child"): 1.0,
        ("sex", "f"): 0.2,
    }
    gap = found.gap(10)
    assert gap is not None
    assert (round(gap[0], 9), gap[1]) == (0.3, "age")
    assert found.gap(11) is None


def test_points_divide_the_time() -> None:
    found = window(judged(1, 0), judged(0, 1), judged(1, 1), judged(1, 0))
    points = found.points(2)
    assert [(each.outcomes, each.accuracy) for each in points] == [(2, 0.5), (3, 2 / 3)]
    assert sum(each.outcomes for each in found.points()) == 5


def test_errors_of_numbers_are_averaged() -> None:
    answers = [JudgedAnswer([[1.0]], [[2.0]], [False], errors=[error]) for error in (1.0, 2.0)]
    assert window(*answers).mean_error == 1.5


def test_a_window_forgets_and_a_series_is_bounded() -> None:
    series = OutcomeSeries()
    many = judged(256, 0)
    for number in range(MOST_ROWS // 256 + 10):
        series.add(float(number), many, number)
    kept = series.since(0.0)
    assert MOST_ROWS // 2 <= len(kept) <= MOST_ROWS
    assert kept.rows["time"][-1] == MOST_ROWS // 256 + 9
    assert np.all(np.diff(kept.rows["time"]) >= 0)
    assert len(series.since(float(MOST_ROWS // 256 + 9))) == 256


@pytest.mark.parametrize(
    ("wanted", "words"),
    [
        ({"accuracy_percent": 61}, "right: 60.0 % of 20 outcomes in 60 s, limit 61 %"),
        ({"accuracy_percent": 60}, None),
        ({"ece_percent": 29}, "calibration error: 30.0 % of 20 outcomes in 60 s, limit 29 %"),
        ({"ece_percent": 31}, None),
        (
            {"group_gap_percent": 39},
            "errors differ by 40.0 % between groups of age, of 20 outcomes in 60 s, limit 39 %",
        ),
        ({"group_gap_percent": 40}, None),
    ],
)
def test_a_limit_is_reached_without_being_passed(wanted: dict[str, int], words: str | None) -> None:
    found = window(judged(8, 2, 0.9, age="old"), judged(4, 6, 0.9, age="young"))
    assert finding(found, limits(**wanted)) == words
    few = window(judged(0, 9, 0.9, age="old"))
    assert finding(few, limits(**wanted)) is None


def test_a_column_that_drifts_needs_no_outcomes() -> None:
    wanted = limits(psi_percent=20)
    assert finding(window(), wanted, (0.2, "age")) is None
    assert finding(window(), wanted, (0.25, "age")) == "column age: PSI 0.250, limit 0.20"
    assert finding(window(), limits(ece_percent=1), (9.0, "age")) is None
