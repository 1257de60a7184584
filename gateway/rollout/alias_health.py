"""Health of each alias: counts over a window of time, held against the policy's limits.

It counts the version's own behaviour: failed requests, the time that screening and running take,
screening's verdicts, and whether it answers as another version does. A caller's mistakes, a full
queue and a log that cannot be written say nothing of a version.
"""

import threading
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from inference.engine import InferenceResult, LiveVersion
from sealgate.reasons import Reason, SealgateError
from sealgate.trust.policy import HealthLimits, OutcomeLimits

FAULTS = frozenset({Reason.INTERNAL, Reason.ANSWER_MALFORMED, Reason.RUN_HUNG})
"""The reasons for which a version has failed a request."""

_SLICES = 10


def finding(counts: Mapping[str, int], limits: HealthLimits) -> str | None:
    """Which limit the counts of a window pass, in words; None where they pass none.

    `counts` are `requests`, of them `errors`, `slow` (slower than `p99_ms`) and `screened`, and
    `compared`, of them `differed`.
    """
    slow = None if limits.p99_ms is None else 1
    for what, part, whole, most in (
        ("errors", "errors", "requests", limits.error_percent),
        (f"slower than {limits.p99_ms} ms", "slow", "requests", slow),
        ("suspect or adversarial", "screened", "requests", limits.screening_percent),
        ("answered differently", "differed", "compared", limits.disagreement_percent),
    ):
        seen, of = counts.get(part, 0), counts.get(whole, 0)
        if most is not None and of >= limits.minimum_requests and seen * 100 > most * of:
            share = f"{100 * seen / of:.1f} % of {of} requests in {limits.window_seconds} s"
            return f"{what}: {share}, limit {most} %"
    return None


class HealthWindow:
    """Counts by name of the last `seconds`, in slices. Times are in seconds, of one clock."""

    def __init__(self, seconds: float) -> None:
        self._slice = seconds / _SLICES
        self._slices: dict[int, Counter[str]] = {}

    def add(self, now: float, *names: str) -> None:
        """Count one of each."""
        place = int(now / self._slice)
        counts = self._slices.get(place)
        if counts is None:
            self._slices = {p: c for p, c in self._slices.items() if p > place - _SLICES}
            counts = self._slices[place] = Counter()
        counts.update(names)

    def total(self, now: float) -> Counter[str]:
        """The counts of the window that ends now."""
        first = int(now / self._slice) - _SLICES + 1
        total: Counter[str] = Counter()
        for place, counts in self._slices.items():
            if place >= first:
                total.update(counts)
        return total


@dataclass(frozen=True, slots=True)
class Breach:
    """A pointer whose version passes a limit, and which (`finding`)."""

    model: str
    alias: str
    pointer: str
    sequence: int
    limits: HealthLimits | OutcomeLimits
    finding: str


@dataclass(frozen=True, slots=True)
class _Watched:
    """The counts of one pointer. It holds no version, which would keep it loaded."""

    pointer: str
    sequence: int
    limits: HealthLimits
    window: HealthWindow


class AliasHealth:
    """Counts for each alias that the policy limits, from its newest pointer on. For many threads.

    `limits` are those of a model and alias in force, if any; `clock` is in seconds.
    """

    def __init__(
        self,
        limits: Callable[[str, str], HealthLimits | None],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._limits = limits
        self._clock = clock
        self._mutex = threading.Lock()
        self._watched: dict[tuple[str, str], _Watched] = {}

    def run(self, live: LiveVersion, work: Callable[[], InferenceResult]) -> InferenceResult:
        """Return what `work` finds for one request of the version, and count how it went."""
        limits = self._limits(live.model, live.alias)
        if limits is None:
            return work()
        began = self._clock()
        names = ["requests"]
        try:
            answer = work()
            if answer.verdict != "clean":
                names.append("screened")
            return answer
        except SealgateError as refusal:
            if refusal.reason in FAULTS:
                names.append("errors")
            raise
        finally:
            now = self._clock()
            if limits.p99_ms is not None and now - began > limits.p99_ms / 1000:
                names.append("slow")
            self._add(live, limits, now, *names)

    def ran(
        self,
        live: LiveVersion,
        results: Sequence[InferenceResult | SealgateError],
        seconds: float,
    ) -> None:
        """Count how a burst of requests of the version went, which took so long together."""
        limits = self._limits(live.model, live.alias)
        if limits is None:
            return
        now = self._clock()
        slow = limits.p99_ms is not None and seconds > limits.p99_ms / 1000
        for result in results:
            names = ["requests", "slow"] if slow else ["requests"]
            if isinstance(result, SealgateError):
                names += ["errors"] if result.reason in FAULTS else []
            elif result.verdict != "clean":
                names.append("screened")
            self._add(live, limits, now, *names)

    def compared(self, live: LiveVersion, agreed: bool) -> None:
        """Count that an answer of the version was held against another version's."""
        limits = self._limits(live.model, live.alias)
        if limits is not None:
            self._add(live, limits, self._clock(), "compared", *(() if agreed else ("differed",)))

    def breaches(self) -> list[Breach]:
        """The aliases that pass a limit in force now."""
        found = []
        now = self._clock()
        with self._mutex:
            for (model, alias), item in self._watched.items():
                if self._limits(model, alias) != item.limits:
                    continue
                words = finding(item.window.total(now), item.limits)
                if words is not None:
                    found.append(
                        Breach(model, alias, item.pointer, item.sequence, item.limits, words)
                    )
        return found

    def _add(self, live: LiveVersion, limits: HealthLimits, now: float, *names: str) -> None:
        place = (live.model, live.alias)
        with self._mutex:
            item = self._watched.get(place)
            if item is not None and item.sequence > live.sequence:
                # It was asked before the alias moved on.
                return
            if item is None or (item.pointer, item.limits) != (live.pointer, limits):
                item = _Watched(
                    live.pointer, live.sequence, limits, HealthWindow(limits.window_seconds)
                )
                self._watched[place] = item
            item.window.add(now, *names)
