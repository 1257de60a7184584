"""Detects query attacks in a caller's requests: evidence of a search, and of an extraction.

**A search** for an adversarial input asks near the same input again and again.

*Images* (rows that have levels). A row is a near-duplicate of an earlier one, its anchor, if it
shares a quarter of the hashes, if no level is more than one off, or if few levels differ at all.
Frames of a camera and rescans are near-duplicates, too, so to be one is no evidence. The answer to
it can be the anchor's class (`Finding.anchor`), which tells a search nothing; a near-duplicate is
never an anchor itself, so nobody walks away from one in small steps. Nor is a row whose answer was
withheld. A row that was told its class but was not clean is an anchor of such rows alone: else its
class would leave in the name of a row that screening takes for clean. Where a row's own class is
another than its anchor's (`Finding.turned`), that is worth an alert. A search is found by rows that
are new and adversarial: of honest ones, two in five at most may be, since light, noise and other
scanners make more of them than calibration promises.

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

Which callers' sessions led to something, for those who watch over the gateway.
"""

import secrets
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import lru_cache
from itertools import count
from statistics import NormalDist
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from gateway.sessions.fingerprints import Fingerprint, has_levels
from gateway.sessions.session_rows import (
    Disclosure,
    SeenRow,
    SessionRows,
    plain_class,
    session_rows,
)
from sealgate.trust.times import format_micros

# Shares of the wealth that are staked side by side, so that bursts and slow searches both show.
_SHARES = (0.8, 0.1, 0.01)
_NOTHING = (0.0, 0.0, 0.0)
_MOST = 1000


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


class Finding(NamedTuple):
    """Of one row: whether there is now a search, and an extraction; of a near-duplicate, the class
    of its anchor, and whether its own is another.
    """

    search: bool = False
    extraction: bool = False
    anchor: int | None = None
    turned: bool = False


_NO_FINDING = Finding()


@dataclass(slots=True)
class CallerSession:
    """One caller's rows of one model, in the order in which they came. Not safe for threads."""

    rows: SessionRows = field(default_factory=session_rows)
    _near: Alarm = field(default_factory=lambda: Alarm(LEVEL))
    _verdicts: Alarm = field(default_factory=lambda: Alarm(LEVEL))
    _moves: Alarm = field(default_factory=lambda: Alarm(LEVEL))
    _gaps: npt.NDArray[np.float64] = field(default_factory=lambda: np.zeros(_DISTANCES))
    _gaps_taken: int = 0
    _count: int = 0

    def add(
        self, given: Fingerprint, label: int, payoff: float, told: Disclosure = Disclosure.CLEAN
    ) -> Finding:
        """Take one row. `label` is its class, `payoff` that of the verdict; `told` says what its
        caller is told.
        """
        (found,) = self.add_all([given.encode()], [label], [payoff], [told])
        return found

    def add_all(
        self,
        prints: Sequence[bytes],
        labels: Sequence[int],
        payoffs: Sequence[float],
        told: Sequence[int] = (),
    ) -> list[Finding]:
        """The same of rows of one kind, their encoded prints, one after another. By default all
        are `Disclosure.CLEAN`. Raises ValueError for what is no print.
        """
        images = has_levels(prints[0])
        seen = self.rows.take(prints, labels, told or [Disclosure.CLEAN] * len(prints))
        judge = self._judge_image if images else self._judge
        return [judge(SeenRow(*each), payoff) for each, payoff in zip(seen, payoffs, strict=True)]

    def _judge_image(self, seen: SeenRow, payoff: float) -> Finding:
        if not seen.is_new:
            if seen.anchor is None:
                return _NO_FINDING
            return Finding(anchor=plain_class(seen.anchor), turned=seen.turned)
        search = self._verdicts.add(payoff)
        return Finding(search, self._measure(seen.gap))

    def _judge(self, seen: SeenRow, payoff: float) -> Finding:
        if not seen.is_new:
            return _NO_FINDING
        near = move = 0.0
        if seen.touched:
            near = _NEAR_PAYOFF * seen.near
            # Honest texts are often made of one another, and told apart by a word.
            if seen.gap is not None:
                move = (_CLOSE_PAYOFF * (1 + payoff) + _TURNED_PAYOFF * seen.turned) / 3
        # All, or the others would miss what the first has seen.
        search = self._near.add(near) | self._verdicts.add(payoff) | self._moves.add(move)
        return Finding(search, self._measure(seen.gap))

    def _measure(self, gap: float | None) -> bool:
        """Take a new row's distance; whether distances are now those of an extraction."""
        count, self._count = self._count, self._count + 1
        if gap is None or gap == np.inf:
            return False
        self._gaps[self._gaps_taken % _DISTANCES] = gap
        self._gaps_taken += 1
        if self._gaps_taken < _FIRST_TEST or count % _TEST_EVERY:
            return False
        return normality(self._gaps[: self._gaps_taken]) < NORMAL


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


class FlaggedSession(NamedTuple):
    """A caller's session with a model that looked like an attack, and what follows from it."""

    id: str
    time: str
    principal: str
    model: str
    action: str


class FlaggedSessions:
    """The newest thousand. Safe for many threads."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        """`clock` is in seconds."""
        self._clock = clock
        self._mutex = threading.Lock()
        # Ids of another start are others.
        self._instance = secrets.token_hex(4)
        self._numbers = count(1)
        self._kept: OrderedDict[str, FlaggedSession] = OrderedDict()
        self._until: OrderedDict[tuple[str, str, str], float] = OrderedDict()

    def add(self, principal: str, model: str, action: str, seconds: float) -> None:
        """Keep a session, unless it was found within the last `seconds` already."""
        place, now = (principal, model, action), self._clock()
        with self._mutex:
            known = self._until.get(place, now) > now
            self._until[place] = now + seconds
            self._until.move_to_end(place)
            if len(self._until) > _MOST:
                self._until.popitem(last=False)
            if known:
                return
            id_ = f"{self._instance}-{next(self._numbers)}"
            self._kept[id_] = FlaggedSession(id_, format_micros(datetime.now(UTC)), *place)
            if len(self._kept) > _MOST:
                self._kept.popitem(last=False)

    def after(self, id_: str) -> list[FlaggedSession]:
        """Those after one, or all where it is not known; oldest first."""
        with self._mutex:
            found = list(self._kept.values())
            start = list(self._kept).index(id_) + 1 if id_ in self._kept else 0
        return found[start:]
