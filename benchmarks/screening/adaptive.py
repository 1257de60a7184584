"""An attacker who knows everything: weights, features, detector and thresholds.

Selective and orthogonal projected gradient descent (Bryniarski et al., arXiv 2106.15023): a row
that is still told right is moved to where its lead falls, one that is turned to where its score
falls. In every other restart each of these steps leaves the other aim's slope alone. Restarts begin
at the row, at an honest row of another class brought within reach, and at random. What counts is,
over all restarts and steps, the least score that a turned row was brought to: it tells the joint
success at every threshold at once.

The margin's gradient is taken for a constant of each step. For a network of rectified units that is
no approximation: almost everywhere it is one. Features that are cut off pass their slope on as if
they were not, or the attacker would have nothing to go by.
"""

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

RESTARTS, STEPS = 10, 200
_FIRST_STEP, _LAST_STEP = 0.25, 0.01
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
) -> Floats:
    """For each row x [n, D] of class y [n], the least score of a row within `size` of its units
    that gets another class; infinite where none was found.
    """
    generator = torch.Generator().manual_seed(subject.seed)
    start, label, unit = (torch.from_numpy(part) for part in (x, y, size * subject.unit))
    # All restarts side by side.
    low, high = ((start + way * unit).clamp(0, 1).repeat(restarts, 1) for way in (-1, 1))
    moved = low + torch.rand(low.shape, generator=generator) * (high - low)
    moved[: len(start)] = start
    if restarts > 1:
        there = slice(len(start), 2 * len(start))
        moved[there] = torch.clamp(_nearest_other(subject, x, y), low[there], high[there])
    label = label.repeat(restarts)
    orthogonal = (torch.arange(restarts) % 2 == 1).repeat_interleave(len(start))[:, None]
    least = torch.full((len(moved),), np.inf, dtype=torch.float64)
    for step in np.geomspace(_FIRST_STEP, _LAST_STEP, steps):
        here = _sent(subject.columns, x, moved).requires_grad_(True)
        logits, measured, _ = respond(subject.session, here, STEP)
        score = torch_score(detector, measured)
        turned = logits.argmax(1) != label
        least = torch.where(turned & (score < least), score.detach(), least)
        true = torch.arange(logits.shape[1]) == label[:, None]
        lead = _margin(logits, true).double().sum()
        (of_lead,) = torch.autograd.grad(lead, here, retain_graph=True)
        (of_score,) = torch.autograd.grad(score.sum(), here)
        slope = torch.where(turned[:, None], of_score, of_lead)
        other = torch.where(turned[:, None], of_lead, of_score)
        shared = (slope * other).sum(1, keepdim=True) / (
            (other * other).sum(1, keepdim=True) + 1e-12
        )
        slope = torch.where(orthogonal, slope - shared * other, slope)
        moved = (moved - float(step) * unit * slope.sign()).clamp(low, high)
    return np.asarray(least.reshape(restarts, -1).amin(0).numpy(), np.float64)


def _nearest_other(subject: ScreenedModel, x: Rows, y: Labels) -> torch.Tensor:
    """For each row the nearest training row of another class."""
    rows, classes = subject.slices["train"]
    gaps = (rows * rows).sum(axis=1) - 2 * x @ rows.T
    return torch.from_numpy(rows[np.where(y[:, None] == classes, np.inf, gaps).argmin(axis=1)])


def _sent(columns: RowRules, x: Rows, moved: torch.Tensor) -> torch.Tensor:
    """What a caller can send of rows [r * n, D] that began at x [n, D]: a walk is of any numbers,
    and is judged, and looks for its way, where whole ones are.
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
