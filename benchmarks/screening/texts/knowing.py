"""Who knows what the texts of each class say of a word, and exchanges words by that too.

It is HotFlip, of which each exchange is worth what it turns of the model and, at several weights,
what it turns of the votes (`training.export.word_votes`). Of all that turned a text, what the
detector scores least is sent.
"""

from collections.abc import Iterator
from dataclasses import dataclass, fields
from typing import Any

import numpy as np

from benchmarks.screening.measures import Floats as Scores
from benchmarks.screening.measures import share, tell
from benchmarks.screening.texts.attacks import MOST_TEXTS
from benchmarks.screening.texts.subjects import Floats, Measured, TextSubject
from inference.screening.detector import Detector
from inference.text.tokens import Ids
from publishing.calibration.text_probe import TextProbe

WEIGHTS = (0.5, 1.0, 2.0, 4.0)
"""Of the votes, beside the model: each in units of how much exchanges differ by it."""
_TINY = 1e-9


@dataclass(frozen=True, slots=True, eq=False)
class Knowing(TextProbe):
    """HotFlip that also goes by `votes` [V, C], weighing `weight`."""

    votes: Floats
    weight: float

    @classmethod
    def beside(cls, probe: TextProbe, votes: Floats, weight: float) -> "Knowing":
        own = {each.name: getattr(probe, each.name) for each in fields(TextProbe)}
        return cls(**own, votes=votes, weight=weight)

    def worth(self, rows: Ids, labels: Ids) -> Floats:
        by_model = TextProbe.worth(self, rows, labels)
        # Votes are about 0: what speaks less for the label speaks for another class.
        label = labels[:, np.newaxis, np.newaxis]
        here = self.votes[np.maximum(rows, 0)[:, :, np.newaxis], label]
        by_votes = here - self.votes[self.stock[np.newaxis, np.newaxis], label]
        found: Floats = by_model / _spread(by_model) + self.weight * by_votes / _spread(by_votes)
        return found


def measure(subject: TextSubject, detector: Detector, clean: Scores) -> dict[str, Any]:
    """How many texts it turns, and how they are told from clean ones, of which these are the
    scores [n].
    """
    rows, y = (part[:MOST_TEXTS] for part in subject.right[1:])
    least: Scores = np.full(len(rows), np.inf)
    for moved in _made(subject, rows):
        logits, features = subject.probe.measure(moved)
        scores = np.where(logits.argmax(axis=1) != y, detector.scores(features), np.inf)
        least = np.minimum(least, scores)
    turned = np.isfinite(least)
    found: dict[str, Any] = {"attacked": len(rows), "turned": share(turned)}
    return found | (tell(detector, clean, least[turned]) if turned.any() else {})


def _made(subject: TextSubject, rows: Ids) -> Iterator[Ids]:
    probe = subject.probe.probe
    if not isinstance(probe.measured, Measured):
        raise TypeError("only who has the votes goes by them")
    votes = probe.measured.wording.votes.numpy()
    for weight in WEIGHTS:
        knowing = Knowing.beside(probe, votes, weight)
        for _, moved in knowing.attacks(rows, np.random.default_rng(0)):
            yield moved


def _spread(worth: Floats) -> float:
    return float(worth.std()) + _TINY
