"""FGSM and PGD attacks that use the response graph, without torch.

They are used to fit a detector, to report what it catches, and to demonstrate it. FGSM is
Goodfellow et al. (arXiv 1412.6572), PGD is Madry et al. (arXiv 1706.06083), both in the L-infinity
norm.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from inference.runtime import response_contract

Rows = npt.NDArray[np.float32]
Labels = npt.NDArray[np.int64]
# PGD with 20 steps of a sixth of eps reaches any corner of the ball from any other.
PGD_STEPS = 20
PGD_SHARE = 6


class AttackSession(Protocol):
    """The part of a runtime that attacks need; an ONNX Runtime session has it."""

    def run(self, output_names: Sequence[str] | None, input_feed: Mapping[str, Any]) -> Any: ...


def feeds(
    x: Rows, eps: float, clip_min: float, clip_max: float, labels: Labels | None = None
) -> dict[str, npt.NDArray[Any]]:
    """The inputs of a response graph; without labels the model's own predictions are used."""
    if labels is None:
        labels = np.full(len(x), response_contract.OWN_PREDICTION, np.int64)
    return {
        response_contract.X: x,
        response_contract.LABEL: labels,
        response_contract.EPS: np.array(eps, np.float32),
        response_contract.CLIP_MIN: np.array(clip_min, np.float32),
        response_contract.CLIP_MAX: np.array(clip_max, np.float32),
    }


def fgsm(
    session: AttackSession,
    x: Rows,
    eps: float,
    clip_min: float,
    clip_max: float,
    labels: Labels | None = None,
) -> Rows:
    """One step of size eps away from the labels; rows x [n, ...], labels [n]."""
    (moved,) = session.run([response_contract.X_ADV], feeds(x, eps, clip_min, clip_max, labels))
    return np.asarray(moved, np.float32)


def pgd(
    session: AttackSession,
    x: Rows,
    labels: Labels,
    eps: float,
    step: float,
    steps: int,
    clip_min: float,
    clip_max: float,
    start: Rows | None = None,
) -> Rows:
    """Many steps away from fixed labels, within eps of x and within the domain.

    The label must not follow the answer: such an attack turns back as soon as it succeeds.
    `start` is where the walk begins, by default x itself.
    """
    low = np.maximum(x - np.float32(eps), np.float32(clip_min))
    high = np.minimum(x + np.float32(eps), np.float32(clip_max))
    start = x if start is None else start
    return walk(session, start, labels, (low, high), step, steps, clip_min, clip_max)


def walk(
    session: AttackSession,
    start: Rows,
    labels: Labels,
    ends: tuple[Rows, Rows],
    step: float,
    steps: int,
    clip_min: float,
    clip_max: float,
) -> Rows:
    """The same from rows `start`, with a smallest and a largest value [n, ...] for each place; a
    place with equal bounds stays.
    """
    low, high = ends
    moved = np.clip(start, low, high)
    for _ in range(steps):
        moved = np.clip(fgsm(session, moved, step, clip_min, clip_max, labels), low, high)
    return moved
