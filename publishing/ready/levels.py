"""Finds the levels of a model that predicts numbers or several labels, from its own answers."""

from collections import Counter

import numpy as np
import numpy.typing as npt

from inference.model.decisions import NUMBERS, Classes, Decision, Labels, Numbers
from sealgate.reasons import Reason, SealgateError

Answers = npt.NDArray[np.float32]
_LEVELS, _ROUNDS = 4, 20
_PATTERNS = 32
# By default, as a share of a prediction's standard deviation.
_TOLERANCE = 0.25
_CLOSE = 1e-6


def decided(kind: str, answers: Answers, tolerance: tuple[float, ...] = ()) -> Decision:
    """What answers [n, C] of this kind decide. Raises PARAMETER_MALFORMED for a `tolerance` that is
    not one number for each prediction, and for predictions that are always the same.
    """
    if tolerance and (kind != NUMBERS or len(tolerance) != answers.shape[1]):
        detail = f"there are {answers.shape[1]} {kind}, and {len(tolerance)} tolerances"
        raise SealgateError(Reason.PARAMETER_MALFORMED, detail)
    if kind == NUMBERS:
        return _numbers(answers, tolerance)
    return Classes() if kind == Classes.kind else _labels(answers)


def _numbers(answers: Answers, tolerance: tuple[float, ...]) -> Numbers:
    spread = answers.std(axis=0, dtype=np.float64)
    if not (spread > _CLOSE * np.abs(answers).max(axis=0)).all():
        raise SealgateError(Reason.PARAMETER_MALFORMED, "a prediction is always the same")
    levels = _centers(answers / spread) * spread
    return Numbers(
        tolerance or tuple(_rounded(_TOLERANCE * spread)),
        tuple(_rounded(spread)),
        tuple(tuple(_rounded(level)) for level in levels),
    )


def _centers(z: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """The means of groups of alike answers, which begin as quantiles along the main direction."""
    main = np.linalg.svd(z - z.mean(axis=0), full_matrices=False)[2][0]
    order = np.argsort(z @ main, kind="stable")
    group = np.empty(len(z), np.intp)
    group[order] = np.arange(len(z)) * _LEVELS // len(z)
    for _ in range(_ROUNDS):
        centers = np.array([z[group == each].mean(axis=0) for each in np.unique(group)])
        group = ((z[:, None] - centers) ** 2).sum(axis=2).argmin(axis=1)
    return np.unique(centers, axis=0)


def _labels(answers: Answers) -> Labels:
    """The sets of labels that are answered most, and each of the commonest with one label turned:
    so an answer has neighbours in every label.
    """
    probable = bool(answers.min() >= 0 and answers.max() <= 1)
    threshold = 0.5 if probable else 0.0
    counted = Counter(map(tuple, (answers > threshold).astype(float).tolist()))
    common = [pattern for pattern, _ in counted.most_common(_PATTERNS)]
    turned = [
        tuple(1 - bit if at == label else bit for at, bit in enumerate(common[0]))
        for label in range(answers.shape[1])
    ]
    return Labels(threshold, tuple(dict.fromkeys([*common, *turned[:_PATTERNS]])))


def _rounded(values: npt.NDArray[np.float64]) -> list[float]:
    """As float32 holds them."""
    return [float(each) for each in np.asarray(values, np.float32)]
