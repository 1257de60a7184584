"""The benchmarks of attention windows: perplexity of a served text, and recall of numbers."""

from types import SimpleNamespace
from typing import Any

import pytest
import torch

from benchmarks.windows.recalled import judge, told
from benchmarks.windows.served import full_numbers, served_perplexity
from generation.batching.attention_windows import install
from generation.publishing.window_choice import perplexity_of_halves
from inference.llm.terms import WHOLE, AttentionWindows
from tests.support.builders.models import random_decoder
from tests.support.builders.models.random_decoder import KV_HEADS, WIDTH


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


class Foretelling:
    """A decoder that is sure of the next token of what it reads, or of no change at all."""

    vocabulary = 128

    def __init__(self, ahead: int) -> None:
        self._ahead = ahead
        self.tokenizer = SimpleNamespace(
            encode=lambda text, **_: SimpleNamespace(ids=[ord(letter) for letter in text])
        )
        self.model = SimpleNamespace(model=self.read, lm_head=lambda hidden: 100 * hidden)

    def read(self, input_ids: torch.Tensor, use_cache: bool) -> Any:
        assert not use_cache
        next_ids = input_ids.roll(-self._ahead, 1)
        hidden = torch.nn.functional.one_hot(next_ids, self.vocabulary).float()
        return SimpleNamespace(last_hidden_state=hidden)


def test_a_number_is_right_if_each_of_its_tokens_is_the_likeliest() -> None:
    knows: Any = Foretelling(1)
    repeats: Any = Foretelling(0)
    assert told(knows, [7] * 200) == {"right": 16, "probability": pytest.approx(1.0)}
    assert told(repeats, [7] * 200) == {"right": 0, "probability": pytest.approx(0.0)}


def test_windows_that_recall_are_held_against_full_attention() -> None:
    full = {"kv_share": 1.0, "kept": 1.0, "right": 16, "probability": 0.8}
    windows = {"kv_share": 0.6, "kept": 0.99, "right": 15, "probability": 0.76}
    found = judge([full, windows])
    assert [each.value for each in found] == pytest.approx([0.4, 0.99, 15 / 16, 0.95])
    assert [each.met for each in found] == [True, True, False, True]
