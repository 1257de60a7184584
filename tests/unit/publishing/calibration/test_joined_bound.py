"""The joined score of two stages keeps the bound that its calibration states.

Many calibrations are drawn, and the rate of false alarms of each is measured on fresh rows. It may
exceed the bound in as many as the confidence leaves, and on average not at all.
"""

import numpy as np
import pytest

from publishing.calibration.detector_fit import CONFIDENCE, calibrate

TRIALS, ROWS, FRESH = 300, 400, 4000
# The rest of the confidence, and three times what chance adds to that in so many trials.
ALLOWED = 1 - CONFIDENCE + 3 * np.sqrt(CONFIDENCE * (1 - CONFIDENCE) / TRIALS)


def drawn(generator: np.random.Generator, rows: int) -> tuple[np.ndarray, np.ndarray]:
    """Scores of both stages on clean rows, which depend on one another."""
    shared, *own = generator.normal(size=(3, rows))
    return shared + own[0], 0.6 * shared + own[1] ** 2


def joined(first: np.ndarray, graph: np.ndarray, cut: float) -> np.ndarray:
    return np.where(first <= cut, first - cut, np.logaddexp(0, graph))


@pytest.mark.parametrize("share", [0.02, 0.1, 0.3])
def test_the_rate_of_false_alarms_stays_within_the_bound(share: float) -> None:
    generator = np.random.default_rng(11)
    cut = float(np.quantile(drawn(generator, 100_000)[0], 1 - share))
    above, rates = {"adversarial": 0, "suspect": 0}, {"adversarial": 0.0, "suspect": 0.0}
    for _ in range(TRIALS):
        limits = calibrate(joined(*drawn(generator, ROWS), cut), {}, least=0.0)
        fresh = joined(*drawn(generator, FRESH), cut)
        for name in above:
            limit = getattr(limits, name)
            rate = float(np.mean(fresh > limit.threshold))
            above[name] += rate > limit.bound
            rates[name] += rate / limit.bound / TRIALS
    assert all(0.3 < rate <= 1 for rate in rates.values()), rates
    assert all(count / TRIALS <= ALLOWED for count in above.values()), above


def test_stages_that_are_calibrated_apart_do_not_keep_it() -> None:
    """Two alarms that each keep a bound exceed it together; joint calibration keeps it."""
    generator = np.random.default_rng(12)
    above = 0
    for _ in range(TRIALS):
        limits = [calibrate(scores, {}) for scores in drawn(generator, ROWS)]
        fresh = drawn(generator, FRESH)
        either = [
            scores > limit.suspect.threshold for scores, limit in zip(fresh, limits, strict=True)
        ]
        above += float(np.mean(either[0] | either[1])) > limits[0].suspect.bound
    assert above / TRIALS > ALLOWED


def test_no_threshold_is_below_what_the_first_stage_lets_pass() -> None:
    """Where it lets nearly all pass, a score of the rank that 5% asks for is one of those."""
    scores = np.concatenate([np.linspace(-3, -1, 397), [0.5, 0.5, 0.5]])
    limits = calibrate(scores, {}, least=0.0)
    assert (limits.suspect.threshold, limits.adversarial.threshold) == (0.0, 0.5)
    assert calibrate(scores, {}).suspect.threshold < 0
    assert limits.scores == tuple(sorted(scores))
