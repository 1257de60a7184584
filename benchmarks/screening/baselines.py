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
from torch import nn

from benchmarks.screening.sources import Labels, Rows
from benchmarks.screening.subjects import ScreenedModel
from training.export.reference import behind, watched

Floats = npt.NDArray[np.float64]
Scorer = Callable[[Rows], Floats]
_NEIGHBOURS, _LOCAL = 5, 20
# MagNet's autoencoder, and the temperature at which it compares answers.
_CODE, _EPOCHS, _BATCH, _NOISE, _TEMPERATURE = 128, 40, 128, 0.1, 10.0
_LEVELS = 7
_TINY = 1e-12
_AT_ONCE = 2000


@dataclass(frozen=True, slots=True)
class _Seen:
    """The model's outputs for rows: its logits and its last layer's input."""

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
        return self._softmax(1.0)

    @property
    def tempered(self) -> Floats:
        return self._softmax(_TEMPERATURE)

    def _softmax(self, temperature: float) -> Floats:
        logits = self.logits / temperature
        found = np.exp(logits - logits.max(axis=1, keepdims=True))
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
        "LID": lambda rows: _local_dimension(_Seen.of(subject, rows), trained),
        "squeezing": lambda rows: _squeezing(subject, rows),
        **_autoencoder(subject, x),
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


def _local_dimension(seen: _Seen, trained: _Seen) -> Floats:
    """Ma et al. (arXiv 1801.02613): the local intrinsic dimension of rows among the training rows
    in the last hidden layer.
    """
    lengths = (seen.hidden**2).sum(axis=1)[:, None] + (trained.hidden**2).sum(axis=1)
    squares = np.maximum(lengths - 2 * seen.hidden @ trained.hidden.T, _TINY)
    # A training row is not its own neighbour.
    nearest = np.sort(np.partition(squares, _LOCAL, axis=1)[:, : _LOCAL + 1], axis=1)[:, 1:]
    shares = 0.5 * np.log(nearest / nearest[:, -1:])
    return np.asarray(-1 / np.minimum(shares.mean(axis=1), -_TINY), np.float64)


def _autoencoder(subject: ScreenedModel, x: Rows) -> dict[str, Scorer]:
    """MagNet (Meng and Chen, arXiv 1705.09064): how far a row is from what an autoencoder of the
    training rows makes of it, and how far the answers to both differ.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(subject.seed)
        width, rows = x.shape[1], torch.from_numpy(x)
        code = min(_CODE, width // 2)
        coder = nn.Sequential(
            nn.Linear(width, code), nn.Sigmoid(), nn.Linear(code, width), nn.Sigmoid()
        )
        descent = torch.optim.Adam(coder.parameters(), 1e-3)
        for _ in range(_EPOCHS):
            for at in torch.randperm(len(rows)).split(_BATCH):
                noisy = (rows[at] + _NOISE * torch.randn(len(at), width)).clamp(0, 1)
                loss = ((coder(noisy) - rows[at]) ** 2).mean()
                descent.zero_grad()
                loss.backward()
                descent.step()

    def coded(given: Rows) -> Rows:
        with torch.no_grad():
            return np.asarray(coder(torch.from_numpy(given)).numpy(), np.float32)

    def divergence(given: Rows) -> Floats:
        """Jensen and Shannon's."""
        p, q = (_Seen.of(subject, each).tempered for each in (given, coded(given)))
        middle = (p + q) / 2
        return np.sum(p * np.log(p / middle) + q * np.log(q / middle), axis=1) / 2

    return {
        "autoencoder, error": lambda given: np.square(coded(given) - given).mean(axis=1),
        "autoencoder, answers": divergence,
    }


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
        # Each row is compared with all training rows, which takes much memory for all at once.
        few = np.array_split(rows, max(1, len(rows) // _AT_ONCE))
        return np.concatenate(
            [np.stack([score(each) for score in parts.values()], axis=1) for each in few]
        )

    x = np.concatenate([table(clean), table(harmful)])
    y = np.repeat([0, 1], [len(clean), len(harmful)])
    scaler = StandardScaler().fit(x)
    fitted = LogisticRegression(class_weight="balanced", max_iter=1000).fit(scaler.transform(x), y)
    return lambda rows: np.asarray(fitted.decision_function(scaler.transform(table(rows))))
