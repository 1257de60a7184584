"""Thresholds whose false-alarm rate is bounded, from clean scores alone.

Let n clean scores be exchangeable with the clean scores to come and let the threshold be the r-th
largest of them. The rate at which later clean scores exceed it is at most a Beta(r, n - r + 1)
variable, so it exceeds `bound` with probability P(Binomial(n, bound) <= r - 1). `rank` returns the
largest r for which that is at most 1 - confidence. No assumption is made on the scores'
distribution (Vovk, "Conditional validity of inductive conformal predictors", 2012); what is assumed
is that traffic stays exchangeable with the calibration slice.
"""

import math


def rank(n: int, bound: float, confidence: float) -> int:
    """Which of n clean scores, counted from the largest, to use as threshold: 1 is the largest.

    0 means that even the largest cannot back the bound: there are too few scores.
    """
    if n < 1 or not 0 < bound < 1 or not 0 < confidence < 1:
        raise ValueError("n must be positive, bound and confidence between 0 and 1")
    allowed, cumulated, found = 1 - confidence, 0.0, 0
    while found < n:
        cumulated += _binomial(n, bound, found)
        if cumulated > allowed:
            break
        found += 1
    return found


def _binomial(n: int, p: float, k: int) -> float:
    """P(Binomial(n, p) = k), by logarithms so that large n does not underflow on the way."""
    choose = math.lgamma(n + 1) - math.lgamma(k + 1) - math.lgamma(n - k + 1)
    return math.exp(choose + k * math.log(p) + (n - k) * math.log1p(-p))
