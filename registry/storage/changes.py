"""Signals that another process may have committed to a database.

`Changes` says when; what is new there the caller finds out from a token or from the tables. So a
notice too many costs one look, and a notice lost costs time, never truth.
"""

import time
from typing import Protocol

POLL_SECONDS = 0.01


class Changes(Protocol):
    """A signal to one thread; `wait` and `close` are never called at once."""

    def wait(self, seconds: float) -> bool:
        """Wait until there is reason to look, at most about `seconds`; say whether there
        is.
        """
        ...

    def wake(self) -> None:
        """End a wait soon, from any thread."""
        ...

    def close(self) -> None:
        """Release what waiting holds."""
        ...


class PollingChanges:
    """Polls every 10 ms, for databases in which looking is cheap."""

    def wait(self, seconds: float) -> bool:
        time.sleep(min(seconds, POLL_SECONDS))
        return True

    def wake(self) -> None:
        """Does nothing: no wait is long."""

    def close(self) -> None:
        """Does nothing."""
