"""Word statistics of training texts: a second reading of a text, independent of the model.

An attack exchanges words along the model's gradient, or asks the model which exchange helps. Counts
of which words occur in the texts of a class, and next to which others, have no gradient to follow.
So exchanged words leave a text that reads, word by word, as before, and the words that carry the
answer do not fit the rest (compare Mozes et al., arXiv 2004.05887, and Mosca et al.,
arXiv 2204.04636).

The count of a token is the number of texts that contain it. A token of a single text is dropped,
and at most `_MOST` of the others are kept.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, fields
from typing import Self

import numpy as np
import numpy.typing as npt
import torch

from training.export.reference import TorchReferenceLayer, distance_features

FEATURES = 8
_PREFIX = "wording"
# A place has so many numbers; where fewer tokens are held, the others are 0.
_WIDTH = 32
_MOST = 4096
_LEAST = 2
# The share of a frequent neighbor is raised less than it is frequent, or rare tokens would be
# neighbors of none but rare ones (Levy et al., TACL 2015, Q15-1016).
_SMOOTHING = 0.75
_AT_ONCE = 1024
_ROUNDS = 6
_TINY = 1e-6


@dataclass(frozen=True, slots=True)
class WordVotes:
    """`votes` [V, C]: in how many texts of each class a token stands, as a logarithm of their
    share, about 0. `places` [V, W]: where it stands among the others, on the unit sphere; alike are
    those that share their neighbors. `layer` describes the mean place of a text's tokens.
    """

    votes: torch.Tensor
    places: torch.Tensor
    layer: TorchReferenceLayer

    @classmethod
    def fit(
        cls, rows: npt.NDArray[np.int64], y: npt.NDArray[np.int64], vocabulary: int, classes: int
    ) -> Self:
        """From training rows of tokens [n, s] with their classes y [n]; each class has rows."""
        x, labels = torch.from_numpy(rows), torch.from_numpy(y)
        counts = torch.stack(
            [_counted(x[labels == label], vocabulary) for label in range(classes)], 1
        )
        texts = torch.bincount(labels, minlength=classes)
        votes = ((counts + 1) / (texts + 2)).log()
        held = counts.sum(1) >= _LEAST
        votes = (votes - votes.mean(1, keepdim=True)) * held[:, None]
        common = counts.sum(1).argsort(descending=True, stable=True)[:_MOST]
        places = _places(x, common[held[common]], vocabulary)
        means = torch.cat([_mean(places, part.clamp(min=0), part >= 0) for part in _parts(x)])
        return cls(votes, places, TorchReferenceLayer.fit(means, labels, classes))

    def state(self) -> dict[str, torch.Tensor]:
        """Its tensors by the names that they have in a graph."""
        tables = {f"{_PREFIX}.votes": self.votes, f"{_PREFIX}.places": self.places}
        return tables | {
            f"{_PREFIX}.layer.{each.name}": getattr(self.layer, each.name)
            for each in fields(TorchReferenceLayer)
        }

    @classmethod
    def of(cls, state: Mapping[str, torch.Tensor]) -> Self | None:
        """From what `state` gave, or the tensors that replace it while a graph is traced; None
        where it is not among them.
        """
        if f"{_PREFIX}.votes" not in state:
            return None
        layer = TorchReferenceLayer(
            *(state[f"{_PREFIX}.layer.{each.name}"] for each in fields(TorchReferenceLayer))
        )
        return cls(state[f"{_PREFIX}.votes"], state[f"{_PREFIX}.places"], layer)

    def features(
        self,
        ids: torch.Tensor,
        mask: torch.Tensor,
        own: torch.Tensor,
        other: torch.Tensor,
        parts: torch.Tensor,
    ) -> list[torch.Tensor]:
        """FEATURES, each [n, 1], of ids and mask [n, s]: how much more its tokens speak for the
        answer, which `own` [n, C] marks, than for the `other` class [n, C]; how their mean place
        lies to both; and how well tokens agree with the rest of the text: all of them, and weighed
        by their `parts` [n, s] in the margin, those that speak for the answer and those against.
        """
        held = mask.to(parts.dtype)
        asked = own.to(parts.dtype) - other.to(parts.dtype)
        votes = (self.votes[ids] * asked[:, None]).sum(2)
        places = self.places[ids] * held[:, :, None]
        total = places.sum(1, keepdim=True)
        agreed = _cosine(places, total - places)
        weights = held, parts.clamp(min=0), (-parts).clamp(min=0)
        squares, rest = self.layer.squares(total[:, 0] / held.sum(1, keepdim=True))
        return [
            _weighed(votes, held),
            distance_features([squares], [rest], own),
            *(_weighed(agreed, weight) for weight in weights),
        ]


def _weighed(values: torch.Tensor, weights: torch.Tensor) -> torch.Tensor:
    total = weights.sum(1, keepdim=True)
    found: torch.Tensor = (values * weights).sum(1, keepdim=True) / (total + _TINY)
    return found


def _cosine(one: torch.Tensor, other: torch.Tensor) -> torch.Tensor:
    lengths = ((one * one).sum(2) * (other * other).sum(2)).sqrt()
    found: torch.Tensor = (one * other).sum(2) / (lengths + _TINY)
    return found


def _mean(places: torch.Tensor, ids: torch.Tensor, held: torch.Tensor) -> torch.Tensor:
    found: torch.Tensor = (places[ids] * held[:, :, None]).sum(1) / held.sum(1, keepdim=True)
    return found


def _parts(x: torch.Tensor) -> Iterator[torch.Tensor]:
    yield from x.split(_AT_ONCE)


def _present(x: torch.Tensor, vocabulary: int) -> torch.Tensor:
    """Which tokens stand in rows x [n, s]: 1 in [n, V]."""
    found = torch.zeros(len(x), vocabulary + 1)
    # Padding is counted after the vocabulary.
    found.scatter_(1, torch.where(x >= 0, x, vocabulary), 1.0)
    return found[:, :vocabulary]


def _counted(x: torch.Tensor, vocabulary: int) -> torch.Tensor:
    """In how many of rows x [n, s] each token stands [V]."""
    found = torch.zeros(vocabulary)
    for part in _parts(x):
        found += _present(part, vocabulary).sum(0)
    return found


def _places(x: torch.Tensor, held: torch.Tensor, vocabulary: int) -> torch.Tensor:
    """The places [V, W] of the tokens `held` [k] from rows x [n, s]: the leading directions of
    their positive pointwise mutual information, by which texts they share.
    """
    together = torch.zeros(len(held), len(held))
    for part in _parts(x):
        present = _present(part, vocabulary)[:, held]
        together += present.T @ present
    together.fill_diagonal_(0)
    often = together.sum(1) + 1
    usual = often**_SMOOTHING
    expected = often[:, None] * (usual / usual.sum())
    information = (together / expected).clamp(min=1).log()
    count = min(_WIDTH, len(held))
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        directions, sizes, _ = torch.svd_lowrank(information, count, _ROUNDS)
    found = torch.zeros(vocabulary, _WIDTH)
    found[held, :count] = torch.nn.functional.normalize(directions * sizes.sqrt(), dim=1)
    return found
