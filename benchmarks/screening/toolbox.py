"""Attacks of others' libraries on images that are square and gray.

AutoAttack (Croce and Hein, arXiv 2003.01690) is the authors' own, of the package pyautoattack; the
rest is of the Adversarial Robustness Toolbox (IBM's ART). Both count an attack's size for all
columns alike, and know none that may not change, so tables are not attacked by them.
"""

import itertools
import math
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from art.attacks.evasion import (
    ElasticNet,
    ProjectedGradientDescent,
    SaliencyMapMethod,
    SquareAttack,
)
from art.estimators.classification import PyTorchClassifier
from pyautoattack import AutoAttack
from scipy.ndimage import rotate, shift

from benchmarks.screening.sources import Labels, Rows

QUERIES, STARTS = 5000, 5
# How much of an image the first squares cover: the paper's.
_FIRST_SHARE = 0.05
_BATCH = 512
# A mask excludes places up to this value, or that share of all places at random.
_BACKGROUND, _LEFT_ALONE = 0.02, 0.5
# A patch covers a sixteenth of an image, at one of so many places.
_PATCH, _PLACES = 4, 4
_DEGREES = (0, -10, 10, -20, 20, -30, 30)


def square(module: torch.nn.Module, x: Rows, y: Labels, eps: float) -> Rows:
    """Square (arXiv 1912.00049) on rows x [n, D], who is told scores: after 5,000 questions."""
    attack = SquareAttack(
        _estimator(module, x),
        norm=np.inf,
        eps=eps,
        max_iter=QUERIES,
        p_init=_FIRST_SHARE,
        nb_restarts=1,
        batch_size=_BATCH,
        verbose=False,
    )
    return _flat(attack.generate(_images(x), y))


def auto_attack(module: torch.nn.Module, x: Rows, y: Labels, eps: float) -> Rows:
    """Rows [n, D] at most `eps` from x in any pixel, or x where no part turned the answer.

    Each part is given what those before left: APGD up the cross-entropy; APGD, then FAB, to each
    other class, five starts each; and Square.
    """
    model = torch.nn.Sequential(torch.nn.Flatten(), module)
    moved, label = torch.from_numpy(_images(x)), torch.from_numpy(y)
    for part in parts_of_auto_attack(model, eps, seed=int(np.random.randint(2**31))):
        with torch.no_grad():
            left = torch.nonzero(model(moved).argmax(1) == label)[:, 0]
        if len(left):
            moved = moved.index_copy(0, left, part.perturb(moved[left], label[left]).detach())
    return _flat(moved.numpy())


def parts_of_auto_attack(model: torch.nn.Module, eps: float, seed: int) -> tuple[Any, ...]:
    whole = AutoAttack(model, eps=eps, seed=seed)
    gradients = (whole.apgd, whole.apgd_targeted, whole.fab)
    for part in gradients:
        part.n_restarts = STARTS
    whole.apgd.loss, whole.fab.targeted = "ce", True
    return (*gradients, whole.square)


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
    return _in_places(module, x, y, eps, _images(x) > _BACKGROUND)


def masked_at_random(module: torch.nn.Module, x: Rows, y: Labels, eps: float) -> Rows:
    """PGD on half of the pixels, of each row others."""
    return _in_places(module, x, y, eps, np.random.random(_images(x).shape) >= _LEFT_ALONE)


def patch(module: torch.nn.Module, x: Rows, y: Labels) -> Rows:
    """PGD without a bound on a square of a sixteenth of each image, at the first of four places
    drawn for it that turns the answer.
    """
    images, moved, left = _images(x), x.copy(), np.arange(len(x))
    side = images.shape[-1] // _PATCH
    for _ in range(_PLACES):
        free = np.zeros((len(left), *images.shape[1:]), np.bool_)
        for row, (down, right) in zip(
            free, np.random.randint(0, images.shape[-1] - side + 1, (len(left), 2)), strict=True
        ):
            row[:, down : down + side, right : right + side] = True
        found = _in_places(module, x[left], y[left], 1.0, free)
        with torch.no_grad():
            turned = module(torch.from_numpy(found)).argmax(1).numpy() != y[left]
        moved[left[turned]] = found[turned]
        left = left[~turned]
        if not len(left):
            break
    return moved


def _in_places(
    module: torch.nn.Module, x: Rows, y: Labels, eps: float, free: npt.NDArray[np.bool_]
) -> Rows:
    """PGD on the pixels [n, 1, H, W] that are `free`."""
    attack = ProjectedGradientDescent(
        _estimator(module, x),
        norm=np.inf,
        eps=eps,
        eps_step=eps / 8,
        max_iter=40,
        batch_size=_BATCH,
        verbose=False,
    )
    return _flat(attack.generate(_images(x), y, mask=free.astype(np.float32)))


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
