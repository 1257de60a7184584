"""An attacker who knows everything: weights, features, detector and thresholds.

Selective and orthogonal projected gradient descent (Bryniarski et al., arXiv 2106.15023): a row
that is still told right is moved to where its lead falls, one that is turned to where its score
falls. In every other restart each of these steps leaves the other aim's slope alone. Restarts:

1. at the row, away from its class;
2. from an honest row of another class, brought within reach;
3. at the row, to where the last layer sees what it sees of that honest row, for the first half of
   the steps (feature matching);
4. and on: at random, to each other class in turn, the likeliest first;
5. the last: at what AutoAttack made of the row, so that no less is found than by that.

Its result is, over all restarts and steps, the least score that a turned row was brought to. A row
that was brought to the threshold is left alone from then on. How many are turned at all says what
the attacker achieves without a detector.

The margin's gradient is taken for a constant of each step. For a network of rectified units that is
no approximation: almost everywhere it is one. Features that are cut off pass their slope on as if
they were not, or the attacker would have nothing to go by.
"""

from dataclasses import dataclass, fields
from typing import Self

import numpy as np
import numpy.typing as npt
import torch

from benchmarks.screening.sources import Labels, Rows
from benchmarks.screening.subjects import STEP, ScreenedModel, TorchSession
from inference.model.columns import RowRules
from inference.screening.detector import Detector
from inference.screening.scoring import CLEAN_WEIGHT, Scoring, ScoringWeights
from training.export.reference import behind, watched
from training.export.response import ResponseInputs, features

RESTARTS, STEPS = 13, 1000
# After so many steps it is looked which rows need no more of them.
_LOOK = 25
_FIRST_STEP, _LAST_STEP = 0.25, 0.01
# The restarts without a class of their own come first; the last of them matches features.
_UNTARGETED, _MATCHING = 3, 2
_ZERO, _ONE = torch.tensor(0.0), torch.tensor(1.0)
Floats = npt.NDArray[np.float64]


def least_scores(
    subject: ScreenedModel,
    detector: Detector,
    x: Rows,
    y: Labels,
    restarts: int,
    steps: int,
    size: float = 1.0,
    enough: float = -np.inf,
    made: Rows | None = None,
) -> Floats:
    """For each row x [n, D] of class y [n], the least score of a row within `size` of its units
    that gets another class; infinite where none was found. Once it is `enough` or less, no lower
    one is looked for. The last restart begins at rows `made` [n, D] by another attack.
    """
    found, left = np.full(len(x), np.inf), np.arange(len(x))
    honest = _nearest_other(subject, x, y)
    unit = size * torch.from_numpy(subject.unit)
    moved, low, high = _starts(x, honest, made, unit, restarts, subject.seed)
    goals = _Goals.of(subject, torch.from_numpy(x), torch.from_numpy(y), honest, restarts)
    least = torch.full((len(moved),), np.inf, dtype=torch.float64)
    for at, step in enumerate(np.geomspace(_FIRST_STEP, _LAST_STEP, steps)):
        if at % _LOOK == 0:
            found[left] = least.reshape(restarts, -1).amin(0).numpy()
            on = found[left] > enough
            x, left = x[on], left[on]
            rows = torch.from_numpy(on).repeat(restarts)
            moved, low, high, least = (part[rows] for part in (moved, low, high, least))
            goals = goals.of_rows(rows)
        if not len(left):
            break
        here = _sent(subject.columns, x, moved).requires_grad_(True)
        logits, measured, hidden = respond(subject.session, here, STEP)
        score = torch_score(detector, measured)
        turned = logits.argmax(1) != goals.label
        least = torch.where(turned & (score < least), score.detach(), least)
        aim = goals.aim(logits, hidden)
        (of_aim,) = torch.autograd.grad(aim.sum(), here, retain_graph=True)
        (of_score,) = torch.autograd.grad(score.sum(), here)
        done = (turned & ~(goals.matching & (2 * at < steps)))[:, None]
        slope = torch.where(done, of_score, of_aim)
        other = torch.where(done, of_aim, of_score)
        slope = torch.where(goals.orthogonal, _beside(slope, other), slope)
        moved = (moved - float(step) * unit * slope.sign()).clamp(low, high)
    found[left] = least.reshape(restarts, -1).amin(0).numpy()
    return found


def _starts(
    x: Rows,
    honest: torch.Tensor,
    made: Rows | None,
    unit: torch.Tensor,
    restarts: int,
    seed: int,
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Where each of the restarts' rows begins, and between which ends it stays: each [R * n, D]."""
    generator, start, count = torch.Generator().manual_seed(seed), torch.from_numpy(x), len(x)
    low, high = ((start + way * unit).clamp(0, 1).repeat(restarts, 1) for way in (-1, 1))
    moved = low + torch.rand(low.shape, generator=generator) * (high - low)
    parts = moved.split(count)
    parts[0].copy_(start)
    if restarts > 1:
        parts[1].copy_(torch.clamp(honest, low[:count], high[:count]))
    if restarts > _MATCHING:
        parts[_MATCHING].copy_(start)
    if made is not None:
        parts[-1].copy_(torch.clamp(torch.from_numpy(made), low[:count], high[:count]))
    return moved, low, high


def _beside(slope: torch.Tensor, other: torch.Tensor) -> torch.Tensor:
    """The part of a slope [n, D] that leaves the other unchanged, to first order."""
    along = (slope * other).sum(1, keepdim=True) / ((other * other).sum(1, keepdim=True) + 1e-12)
    return slope - along * other


@dataclass(frozen=True, slots=True)
class _Goals:
    """Of each of the restarts' rows, R of n: its class, the class that it is to get or -1 for any,
    what the last layer is to see [R * n, H] and whether that is what it goes by, and whether its
    steps leave the other aim alone.
    """

    label: torch.Tensor
    wanted: torch.Tensor
    seen: torch.Tensor
    matching: torch.Tensor
    orthogonal: torch.Tensor

    @classmethod
    def of(
        cls,
        subject: ScreenedModel,
        x: torch.Tensor,
        label: torch.Tensor,
        honest: torch.Tensor,
        restarts: int,
    ) -> Self:
        with torch.no_grad(), watched(subject.module) as entered:
            subject.module(honest)
            seen = [honest, *behind(honest, entered)][-1].flatten(1)
        with torch.no_grad():
            logits = subject.module(x)
        own = torch.arange(logits.shape[1]) == label[:, None]
        ranked = logits.masked_fill(own, -torch.inf).argsort(1, descending=True)
        number = torch.arange(restarts)
        others = ranked[:, (number - _UNTARGETED).clamp(min=0) % (logits.shape[1] - 1)].T
        wanted = torch.where(number[:, None] < _UNTARGETED, -1, others)
        return cls(
            label.repeat(restarts),
            wanted.flatten(),
            seen.repeat(restarts, 1),
            (number == _MATCHING).repeat_interleave(len(x)),
            (number % 2 == 1).repeat_interleave(len(x))[:, None],
        )

    def of_rows(self, rows: torch.Tensor) -> Self:
        """Those of the rows that are marked [R * n]."""
        return type(self)(*(getattr(self, each.name)[rows] for each in fields(self)))

    def aim(self, logits: torch.Tensor, hidden: torch.Tensor) -> torch.Tensor:
        """The loss [R * n] that falls on the way to another class."""
        own = torch.arange(logits.shape[1]) == self.label[:, None]
        lead = _margin(logits, own)
        wanted = self.wanted.clamp(min=0)[:, None]
        over = (logits.gather(1, self.label[:, None]) - logits.gather(1, wanted))[:, 0]
        apart = (hidden.flatten(1) - self.seen).square().sum(1)
        found = torch.where(self.wanted < 0, lead, over)
        return torch.where(self.matching, apart, found).double()


def _nearest_other(subject: ScreenedModel, x: Rows, y: Labels) -> torch.Tensor:
    """For each row the nearest training row of another class."""
    rows, classes = subject.slices["train"]
    gaps = (rows * rows).sum(axis=1) - 2 * x @ rows.T
    return torch.from_numpy(rows[np.where(y[:, None] == classes, np.inf, gaps).argmin(axis=1)])


def _sent(columns: RowRules, x: Rows, moved: torch.Tensor) -> torch.Tensor:
    """The rows that a caller can send for rows [r * n, D] that began at x [n, D]: a walk takes any
    numbers, and its score and gradient are taken at whole ones.
    """
    if not columns.whole.any():
        return moved.clone()
    before = np.tile(x, (len(moved) // len(x), 1))
    return torch.from_numpy(columns.within(before, moved.numpy()))


def respond(
    session: TorchSession, x: torch.Tensor, step: float
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """The logits [n, C] of rows x [n, D], the response graph's features and what enters the last
    layer, all with slopes.
    """
    with watched(session.module) as entered:
        logits = session.module(x)
        layers = [x, *behind(x, entered)]
    own = torch.arange(logits.shape[1]) == logits.argmax(1)[:, None]
    (gradient,) = torch.autograd.grad(_margin(logits, own).sum(), x, retain_graph=True)
    seen = ResponseInputs(x, logits, own, gradient, layers)
    size = torch.tensor(step)
    found = features(session.module, seen, size, _ZERO, _ONE, session.reference)
    return logits, found, layers[-1]


def _margin(logits: torch.Tensor, own: torch.Tensor) -> torch.Tensor:
    """The lead [n] of the class that `own` [n, C] marks over the best other one."""
    others = logits.masked_fill(own, -torch.inf)
    return logits.masked_fill(~own, 0.0).sum(-1) - others.amax(-1)


def torch_score(scoring: Scoring | Detector, measured: torch.Tensor) -> torch.Tensor:
    """`Scoring.scores`, with slopes; of a detector, the response graph's. With a refusal, the lower
    of both scores: at no threshold of refused rows another, and it has a slope everywhere.
    """
    scaling = scoring.scaling
    z = (measured.double() - torch.tensor(scaling.center).double()) / torch.tensor(
        scaling.spread
    ).double()
    z = z + (z.clamp(-scaling.limit, scaling.limit) - z).detach()
    clean = scoring.clean
    distance = _polynomial(clean, z).clamp(min=0).log1p()
    far = CLEAN_WEIGHT * (distance - clean.tail.median) / clean.tail.decay
    score = far + _odds(scoring.trained, z)
    if scoring.refusal is None:
        return score
    return torch.minimum(score, far + _odds(scoring.refusal.odds, z))


def _odds(weights: ScoringWeights, z: torch.Tensor) -> torch.Tensor:
    return (_polynomial(weights, z) - weights.tail.median) / weights.tail.decay


def _polynomial(weights: ScoringWeights, z: torch.Tensor) -> torch.Tensor:
    width = z.shape[1]
    triangle = torch.zeros(width, width, dtype=torch.float64)
    triangle[tuple(np.triu_indices(width))] = torch.tensor(weights.quadratic).double()
    linear = torch.tensor(weights.linear).double()
    return ((z @ triangle + linear) * z).sum(1) + weights.bias
