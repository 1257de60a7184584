"""Detectors that one could have used instead, each as its authors say, on the same model and rows.

All score rows [n, D]; larger is likelier adversarial. `joined` is a logistic join of the others,
fitted to the rows that our detector is fitted to.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from scipy.ndimage import median_filter
from sklearn.linear_model import LogisticRegression
from sklearn.preprocessing import StandardScaler

from benchmarks.screening.sources import Labels, Rows
from benchmarks.screening.subjects import ScreenedModel
from training.export.reference import behind, watched

Floats = npt.NDArray[np.float64]
Scorer = Callable[[Rows], Floats]
_NEIGHBOURS = 5
_LEVELS = 7
_TINY = 1e-12


@dataclass(frozen=True, slots=True)
class _Seen:
    """What the model makes of rows: its logits and what enters its last layer."""

    logits: Floats
    hidden: Floats

    @classmethod
    def of(cls, subject: ScreenedModel, x: Rows) -> "_Seen":
        rows = torch.from_numpy(x)
        with torch.no_grad(), watched(subject.module) as entered:
            logits = subject.module(rows)
            layers = behind(rows, entered)
        return cls(logits.double().numpy(), layers[-1].flatten(1).double().numpy())

    @property
    def softmax(self) -> Floats:
        found = np.exp(self.logits - self.logits.max(axis=1, keepdims=True))
        return np.asarray(found / found.sum(axis=1, keepdims=True), np.float64)


def scorers(subject: ScreenedModel, clean: Rows, harmful: Rows) -> dict[str, Scorer]:
    """By name. `clean` and `harmful` rows are what `joined` is fitted to."""
    x, y = subject.slices["train"]
    trained = _Seen.of(subject, x)
    found: dict[str, Scorer] = {
        "max-softmax": lambda rows: -_Seen.of(subject, rows).softmax.max(axis=1),
        "energy": lambda rows: -np.logaddexp.reduce(_Seen.of(subject, rows).logits, axis=1),
        "Mahalanobis": _mahalanobis(subject, trained, y),
        "deep kNN": lambda rows: _nearest(_Seen.of(subject, rows), trained, y)[0],
        "kNN ratio": _ratio(subject, x, trained, y),
        "squeezing": lambda rows: _squeezing(subject, rows),
    }
    return {**found, "joined": _joined(dict(found), clean, harmful)}


def _mahalanobis(subject: ScreenedModel, trained: _Seen, y: Labels) -> Scorer:
    """Lee et al. (arXiv 1807.03888), in the last hidden layer."""
    classes = np.unique(y)
    means = np.stack([trained.hidden[y == label].mean(axis=0) for label in classes])
    off = trained.hidden - means[np.searchsorted(classes, y)]
    precision = np.linalg.pinv(np.cov(off, rowvar=False) + 1e-6 * np.eye(off.shape[1]))

    def score(rows: Rows) -> Floats:
        away = _Seen.of(subject, rows).hidden[:, None] - means
        return np.einsum("ncd,de,nce->nc", away, precision, away).min(axis=1)

    return score


def _nearest(seen: _Seen, trained: _Seen, y: Labels) -> tuple[Floats, Floats]:
    """Distances to the k-th nearest training row of the answer's class, and of any other."""
    own = seen.logits.argmax(axis=1)
    return _kth(seen.hidden, trained.hidden, own[:, None] == y)


def _kth(rows: Floats, others: Floats, same: npt.NDArray[np.bool_]) -> tuple[Floats, Floats]:
    lengths = (rows * rows).sum(axis=1)[:, None] + (others * others).sum(axis=1)
    gaps = np.sqrt(np.maximum(lengths - 2 * rows @ others.T, 0))
    parts = (np.where(mask, gaps, np.inf) for mask in (same, ~same))
    own, other = (np.partition(part, _NEIGHBOURS, axis=1)[:, _NEIGHBOURS - 1] for part in parts)
    return own, other


def _ratio(subject: ScreenedModel, x: Rows, trained: _Seen, y: Labels) -> Scorer:
    """Of the answer's class to other classes, in the input and in the last hidden layer."""

    def score(rows: Rows) -> Floats:
        seen = _Seen.of(subject, rows)
        same = seen.logits.argmax(axis=1)[:, None] == y
        own, other = _nearest(seen, trained, y)
        near, far = _kth(rows.astype(np.float64), x.astype(np.float64), same)
        return np.log(own + _TINY) - np.log(other + _TINY) + np.log(near) - np.log(far)

    return score


def _squeezing(subject: ScreenedModel, rows: Rows) -> Floats:
    """Xu et al. (arXiv 1704.01155): fewer levels, and of images a median of 2 x 2 places."""
    before = _Seen.of(subject, rows).softmax
    squeezed = [np.rint(rows * _LEVELS) / _LEVELS]
    if subject.source.image:
        side = round(rows.shape[1] ** 0.5)
        images = rows.reshape(-1, side, side)
        squeezed.append(median_filter(images, (1, 2, 2)).reshape(len(rows), -1))
    after = (_Seen.of(subject, each.astype(np.float32)).softmax for each in squeezed)
    return np.max([np.abs(each - before).sum(axis=1) for each in after], axis=0)


def _joined(parts: dict[str, Scorer], clean: Rows, harmful: Rows) -> Scorer:
    def table(rows: Rows) -> Floats:
        return np.stack([score(rows) for score in parts.values()], axis=1)

    x = np.concatenate([table(clean), table(harmful)])
    y = np.repeat([0, 1], [len(clean), len(harmful)])
    scaler = StandardScaler().fit(x)
    fitted = LogisticRegression(class_weight="balanced", max_iter=1000).fit(scaler.transform(x), y)
    return lambda rows: np.asarray(fitted.decision_function(scaler.transform(table(rows))))
