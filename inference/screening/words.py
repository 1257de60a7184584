"""What a text's words say by themselves, for the first stage, which runs no graph.

Where a version's response graph holds counts of the training texts (`training.wording`), they lie
in it as constants: in how many texts of each class a token stands, and where it stands among the
others. What follows from them is two look-ups, and no forward.
"""

from dataclasses import dataclass
from typing import Self

import numpy as np
import numpy.typing as npt
import onnx
from onnx import numpy_helper

from sealgate.reasons import Reason, Refusal

Rows = npt.NDArray[np.float32]
Ids = npt.NDArray[np.int64]
VOTES, PLACES = "wording.votes", "wording.places"
_TINY = np.float32(1e-6)


@dataclass(frozen=True, slots=True, eq=False)
class Words:
    """The tables `votes` [V, C] and `places` [V, W] of a response graph."""

    votes: Rows
    places: Rows

    @classmethod
    def of(cls, response: bytes, vocabulary: int, classes: int) -> Self | None:
        """From a checked response graph; None from one that has no counts.

        Raises GRAPH_MISMATCH where they are not of as many tokens and classes.
        """
        graph = onnx.load_model_from_string(response).graph
        held = {each.name: each for each in graph.initializer if each.name in (VOTES, PLACES)}
        if len(held) < len((VOTES, PLACES)):
            return None
        votes, places = (numpy_helper.to_array(held[name]) for name in (VOTES, PLACES))
        sizes = votes.shape, places.shape[:1], places.ndim
        if sizes != ((vocabulary, classes), (vocabulary,), 2):
            raise Refusal(Reason.GRAPH_MISMATCH, "counts of other tokens or classes")
        return cls(votes.astype(np.float32), places.astype(np.float32))

    @property
    def size(self) -> int:
        """How many numbers it says of a text."""
        return self.votes.shape[1] + self.places.shape[1] + 1

    def read(self, ids: Ids, mask: Ids) -> Rows:
        """Of texts, ids and mask [n, s]: their tokens' mean votes and mean place, and how well
        tokens agree with the rest of the text; float32 [n, size].
        """
        held = mask.astype(np.float32)
        count = held.sum(axis=1, keepdims=True)
        weights = (held / count)[:, np.newaxis]
        places = self.places[ids] * held[:, :, np.newaxis]
        total = places.sum(axis=1, keepdims=True)
        rest = total - places
        lengths = np.sqrt((places * places).sum(axis=2) * (rest * rest).sum(axis=2))
        agreed = (places * rest).sum(axis=2) / (lengths + _TINY)
        votes = (weights @ self.votes[ids])[:, 0]
        agreement = (agreed * held).sum(axis=1, keepdims=True) / count
        return np.concatenate([votes, total[:, 0] / count, agreement], axis=1)
