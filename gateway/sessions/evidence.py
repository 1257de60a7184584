"""What a caller's requests say together: evidence of a search, and of an extraction.

**A search** for an adversarial input asks near the same input again and again, and much of what it
asks looks adversarial. Two alarms (`gateway.sessions.bets`) watch for either:

- near duplicates: of honest rows, 1 in 1,000 at most may share a quarter of the hashes of a row
  before it without being the same. A client that sends frames of a video breaks that: see docs.
- verdicts: of honest rows, as many are suspect or adversarial as calibration promises, at most.

An honest session of t rows raises one of them with a chance of 2 t / LEVEL at most.

**An extraction** asks at distances that no honest sample has (PRADA, Juuti et al., arXiv
1805.02628): the distances to the nearest earlier row of the same class are no longer normal, by the
statistic W' of Shapiro and Francia. Its level is set on honest sessions, not proved.
"""

from collections import deque
from dataclasses import dataclass, field
from statistics import NormalDist
from typing import Any

import numpy as np
import numpy.typing as npt

from gateway.sessions.bets import Alarm
from gateway.sessions.prints import HASHES, Print, distance

LEVEL = 2e4
REMEMBERED = 256
"""How many rows of a session are kept."""
NEAR = HASHES // 4
"""Two rows that share so many hashes are near duplicates."""
_NEAR_PAYOFF = 1000.0

_FIRST_TEST = 100
_TEST_EVERY = 20
_DISTANCES = 400
# Below this, distances are not those of a sample; honest sessions stay above .91 (`make
# bench-stateful`).
NORMAL = 0.88
_FIRST_ROOM = 16


@dataclass(slots=True)
class _Ring:
    """The last rows, column by column. It grows as rows come, up to REMEMBERED."""

    hashes: npt.NDArray[np.uint32]
    exact: npt.NDArray[np.uint64]
    sketches: npt.NDArray[np.int8]
    labels: npt.NDArray[np.int32]
    count: int = 0

    @classmethod
    def like(cls, given: Print) -> "_Ring":
        return cls(
            np.zeros((_FIRST_ROOM, HASHES), np.uint32),
            np.zeros(_FIRST_ROOM, np.uint64),
            np.zeros((_FIRST_ROOM, len(given.sketch)), np.int8),
            np.full(_FIRST_ROOM, -1, np.int32),
        )

    def add(self, given: Print, label: int) -> None:
        room = len(self.labels)
        if self.count == room < REMEMBERED:
            for name, empty in (("hashes", 0), ("exact", 0), ("sketches", 0), ("labels", -1)):
                column: Any = getattr(self, name)
                setattr(self, name, np.concatenate([column, np.full_like(column, empty)]))
            room *= 2
        place = self.count % room
        self.hashes[place], self.exact[place] = given.hashes, _number(given.exact)
        self.sketches[place], self.labels[place] = given.sketch, label
        self.count += 1

    @property
    def used(self) -> int:
        return min(self.count, len(self.labels))


@dataclass(slots=True)
class Session:
    """One caller's rows of one model, in the order in which they came. Not safe for threads."""

    _near: Alarm = field(default_factory=lambda: Alarm(LEVEL))
    _verdicts: Alarm = field(default_factory=lambda: Alarm(LEVEL))
    _gaps: deque[float] = field(default_factory=lambda: deque(maxlen=_DISTANCES))
    _ring: _Ring | None = None

    def add(self, given: Print, label: int, payoff: float) -> tuple[bool, bool]:
        """Take one row; say whether there is now a search, and an extraction. `label` is the class
        answered, `payoff` that of the verdict.
        """
        ring = self._ring
        if ring is None or ring.sketches.shape[1] != len(given.sketch):
            # A model whose inputs have become others is another model.
            ring = self._ring = _Ring.like(given)
        shared = np.count_nonzero(ring.hashes[: ring.used] == given.hashes, axis=1)
        near = bool((shared >= NEAR).any())
        if near and (ring.exact[: ring.used] == _number(given.exact)).any():
            # Asked again: nobody learns from that what they did not know.
            return False, False
        # Both, or the second would miss what the first has seen.
        search = self._near.add(_NEAR_PAYOFF * near) | self._verdicts.add(payoff)
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
    size, normal = len(kept), NormalDist()
    places = [normal.inv_cdf((i - 0.375) / (size + 0.25)) for i in range(1, size + 1)]
    return float(np.corrcoef(kept, places)[0, 1] ** 2)
