"""The classifier of a prompt's windows, and the suffixes that it is fitted with."""

import pytest
import torch
from tokenizers import Tokenizer, decoders, models

from generation.models.suffixes import (
    JoinedMeasure,
    fit,
    noise,
    printable,
    shapes_of,
    window_features,
)
from inference.llm.terms import SuffixWeights

WORDS = {" the": 0, "ing": 1, "]](": 2, "é": 3, "<|end|>": 4, "A1": 5}


@pytest.fixture(scope="module")
def tokenizer() -> Tokenizer:
    found = Tokenizer(models.WordLevel(WORDS, unk_token="<|end|>"))
    found.decoder = decoders.Fuse()
    found.add_special_tokens(["<|end|>"])
    return found


def test_a_token_looks_like_a_word_or_does_not(tokenizer: Tokenizer) -> None:
    shapes = shapes_of(tokenizer, [0, 1, 2, 5])
    assert shapes.tolist() == [[1, 4, 0], [0, 3, 0], [0, 3, 1], [0, 2, 1]]
    assert shapes_of(tokenizer, []).shape == (0, 3)


def test_suffixes_are_drawn_from_what_can_be_sent_as_text(tokenizer: Tokenizer) -> None:
    allowed = printable(tokenizer)
    assert allowed == [0, 1, 2, 5]
    drawn = [noise(range(1000), 20, number) for number in range(4)]
    assert drawn == [noise(range(1000), 20, number) for number in range(4)]
    assert [len(set(ids)) > 15 for ids in drawn] == [True, False, True, False]


def test_features_are_means_over_each_window() -> None:
    ids, places = [9, 9, 7, 7, 8], [1, 2, 3, 4]
    measured = torch.tensor([[1.0, 2.0], [3.0, 2.0], [99.0, 4.0], [5.0, 0.0]], dtype=torch.float64)
    shapes = torch.tensor([[9.0, 9, 9], [1, 2, 0], [0, 4, 1], [1, 6, 0], [0, 2, 1]]).double()
    found = window_features(ids, places, measured, shapes, 3)
    # One token's surprise counts as 10 at most.
    assert found[0].tolist() == pytest.approx([14 / 3, 8 / 3, 2 / 3, 4.0, 1 / 3, 2 / 3])
    assert found[1].tolist() == pytest.approx([6.0, 2.0, 1 / 3, 4.0, 2 / 3, 2 / 3])
    assert len(window_features(ids, places, measured, shapes, 20)) == 1


def test_clean_windows_score_0_on_average_and_suffixes_more() -> None:
    chance = torch.Generator().manual_seed(1)
    clean, noisy = (torch.randn(200, 6, generator=chance).double() for _ in range(2))
    noisy[:, 0] += 3
    weights = fit(clean, noisy)
    names = [name for name in SuffixWeights.__slots__ if name != "offset"]
    vector = torch.tensor([getattr(weights, name) for name in names]).double()
    assert float((clean @ vector).mean() - weights.offset) == pytest.approx(0, abs=1e-6)
    assert weights.surprise > 1
    assert float((noisy @ vector - weights.offset).min()) > float(
        (clean @ vector - weights.offset).mean()
    )


def test_a_short_prompt_counts_for_its_share_of_a_window() -> None:
    weights = SuffixWeights(1.0, 0.0, 0.0, 0.0, 0.0, 0.0, 2.0)
    joined = JoinedMeasure(weights, torch.zeros(8, 3, dtype=torch.float64))
    measured = torch.full((4, 2), 6.0, dtype=torch.float64)
    assert joined.scores(range(8), range(4, 8), measured, 16).tolist() == [1.0]
    assert joined.scores(range(8), range(4, 8), measured, 4).tolist() == [4.0]
