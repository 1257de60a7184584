"""What a caller's requests say together: evidence of a search, and of an extraction.

**A search** for an adversarial input asks near the same input again and again, much of what it asks
looks adversarial, and it ends with a row that is near another and is answered otherwise. Three
alarms (`Alarm`) watch for it:

- near duplicates: of honest rows, 1 in 1,000 at most may share a quarter of the hashes of a row
  before it without being the same. A client that sends frames of a video breaks that: see docs.
- verdicts: of honest rows, as many are suspect or adversarial as calibration promises, at most.
- moves: of honest rows of numbers, 1 in 100 at most may be close to a row before it, a near
  duplicate or of nearly the same levels, whatever its verdict; and 1 in 300,000 close to one that
  was given another class. A third is laid on the first, on it and the verdict together, and on the
  last, which by itself is enough.

An honest session of t rows raises one of them with a chance of 3 t / LEVEL at most.

**An extraction** asks at distances that no honest sample has (PRADA, Juuti et al., arXiv
1805.02628): the distances to the nearest earlier row of the same class are no longer normal, by the
statistic W' of Shapiro and Francia. Its level is set on honest sessions, not proved.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from statistics import NormalDist

import numpy as np
import numpy.typing as npt

from gateway.sessions.comparison import Comparer, Comparison, Ring, comparer
from gateway.sessions.fingerprints import Print, PrintColumns

# Shares of the wealth that are staked side by side, so that bursts and slow searches both show.
_SHARES = (0.8, 0.1, 0.01)
_STAKES = np.array(_SHARES)
_NOTHING = (0.0, 0.0, 0.0)


def _nothing() -> npt.NDArray[np.float64]:
    return np.zeros(len(_STAKES))


@dataclass(slots=True)
class Alarm:
    """Shiryaev-Roberts statistics M ← e · (M + 1), averaged. M - t is a supermartingale, so an
    honest stream of t payoffs passes `level` with a chance of t / level at most (Doob), wherever it
    begins. For a stream that goes on for ever: once in `level` payoffs on average at most.
    """

    level: float
    # Plain numbers: of so few, arrays would take several times as long.
    _values: tuple[float, float, float] = _NOTHING

    def add(self, payoff: float) -> bool:
        """Take one payoff; True where the level is passed, and then begin anew."""
        (one, two, three), (a, b, c) = self._values, _SHARES
        less = payoff - 1
        one = (1 + a * less) * (one + 1)
        two = (1 + b * less) * (two + 1)
        three = (1 + c * less) * (three + 1)
        self._values = (one, two, three)
        if one + two + three < self.level * 3:
            return False
        self._values = _NOTHING
        return True


@dataclass(slots=True)
class Wealth:
    """A test martingale: an honest stream ever reaches 1 / alpha with a chance of alpha at most
    (Ville), however long it goes on and whenever one looks.
    """

    _logs: npt.NDArray[np.float64] = field(default_factory=_nothing)

    def add(self, payoff: float) -> None:
        self._logs = self._logs + np.log(1 - _STAKES + _STAKES * payoff)

    @property
    def log10(self) -> float:
        """The evidence so far, as a power of ten; below 0 where there is none."""
        most = self._logs.max()
        mean = np.exp(self._logs - most).mean()
        return float((most + np.log(mean)) / np.log(10))


def verdict_payoff(verdict: str, adversarial: float, suspect: float) -> float:
    """The payoff of a verdict, where honest requests are adversarial, and suspect or worse, with
    chances of `adversarial` and `suspect` at most: half is laid on either.
    """
    payoffs = {"clean": 0.0, "suspect": 0.5 / suspect}
    return payoffs.get(verdict, 0.5 / suspect + 0.5 / adversarial)


LEVEL = 2e4
_NEAR_PAYOFF = 1000.0
_CLOSE_PAYOFF = 100.0
_TURNED_PAYOFF = 3e5

_FIRST_TEST = 100
_TEST_EVERY = 20
_DISTANCES = 400
# Below this, distances are not those of a sample; honest sessions stay above .91 (`make
# bench-stateful`).
NORMAL = 0.88
_AT_ONCE = 64


@dataclass(slots=True)
class CallerSession:
    """One caller's rows of one model, in the order in which they came. Not safe for threads."""

    compare: Comparer = field(default_factory=comparer)
    _near: Alarm = field(default_factory=lambda: Alarm(LEVEL))
    _verdicts: Alarm = field(default_factory=lambda: Alarm(LEVEL))
    _moves: Alarm = field(default_factory=lambda: Alarm(LEVEL))
    _gaps: npt.NDArray[np.float64] = field(default_factory=lambda: np.zeros(_DISTANCES))
    _gaps_taken: int = 0
    _ring: Ring | None = None

    def add(self, given: Print, label: int, payoff: float) -> tuple[bool, bool]:
        """Take one row; say whether there is now a search, and an extraction. `label` is the class
        answered, `payoff` that of the verdict.
        """
        (found,) = self.add_all(PrintColumns.decode([given.encode()]), [label], [payoff])
        return found

    def add_all(
        self, given: PrintColumns, labels: Sequence[int], payoffs: Sequence[float]
    ) -> list[tuple[bool, bool]]:
        """The same of rows of one kind, one after another."""
        found = []
        for at in range(0, len(given), _AT_ONCE):
            rows = slice(at, at + _AT_ONCE)
            found += self._add(given.part(rows), labels[rows], payoffs[rows])
        return found

    def _add(
        self, given: PrintColumns, labels: Sequence[int], payoffs: Sequence[float]
    ) -> list[tuple[bool, bool]]:
        ring = self._ring
        if ring is None or not ring.takes(given):
            # A model whose inputs have become others is another model.
            ring = self._ring = Ring.like(given)
        classes = np.array(labels, np.int32)
        seen = self.compare(ring, given, classes)
        if seen.repeats:
            if len(given) == 1:
                # Asked again: nobody learns from that what they did not know.
                return [(False, False)]
            # What is asked again is not kept, so what others are compared with moves.
            each = [slice(at, at + 1) for at in range(len(given))]
            return [f for at in each for f in self._add(given.part(at), labels[at], payoffs[at])]
        found = [
            self._judge(ring.count + at, at, seen, payoff) for at, payoff in enumerate(payoffs)
        ]
        ring.add(given, classes)
        return found

    def _judge(self, count: int, at: int, seen: Comparison, payoff: float) -> tuple[bool, bool]:
        near = move = 0.0
        if seen.touched[at]:
            near = _NEAR_PAYOFF * bool(seen.near[at].any())
            # Honest texts are often made of one another, and told apart by a word.
            move = 0.0 if seen.gaps is None else _move_payoff(seen, at, payoff)
        # All, or the others would miss what the first has seen.
        search = self._near.add(near) | self._verdicts.add(payoff) | self._moves.add(move)
        return search, seen.gaps is not None and self._measure(count, seen.gaps[at])

    def _measure(self, count: int, gap: float) -> bool:
        if gap == np.inf:
            return False
        self._gaps[self._gaps_taken % _DISTANCES] = gap
        self._gaps_taken += 1
        if self._gaps_taken < _FIRST_TEST or count % _TEST_EVERY:
            return False
        return normality(self._gaps[: self._gaps_taken]) < NORMAL


def _move_payoff(seen: Comparison, at: int, payoff: float) -> float:
    """Of a row that is near or close to another."""
    others = seen.labels[seen.near[at] | seen.close[at]]
    turned = bool((others != seen.own[at]).any())
    return (_CLOSE_PAYOFF * (1 + payoff) + _TURNED_PAYOFF * turned) / 3


def normality(values: npt.NDArray[np.float64]) -> float:
    """Shapiro and Francia's W' of values [n], n from 3 on, after those beyond three standard
    deviations are left out, as PRADA does: 1 for a normal sample, less for any other; 0 where all
    are the same.
    """
    off = values - values.mean()
    spread = np.sqrt(off @ off / len(off))
    kept = np.sort(off[np.abs(off) <= 3 * spread])
    kept -= kept.mean()
    length = kept @ kept
    if spread < 1e-9 or length < 1e-18 * len(kept):
        return 0.0
    places = _normal_places(len(kept))
    return float((kept @ places) ** 2 / (length * (places @ places)))


# As many sizes as a session has distances.
@lru_cache(_DISTANCES)
def _normal_places(size: int) -> npt.NDArray[np.float64]:
    """Where a normal sample's values are to be expected, in order [size]."""
    normal = NormalDist()
    return np.array([normal.inv_cdf((i - 0.375) / (size + 0.25)) for i in range(1, size + 1)])
