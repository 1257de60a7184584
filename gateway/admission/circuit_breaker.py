"""A circuit breaker: after a service failed, one call a second tries it, and the others fail fast.

Every call would otherwise wait for the service's time-out and hold a thread for as long.
"""

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from sealgate.reasons import Reason, SealgateError

PAUSE_SECONDS = 1.0


class CircuitBreaker:
    """Safe for many threads. `clock` is in seconds."""

    def __init__(self, reason: Reason, clock: Callable[[], float] = time.monotonic) -> None:
        """`reason` is that of the refusal of a call that fails fast."""
        self._reason = reason
        self._clock = clock
        self._mutex = threading.Lock()
        self._is_open = False
        self._try_at = 0.0

    @property
    def is_open(self) -> bool:
        """Whether the last call failed."""
        return self._is_open

    @contextmanager
    def calling(self, *failures: type[Exception]) -> Iterator[None]:
        """Run the block unless the circuit is open. One of `failures` opens it; an end without an
        exception closes it.

        Raises: SealgateError(reason), with the time after which to try again.
        """
        if self._is_open:
            self._take_turn()
        try:
            yield
        except failures:
            self._is_open, self._try_at = True, self._clock() + PAUSE_SECONDS
            raise
        self._is_open = False

    def _take_turn(self) -> None:
        with self._mutex:
            now = self._clock()
            if now < self._try_at:
                raise SealgateError(self._reason, "it did not answer", self._try_at - now)
            self._try_at = now + PAUSE_SECONDS
