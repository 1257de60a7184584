"""The response of a model as a torch function (see `inference.runtime.response_contract`).

The step is that of FGSM (Goodfellow et al., arXiv 1412.6572), with the model's own prediction as
label unless one is given, so that the label does not leak (Kurakin et al., arXiv 1611.01236).

The features follow the margin: the lead of the predicted class. A row that an attack has carried
over a boundary has a small lead for its slope, bends towards where it came from, and lies along the
slope that carried it. Noise of the same size does none of this. With a `CleanReference`, the
features also measure how far the row lies, in each layer, from the class of its answer.
"""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch.nn import functional

from publishing.differentiate.response import STEPS
from training.export.reference import CleanReference, behind

Forward = Callable[[torch.Tensor], torch.Tensor]
# Below any logit, and far enough from float32's end that differences stay finite.
_FLOOR = -1e30
_TINY = 1e-6


@dataclass(frozen=True, slots=True)
class LayerTap:
    """A reference, and the list that holds what entered the layers that it describes."""

    reference: CleanReference
    entered: list[torch.Tensor]


def respond(
    forward: Forward,
    x: torch.Tensor,
    label: torch.Tensor,
    eps: torch.Tensor,
    clip_min: torch.Tensor,
    clip_max: torch.Tensor,
    watch: LayerTap | None = None,
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Return logits [n, C], x_adv [n, ...] and features [n, F]: of the answer, as
    `publishing.differentiate.response` has them, and of `watch`.
    """
    x = x.detach().requires_grad_(True)
    logits = forward(x)
    layers = [x.flatten(1), *behind(x, watch.entered)] if watch is not None else []
    slope, own, gradient = slopes(x, x, logits, label)
    x, logits = x.detach(), logits.detach()
    x_adv = torch.clamp(x + eps * slope.sign(), clip_min, clip_max)
    layers = [each.detach() for each in layers]
    reference = watch.reference if watch else None
    seen = ResponseInputs(x, logits, own, gradient, layers)
    return logits, x_adv, features(forward, seen, eps, clip_min, clip_max, reference)


def slopes(
    x: torch.Tensor, here: torch.Tensor, logits: torch.Tensor, label: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Return the loss's gradient at `x`, for the label or where that is negative the prediction;
    what marks the prediction in `logits` [n, C]; and the margin's gradient at `here`.
    """
    classes = torch.arange(logits.shape[1], device=x.device)
    predicted = logits.argmax(1)
    attacked = classes == torch.where(label < 0, predicted, label)[:, None]
    (slope,) = torch.autograd.grad(
        logits, x, cross_entropy_slope(logits.detach(), attacked), retain_graph=True
    )
    own = classes == predicted[:, None]
    next_best = classes == torch.where(own, _FLOOR, logits.detach()).argmax(1)[:, None]
    # The gradient of the margin by the logits.
    lead = own.to(logits.dtype) - next_best.to(logits.dtype)
    (gradient,) = torch.autograd.grad(logits, here, lead)
    return slope, own, gradient


@dataclass(frozen=True, slots=True)
class ResponseInputs:
    """Rows x [n, ...] with their logits [n, C], what marks their answers `own` [n, C], the margin's
    gradient [n, ...], and what entered the layers of a reference.
    """

    x: torch.Tensor
    logits: torch.Tensor
    own: torch.Tensor
    gradient: torch.Tensor
    layers: list[torch.Tensor]


def features(
    forward: Forward,
    seen: ResponseInputs,
    eps: torch.Tensor,
    clip_min: torch.Tensor,
    clip_max: torch.Tensor,
    reference: CleanReference | None,
) -> torch.Tensor:
    """The features [n, F] of what was seen; differentiable where that is."""
    x, gradient = seen.x, seen.gradient
    sizes = torch.tensor(STEPS, device=x.device) * eps
    steps = sizes.reshape(-1, *[1] * x.dim()) * gradient.sign()
    moved = torch.clamp(x + steps, clip_min, clip_max)
    answers = forward(moved.flatten(0, 1)).unflatten(0, (len(STEPS), -1))
    slope, taken = gradient.flatten(1), (moved - x).flatten(2)
    place = ((x - clip_min) / (clip_max - clip_min)).flatten(1)
    found = [
        *slope_features(slope, place),
        answer_features(seen.logits, answers, seen.own, slope, taken, sizes),
        *([reference.features(seen.layers, seen.own)] if reference else ()),
    ]
    return torch.cat(found, 1)


def cross_entropy_slope(logits: torch.Tensor, attacked: torch.Tensor) -> torch.Tensor:
    """The gradient [n, C] of the cross-entropy to the attacked class, by the logits.

    It is the probabilities less one at that class. There the one is not subtracted but the others
    are summed: for an answer that is all but certain the difference has no digits left, and the
    step would follow the rounding.
    """
    others = torch.where(attacked, 0.0, functional.softmax(logits, 1))
    return torch.where(attacked, -others.sum(1, keepdim=True), others)


def leader(logits: torch.Tensor, own: torch.Tensor) -> torch.Tensor:
    """The logit [..., n] of the class that `own` [n, C] marks."""
    return torch.where(own, logits, 0.0).sum(-1)


def slope_features(gradient: torch.Tensor, place: torch.Tensor) -> list[torch.Tensor]:
    """How steep the margin is, [n, 2], and how far the row lies along its gradient, [n, 3].

    `place` is the row within its domain, from 0 to 1. An attack leaves large values where the
    gradient is positive and small ones where it is negative.
    """
    total = gradient.abs().sum(1, keepdim=True)
    length = (gradient * gradient).sum(1, keepdim=True).sqrt()
    centered = place - place.mean(1, keepdim=True)
    return [
        (total + _TINY).log(),
        (length + _TINY).log(),
        (place * gradient).sum(1, keepdim=True) / (total + _TINY),
        (centered * gradient).sum(1, keepdim=True) / (total + _TINY),
        (place * gradient.sign()).mean(1, keepdim=True),
    ]


def answer_features(
    logits: torch.Tensor,
    answers: torch.Tensor,
    own: torch.Tensor,
    gradient: torch.Tensor,
    taken: torch.Tensor,
    sizes: torch.Tensor,
    *,
    cut_short: bool = True,
) -> torch.Tensor:
    """How sure the answer [n, C] is, [n, 4], and what each step changes, [n, 5 S].

    `answers` [S, n, C] are those after the steps `taken` [S, n, D], which the domain may have cut
    short from `sizes` [S]. For each step: how the margin moves, and how far from what the gradient
    foretold; how far the logits move; how ill the new probabilities describe the old answer; and,
    if steps can be `cut_short`, how much of the step the domain allowed, weighed by the gradient.
    """
    before_and_after = torch.cat([logits[None], answers])
    leaders = leader(before_and_after, own)
    margins = leaders - torch.where(own, _FLOOR, before_and_after).amax(-1)
    log_p = functional.log_softmax(before_and_after, -1)
    surprise = -(log_p[:1].exp() * log_p).sum(-1)
    total = gradient.abs().sum(1) + _TINY
    foretold = (gradient * taken).sum(-1)
    moved = margins[1:] - margins[:1]
    found = [
        margins[:1],
        margins[:1] / total,
        leaders[:1] - logits.mean(-1),
        moved,
        foretold - moved,
        ((answers - logits) ** 2).sum(-1).sqrt(),
        surprise,
    ]
    if cut_short:
        found.append(foretold / (total * sizes[:, None].abs() + _TINY))
    return torch.cat(found).T
