"""When an answer or a refusal may leave, by the policy's section `screens`.

`hold_ms` is a time after the request came. `hold_stage` holds every request of a version whose
screening has two stages to the slower one's clock: the longest that any of the last KEPT requests
took that had a row for the response graph. That time follows the load and so tells of it, but for
none of these requests which stage decided. Until one such request has come, nothing but `hold_ms`
is known to hold to.

A request that gives itself less time than it is held to is refused on arrival, whatever its row:
where its time ran out, only one that had a row for the response graph would not be answered. What
such requests do not let be measured is forgotten: after KEPT of them in a row, none of which was
let in, so is the clock that they could not reach.
"""

import threading
import time
from collections import OrderedDict, deque
from collections.abc import Callable
from dataclasses import dataclass, field

from inference.engine.result import InferenceResult
from inference.engine.table import LiveVersion
from sealgate.reasons import Reason, Refusal
from sealgate.trust.policy import Policy
from sealgate.trust.policy.screening import SLOW, ScreeningRules

KEPT = 256
# Versions that are live at once; the one asked longest ago is forgotten first.
_VERSIONS = 64


@dataclass(slots=True)
class _Clock:
    """Of a version: the seconds that its last requests took which had a row for the response graph,
    and how many were refused on arrival since.
    """

    took: deque[float] = field(default_factory=lambda: deque(maxlen=KEPT))
    refused: int = 0

    def reads(self) -> float:
        return max(self.took, default=0.0)


class ResponseDelay:
    """Waits. Safe for many threads. `now` is in nanoseconds, of a clock that only grows."""

    def __init__(
        self,
        policy: Callable[[], Policy],
        now: Callable[[], int] = time.monotonic_ns,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        """`policy` may raise POLICY_INVALID."""
        self._policy = policy
        self._now = now
        self._sleep = sleep
        self._mutex = threading.Lock()
        self._slower: OrderedDict[str, _Clock] = OrderedDict()

    def admit(self, live: LiveVersion, own: float | None) -> None:
        """Raises DEADLINE_TOO_SHORT where a request gives itself `own` seconds (None: no bound) and
        is held for longer, by the stage's clock.
        """
        screen = self._policy().screen(live.model)
        if own is None or not _by_stage(screen, live):
            return
        with self._mutex:
            clock = self._clock(live.digest)
            if own >= max(screen.hold_ms / 1000, clock.reads()):
                return
            clock.refused += 1
            if clock.refused >= KEPT:
                clock.took.clear()
                clock.refused = 0
        raise Refusal(Reason.DEADLINE_TOO_SHORT, "less than it is held to")

    def wait(
        self,
        live: LiveVersion,
        answer: InferenceResult | None,
        session: str | None,
        began: int,
        remaining: float | None,
    ) -> None:
        """Wait until the request that came at `began` may be answered, `remaining` seconds at
        most.

        `session` is what the policy says of a session like this one, if it looks like an attack.
        """
        took = (self._now() - began) / 1e9
        screen = self._policy().screen(live.model)
        least = screen.hold_ms / 1000
        if _by_stage(screen, live):
            graph = answer is not None and answer.graph_rows > 0
            least = max(least, self._slowest(live.digest, took if graph else None))
        if session == SLOW and screen.sessions:
            least += screen.sessions.slow_ms / 1000
        left = least - took
        if left > 0:
            self._sleep(left if remaining is None else max(0.0, min(left, remaining)))

    def wait_least(self, screen: ScreeningRules, began: float) -> None:
        """Wait until `hold_ms` have passed since `began`, in seconds of the same clock."""
        self._sleep(max(0.0, screen.hold_ms / 1000 - (self._now() / 1e9 - began)))

    def _slowest(self, digest: str, took: float | None) -> float:
        """The slower stage's clock of a version, after a request that `took` so long in it."""
        with self._mutex:
            clock = self._clock(digest)
            if took is not None:
                clock.took.append(took)
                clock.refused = 0
            return clock.reads()

    def _clock(self, digest: str) -> _Clock:
        clock = self._slower.setdefault(digest, _Clock())
        self._slower.move_to_end(digest)
        if len(self._slower) > _VERSIONS:
            self._slower.popitem(last=False)
        return clock


def _by_stage(screen: ScreeningRules, live: LiveVersion) -> bool:
    """Whether requests of the version are held to the slower stage's clock."""
    return screen.hold_stage and live.ready.detector.first is not None
