"""Fit a version's detector on its own response graph, and bound its false alarms.

1. Attack the fit slice with the graph itself, from the model's own answers (see
   `publishing.probe`). Only rows whose answer changed count as attacks.
2. Set against them the clean fit slice, and the same rows under benign changes, noise of the same
   norms among them: otherwise the detector learns to see noise, which is no attack.
3. Fit a distance to the clean rows, which has seen no attack, and a logistic score, quadratic in
   the scaled features, with each class weighing as much.
4. Set both thresholds on the calibration slice, which took no part in the fit, by
   `inference.screening.conformal`; the upper one so high that it holds under each benign change.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from inference.model_config import Domain
from inference.screening import conformal
from inference.screening.attack import Rows, Session
from inference.screening.calibration import SHIFT_BOUND, Calibration, Floats, Limit, Shift
from inference.screening.detector import Detector
from inference.screening.scoring import Scaling, Scoring, Tail, Weights
from publishing.probe import Array, Probe, Prober
from sealgate.reasons import Reason, Refusal

CONFIDENCE = 0.95
# From this many rows on, 1% can be bounded with that confidence: 0.99 ** 299 < 0.05.
MANY_ROWS = 299
_CUT_OFF = 4.0
_RIDGE = 20.0
# Products of two cut-off features are scaled to weigh about as much as one feature.
_PRODUCT = 0.25
_NEWTON_STEPS = 50
# How far the features' covariance is drawn to a sphere, since some hardly vary on clean rows.
_SHRINKAGE = 0.1


def fit_detector(
    session: Session,
    x_fit: Rows,
    x_calibration: Rows,
    domain: Domain,
    eps: float,
    generator: np.random.Generator,
) -> Detector:
    """Return the detector of the graph in `session`: see `fit`."""
    return fit(Probe(session, eps, domain), x_fit, x_calibration, generator)


def fit(
    probe: Prober, x_fit: Array, x_calibration: Array, generator: np.random.Generator
) -> Detector:
    """Return the detector of the graph in `probe`; x_fit and x_calibration share no row.

    Raises CALIBRATION_TOO_SMALL where there are too few clean rows (59 are the least), or where no
    attack succeeds, so that there is nothing to tell from clean rows.
    """
    seen = show(probe, x_fit, generator)
    draft = drafted(seen)
    return limited(draft, probe, x_calibration, generator)


@dataclass(frozen=True, slots=True, eq=False)
class Part:
    """Rows [m, ...] that are, or were made of, those at `places` [m] of the fit slice, with their
    features [m, F].
    """

    rows: Array
    places: Array
    features: Array


@dataclass(frozen=True, slots=True, eq=False)
class Seen:
    """What a detector is fitted on: the clean fit slice, the same under each benign change, and by
    its name what each attack turned.
    """

    clean: Part
    shifted: tuple[Part, ...]
    harmful: Mapping[str, Part]


def show(probe: Prober, x_fit: Array, generator: np.random.Generator) -> Seen:
    """Steps 1 and 2. Raises CALIBRATION_TOO_SMALL where no attack succeeds."""
    own, places = probe.answers(x_fit), np.arange(len(x_fit))
    clean = Part(x_fit, places, probe.measure(x_fit)[1])
    shifted = [
        Part(moved, places, probe.measure(moved)[1]) for _, moved in probe.shifts(x_fit, generator)
    ]
    harmful = {}
    for name, moved in probe.attacks(x_fit, generator):
        logits, features = probe.measure(moved)
        if (changed := logits.argmax(axis=1) != own).any():
            harmful[name] = Part(moved[changed], places[changed], features[changed])
    if not harmful:
        raise Refusal(Reason.CALIBRATION_TOO_SMALL, "no attack changed an answer of the fit slice")
    return Seen(clean, tuple(shifted), harmful)


def drafted(seen: Seen) -> Detector:
    """Step 3: a detector without limits."""
    clean = seen.clean.features
    # Rows as they are weigh as two of their changes.
    harmless = np.concatenate([clean, clean, *(each.features for each in seen.shifted)])
    harmful = np.concatenate([each.features for each in seen.harmful.values()])
    found = fit_scoring(clean, harmless, harmful)
    return Detector(found.scaling, found.clean, found.trained, _NO_LIMITS, tuple(seen.harmful))


def limited(
    draft: Detector, probe: Prober, x_calibration: Array, generator: np.random.Generator
) -> Detector:
    """Step 4: the draft with its limits, of the scores that it gives what `probe` measures."""
    scores = draft.scores(probe.measure(x_calibration)[1])
    shifted = {
        name: draft.scores(probe.measure(moved)[1])
        for name, moved in probe.shifts(x_calibration, generator)
    }
    return replace(draft, calibration=calibrate(scores, shifted, least_threshold(draft)))


def least_threshold(detector: Detector) -> float:
    """What the first stage alone lets pass is no alarm, however seldom it lets a row go on."""
    return -np.inf if detector.first is None else 0.0


def recalibrated(detector: Detector, traffic: npt.NDArray[np.float32]) -> Detector:
    """The detector with its thresholds set on the features [n, F] of traffic instead, all of it:
    what was refused too, or the thresholds would fall with each calibration. Nothing is promised of
    benign changes then, for of traffic only the features are known.

    Attacks among the traffic raise the thresholds by as much as they are of it. Raises
    CALIBRATION_TOO_SMALL like `calibrate`, also for features of another width.
    """
    if traffic.ndim != 2 or traffic.shape[1] != detector.width:
        raise Refusal(Reason.CALIBRATION_TOO_SMALL, "the features are of another kind of graph")
    scores, least = detector.scores(traffic), least_threshold(detector)
    return replace(detector, calibration=calibrate(scores, {}, least))


def calibrate(scores: Floats, shifted: Mapping[str, Floats], least: float = -np.inf) -> Calibration:
    """Set the thresholds on clean scores [n]: 1% and 5% of false alarms, or 5% and 10% if few; and
    5% on the scores [n] of the same rows under each benign change, by its name. None is below
    `least`.

    Raises CALIBRATION_TOO_SMALL for fewer than 59, or where a score is not a number.
    """
    n = len(scores)
    if n == 0 or not all(np.isfinite(each).all() for each in (scores, *shifted.values())):
        raise Refusal(Reason.CALIBRATION_TOO_SMALL, "not every calibration row has a score")
    bounds = (0.01, 0.05) if n >= MANY_ROWS else (0.05, 0.1)
    upper, lower = (_limit(scores, bound) for bound in bounds)
    rank = conformal.rank(n, SHIFT_BOUND, CONFIDENCE)
    shifts = [Shift(name, rank, _ranked(each, rank)) for name, each in shifted.items()]
    threshold = max(upper.threshold, *(shift.score for shift in shifts), least)
    return Calibration(
        tuple(np.sort(scores).tolist()),
        CONFIDENCE,
        Limit(upper.bound, upper.rank, threshold),
        replace(lower, threshold=max(lower.threshold, least)),
        tuple(shifts),
    )


def _limit(scores: Floats, bound: float) -> Limit:
    rank = conformal.rank(len(scores), bound, CONFIDENCE)
    if rank == 0:
        raise Refusal(
            Reason.CALIBRATION_TOO_SMALL, f"{len(scores)} clean rows back no bound of {bound:g}"
        )
    return Limit(bound, rank, _ranked(scores, rank))


def _ranked(scores: Floats, rank: int) -> float:
    """The `rank`-th largest."""
    return float(np.sort(scores)[-rank])


# Stands in until scores exist to set thresholds on; no detector leaves here with it.
_NO_LIMITS = Calibration((0.0,) * 59, CONFIDENCE, Limit(0.05, 1, 0.0), Limit(0.05, 1, 0.0))


def fit_scoring(
    clean: npt.NDArray[np.float32],
    harmless: npt.NDArray[np.float32],
    harmful: npt.NDArray[np.float32],
) -> Scoring:
    """From the features [n, F] of clean, harmless and harmful rows."""
    scaling = _scaling(clean.astype(np.float64))
    near, *groups = (_scaled(scaling, each) for each in (clean, harmless, harmful))
    blank = Tail(0.0, 1.0)
    draft = Scoring(scaling, _distance(near, blank), _odds(groups[0], groups[1], blank))
    distance, odds = draft.surprises(clean)
    return Scoring(
        scaling,
        replace(draft.clean, tail=Tail.of(distance)),
        replace(draft.trained, tail=Tail.of(odds)),
    )


def _scaled(scaling: Scaling, features: npt.NDArray[np.float32]) -> Floats:
    z = (features - np.array(scaling.center)) / np.array(scaling.spread)
    return np.clip(z, -scaling.limit, scaling.limit)


def _scaling(clean: Floats) -> Scaling:
    spread = clean.std(axis=0)
    # A feature that never varies on clean rows says nothing until it does.
    spread = np.where(spread > 1e-9, spread, 1.0)
    return Scaling(tuple(np.median(clean, axis=0).tolist()), tuple(spread.tolist()), _CUT_OFF)


def _distance(z: Floats, tail: Tail) -> Weights:
    """The squared Mahalanobis distance to clean rows z [n, F], as a polynomial."""
    center, width = z.mean(axis=0), z.shape[1]
    covariance = np.cov(z, rowvar=False).reshape(width, width)
    sphere = np.eye(width) * np.trace(covariance) / width
    precision = np.linalg.inv((1 - _SHRINKAGE) * covariance + _SHRINKAGE * sphere)
    # Each pair stands once in a triangle.
    triangle = 2 * precision - np.diag(np.diag(precision))
    return Weights(
        float(center @ precision @ center),
        tuple((-2 * precision @ center).tolist()),
        tuple(triangle[np.triu_indices(width)].tolist()),
        tail,
    )


def _odds(harmless: Floats, harmful: Floats, tail: Tail) -> Weights:
    """Ridge-regularized logistic regression by damped Newton steps, both classes weighing alike."""
    z = np.concatenate([harmless, harmful])
    first, second = np.triu_indices(z.shape[1])
    terms = np.concatenate([np.ones((len(z), 1)), z, _PRODUCT * z[:, first] * z[:, second]], axis=1)
    target = np.repeat([0.0, 1.0], [len(harmless), len(harmful)])
    share = np.where(target > 0, 0.5 / len(harmful), 0.5 / len(harmless)) * len(z)
    found = _logistic(terms, target, share)
    width = z.shape[1]
    return Weights(
        float(found[0]),
        tuple(found[1 : 1 + width].tolist()),
        tuple((_PRODUCT * found[1 + width :]).tolist()),
        tail,
    )


def _logistic(terms: Floats, target: Floats, share: Floats) -> Floats:
    found = np.zeros(terms.shape[1])
    ridge = np.full(terms.shape[1], _RIDGE)
    ridge[0] = 1e-6
    for _ in range(_NEWTON_STEPS):
        odds = 1 / (1 + np.exp(-np.clip(terms @ found, -30, 30)))
        slope = terms.T @ (share * (odds - target)) + ridge * found
        curve = share * np.maximum(odds * (1 - odds), 1e-6)
        # A product with itself, of which numpy computes one half.
        weighed = terms * np.sqrt(curve)[:, None]
        bend = weighed.T @ weighed + np.diag(ridge)
        step = np.linalg.solve(bend, slope)
        largest = float(np.abs(step).max())
        found -= step * min(1.0, 3 / max(largest, 1e-12))
        if largest < 1e-6:
            break
    return found
