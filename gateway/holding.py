"""When an answer or a refusal may leave, by the policy's section `screens`.

`hold_ms` is a time after the request came. `hold_stage` holds every request of a version whose
screening has two stages to the slower one's clock: the longest that any of the last KEPT requests
took that had a row for the response graph. That time follows the load and so tells of it, but for
none of these requests which stage decided. Until one such request has come, nothing but `hold_ms`
is known to hold to.
"""

import threading
import time
from collections import OrderedDict, deque
from collections.abc import Callable

from inference.answer import Answer
from inference.live import Live
from sealgate.trust.policy import Policy
from sealgate.trust.screens import SLOW

KEPT = 256
# Versions that are live at once; the one asked longest ago is forgotten first.
_VERSIONS = 64


class Holding:
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
        self._slower: OrderedDict[str, deque[float]] = OrderedDict()

    def wait(
        self,
        live: Live,
        answer: Answer | None,
        session: str | None,
        began: int,
        remaining: float | None,
    ) -> None:
        """Wait until the request that came at `began` may be answered, `remaining` seconds at most.

        `session` is what the policy says of a session like this one, if it looks like an attack.
        """
        took = (self._now() - began) / 1e9
        screen = self._policy().screen(live.model)
        least = screen.hold_ms / 1000
        if screen.hold_stage and live.ready.detector.first is not None:
            graph = answer is not None and answer.graph_rows > 0
            least = max(least, self._slowest(live.digest, took if graph else None))
        if session == SLOW and screen.sessions:
            least += screen.sessions.slow_ms / 1000
        left = least - took
        if left > 0:
            self._sleep(left if remaining is None else max(0.0, min(left, remaining)))

    def _slowest(self, digest: str, took: float | None) -> float:
        """The slower stage's clock of a version, after a request that `took` so long in it."""
        with self._mutex:
            times = self._slower.setdefault(digest, deque(maxlen=KEPT))
            self._slower.move_to_end(digest)
            if len(self._slower) > _VERSIONS:
                self._slower.popitem(last=False)
            if took is not None:
                times.append(took)
            return max(times, default=0.0)
