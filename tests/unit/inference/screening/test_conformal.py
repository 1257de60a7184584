"""Thresholds bound the rate of false alarms, and say how surely."""

import numpy as np
import pytest

from inference.screening.calibration import conformal_rank, highest_rate
from publishing.calibration import LEAST_CALIBRATION_ROWS
from publishing.calibration.detector_fit import CONFIDENCE, MANY_ROWS, bounds


@pytest.mark.parametrize(
    ("n", "bound", "expected"),
    # 0.99 ** 299 and 0.95 ** 59 are the first such powers below a twentieth; the ranks of 1000 and
    # 5000 rows were computed elsewhere.
    [(299, 0.01, 1), (59, 0.05, 1), (29, 0.1, 1), (1000, 0.01, 5), (5000, 0.01, 39)],
)
def test_the_rank_is_that_of_the_exact_binomial(n: int, bound: float, expected: int) -> None:
    assert conformal_rank(n, bound, 0.95) == expected


@pytest.mark.parametrize(("n", "bound"), [(298, 0.01), (58, 0.05), (28, 0.1)])
def test_too_few_rows_back_no_bound(n: int, bound: float) -> None:
    assert conformal_rank(n, bound, 0.95) == 0


@pytest.mark.parametrize(
    ("n", "bound", "confidence"), [(0, 0.1, 0.9), (9, 0.0, 0.9), (9, 1.0, 0.9), (9, 0.1, 1.0)]
)
def test_nonsense_is_an_error_of_the_program(n: int, bound: float, confidence: float) -> None:
    with pytest.raises(ValueError, match="bound and confidence"):
        conformal_rank(n, bound, confidence)


@pytest.mark.parametrize("confidence", [0.95, CONFIDENCE])
@pytest.mark.parametrize(("n", "bound"), [(480, 0.01), (480, 0.05), (110, 0.05), (110, 0.1)])
def test_the_promise_holds_in_simulation(n: int, bound: float, confidence: float) -> None:
    # Where scores are uniform, the true rate above a threshold is one minus the threshold. Any
    # other continuous distribution becomes this one through a monotone function.
    trials = 4000
    scores = np.sort(np.random.default_rng(7).random((trials, n)), axis=1)
    rates = 1 - scores[:, -conformal_rank(n, bound, confidence)]
    left = 1 - confidence
    assert float(np.mean(rates > bound)) <= left + 4 * np.sqrt(left * confidence / trials)
    highest = highest_rate(n, conformal_rank(n, bound, confidence), 0.95)
    assert float(np.mean(rates > highest)) == pytest.approx(0.05, abs=0.014)


def test_on_average_a_rate_stays_within_its_bound() -> None:
    # Of n + 1 exchangeable rows each is as likely as the others to have the rank or a higher one.
    for n in range(LEAST_CALIBRATION_ROWS, 2000):
        assert all(conformal_rank(n, b, CONFIDENCE) / (n + 1) <= b for b in bounds(n)), n


@pytest.mark.parametrize(
    ("least", "end", "bound", "highest"),
    [(LEAST_CALIBRATION_ROWS, MANY_ROWS, 0.05, 0.1), (MANY_ROWS, 900, 0.01, 0.021)],
)
def test_no_number_of_rows_leaves_more_than_is_documented(
    least: int, end: int, bound: float, highest: float
) -> None:
    rates = [highest_rate(n, conformal_rank(n, bound, CONFIDENCE), 0.95) for n in range(least, end)]
    assert 0.9 * highest < max(rates) < highest


@pytest.mark.parametrize(("n", "bound"), [(480, 0.01), (110, 0.05), (5000, 0.01)])
def test_the_highest_rate_is_the_least_bound_that_a_rank_backs(n: int, bound: float) -> None:
    rank = conformal_rank(n, bound, 0.95)
    assert highest_rate(n, rank, 0.95) <= bound < highest_rate(n, rank + 1, 0.95)
    assert highest_rate(299, 1, 0.95) == pytest.approx(1 - 0.05 ** (1 / 299))
