"""Fewer word embeddings than tokens."""

import numpy as np
import torch

from training.models.long_encoder import FrequentWordEmbedding, most_frequent

ROWS = np.array([[7, 2, 2, -1], [9, 2, 7, 7], [9, 4, -1, -1]])


def test_the_most_frequent_are_kept_and_padding_does_not_count() -> None:
    assert most_frequent(ROWS, 2).tolist() == [2, 7]
    # 9 comes twice, 4 once.
    assert most_frequent(ROWS, 3).tolist() == [2, 7, 9]
    assert most_frequent(ROWS, 100).tolist() == [2, 4, 7, 9]
    # Of two that come as often, the smaller.
    assert most_frequent(np.array([[5, 3]]), 1).tolist() == [3]


def test_the_others_share_one_embedding() -> None:
    words = FrequentWordEmbedding(torch.tensor([2, 7]), 10, 4)
    assert words.weight.shape == (3, 4)
    found = words(torch.tensor([[2, 7, 0], [9, 2, 4]]))
    first, second, rest = words.weight
    expected = torch.stack([torch.stack([first, second, rest]), torch.stack([rest, first, rest])])
    assert torch.equal(found, expected)
