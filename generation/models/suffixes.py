"""Classifies windows of a prompt: optimised suffixes surprise a model, and do not look like text.

Suffixes that an attack finds (GCG, Zou et al., arXiv 2307.15043) are improbable to the model, and
unlike text besides: few tokens begin a word, many hold signs, some come again and again. Either
alone misses some. So a linear classifier joins six features of each window into one score:

    surprise  mean -log p of its tokens, in nats, each `_MOST` at most
    entropy   mean entropy of the model's predictions, in nats
    blank     share of tokens that begin with a blank
    letters   mean number of letters of a token, signs and blanks counted
    odd       share of tokens with anything but letters and blanks
    distinct  share of tokens that come for the first time in the window

Publishing fits it (Fisher's linear discriminant) to windows of the publisher's clean prompts and of
the same prompts with tokens drawn at random behind them: no attack is needed, nor known. A window
that is as clean ones are on average scores 0. Weights are signed with the version.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from tokenizers import Tokenizer

from inference.llm.terms import SuffixWeights

# Noise surprises a model with a large vocabulary by more, and one rare name must not look like it.
_MOST = 10.0
_WEIGHED = [name for name in SuffixWeights.__slots__ if name != "offset"]
# Of what the variances of features are on average, so much is added: few prompts say little of one.
_RIDGE = 1e-3
# Other suffixes have few tokens, which come again.
_FEW = 10


@dataclass(frozen=True, slots=True)
class JoinedMeasure:
    """The classifier, and of each token of a prompt `blank`, `letters` and `odd` [n, 3]."""

    weights: SuffixWeights
    shapes: torch.Tensor

    def scores(
        self, ids: Sequence[int], places: Sequence[int], measured: torch.Tensor, window: int
    ) -> torch.Tensor:
        """Of each window [k] of the tokens at `places`, of which surprise and entropy [n, 2] are
        `measured`. Fewer tokens than a window has are as if the others were as expected.
        """
        features = window_features(ids, places, measured, self.shapes, window)
        weights = torch.tensor([getattr(self.weights, name) for name in _WEIGHED]).double()
        full = min(1.0, len(places) / window)
        return (features @ weights - self.weights.offset) * full


def shapes_of(tokenizer: Tokenizer, ids: Sequence[int]) -> torch.Tensor:
    """Of each token [n, 3] whether it begins with a blank, how many letters it has, and whether
    any is no letter.
    """
    texts = [tokenizer.decode([number], skip_special_tokens=False) for number in ids]
    rows = [
        (text[:1].isspace(), len(text), not all(c.isalpha() or c.isspace() for c in text))
        for text in texts
    ]
    return torch.tensor(rows, dtype=torch.float64).reshape(-1, 3)


def window_features(
    ids: Sequence[int],
    places: Sequence[int],
    measured: torch.Tensor,
    shapes: torch.Tensor,
    window: int,
) -> torch.Tensor:
    """The features [windows, 6] of the tokens at `places`; of one window where they are fewer."""
    at = torch.tensor(list(places))
    size = min(window, len(at))
    surprise = measured[:, :1].clamp(max=_MOST)
    rows = torch.cat([surprise, measured[:, 1:], shapes[at]], 1)
    means = rows.unfold(0, size, 1).mean(-1)
    came = torch.tensor(list(ids))[at].unfold(0, size, 1).sort(-1).values
    distinct = (came.diff(dim=-1) != 0).sum(-1, keepdim=True) + 1
    return torch.cat([means, distinct.double() / size], 1)


def fit(clean: torch.Tensor, suffixed: torch.Tensor) -> SuffixWeights:
    """The discriminant between windows [n, 6] and [m, 6], two of each or more."""
    spread = clean.T.cov() + suffixed.T.cov()
    ridge = _RIDGE * spread.diagonal().mean() * torch.eye(len(spread), dtype=spread.dtype)
    found = torch.linalg.solve(spread + ridge, suffixed.mean(0) - clean.mean(0))
    named = dict(zip(_WEIGHED, found.tolist(), strict=True))
    return SuffixWeights(**named, offset=float(found @ clean.mean(0)))


def printable(tokenizer: Tokenizer) -> list[int]:
    """The ids of tokens that are printable ASCII, which can be sent as text."""
    special = {number for number, each in tokenizer.get_added_tokens_decoder().items()}
    texts = {i: tokenizer.decode([i]) for i in range(tokenizer.get_vocab_size())}
    return [
        i for i, text in texts.items() if i not in special and text.isascii() and text.isprintable()
    ]


def noise(allowed: Sequence[int], length: int, number: int) -> list[int]:
    """The `number`-th suffix of tokens drawn at random: of all, or for odd numbers of few."""
    chance = np.random.default_rng(number)
    pool = chance.choice(allowed, _FEW) if number % 2 else allowed
    found: list[int] = chance.choice(pool, length).tolist()
    return found
