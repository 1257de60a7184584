"""Watches whether traffic is still like the rows that a version's screening was calibrated on.

The bound on false alarms holds while clean traffic is exchangeable with the calibration rows. Of
each request's first row the score is ranked among the calibration scores and all scores before it
(ties by lot): while traffic is exchangeable with calibration, these p-values are independent and
uniform (Vovk, Nouretdinov and Gammerman, "Testing exchangeability on-line", 2003), and no betting
on them gains. The bets are a Simple Jumper's: that scores grow, shrink, or crowd the uppermost 5%.

A version's bound is withdrawn once the gain reaches 1 / ALPHA. While traffic is exchangeable that
ever happens, on one gateway between two starts, with a chance of ALPHA at most, however long it
goes on. After EPOCH scores it begins again, with the calibration scores alone and half the chance.
"""

import bisect
import logging
import math
import random
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Protocol

from inference.answer import Answer
from inference.live import Live

_log = logging.getLogger(__name__)

ALPHA = 0.001
EPOCH = 20_000
_JUMP = 0.0001
_TAIL = 0.05
_TAIL_STAKE = 0.1
# In whose name the registry's log holds what the gateway itself reports.
_SERVICE = "gateway"


class Drifts(Protocol):
    def withdraw(
        self, principal: str, origin: str, model: str, version: int, finding: Mapping[str, object]
    ) -> bool: ...

    def withdrawn(self) -> dict[str, str]: ...


@dataclass(slots=True)
class Jumper:
    """The capital of a bettor on p-values, who moves a little of it between the bets each time."""

    _shares: tuple[float, ...] = (0.25,) * 4
    _log: float = 0.0

    def add(self, p: float) -> float:
        """Bet on one p-value; return the logarithm of the capital."""
        tail = 1 - _TAIL_STAKE + (_TAIL_STAKE / _TAIL if p <= _TAIL else 0.0)
        gains = (1.0, 1.5 - p, 0.5 + p, tail)
        # Plain numbers: of so few, at each request, numpy's cost four times as much.
        shares = [
            ((1 - _JUMP) * share + _JUMP / 4) * gain
            for share, gain in zip(self._shares, gains, strict=True)
        ]
        total = sum(shares)
        self._log += math.log(total)
        self._shares = tuple(share / total for share in shares)
        return self._log


class Traffic:
    """The scores of one version, against its calibration scores. Not safe for threads."""

    def __init__(self, calibration: tuple[float, ...], draw: Callable[[], float]) -> None:
        self._calibration = calibration
        self._draw = draw
        self._scores = sorted(calibration)
        self._jumper = Jumper()
        self._epoch = 1
        self.requests = 0
        self.log10 = 0.0
        """The evidence against exchangeability, as a power of ten."""

    def add(self, score: float) -> bool:
        """Take the score of one request; say whether the evidence suffices now."""
        if len(self._scores) - len(self._calibration) >= EPOCH:
            self._scores, self._jumper = sorted(self._calibration), Jumper()
            self._epoch += 1
        # What is not a number is above all that is.
        score = math.inf if math.isnan(score) else score
        above = len(self._scores) - bisect.bisect_right(self._scores, score)
        level = bisect.bisect_right(self._scores, score) - bisect.bisect_left(self._scores, score)
        p = (above + self._draw() * (level + 1)) / (len(self._scores) + 1)
        bisect.insort(self._scores, score)
        self.requests += 1
        # The chances of the epochs are ALPHA / 2, / 4, / 8 …
        self.log10 = self._jumper.add(p) / math.log(10) - self._epoch * math.log10(2)
        return bool(self.log10 >= -math.log10(ALPHA))


class DriftWatch:
    """Takes the scores of answers, and withdraws bounds. Safe for many threads."""

    def __init__(
        self, drifts: Drifts, origin: str, draw: Callable[[], float] | None = None
    ) -> None:
        """`origin` is the gateway's answer log; `draw` draws from 0 to 1."""
        self._drifts = drifts
        self._origin = origin
        self._draw = draw or random.SystemRandom().random
        self._mutex = threading.Lock()
        self._traffic: dict[str, Traffic] = {}
        self._found: dict[str, tuple[Live, dict[str, int]]] = {}
        self._withdrawn: dict[str, str] = {}

    def observe(self, live: Live, answer: Answer) -> None:
        """Take a request of which nothing but its arrival decided that it is taken."""
        if live.digest in self._withdrawn or live.digest in self._found:
            return
        detector = live.ready.detector
        # That of the first row: the highest of several is no row's like any other.
        one = len(answer.features) == 1
        score = answer.score if one else float(detector.scores(answer.features[:1])[0])
        with self._mutex:
            traffic = self._traffic.get(live.digest)
            if traffic is None:
                calibration = detector.calibration.scores
                traffic = self._traffic[live.digest] = Traffic(calibration, self._draw)
            if traffic.add(score):
                finding = {"requests": traffic.requests, "log10_evidence": int(traffic.log10)}
                self._found[live.digest] = live, finding
                del self._traffic[live.digest]

    def report(self) -> None:
        """Log what was found, and learn what others found. Raises Refusal where it cannot; it is
        tried again the next time.
        """
        for digest, (live, finding) in list(self._found.items()):
            self._drifts.withdraw(_SERVICE, self._origin, live.model, live.version, finding)
            _log.error("%s %d: traffic is no longer as calibrated", live.model, live.version)
            self._withdrawn[digest] = ""
            del self._found[digest]
        self._withdrawn = self._drifts.withdrawn()
        with self._mutex:
            for digest in self._withdrawn.keys() & self._traffic.keys():
                del self._traffic[digest]

    def withdrawn(self, digest: str) -> str:
        """When the bound of a version was withdrawn; empty while it holds."""
        return self._withdrawn.get(digest, "")
