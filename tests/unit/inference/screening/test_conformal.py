"""Thresholds bound the rate of false alarms, and say how surely."""

import numpy as np
import pytest

from inference.screening.calibration import conformal_rank


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


@pytest.mark.parametrize(("n", "bound"), [(480, 0.01), (480, 0.05), (110, 0.05), (110, 0.1)])
def test_the_promise_holds_in_simulation(n: int, bound: float) -> None:
    # Where scores are uniform, the true rate above a threshold is one minus the threshold. Any
    # other continuous distribution becomes this one through a monotone function.
    trials = 4000
    scores = np.sort(np.random.default_rng(7).random((trials, n)), axis=1)
    at = conformal_rank(n, bound, 0.95)
    broken = float(np.mean(1 - scores[:, -at] > bound))
    assert broken <= 0.05 + 4 * np.sqrt(0.05 * 0.95 / trials)
