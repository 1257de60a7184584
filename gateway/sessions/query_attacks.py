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

from collections import deque
from dataclasses import dataclass, field
from functools import lru_cache
from statistics import NormalDist
from typing import Any

import numpy as np
import numpy.typing as npt

from gateway.sessions.fingerprints import FEWEST_LEVELS, HASHES, Print, distance

# Shares of the wealth that are staked side by side, so that bursts and slow searches both show.
_SHARES = (0.8, 0.1, 0.01)
_STAKES = np.array(_SHARES)
_NOTHING = (0.0,) * len(_SHARES)


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
    _values: tuple[float, ...] = _NOTHING

    def add(self, payoff: float) -> bool:
        """Take one payoff; True where the level is passed, and then begin anew."""
        pairs = zip(_SHARES, self._values, strict=True)
        self._values = tuple((1 - stake + stake * payoff) * (value + 1) for stake, value in pairs)
        if sum(self._values) < self.level * len(_SHARES):
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
REMEMBERED = 256
"""How many rows of a session are kept."""
NEAR = HASHES // 4
"""Two rows that share so many hashes are near duplicates."""
_NEAR_PAYOFF = 1000.0
_CLOSE_PAYOFF = 100.0
_TURNED_PAYOFF = 3e5

_FIRST_TEST = 100
_TEST_EVERY = 20
_DISTANCES = 400
# Below this, distances are not those of a sample; honest sessions stay above .91 (`make
# bench-stateful`).
NORMAL = 0.88
_FIRST_ROOM = 16
_ROWS_ALONG = {"hashes": 1, "levels": 1, "exact": 0, "sketches": 0, "labels": 0}


@dataclass(slots=True)
class _Ring:
    """The last rows. It grows as rows come, up to REMEMBERED. Hashes and levels have a column for
    each row: they are compared with all rows at once, and so that is several times as fast.
    """

    hashes: npt.NDArray[np.uint16]
    levels: npt.NDArray[np.int8]
    exact: npt.NDArray[np.uint64]
    sketches: npt.NDArray[np.int8]
    labels: npt.NDArray[np.int32]
    count: int = 0

    @classmethod
    def like(cls, given: Print) -> "_Ring":
        return cls(
            np.zeros((HASHES, _FIRST_ROOM), np.uint16),
            np.zeros((len(given.levels), _FIRST_ROOM), np.int8),
            np.zeros(_FIRST_ROOM, np.uint64),
            np.zeros((_FIRST_ROOM, len(given.sketch)), np.int8),
            np.zeros(_FIRST_ROOM, np.int32),
        )

    def add(self, given: Print, label: int) -> None:
        room = len(self.labels)
        if self.count == room < REMEMBERED:
            for name, axis in _ROWS_ALONG.items():
                kept: Any = getattr(self, name)
                setattr(self, name, np.concatenate([kept, np.zeros_like(kept)], axis))
            room *= 2
        place = self.count % room
        self.hashes[:, place], self.levels[:, place] = given.hashes, given.levels
        self.exact[place], self.sketches[place] = _number(given.exact), given.sketch
        self.labels[place] = label
        self.count += 1

    def takes(self, given: Print) -> bool:
        """Whether a row's prints are of the kind of those before it."""
        sizes = (self.sketches.shape[1], len(self.levels))
        return sizes == (len(given.sketch), len(given.levels))

    def near(self, given: Print) -> npt.NDArray[np.bool_]:
        """Which rows [used] share a quarter of its hashes."""
        same = self.hashes[:, : self.used] == given.hashes[:, None]
        return np.asarray(same.sum(axis=0, dtype=np.uint8) >= NEAR)

    def close(self, given: Print) -> npt.NDArray[np.bool_]:
        """Which rows [used] have no level that is more than one off; none where there are none."""
        if not len(self.levels):
            return np.zeros(self.used, np.bool_)
        found = self._within(given, slice(FEWEST_LEVELS), slice(self.used))
        (left,) = found.nonzero()
        if len(left):
            # The other levels, of the few rows that are not told apart by so many.
            found[left] = self._within(given, slice(FEWEST_LEVELS, None), left)
        return found

    @property
    def used(self) -> int:
        return min(self.count, len(self.labels))

    def _within(self, given: Print, levels: slice, rows: Any) -> npt.NDArray[np.bool_]:
        off = np.abs(self.levels[levels, rows] - given.levels[levels, None])
        return np.asarray(off.max(axis=0, initial=0) <= 1)


@dataclass(slots=True)
class CallerSession:
    """One caller's rows of one model, in the order in which they came. Not safe for threads."""

    _near: Alarm = field(default_factory=lambda: Alarm(LEVEL))
    _verdicts: Alarm = field(default_factory=lambda: Alarm(LEVEL))
    _moves: Alarm = field(default_factory=lambda: Alarm(LEVEL))
    _gaps: deque[float] = field(default_factory=lambda: deque(maxlen=_DISTANCES))
    _ring: _Ring | None = None

    def add(self, given: Print, label: int, payoff: float) -> tuple[bool, bool]:
        """Take one row; say whether there is now a search, and an extraction. `label` is the class
        answered, `payoff` that of the verdict.
        """
        ring = self._ring
        if ring is None or not ring.takes(given):
            # A model whose inputs have become others is another model.
            ring = self._ring = _Ring.like(given)
        near = ring.near(given)
        if near.any() and (ring.exact[: ring.used] == _number(given.exact)).any():
            # Asked again: nobody learns from that what they did not know.
            return False, False
        # All, or the others would miss what the first has seen.
        search = (
            self._near.add(_NEAR_PAYOFF * near.any())
            | self._verdicts.add(payoff)
            | self._moves.add(_move_payoff(ring, given, label, payoff, near))
        )
        extraction = self._measure(ring, given, label)
        ring.add(given, label)
        return search, extraction

    def _measure(self, ring: _Ring, given: Print, label: int) -> bool:
        same = ring.sketches[: ring.used][ring.labels[: ring.used] == label]
        if not same.size:
            return False
        self._gaps.append(float(distance(given.sketch, same).min()))
        if len(self._gaps) < _FIRST_TEST or ring.count % _TEST_EVERY:
            return False
        return normality(np.array(self._gaps)) < NORMAL


def _move_payoff(
    ring: _Ring, given: Print, label: int, payoff: float, near: npt.NDArray[np.bool_]
) -> float:
    if not len(given.sketch):
        # Honest texts are often made of one another, and told apart by a word.
        return 0.0
    close = near | ring.close(given)
    if not close.any():
        return 0.0
    turned = bool((ring.labels[: ring.used][close] != label).any())
    return (_CLOSE_PAYOFF * (1 + payoff) + _TURNED_PAYOFF * turned) / 3


def _number(exact: bytes) -> np.uint64:
    return np.uint64(int.from_bytes(exact))


def normality(values: npt.NDArray[np.float64]) -> float:
    """Shapiro and Francia's W' of values [n], n from 3 on, after those beyond three standard
    deviations are left out, as PRADA does: 1 for a normal sample, less for any other; 0 where all
    are the same.
    """
    spread = values.std()
    kept = np.sort(values[np.abs(values - values.mean()) <= 3 * spread])
    if spread < 1e-9 or kept.std() < 1e-9:
        return 0.0
    return float(np.corrcoef(kept, _normal_places(len(kept)))[0, 1] ** 2)


# As many sizes as a session has distances.
@lru_cache(_DISTANCES)
def _normal_places(size: int) -> npt.NDArray[np.float64]:
    """Where a normal sample's values are to be expected, in order [size]."""
    normal = NormalDist()
    return np.array([normal.inv_cdf((i - 0.375) / (size + 0.25)) for i in range(1, size + 1)])
