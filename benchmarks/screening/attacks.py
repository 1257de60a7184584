"""The attacks of `make bench NAME=screening`, on rows that the model tells right.

FGSM, PGD, CW and HopSkipJump are CleverHans', Square is ART's, AutoAttack its authors' (`toolbox`);
DeepFool is written from its paper (arXiv 1511.04599), so that its step leaves columns alone which
may not change. All change what a caller can change and nothing else (`Columns`), and keep the
domain. Attacks with a bound keep it in every column (`ScreenedModel.unit`), the others find what is
near.
"""

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from cleverhans.torch.attacks.carlini_wagner_l2 import carlini_wagner_l2
from cleverhans.torch.attacks.fast_gradient_method import fast_gradient_method
from cleverhans.torch.attacks.hop_skip_jump_attack import hop_skip_jump_attack
from cleverhans.torch.attacks.projected_gradient_descent import projected_gradient_descent

from benchmarks.screening import toolbox
from benchmarks.screening.sources import Labels, Rows
from benchmarks.screening.subjects import CACHE, ScreenedModel

PGD_STEPS = 40
L2_SIZE = 2.0
CW_SEARCHES, CW_STEPS, CW_RATE = 3, 150, 0.02
# 100 sqrt(t) questions in step t, and what searches the border: about 5,000 in all.
HOP_STEPS = 16
# It begins at one of so many rows at random that is of another class, if there is one.
_HOP_STARTS = 2000
DEEPFOOL_STEPS = 50
# A little over the border, or rounding puts the row back.
_OVERSHOOT = 0.02
MANY, SOME, FEW = 500, 200, 100

_SIZES = {", quarter size": 0.25, ", half size": 0.5, "": 1.0, ", 1.5 times": 1.5}
BOUNDED, NEAR, FREE, QUERIES = "bounded", "near", "free", "queries"


@dataclass(frozen=True, slots=True)
class Attack:
    """`family` is what of the detector's own attacks is left out to call this one unseen; `rows`
    are attacked at most.
    """

    name: str
    kind: str
    family: str
    make: Callable[[ScreenedModel, Rows, Labels], Rows]
    rows: int = MANY
    images_only: bool = False


class _Changeable:
    """The numbers of rows x [n, D] that a caller can change, and the model as a function of them
    alone.
    """

    def __init__(self, subject: ScreenedModel, x: Rows) -> None:
        self.module = subject.module
        self.places = torch.from_numpy(np.flatnonzero(subject.columns.free))
        self.rows = torch.from_numpy(x)
        self.start = self.rows[:, self.places]
        self.unit = torch.from_numpy(subject.unit)[self.places]

    def put(self, z: torch.Tensor) -> torch.Tensor:
        """Rows [n, D] with z [n, k] in those places; one row may take many."""
        rows = self.rows.expand(len(z), -1)
        return rows.index_copy(1, self.places, z)

    def model(self, z: torch.Tensor) -> torch.Tensor:
        logits: torch.Tensor = self.module(self.put(z))
        return logits

    def made(self, z: torch.Tensor) -> Rows:
        return _within(self.put(z.detach()))


def _bounded(subject: ScreenedModel, x: Rows, y: Labels, size: float, steps: int) -> Rows:
    """In units of which each column may move by the same."""
    free, label = _Changeable(subject, x), torch.from_numpy(y)
    # A column without a spread in the middle of the training rows may not move at all.
    unit = free.unit.clamp(min=1e-9)

    def model(u: torch.Tensor) -> torch.Tensor:
        return free.model(u * unit)

    start = free.start / unit
    # A table's columns end at different places in these units; they are cut off in the end.
    limits = (0.0, 1 / subject.source.eps) if subject.source.image else (None, None)
    if steps == 1:
        moved = fast_gradient_method(model, start, size, np.inf, *limits, y=label)
    else:
        step = 2.5 * size / steps
        moved = projected_gradient_descent(
            model, start, size, step, steps, np.inf, *limits, y=label, sanity_checks=False
        )
    return subject.columns.within(x, free.made(moved * unit))


def _pgd_l2(subject: ScreenedModel, x: Rows, y: Labels) -> Rows:
    moved = projected_gradient_descent(
        subject.module,
        torch.from_numpy(x),
        L2_SIZE,
        2.5 * L2_SIZE / PGD_STEPS,
        PGD_STEPS,
        2,
        0.0,
        1.0,
        torch.from_numpy(y),
        rand_init=False,
        sanity_checks=False,
    )
    return _within(moved.detach())


def _carlini_wagner(confidence: float) -> Callable[[ScreenedModel, Rows, Labels], Rows]:
    def make(subject: ScreenedModel, x: Rows, y: Labels) -> Rows:
        free = _Changeable(subject, x)
        moved = carlini_wagner_l2(
            free.model,
            free.start,
            subject.classes,
            torch.from_numpy(y),
            lr=CW_RATE,
            confidence=confidence,
            binary_search_steps=CW_SEARCHES,
            max_iterations=CW_STEPS,
            initial_const=1.0,
        )
        return subject.columns.beyond(x, free.made(moved))

    return make


def _hop_skip_jump(subject: ScreenedModel, x: Rows, y: Labels) -> Rows:
    found = x.copy()
    for at in range(len(x)):
        free = _Changeable(subject, x[at : at + 1])
        drawn = torch.rand(_HOP_STARTS, free.start.shape[1])
        turned = drawn[free.model(drawn).argmax(1) != int(y[at])]
        if len(turned):
            moved = hop_skip_jump_attack(
                free.model,
                free.start,
                np.inf,
                image_target=turned[None, :1],
                num_iterations=HOP_STEPS,
                verbose=False,
            )
            found[at] = free.made(moved)[0]
    return subject.columns.beyond(x, found)


def _deepfool(subject: ScreenedModel, x: Rows, y: Labels) -> Rows:
    moved, label = torch.from_numpy(x), torch.from_numpy(y)
    free = torch.from_numpy(subject.columns.free)
    for _ in range(DEEPFOOL_STEPS):
        here = moved.clone().requires_grad_(True)
        logits = subject.module(here)
        still = logits.argmax(1) == label
        if not still.any():
            break
        classes = logits.shape[1]
        slopes = torch.stack(
            [
                torch.autograd.grad(logits[:, at].sum(), here, retain_graph=True)[0] * free
                for at in range(classes)
            ],
            1,
        )
        rows = torch.arange(len(x))
        lead = logits.detach() - logits.detach()[rows, label][:, None]
        way = slopes - slopes[rows, label][:, None]
        lengths = way.norm(dim=2)
        far = (lead.abs() / (lengths + 1e-12)).scatter(1, label[:, None], np.inf)
        nearest = far.argmin(1)
        step = ((lead.abs() + 1e-4) / (lengths**2 + 1e-12))[rows, nearest]
        moved = torch.where(
            still[:, None],
            (moved + (1 + _OVERSHOOT) * step[:, None] * way[rows, nearest]).clamp(0, 1),
            moved,
        )
    return subject.columns.beyond(x, _within(moved))


def _square(subject: ScreenedModel, x: Rows, y: Labels) -> Rows:
    return toolbox.square(subject.module, x, y, subject.source.eps)


def _auto(subject: ScreenedModel, x: Rows, y: Labels) -> Rows:
    return toolbox.auto_attack(subject.module, x, y, subject.source.eps)


def _steps(title: str, family: str, name: str, size: float, steps: int) -> Attack:
    return Attack(title + name, BOUNDED, family, lambda s, x, y: _bounded(s, x, y, size, steps))


ATTACKS: tuple[Attack, ...] = (
    *(_steps("FGSM", "fgsm", name, size, 1) for name, size in _SIZES.items()),
    *(_steps("PGD-40", "pgd", name, size, PGD_STEPS) for name, size in _SIZES.items()),
    Attack("PGD-L2 2.0", FREE, "pgd", _pgd_l2, images_only=True),
    Attack("DeepFool", NEAR, "near", _deepfool),
    Attack("CW, κ = 0", NEAR, "near", _carlini_wagner(0.0), SOME),
    Attack("CW, κ = 5", FREE, "near", _carlini_wagner(5.0), SOME),
    Attack("HopSkipJump", NEAR, "near", _hop_skip_jump, FEW),
    Attack("Square", QUERIES, "pgd", _square, images_only=True),
    Attack("AutoAttack", BOUNDED, "pgd", _auto, images_only=True),
)

_CODE = (Path(__file__), Path(toolbox.__file__))


def made(subject: ScreenedModel, attack: Attack) -> tuple[Rows, Rows, Labels]:
    """The rows before and after, and their classes; kept by data, model, seed and attack."""
    x, y = subject.right
    x, y = x[: attack.rows], y[: attack.rows]
    code = hashlib.sha256(b"".join(path.read_bytes() for path in _CODE)).hexdigest()[:8]
    folder = CACHE / subject.source.name / subject.model / str(subject.seed)
    kept = folder / f"{attack.name}-{subject.digest}-{code}.npy"
    if not kept.exists():
        torch.manual_seed(subject.seed)
        # Attacks of `toolbox` draw from this one.
        np.random.seed(subject.seed)
        folder.mkdir(parents=True, exist_ok=True)
        np.save(kept, attack.make(subject, x, y))
    return x, np.load(kept), y


def _within(moved: torch.Tensor) -> Rows:
    return np.clip(moved.numpy(), 0, 1).astype(np.float32)
