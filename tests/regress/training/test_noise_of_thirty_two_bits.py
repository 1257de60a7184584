"""The noise of private training came from a generator whose seed, 63 bits of entropy, torch cut to
32: all noise that there could be was that of four thousand million seeds.
"""

import pytest
import torch
from opacus import PrivacyEngine

from training.descent import Corpus
from training.distillation import Batch
from training.privacy import descend_privately
from training.recipe_step import PRIVATE, Step
from training.students import Perceptron


class _Stop(Exception):
    pass


def test_no_seed_gives_the_noise(monkeypatch: pytest.MonkeyPatch) -> None:
    used: list[torch.Generator] = []

    def make_private(*_: object, noise_generator: torch.Generator, **__: object) -> None:
        used.append(noise_generator)
        raise _Stop

    monkeypatch.setattr(PrivacyEngine, "make_private", make_private)
    rows = Corpus(Batch(torch.rand(8, 6), torch.arange(8) % 2))
    for _ in range(2):
        with pytest.raises(_Stop):
            descend_privately(Perceptron(6, 4, 1, 2), rows, Step(PRIVATE, batch=4))
    first, second = used
    drawn = torch.randn(1000, generator=first)
    assert not torch.equal(drawn, torch.randn(1000, generator=second))
    assert abs(float(drawn.mean())) < 0.3
    assert 0.7 < float(drawn.std()) < 1.3
    seeded = torch.Generator().manual_seed(first.initial_seed() % (1 << 32))
    assert not torch.equal(drawn, torch.randn(1000, generator=seeded))
