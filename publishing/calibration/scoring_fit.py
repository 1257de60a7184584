"""Fits the weights of the score from features of clean, changed and attacked rows.

This is step 3 of `publishing.calibration.detector_fit`.
"""

from dataclasses import replace

import numpy as np
import numpy.typing as npt

from inference.screening.calibration import Floats
from inference.screening.scoring import FeatureScaling, ScoreTail, Scoring, ScoringWeights

_CUT_OFF = 4.0
_RIDGE = 20.0
# Products of two cut-off features are scaled to weigh about as much as one feature.
_PRODUCT = 0.25
_NEWTON_STEPS = 50
_AT_ONCE = 4096
# How far the features' covariance is drawn to a sphere, since some hardly vary on clean rows.
_SHRINKAGE = 0.1


def fit_scoring(
    clean: npt.NDArray[np.float32],
    harmless: npt.NDArray[np.float32],
    harmful: npt.NDArray[np.float32],
    stretch: float = 1.0,
) -> Scoring:
    """From the features [n, F] of clean, harmless and harmful rows. The distance to the clean ones
    weighs `stretch` times less than it would.
    """
    scaling = _scaling(clean.astype(np.float64))
    near, *groups = (_scaled(scaling, each) for each in (clean, harmless, harmful))
    blank = ScoreTail(0.0, 1.0)
    draft = Scoring(scaling, _distance(near, blank), _odds(groups[0], groups[1], blank))
    distance, odds = draft.surprises(clean)
    tail = ScoreTail.of(distance)
    tail = replace(tail, decay=tail.decay * stretch)
    return Scoring(
        scaling,
        replace(draft.clean, tail=tail),
        replace(draft.trained, tail=ScoreTail.of(odds)),
    )


def _scaled(scaling: FeatureScaling, features: npt.NDArray[np.float32]) -> Floats:
    z = (features - np.array(scaling.center)) / np.array(scaling.spread)
    return np.clip(z, -scaling.limit, scaling.limit)


def _scaling(clean: Floats) -> FeatureScaling:
    spread = clean.std(axis=0)
    # A feature that never varies on clean rows says nothing until it does.
    spread = np.where(spread > 1e-9, spread, 1.0)
    return FeatureScaling(
        tuple(np.median(clean, axis=0).tolist()), tuple(spread.tolist()), _CUT_OFF
    )


def _distance(z: Floats, tail: ScoreTail) -> ScoringWeights:
    """The squared Mahalanobis distance to clean rows z [n, F], as a polynomial."""
    center, width = z.mean(axis=0), z.shape[1]
    covariance = np.cov(z, rowvar=False).reshape(width, width)
    sphere = np.eye(width) * np.trace(covariance) / width
    precision = np.linalg.inv((1 - _SHRINKAGE) * covariance + _SHRINKAGE * sphere)
    # A triangle holds each pair once.
    triangle = 2 * precision - np.diag(np.diag(precision))
    return ScoringWeights(
        float(center @ precision @ center),
        tuple((-2 * precision @ center).tolist()),
        tuple(triangle[np.triu_indices(width)].tolist()),
        tail,
    )


def _odds(harmless: Floats, harmful: Floats, tail: ScoreTail) -> ScoringWeights:
    """Ridge-regularized logistic regression by damped Newton steps, both classes weighing alike."""
    z = np.concatenate([harmless, harmful])
    terms = _terms(z)
    target = np.repeat([0.0, 1.0], [len(harmless), len(harmful)])
    share = np.where(target > 0, 0.5 / len(harmful), 0.5 / len(harmless)) * len(z)
    found = _logistic(terms, target, share)
    width = z.shape[1]
    return ScoringWeights(
        float(found[0]),
        tuple(found[1 : 1 + width].tolist()),
        tuple((_PRODUCT * found[1 + width :]).tolist()),
        tail,
    )


def _terms(z: Floats) -> Floats:
    """A one, the features z [n, F], and the scaled product of each pair of them: [n, T]."""
    first, second = np.triu_indices(z.shape[1])
    begin = 1 + z.shape[1]
    terms = np.ones((len(z), begin + len(first)))
    terms[:, 1:begin] = z
    # Factors of all rows at once would take more memory than the products.
    for at in range(0, len(z), _AT_ONCE):
        part = z[at : at + _AT_ONCE]
        terms[at : at + _AT_ONCE, begin:] = _PRODUCT * part[:, first] * part[:, second]
    return terms


def _logistic(terms: Floats, target: Floats, share: Floats) -> Floats:
    found = np.zeros(terms.shape[1])
    ridge = np.full(terms.shape[1], _RIDGE)
    ridge[0] = 1e-6
    # Steps find the same end by a curvature in single precision, which takes half of the time.
    coarse = terms.astype(np.float32)
    for _ in range(_NEWTON_STEPS):
        odds = 1 / (1 + np.exp(-np.clip(terms @ found, -30, 30)))
        slope = terms.T @ (share * (odds - target)) + ridge * found
        curve = share * np.maximum(odds * (1 - odds), 1e-6)
        # A product with itself, of which numpy computes one half.
        weighed = coarse * np.sqrt(curve).astype(np.float32)[:, None]
        bend = (weighed.T @ weighed).astype(np.float64) + np.diag(ridge)
        step = np.linalg.solve(bend, slope)
        largest = float(np.abs(step).max())
        found -= step * min(1.0, 3 / max(largest, 1e-12))
        if largest < 1e-6:
            break
    return found
