"""A matrix was rounded to eight bits whole: a copy in float32 and several more of its size stood in
memory beside it, so that loading a model of 1.3 GB with a large vocabulary took three times that.
"""

import pytest
import torch
from torchao.quantization import Int8Tensor

from generation.int8 import as_rounded


def test_a_block_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    sizes, whole = [], Int8Tensor.from_hp

    def counted(weights: torch.Tensor, *more: object) -> Int8Tensor:
        sizes.append(weights.nbytes)
        return whole(weights, *more)

    monkeypatch.setattr(Int8Tensor, "from_hp", counted)
    as_rounded(torch.ones(20_000, 64).numpy())
    assert sum(sizes) == 20_000 * 64 * 4
    assert max(sizes) <= 2 << 20
