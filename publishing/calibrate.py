"""Fit a version's detector on its own response graph, and bound its false alarms.

1. Attack the fit slice with the graph itself: FGSM and PGD at several sizes, from the model's own
   answers. Only rows whose answer changed count as attacks.
2. Set against them the clean fit slice, and the same rows under noise of the same norms: otherwise
   the detector learns to see noise, which is no attack.
3. Fit a logistic score, quadratic in the scaled features, with each class weighing as much.
4. Set both thresholds on the calibration slice, which took no part in the fit, by
   `inference.screening.conformal`.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from inference.model_config import Domain
from inference.screening import attack, conformal, contract
from inference.screening.attack import Labels, Rows, Session
from inference.screening.detector import Calibration, Detector, Floats, Limit, Scaling, Weights
from sealgate.reasons import Reason, Refusal

CONFIDENCE = 0.95
# From this many rows on, 1% can be bounded with that confidence: 0.99 ** 299 < 0.05.
MANY_ROWS = 299
# Sizes of attacks and noise, as shares of the domain's width.
SIZES: tuple[float, ...] = (0.05, 0.1, 0.2, 0.3)
NOISE: tuple[float, ...] = (0.05, 0.1, 0.2)
KINDS: tuple[str, ...] = ("fgsm", "pgd")
_CUT_OFF = 6.0
_RIDGE = 5.0
# Products of two cut-off features are scaled to weigh about as much as one feature.
_PRODUCT = 0.25
_NEWTON_STEPS = 50


Array = npt.NDArray[Any]


class Prober(Protocol):
    """Measures, moves and attacks rows of one model; shares are of how far either goes."""

    @property
    def noises(self) -> tuple[float, ...]: ...

    def measure(self, x: Array) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]]:
        """Return logits [n, C] and features [n, F] of rows x."""
        ...

    def answers(self, x: Array) -> Labels:
        """Return the model's own classes [n] of rows x."""
        ...

    def noise(self, x: Array, size: float, generator: np.random.Generator) -> Array:
        """Return x moved at random, as far as any attack of that size goes."""
        ...

    def attacks(self, x: Array) -> Iterator[tuple[str, Array]]:
        """Yield the name of each attack and the rows that it made; answers may be unchanged."""
        ...


@dataclass(frozen=True, slots=True)
class Probe:
    """A response graph with the step and domain by which it is asked."""

    session: Session
    eps: float
    domain: Domain

    @property
    def noises(self) -> tuple[float, ...]:
        return NOISE

    def measure(self, x: Rows) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]]:
        """Return logits [n, C] and features [n, F] of rows x."""
        given = attack.feeds(x, self.eps, self.domain.min, self.domain.max)
        logits, features = self.session.run([contract.LOGITS, contract.FEATURES], given)
        return logits, features

    def answers(self, x: Rows) -> Labels:
        """Return the model's own classes [n] of rows x."""
        return np.asarray(self.measure(x)[0].argmax(axis=1), np.int64)

    def noise(self, x: Rows, size: float, generator: np.random.Generator) -> Rows:
        """Return x moved by random signs of `size` domains, as far as any such attack goes."""
        signs = np.where(generator.random(x.shape) < 0.5, -1, 1)
        moved = x + size * (self.domain.max - self.domain.min) * signs
        return np.clip(moved, self.domain.min, self.domain.max).astype(np.float32)

    def attacks(self, x: Rows) -> Iterator[tuple[str, Rows]]:
        """Yield the name of each attack and the rows that it made; answers may be unchanged."""
        own, low, high = self.answers(x), self.domain.min, self.domain.max
        for size in SIZES:
            reach = size * (high - low)
            yield f"fgsm-{size:g}", attack.fgsm(self.session, x, reach, low, high, own)
            step = reach / attack.PGD_SHARE
            yield (
                f"pgd-{size:g}",
                attack.pgd(self.session, x, own, reach, step, attack.PGD_STEPS, low, high),
            )


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
    own = probe.answers(x_fit)
    clean = probe.measure(x_fit)[1]
    harmless = [clean, clean] + [
        probe.measure(probe.noise(x_fit, size, generator))[1] for size in probe.noises
    ]
    names, harmful = [], []
    for name, moved in probe.attacks(x_fit):
        logits, features = probe.measure(moved)
        if (changed := logits.argmax(axis=1) != own).any():
            names.append(name)
            harmful.append(features[changed])
    if not harmful:
        raise Refusal(Reason.CALIBRATION_TOO_SMALL, "no attack changed an answer of the fit slice")
    scaling = _scaling(clean.astype(np.float64))
    weights = fit_weights(np.concatenate(harmless), np.concatenate(harmful), scaling)
    draft = Detector(scaling, weights, _NO_LIMITS, tuple(names))
    scores = draft.scores(probe.measure(x_calibration)[1])
    return Detector(scaling, weights, calibrate(scores), tuple(names))


def calibrate(scores: Floats) -> Calibration:
    """Set the thresholds on clean scores [n]: 1% and 5% of false alarms, or 5% and 10% if few.

    Raises CALIBRATION_TOO_SMALL for fewer than 59, or where a score is not a number.
    """
    n = len(scores)
    if n == 0 or not np.isfinite(scores).all():
        raise Refusal(Reason.CALIBRATION_TOO_SMALL, "not every calibration row has a score")
    bounds = (0.01, 0.05) if n >= MANY_ROWS else (0.05, 0.1)
    ordered = np.sort(scores)[::-1]
    limits = []
    for bound in bounds:
        rank = conformal.rank(n, bound, CONFIDENCE)
        if rank == 0:
            raise Refusal(
                Reason.CALIBRATION_TOO_SMALL, f"{n} clean rows back no bound of {bound:g}"
            )
        limits.append(Limit(bound, rank, float(ordered[rank - 1])))
    return Calibration(n, CONFIDENCE, *limits)


# Stands in until scores exist to set thresholds on; no detector leaves here with it.
_NO_LIMITS = Calibration(59, CONFIDENCE, Limit(0.05, 1, 0.0), Limit(0.05, 1, 0.0))


def _scaling(clean: Floats) -> Scaling:
    spread = clean.std(axis=0)
    # A feature that never varies on clean rows says nothing until it does.
    spread = np.where(spread > 1e-9, spread, 1.0)
    return Scaling(tuple(np.median(clean, axis=0).tolist()), tuple(spread.tolist()), _CUT_OFF)


def fit_weights(
    harmless: npt.NDArray[np.float32], harmful: npt.NDArray[np.float32], scaling: Scaling
) -> Weights:
    """Ridge-regularized logistic regression by damped Newton steps, both classes weighing alike."""
    rows = np.concatenate([harmless, harmful]).astype(np.float64)
    z = (rows - np.array(scaling.center)) / np.array(scaling.spread)
    z = np.clip(z, -scaling.limit, scaling.limit)
    first, second = np.triu_indices(z.shape[1])
    terms = np.concatenate([np.ones((len(z), 1)), z, _PRODUCT * z[:, first] * z[:, second]], axis=1)
    target = np.repeat([0.0, 1.0], [len(harmless), len(harmful)])
    share = np.where(target > 0, 0.5 / len(harmful), 0.5 / len(harmless)) * len(rows)
    found = _logistic(terms, target, share)
    width = z.shape[1]
    return Weights(
        float(found[0]),
        tuple(found[1 : 1 + width].tolist()),
        tuple((_PRODUCT * found[1 + width :]).tolist()),
    )


def _logistic(terms: Floats, target: Floats, share: Floats) -> Floats:
    found = np.zeros(terms.shape[1])
    ridge = np.full(terms.shape[1], _RIDGE)
    ridge[0] = 1e-6
    for _ in range(_NEWTON_STEPS):
        odds = 1 / (1 + np.exp(-np.clip(terms @ found, -30, 30)))
        slope = terms.T @ (share * (odds - target)) + ridge * found
        curve = share * np.maximum(odds * (1 - odds), 1e-6)
        bend = (terms * curve[:, None]).T @ terms + np.diag(ridge)
        step = np.linalg.solve(bend, slope)
        largest = float(np.abs(step).max())
        found -= step * min(1.0, 3 / max(largest, 1e-12))
        if largest < 1e-6:
            break
    return found
