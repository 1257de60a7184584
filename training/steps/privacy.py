"""Differentially private training with Opacus: DP-SGD (Abadi et al., arXiv 1607.00133).

The budget (epsilon, delta) covers one row of the labelled training slice, and the weights. It does
not cover the ranges and words read off a table. Noise and the choice of rows come from the system's
entropy and not from the recipe's seed: whoever knows the seed, which is recorded, could subtract
the noise. So a private run cannot be repeated exactly, and an interrupted step starts again. They
are drawn by torch's Mersenne Twister in float32; what the rounding of noise reveals (Mironov, CCS
2012) is not hidden.
"""

import math
import secrets
import time
import warnings
from dataclasses import asdict, dataclass

import numpy as np
import torch
from torch import nn
from torch.nn import functional
from torch.utils.data import DataLoader, TensorDataset

from sealgate.reasons import Reason, SealgateError
from training.models.students import logits_of
from training.recipe.sections import RecipeStep
from training.steps.descent import StepProgress, TaughtRows, Watch

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    from opacus import PrivacyEngine
    from opacus.accountants import RDPAccountant

_ACCOUNTANT = "rdp"
# In the state of torch's Mersenne Twister (aten/src/ATen/CPUGeneratorImpl.cpp): how many words of
# 32 bits it has, each in 64, and how many bytes stand before them.
_WORDS, _BEFORE = 624, 24


@dataclass(frozen=True, slots=True)
class PrivacySpent:
    """The privacy that a step spent, by Opacus's accountant, and the parameters of the account: in
    each of `steps` every row is taken with the probability `sampling_rate`, one in as many batches
    as an epoch has, which is a little less than the batch's share where that does not go into the
    rows.
    """

    epsilon: float
    delta: float
    noise: float
    clip: float
    sampling_rate: float
    steps: int
    accountant: str = _ACCOUNTANT

    def encode(self) -> dict[str, float | int | str]:
        return asdict(self)


def descend_privately(
    student: nn.Module, corpus: TaughtRows, step: RecipeStep, watch: Watch = lambda _: None
) -> PrivacySpent:
    """Train `student` in place on the rows that have a label, until `step.epochs` are done or one
    step more would spend more than `step.epsilon`.

    Raises SealgateError: LOSS_NOT_FINITE; RECIPE_INVALID where not even one step fits the budget.
    """
    rows = corpus.labelled()
    each_epoch = math.ceil(len(rows) / step.batch)
    rate = 1 / each_epoch
    total = min(
        step.epochs * each_epoch,
        affordable(step.noise, rate, step.epsilon, step.delta),
    )
    if total == 0:
        raise SealgateError(
            Reason.RECIPE_INVALID, f"one step spends more than epsilon {step.epsilon}"
        )
    engine = PrivacyEngine(accountant=_ACCOUNTANT)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        module, optimizer, loader = _private(engine, student, rows, step)
        _steps(module, optimizer, loader, total, watch)
    found = engine.get_epsilon(step.delta)
    module.to_standard_module()
    student.eval()
    if found > step.epsilon:
        raise SealgateError(Reason.INTERNAL, f"spent {found} of {step.epsilon}")
    return PrivacySpent(found, step.delta, step.noise, step.clip, rate, total)


def _private(
    engine: PrivacyEngine, student: nn.Module, rows: TaughtRows, step: RecipeStep
) -> tuple[nn.Module, torch.optim.Optimizer, DataLoader]:
    """The student, its optimizer and its rows, with gradients that are clipped and noisy."""
    generator = unforeseen()
    optimizer = torch.optim.AdamW(
        student.parameters(), step.learning_rate, weight_decay=step.weight_decay
    )
    data = TensorDataset(rows.rows.x, rows.rows.y)
    module, private, loader = engine.make_private(
        module=student.train(),
        optimizer=optimizer,
        data_loader=DataLoader(data, batch_size=step.batch, generator=generator),
        noise_multiplier=step.noise,
        max_grad_norm=step.clip,
        noise_generator=generator,
    )
    return module, private, loader


def unforeseen() -> torch.Generator:
    """A generator whose whole state is of the system's entropy: of a seed it takes 32 bits."""
    generator = torch.Generator().manual_seed(0)
    state = generator.get_state()
    words = np.frombuffer(secrets.token_bytes(4 * _WORDS), np.uint32).astype(np.uint64)
    state[_BEFORE : _BEFORE + 8 * _WORDS] = torch.from_numpy(words.view(np.uint8))
    return generator.set_state(state)


def _steps(
    module: nn.Module,
    optimizer: torch.optim.Optimizer,
    loader: DataLoader,
    total: int,
    watch: Watch,
) -> None:
    began, done = time.monotonic(), 0
    while done < total:
        for x, y in loader:
            # The chosen rows may be none: their number is random.
            loss = functional.cross_entropy(module(x), y) if len(y) else module(x).sum() * 0
            value = loss.item()
            if not math.isfinite(value):
                raise SealgateError(
                    Reason.LOSS_NOT_FINITE, f"{value} at step {done + 1} of {total}"
                )
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            done += 1
            spent = time.monotonic() - began
            watch(StepProgress(done, total, value, spent / done * (total - done)))
            if done == total:
                return


def spent(step: RecipeStep, rows: int, times: int = 1) -> PrivacySpent:
    """The privacy that a step spends when it is done `times` times over on so many rows."""
    each_epoch = math.ceil(rows / step.batch)
    rate = 1 / each_epoch
    steps = times * step.epochs * each_epoch
    epsilon = _spends(step.noise, rate, steps, step.delta) if steps else 0.0
    return PrivacySpent(epsilon, step.delta, step.noise, step.clip, rate, steps)


def affordable(noise: float, rate: float, epsilon: float, delta: float) -> int:
    """The most steps that spend no more than `epsilon` at `delta`, by the accountant."""
    most = 1
    while _spends(noise, rate, most, delta) <= epsilon:
        most *= 2
        if most > 1 << 24:
            return most
    least = most // 2
    while most - least > 1:
        middle = (least + most) // 2
        within = _spends(noise, rate, middle, delta) <= epsilon
        least, most = (middle, most) if within else (least, middle)
    return least


def _spends(noise: float, rate: float, steps: int, delta: float) -> float:
    accountant = RDPAccountant()
    accountant.history = [(noise, rate, steps)]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return float(accountant.get_epsilon(delta))


def membership_advantage(
    student: nn.Module,
    members: tuple[torch.Tensor, torch.Tensor],
    others: tuple[torch.Tensor, torch.Tensor],
) -> float:
    """How much better than chance an attacker tells training rows from others by their loss (Yeom
    et al., arXiv 1709.01604): true minus false positives, from -1 to 1.

    The threshold is chosen on every second row and tried on the rest.
    """
    inside, outside = (_losses(student, *rows) for rows in (members, others))
    places = np.unique(np.concatenate([inside[::2], outside[::2]]))
    told = [(inside[::2] <= at).mean() - (outside[::2] <= at).mean() for at in places]
    at = places[int(np.argmax(told))]
    return float((inside[1::2] <= at).mean() - (outside[1::2] <= at).mean())


def _losses(student: nn.Module, x: torch.Tensor, y: torch.Tensor) -> np.ndarray:
    return np.asarray(functional.cross_entropy(logits_of(student, x), y, reduction="none"))
