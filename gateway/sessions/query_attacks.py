"""What a caller's requests say together: evidence of a search, and of an extraction.

**A search** for an adversarial input asks near the same input again and again.

*Images* (rows that have levels). A row is a near-duplicate of an earlier one, its anchor, if it
shares a quarter of the hashes, if no level is more than one off, or if few levels differ at all.
Frames of a camera and rescans are near-duplicates, too, so to be one is no evidence. What leaves
for it can be the anchor's class (`Finding.anchor`), which tells a search nothing; a near-duplicate
is never an anchor itself, so nobody walks away from one in small steps. Nor is a row whose answer
was withheld. A row that was told its class but was not clean is an anchor of such rows alone: else
its class would leave in the name of a row that screening takes for clean. Where a row's own class
is another than its anchor's (`Finding.turned`), that is worth an alert. A search is found by rows
that are new and adversarial: of honest ones, two in five at most may be, since light, noise and
other scanners make more of them than calibration promises.

*Other rows*. Three alarms (`Alarm`) watch:

- near duplicates: of honest rows, 1 in 1,000 at most may share a quarter of the hashes of a row
  before it without being the same;
- verdicts: of honest rows, as many are suspect or adversarial as in 95 of 100 calibrations at
  most;
- moves: of honest rows of numbers, 1 in 100 at most may be a near duplicate, whatever its verdict,
  and 1 in 300,000 of one that was given another class. A third is laid on the first, on it and the
  verdict together, and on the last, which by itself is enough.

An honest session of t rows raises one of them with a chance of 3 t / LEVEL at most, of images with
t / LEVEL.

**An extraction** asks at distances that no honest sample has (PRADA, Juuti et al., arXiv
1805.02628): the distances to the nearest earlier row of the same class are no longer normal, by the
statistic W' of Shapiro and Francia. Its level is set on honest sessions, not proved. Distances of
near-duplicates of images do not count.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from statistics import NormalDist
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from gateway.sessions.comparison import (
    Comparer,
    Ring,
    SessionComparison,
    Told,
    comparer,
    plain_class,
    same_version,
)
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


def image_payoff(verdict: str, rows: int) -> float:
    """The payoff of the verdict on a request of so many images, of which it is the worst."""
    return float(verdict == "adversarial") / min(1.0, _REFUSED_IMAGES * rows)


LEVEL = 2e4
_NEAR_PAYOFF = 1000.0
_CLOSE_PAYOFF = 100.0
_TURNED_PAYOFF = 3e5
_REFUSED_IMAGES = 0.4

_FIRST_TEST = 100
_TEST_EVERY = 20
_DISTANCES = 400
# Below this, distances are not those of a sample; honest sessions stay above .91
# (`make bench NAME=stateful`).
NORMAL = 0.88
# More in one comparison would be compared for nothing where one of them is near another.
_AT_ONCE = 16


class Finding(NamedTuple):
    """Of one row: whether there is now a search, and an extraction; of a near-duplicate, the class
    of its anchor, and whether its own is another.
    """

    search: bool = False
    extraction: bool = False
    anchor: int | None = None
    turned: bool = False


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

    def add(self, given: Print, label: int, payoff: float, told: Told = Told.CLEAN) -> Finding:
        """Take one row. `label` is its class, `payoff` that of the verdict; `told` says what its
        caller is told.
        """
        columns = PrintColumns.decode([given.encode()])
        (found,) = self.add_all(columns, [label], [payoff], [told])
        return found

    def add_all(
        self,
        given: PrintColumns,
        labels: Sequence[int],
        payoffs: Sequence[float],
        told: Sequence[int] = (),
    ) -> list[Finding]:
        """The same of rows of one kind, one after another. By default all are `Told.CLEAN`."""
        found: list[Finding] = []
        said = np.array(told or [Told.CLEAN] * len(given), np.int8)
        while len(found) < len(given):
            rows = slice(len(found), len(found) + _AT_ONCE)
            found += self._add(given.part(rows), labels[rows], payoffs[rows], said[rows])
        return found

    def _add(
        self,
        given: PrintColumns,
        labels: Sequence[int],
        payoffs: Sequence[float],
        told: npt.NDArray[np.int8],
    ) -> list[Finding]:
        """Take the first row, and those behind it that can be judged beside it."""
        ring = self._ring
        if ring is None or not ring.takes(given):
            # A model whose inputs have become others is another model.
            ring = self._ring = Ring.like(given)
        classes = np.array(labels, np.int32)
        seen = self.compare(ring, given, classes)
        images, together = len(given.levels) > 0, len(given)
        if (seen.repeats or images) and True in seen.touched:
            # It may not be kept, and what others are compared with moves.
            together = seen.touched.index(True)
        if not together:
            if len(given) > 1:
                return self._add(given.part(slice(1)), labels[:1], payoffs[:1], told[:1])
            if seen.repeats:
                # Asked again: nobody learns from that what they did not know.
                return [Finding()]
            anchored = self._anchored(ring, given, seen, int(told[0]))
            if anchored is not None:
                return [anchored]
            together = 1
        found = [
            self._judge(ring.count + at, at, seen, payoffs[at], images) for at in range(together)
        ]
        ring.add(given.part(slice(together)), classes[:together], told[:together])
        return found

    def _anchored(
        self, ring: Ring, given: PrintColumns, seen: SessionComparison, told: int
    ) -> Finding | None:
        """Of a single near-duplicate, by the nearest row of the same version of which the caller
        was told; of a clean one, by the nearest clean one. One that is withheld, as those were
        that it nearly repeats, says nothing new.
        """
        own = seen.own[0]
        alike = (seen.near[0] | seen.close[0]) & same_version(seen.labels, own)
        least = max(told, Told.CLASS)
        places = (alike & (ring.told[: ring.used] >= least)).nonzero()[0]
        if not len(places):
            return Finding() if told == Told.NOTHING and alike.any() else None
        apart = (ring.prints.levels[:, places] != given.levels).sum(axis=0)
        anchor = seen.labels[places[apart.argmin()]]
        return Finding(anchor=plain_class(int(anchor)), turned=bool(anchor != own))

    def _judge(
        self, count: int, at: int, seen: SessionComparison, payoff: float, images: bool
    ) -> Finding:
        if images:
            search = self._verdicts.add(payoff)
        else:
            near = move = 0.0
            if seen.touched[at]:
                near = _NEAR_PAYOFF * bool(seen.near[at].any())
                # Honest texts are often made of one another, and told apart by a word.
                move = 0.0 if seen.gaps is None else _move_payoff(seen, at, payoff)
            # All, or the others would miss what the first has seen.
            search = self._near.add(near) | self._verdicts.add(payoff) | self._moves.add(move)
        extraction = seen.gaps is not None and self._measure(count, seen.gaps[at])
        return Finding(search, extraction)

    def _measure(self, count: int, gap: float) -> bool:
        if gap == np.inf:
            return False
        self._gaps[self._gaps_taken % _DISTANCES] = gap
        self._gaps_taken += 1
        if self._gaps_taken < _FIRST_TEST or count % _TEST_EVERY:
            return False
        return normality(self._gaps[: self._gaps_taken]) < NORMAL


def _move_payoff(seen: SessionComparison, at: int, payoff: float) -> float:
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
