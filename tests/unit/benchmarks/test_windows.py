"""What the benchmark of windows measures: positions inside the cache, and a served text."""

from types import SimpleNamespace
from typing import Any

import pytest
import torch

from benchmarks.windows.rebased import rebase
from benchmarks.windows.served import full_numbers, served_perplexity
from generation.batching.windows import install
from generation.publishing.window_choice import perplexity_of_halves
from inference.llm.terms import WHOLE, AttentionWindows
from tests.support.builders.models import random_decoder
from tests.support.builders.models.random_decoder import KV_HEADS, WIDTH

IDS = random_decoder.ids(60)


def logits(windows: AttentionWindows, rebased: bool, ids: list[int] = IDS) -> torch.Tensor:
    model = random_decoder.make("qwen2")
    install(model, windows)
    if rebased:
        rebase(model)
    with torch.inference_mode():
        found: torch.Tensor = model(input_ids=torch.tensor([ids]), use_cache=False).logits[0]
    return found


@pytest.mark.parametrize(
    "windows",
    [
        # Without sinks there is no distance that changes, nor where nothing has been dropped.
        AttentionWindows(0, (8, WHOLE, 21)),
        AttentionWindows(4, (60, WHOLE, 56)),
    ],
)
def test_distances_change_to_sinks_alone(windows: AttentionWindows) -> None:
    assert torch.allclose(logits(windows, True), logits(windows, False), atol=1e-5)


def test_a_token_sees_sinks_from_where_they_stand_in_the_cache() -> None:
    """One layer is enough for what has been dropped to leave no trace: the text without it, which
    has the positions of the cache, ends alike.
    """
    model = random_decoder.make("qwen2")
    del model.model.layers[1:]
    model.config.num_hidden_layers = 1
    kept = [*IDS[:4], *IDS[-12:]]
    with torch.inference_mode():
        expected = model(input_ids=torch.tensor([kept]), use_cache=False).logits[0, -1]
        install(model, AttentionWindows(4, (12,)))
        plain = model(input_ids=torch.tensor([IDS]), use_cache=False).logits[0, -1]
        rebase(model)
        found = model(input_ids=torch.tensor([IDS]), use_cache=False).logits[0, -1]
    assert torch.allclose(found, expected, atol=1e-5)
    assert not torch.allclose(plain, expected, atol=1e-3)


def test_perplexity_of_a_served_text_is_that_of_its_windows() -> None:
    windows = AttentionWindows(4, (16, WHOLE, 40))
    ids = random_decoder.ids(1100)
    model = random_decoder.make("llama")
    install(model, windows)
    decoder: Any = SimpleNamespace(model=model)
    found, numbers = served_perplexity(decoder, windows, ids)
    assert found == pytest.approx(perplexity_of_halves(model, [ids]), rel=1e-5)
    assert numbers == 2 * KV_HEADS * WIDTH * (20 + 1100 + 44)
    assert full_numbers(decoder, 1100, page=32) == 2 * KV_HEADS * WIDTH * 3 * 1120
