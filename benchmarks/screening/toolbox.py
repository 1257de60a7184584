"""Attacks of the Adversarial Robustness Toolbox (IBM's ART) on images that are square and gray.

ART counts an attack's size for all columns alike, and knows none that may not change, so tables are
not attacked by it. AutoAttack (Croce and Hein, arXiv 2003.01690) is an ensemble of ART's: PGD that
finds its own step size, up the cross-entropy and up the ratio of differences of logits, and Square
on the rows that are left. Its fourth, which looks for the nearest row, stands by itself in
`attacks`.
"""

import itertools
import math

import numpy as np
import torch
from art.attacks.evasion import (
    AutoProjectedGradientDescent,
    ElasticNet,
    ProjectedGradientDescent,
    SaliencyMapMethod,
    SquareAttack,
)
from art.estimators.classification import PyTorchClassifier
from scipy.ndimage import rotate, shift

from benchmarks.screening.sources import Labels, Rows

QUERIES = 5000
APGD_STEPS, APGD_STARTS = 100, 1
# How much of an image the first squares cover: the paper's.
_FIRST_SHARE = 0.05
_BATCH = 512
_BACKGROUND = 0.02
_DEGREES = (0, -10, 10, -20, 20, -30, 30)


def square(module: torch.nn.Module, x: Rows, y: Labels, eps: float) -> Rows:
    """Square (arXiv 1912.00049) on rows x [n, D], who is told scores: after 5,000 questions."""
    return _flat(_square(_estimator(module, x), eps).generate(_images(x), y))


def auto_attack(module: torch.nn.Module, x: Rows, y: Labels, eps: float) -> Rows:
    """Rows [n, D] at most `eps` from x in any pixel; each part is given what those before left."""
    estimator, moved = _estimator(module, x), x.copy()
    parts = [
        AutoProjectedGradientDescent(
            estimator,
            norm=np.inf,
            eps=eps,
            eps_step=2 * eps,
            max_iter=APGD_STEPS,
            nb_random_init=APGD_STARTS,
            batch_size=_BATCH,
            loss_type=loss,
            verbose=False,
        )
        for loss in ("cross_entropy", "difference_logits_ratio")
    ]
    for part in (*parts, _square(estimator, eps)):
        left = np.flatnonzero(estimator.predict(_images(moved)).argmax(axis=1) == y)
        if len(left):
            moved[left] = _flat(part.generate(_images(x[left]), y[left]))
    return moved


def _square(estimator: PyTorchClassifier, eps: float) -> SquareAttack:
    return SquareAttack(
        estimator,
        norm=np.inf,
        eps=eps,
        max_iter=QUERIES,
        p_init=_FIRST_SHARE,
        nb_restarts=1,
        batch_size=_BATCH,
        verbose=False,
    )


def _estimator(module: torch.nn.Module, x: Rows) -> PyTorchClassifier:
    return PyTorchClassifier(
        torch.nn.Sequential(torch.nn.Flatten(), module),
        torch.nn.CrossEntropyLoss(),
        input_shape=_images(x).shape[1:],
        nb_classes=module(torch.from_numpy(x[:1])).shape[1],
        clip_values=(0.0, 1.0),
        device_type="cpu",
    )


def _images(x: Rows) -> Rows:
    side = math.isqrt(x.shape[1])
    return x.reshape(-1, 1, side, side)


def _flat(images: Rows) -> Rows:
    return np.clip(images.reshape(len(images), -1), 0, 1).astype(np.float32)


def masked(module: torch.nn.Module, x: Rows, y: Labels, eps: float) -> Rows:
    """PGD on inked pixels alone: the background stays as it is."""
    mask = (_images(x) > _BACKGROUND).astype(np.float32)
    attack = ProjectedGradientDescent(
        _estimator(module, x),
        norm=np.inf,
        eps=eps,
        eps_step=eps / 8,
        max_iter=40,
        batch_size=_BATCH,
        verbose=False,
    )
    return _flat(attack.generate(_images(x), y, mask=mask))


def elastic_net(module: torch.nn.Module, x: Rows, y: Labels) -> Rows:
    """EAD (arXiv 1709.04114), by the sum of its moves."""
    attack = ElasticNet(
        _estimator(module, x),
        max_iter=100,
        binary_search_steps=4,
        decision_rule="L1",
        batch_size=_BATCH,
        verbose=False,
    )
    return _flat(attack.generate(_images(x), y))


def saliency_map(module: torch.nn.Module, x: Rows, share: float) -> Rows:
    """JSMA (arXiv 1511.07528): that share of the pixels at most."""
    attack = SaliencyMapMethod(
        _estimator(module, x), theta=1.0, gamma=share, batch_size=_BATCH, verbose=False
    )
    return _flat(attack.generate(_images(x)))


def turned_images(module: torch.nn.Module, x: Rows, y: Labels) -> Rows:
    """Of each row the first rotation or shift by a pixel that turns its answer."""
    found, images = x.copy(), _images(x)[:, 0]
    left = np.ones(len(x), np.bool_)
    for degrees, down, right in itertools.product(_DEGREES, (0, -1, 1), (0, -1, 1)):
        moved = rotate(images, degrees, axes=(1, 2), reshape=False, order=1)
        moved = _flat(shift(moved, (0, down, right), order=1)[:, None].astype(np.float32))
        with torch.no_grad():
            turned = module(torch.from_numpy(moved)).argmax(1).numpy() != y
        found[left & turned] = moved[left & turned]
        left &= ~turned
    return found
