"""Watches whether traffic is still like the rows that a version's screening was calibrated on.

The bound on false alarms holds while clean traffic is exchangeable with the calibration rows. Of
each request's first row the score is ranked among the calibration scores and all scores before it
(ties by lot): while traffic is exchangeable with calibration, these p-values are independent and
uniform (Vovk, Nouretdinov and Gammerman, "Testing exchangeability on-line", 2003), and no betting
on them gains. The bets are a Simple Jumper's: that scores grow, shrink, or gather at the uppermost
5%.

Two bet: one on every request, and one on those alone whose row has not come before
(`inference.screening.traffic`). A version's bound is withdrawn once both have gained 1 / ALPHA. So
who sends a row again and again moves nothing. The first bettor stays for rows that come again by
their nature, the common ones: those that come once are then no longer like the calibration rows,
but all together they are. While traffic is exchangeable with calibration, with its repeats or
without, both ever gain so much, on one gateway between two starts, with a chance of ALPHA at most,
however long it goes on. After EPOCH scores a bettor begins again, with the calibration scores alone
and half the chance.
"""

import bisect
import hashlib
import logging
import math
import os
import secrets
import threading
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from inference.engine import InferenceResult, LiveVersion
from inference.screening.traffic import comparison_steps, quantized_features

_log = logging.getLogger(__name__)

ALPHA = 0.001
EPOCH = 20_000
_JUMP = 0.0001
_TAIL = 0.05
_TAIL_STAKE = 0.1
# The share of its stake that a bettor keeps on each bet, the share that moves to each other bet,
# and the gain of the bet on the uppermost scores.
_STAY, _MOVED = 1 - _JUMP, _JUMP / 4
_TAIL_LOSES = 1 - _TAIL_STAKE
_TAIL_WINS = _TAIL_LOSES + _TAIL_STAKE / _TAIL
_CALLERS = 1024
_DRAWN = 512
# The principal under which the registry's log records the gateway's own reports.
_SERVICE = "gateway"


class DriftReports(Protocol):
    def withdraw(
        self, principal: str, origin: str, model: str, version: int, finding: Mapping[str, object]
    ) -> bool: ...

    def withdrawn(self) -> dict[str, str]: ...


@dataclass(slots=True)
class SimpleJumper:
    """The capital of a bettor on p-values, who moves a little of it between the bets each time."""

    _shares: tuple[float, float, float, float] = (0.25, 0.25, 0.25, 0.25)
    _log: float = 0.0

    def add(self, p: float) -> float:
        """Bet on one p-value; return the logarithm of the capital."""
        # Plain numbers, written out: at each request, a loop or numpy cost several times as much.
        even, small, large, tail = self._shares
        even = _STAY * even + _MOVED
        small = (_STAY * small + _MOVED) * (1.5 - p)
        large = (_STAY * large + _MOVED) * (0.5 + p)
        tail = (_STAY * tail + _MOVED) * (_TAIL_WINS if p <= _TAIL else _TAIL_LOSES)
        total = even + small + large + tail
        self._log += math.log(total)
        self._shares = even / total, small / total, large / total, tail / total
        return self._log


class Traffic:
    """The scores of one version, against its calibration scores. Not safe for threads."""

    def __init__(self, calibration: tuple[float, ...], draw: Callable[[], float]) -> None:
        self._calibration = calibration
        self._draw = draw
        self.scores = sorted(calibration)
        self._jumper = SimpleJumper()
        self._epoch = 1
        self.requests = 0
        self.log10 = 0.0
        """The evidence against exchangeability, as a power of ten; `most` is the most it was."""
        self.most = -math.inf

    def add(self, score: float) -> bool:
        """Take the score of one request; say whether the evidence suffices now."""
        if len(self.scores) - len(self._calibration) >= EPOCH:
            self.scores, self._jumper = sorted(self._calibration), SimpleJumper()
            self._epoch += 1
        # NaN counts as greater than every number.
        score = math.inf if math.isnan(score) else score
        scores = self.scores
        behind = bisect.bisect_right(scores, score)
        level = behind - bisect.bisect_left(scores, score, 0, behind)
        p = (len(scores) - behind + self._draw() * (level + 1)) / (len(scores) + 1)
        scores.insert(behind, score)
        self.requests += 1
        # The chances of the epochs are ALPHA / 2, / 4, / 8 …
        self.log10 = self._jumper.add(p) / math.log(10) - self._epoch * math.log10(2)
        self.most = max(self.most, self.log10)
        return bool(self.log10 >= -math.log10(ALPHA))


class SystemDraws:
    """Draws from 0 to 1 from the system's randomness, which it asks for many at once. Not safe for
    threads.
    """

    def __init__(self) -> None:
        self._left: list[float] = []

    def draw(self) -> float:
        if not self._left:
            drawn = np.frombuffer(os.urandom(8 * _DRAWN), np.uint64)
            # Of 64 bits the 53 that a float64 holds, so that 1 is never drawn.
            self._left = ((drawn >> np.uint64(11)) * 2.0**-53).tolist()
        return self._left.pop()


class Followed:
    """The state of one version's traffic: both bettors, and which rows have come. Of a row a
    digest of eight bytes is kept, of EPOCH rows at most; then all may come again. Not safe for
    threads.
    """

    def __init__(
        self,
        calibration: tuple[float, ...],
        draw: Callable[[], float],
        compared: npt.NDArray[np.float64],
        key: bytes,
    ) -> None:
        """Features are compared in the steps `compared` [F], and digested with `key`."""
        self._compared = compared
        self._key = key
        self._every = Traffic(calibration, draw)
        self._distinct = Traffic(calibration, draw)
        self.seen: set[int] = set()
        self._callers: Counter[str] = Counter()

    def add(self, score: float, features: npt.NDArray[np.floating[Any]], caller: str) -> bool:
        """Take a request by its row's score and features [1, F]; say whether the bound falls."""
        return self.add_all([score], features, [caller])

    def add_all(
        self,
        scores: Sequence[float],
        features: npt.NDArray[np.floating[Any]],
        callers: Sequence[str],
    ) -> bool:
        """Take requests by their rows' scores and features [n, F], until the bound falls; say
        whether it does.
        """
        places = quantized_features(self._compared, features)
        for score, place, caller in zip(scores, places, callers, strict=True):
            if self._add(score, place.tobytes(), caller):
                return True
        return False

    def _add(self, score: float, place: bytes, caller: str) -> bool:
        self._every.add(score)
        row = int.from_bytes(hashlib.blake2b(place, digest_size=8, key=self._key).digest())
        if row not in self.seen:
            if len(self.seen) >= EPOCH:
                self.seen.clear()
            self.seen.add(row)
            self._distinct.add(score)
            # Beyond that number, further callers are counted together.
            known = caller in self._callers or len(self._callers) < _CALLERS
            self._callers[caller if known else ""] += 1
        return min(self._every.most, self._distinct.most) >= -math.log10(ALPHA)

    @property
    def evidence(self) -> float:
        """The power of ten that both bettors have gained now."""
        return min(self._every.log10, self._distinct.log10)

    def finding(self) -> dict[str, int]:
        """As the registry's log has it: who looks into it sees whether one caller did it."""
        distinct = self._distinct.requests
        return {
            "requests": self._every.requests,
            "distinct": distinct,
            "log10_evidence": int(min(self._every.most, self._distinct.most)),
            "callers": len(self._callers),
            "busiest_caller_percent": 100 * max(self._callers.values()) // distinct,
        }


class DriftWatch:
    """Takes the scores of answers, and withdraws bounds. Safe for many threads."""

    def __init__(
        self, drifts: DriftReports, origin: str, draw: Callable[[], float] | None = None
    ) -> None:
        """`origin` is the gateway's answer log; `draw` draws from 0 to 1."""
        self._drifts = drifts
        self._origin = origin
        self._draw = draw or SystemDraws().draw
        self._mutex = threading.Lock()
        # Nobody who does not know it finds rows that are taken for one another.
        self._key = secrets.token_bytes(32)
        self._followed: dict[str, Followed] = {}
        self._found: dict[str, tuple[LiveVersion, dict[str, int]]] = {}
        self._withdrawn: dict[str, str] = {}

    def observe(self, live: LiveVersion, answer: InferenceResult, caller: str) -> None:
        """Take a request of which nothing but its arrival decided that it is taken."""
        self.observe_all(live, [answer], [caller])

    def observe_all(
        self, live: LiveVersion, answers: Sequence[InferenceResult], callers: Sequence[str]
    ) -> None:
        """`observe` for requests of one version, each by its caller."""
        if live.digest in self._withdrawn or live.digest in self._found:
            return
        detector = live.ready.detector
        # Those of the first rows: the highest score of several is no row's like any other.
        first = np.concatenate([answer.features[:1] for answer in answers])
        scores = [
            answer.score if len(answer.features) == 1 else float(detector.scores(features[None])[0])
            for answer, features in zip(answers, first, strict=True)
        ]
        with self._mutex:
            followed = self._followed.get(live.digest)
            if followed is None:
                calibration = detector.calibration.scores
                followed = Followed(calibration, self._draw, comparison_steps(detector), self._key)
                self._followed[live.digest] = followed
            if followed.add_all(scores, first, callers):
                self._found[live.digest] = live, followed.finding()
                del self._followed[live.digest]

    def report(self) -> None:
        """Log what was found, and learn what others found. Raises SealgateError where it cannot; it
        is tried again the next time.
        """
        for digest, (live, finding) in list(self._found.items()):
            self._drifts.withdraw(_SERVICE, self._origin, live.model, live.version, finding)
            _log.error("%s %d: traffic is no longer as calibrated", live.model, live.version)
            self._withdrawn[digest] = ""
            del self._found[digest]
        self._withdrawn = self._drifts.withdrawn()
        with self._mutex:
            for digest in self._withdrawn.keys() & self._followed.keys():
                del self._followed[digest]

    def evidence(self, digest: str) -> float | None:
        """The evidence now that a version's traffic is not as calibrated, as a power of ten; None
        where none of its requests was followed, or the bound has fallen.
        """
        with self._mutex:
            followed = self._followed.get(digest)
            return None if followed is None else followed.evidence

    def withdrawn(self, digest: str) -> str:
        """When the bound of a version was withdrawn; empty while it holds."""
        return self._withdrawn.get(digest, "")
