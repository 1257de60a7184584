"""First stage of screening: a cheap score for every request, where a version has one.

It reads what the INT8 run of the answer computes anyway: the input, the vector that enters the last
layer, and the logits. Through that layer alone, the gradient of the margin is a difference of two
rows of its weights, so FGSM needs no extra run: the step along the gradient's sign that changes the
answer is the margin divided by the sum of the gradient's magnitudes. It also measures how far input
and vector lie from clean ones of the answer's class and of the next class (Lee et al.,
arXiv 1807.03888): an attack that goes deep into another class shows in the input, which does not
look like that class. For a text, the input is represented by the statistics of its words
(`WordTables`), or by the mean of their embeddings if no words were counted.

If the score is at most `cut`, this stage alone takes the row for clean; every other row is
escalated to the response graph. So this stage never makes a row suspect. A row whose margin is
below `least_margin` is escalated too, for it may be of another class in float32: of the rows that
publishing saw, those whose class rounding had turned had half of that margin at most.
"""

from dataclasses import dataclass, field
from typing import Any, NamedTuple, Self

import numpy as np
import numpy.typing as npt
import onnx
from onnx import numpy_helper

from inference.model.columns import number, numbers
from inference.screening import scoring
from inference.screening.calibration import Floats
from inference.screening.scoring import Scoring
from sealgate.reasons import Reason, SealgateError
from sealgate.trust import fields

Rows = npt.NDArray[np.float32]
FEATURES = 13
MARGIN = 0
_READING = ("mean", "basis", "whitening", "center")
_TINY = np.float32(1e-6)


class RunOutputs(NamedTuple):
    """Outputs of an answer's run: `inputs` [n, I], the `vectors` [n, D] that entered the last
    layer, and the logits [n, C].
    """

    inputs: Rows
    vectors: Rows
    logits: Rows


@dataclass(frozen=True, slots=True)
class ClassProjection:
    """How the clean rows of each class lie, as a projection that makes each class a Gaussian.

    `mean` [D] and `basis` [D, K] lead to K principal components; `whitening` [K, C K] and `center`
    [C K] from there to a standard Gaussian for each class. All are stored row by row.
    """

    mean: tuple[float, ...]
    basis: tuple[float, ...]
    whitening: tuple[float, ...]
    center: tuple[float, ...]
    _arrays: tuple[Rows, Rows, Rows, Rows] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        size = len(self.mean)
        count = len(self.basis) // max(1, size)
        if not count or len(self.basis) != size * count:
            raise fields.malformed("the components are not as long as the vectors")
        if len(self.center) % count or len(self.center) < 2 * count:
            raise fields.malformed("there are not as many centers as classes")
        if len(self.whitening) != count * len(self.center):
            raise fields.malformed("the classes are not described among the components")
        mean, basis, whitening, center = (
            np.array(getattr(self, name), np.float32) for name in _READING
        )
        arrays = mean, basis.reshape(size, count), whitening.reshape(count, -1), center
        object.__setattr__(self, "_arrays", arrays)

    @property
    def size(self) -> int:
        """The length of the vectors that it takes."""
        return len(self.mean)

    @property
    def classes(self) -> int:
        return len(self.center) * self.size // len(self.basis)

    def distances(self, rows: Rows, own: npt.NDArray[np.int64]) -> tuple[Rows, ...]:
        """How far rows [n, D] lie from the class of their answer and from the next one, by how much
        the first exceeds the second, and the part outside all components; each [n].
        """
        mean, basis, whitening, center = self._arrays
        centered = rows - mean
        z = centered @ basis
        white = z @ whitening - center
        squares = (white * white).reshape(len(rows), self.classes, -1).sum(axis=2)
        places = np.arange(len(rows))
        near = squares[places, own]
        squares[places, own] = np.inf
        other = squares.min(axis=1)
        rest = (centered * centered).sum(axis=1) - (z * z).sum(axis=1)
        return (
            np.log1p(near),
            np.log1p(other),
            (near - other) / np.sqrt(near + other + _TINY),
            np.sqrt(np.maximum(rest, 0) + _TINY),
        )

    def value(self) -> dict[str, Any]:
        """As it stands in a document."""
        return {name: list(getattr(self, name)) for name in _READING}

    @classmethod
    def read(cls, value: Any) -> Self:
        """Read what `value` wrote; anything else raises SealgateError(DOCUMENT_MALFORMED)."""
        item = fields.record(value, _READING)
        return cls(*(numbers(item[name]) for name in _READING))


@dataclass(frozen=True, slots=True)
class ClassProjections:
    """Projections of inputs, and of the vectors that enter the last layer."""

    inputs: ClassProjection
    vectors: ClassProjection

    def __post_init__(self) -> None:
        if self.inputs.classes != self.vectors.classes:
            raise fields.malformed("inputs and vectors are not of the same classes")

    def features(self, shown: RunOutputs, weight: Rows) -> Rows:
        """`FEATURES` of rows, float32 [n, FEATURES]; `weight` [C, D] is the last layer's."""
        logits, own = shown.logits, shown.logits.argmax(axis=1)
        rows = np.arange(len(logits))
        others = logits.copy()
        others[rows, own] = -np.inf
        next_best = others.argmax(axis=1)
        lead = logits[rows, own]
        margin = lead - others[rows, next_best]
        gradient = weight[own] - weight[next_best]
        found = (
            margin,
            # The FGSM step, through the last layer, that turns the answer.
            margin / (np.abs(gradient).sum(axis=1) + _TINY),
            lead - logits.mean(axis=1),
            np.log(np.exp(logits - lead[:, np.newaxis]).sum(axis=1)),
            (shown.vectors * np.sign(gradient)).mean(axis=1),
            *self.vectors.distances(shown.vectors, own),
            *self.inputs.distances(shown.inputs, own),
        )
        return np.stack(found, axis=1).astype(np.float32)

    def value(self) -> dict[str, Any]:
        """As it stands in a document."""
        return {"inputs": self.inputs.value(), "vectors": self.vectors.value()}

    @classmethod
    def read(cls, value: Any) -> Self:
        """Read what `value` wrote; anything else raises SealgateError(DOCUMENT_MALFORMED)."""
        item = fields.record(value, ("inputs", "vectors"))
        return cls(ClassProjection.read(item["inputs"]), ClassProjection.read(item["vectors"]))


@dataclass(frozen=True, slots=True)
class FirstStage:
    """The first stage: `readings` makes its features, and `scoring` scores them.

    A row passes with a score up to `cut` and a margin of at least `least_margin`, which is 0 for
    versions of earlier releases.
    """

    readings: ClassProjections
    scoring: Scoring
    cut: float
    least_margin: float = 0.0

    def __post_init__(self) -> None:
        if self.least_margin < 0:
            raise fields.malformed("a margin is negative")
        if self.scoring.width != FEATURES:
            raise fields.malformed("the first stage scores other features than it reads")

    def beyond(self, features: npt.NDArray[np.floating[Any]]) -> Floats:
        """How far the scores of features [n, FEATURES] exceed the cut: at most 0 if the row passes;
        infinitely if its margin is too small; NaN if it could not be measured.
        """
        found = self.scoring.scores(features) - self.cut
        return np.where(features[:, MARGIN] < self.least_margin, np.inf, found)

    def escalates(self, features: npt.NDArray[np.floating[Any]]) -> npt.NDArray[np.bool_]:
        """Which rows [n] are escalated to the response graph, including those that are NaN."""
        return ~(self.beyond(features) <= 0)

    def value(self) -> dict[str, Any]:
        """As it stands in a detector's document."""
        least = {"least_margin": self.least_margin} if self.least_margin else {}
        return {"readings": self.readings.value(), **self.scoring.value(), "cut": self.cut, **least}

    @classmethod
    def read(cls, value: Any) -> Self:
        """Read what `value` wrote; anything else raises SealgateError(DOCUMENT_MALFORMED)."""
        more = ("least_margin",) if "least_margin" in fields.mapping(value) else ()
        item = fields.record(value, ("readings", *scoring.NAMES, "cut", *more))
        least = number(item["least_margin"]) if more else 0.0
        readings = ClassProjections.read(item["readings"])
        return cls(readings, Scoring.read(item), number(item["cut"]), least)


Ids = npt.NDArray[np.int64]
VOTES, PLACES = "wording.votes", "wording.places"


@dataclass(frozen=True, slots=True, eq=False)
class WordTables:
    """Word statistics from a response graph: the tables `votes` [V, C] and `places` [V, W].

    They are constants of the graph, counted on the training texts (`training.export.word_votes`):
    in how many texts of each class a token occurs, and among which others. Reading them takes two
    look-ups and no run.
    """

    votes: Rows
    places: Rows

    @classmethod
    def of(cls, response: bytes, vocabulary: int, classes: int) -> Self | None:
        """From a checked response graph; None if it has no word statistics.

        Raises GRAPH_MISMATCH if their sizes do not match tokens and classes.
        """
        graph = onnx.load_model_from_string(response).graph
        held = {each.name: each for each in graph.initializer if each.name in (VOTES, PLACES)}
        if len(held) < len((VOTES, PLACES)):
            return None
        votes, places = (numpy_helper.to_array(held[name]) for name in (VOTES, PLACES))
        sizes = votes.shape, places.shape[:1], places.ndim
        if sizes != ((vocabulary, classes), (vocabulary,), 2):
            raise SealgateError(Reason.GRAPH_MISMATCH, "counts of other tokens or classes")
        return cls(votes.astype(np.float32), places.astype(np.float32))

    @property
    def size(self) -> int:
        """How many numbers describe a text."""
        return self.votes.shape[1] + self.places.shape[1] + 1

    def read(self, ids: Ids, mask: Ids) -> Rows:
        """Features of texts (ids and mask [n, s]): their tokens' mean votes and mean place, and how
        well tokens agree with the rest of the text; float32 [n, size].
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
