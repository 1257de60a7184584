"""Sampling at temperatures near zero draws the likeliest token."""

import pytest
import torch

from generation.batching.sampling import draw
from inference.llm.request import Sampling


@pytest.mark.parametrize("top_p", [1.0, 0.5])
@pytest.mark.parametrize("temperature", [1e-308, 5e-324])
def test_the_likeliest_token_is_drawn(temperature: float, top_p: float) -> None:
    logits = torch.tensor([2.0, 5.0, 4.0, 3.0])
    assert draw(logits, Sampling(1, temperature, top_p, seed=7), 3) == 1
