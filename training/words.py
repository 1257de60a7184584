"""Word embeddings for the tokens that texts hold most often; the others share one.

A small encoder is mostly its word embeddings, and most of these are of tokens that it hardly ever
sees. Ids stay the tokenizer's: the way from them to the rows of the smaller table is in the graph.
"""

import numpy as np
import torch
from torch import nn

from inference.text.tokens import Ids


class FewWords(nn.Embedding):
    """An embedding of `len(kept)` token ids of `vocabulary`, and of one row for all the others."""

    place: torch.Tensor

    def __init__(self, kept: torch.Tensor, vocabulary: int, width: int) -> None:
        super().__init__(len(kept) + 1, width)
        place = torch.full((vocabulary,), len(kept), dtype=torch.int32)
        place[kept] = torch.arange(len(kept), dtype=torch.int32)
        self.register_buffer("place", place)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """From ids [n, s] to embeddings [n, s, width]."""
        return super().forward(self.place[x])


def most_frequent(rows: Ids, count: int) -> torch.Tensor:
    """The `count` ids that rows [n, s] hold most often, ascending; fewer where there are fewer."""
    ids, times = np.unique(rows[rows >= 0], return_counts=True)
    often = np.lexsort((ids, -times))[:count]
    return torch.from_numpy(np.sort(ids[often]).astype(np.int64))
