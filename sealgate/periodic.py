"""Work that is repeated on a thread of its own until it is stopped."""

import logging
import threading
from collections.abc import Callable

_log = logging.getLogger(__name__)


class PeriodicThread:
    """Calls `work` every so many seconds between `start` and `stop`, for the first time after the
    first pause or, with `at_once`, before it. Errors of `work` are logged, and the next call comes
    all the same: a thread that died would guard nothing any more.
    """

    def __init__(
        self, name: str, seconds: float, work: Callable[[], object], *, at_once: bool = False
    ) -> None:
        self._name = name
        self._seconds = seconds
        self._work = work
        self._at_once = at_once
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self, *, wait: bool = True) -> None:
        """Call it no more; with `wait`, return once a call in progress has ended."""
        self._stopping.set()
        if wait and self._thread.is_alive():
            self._thread.join()

    def _run(self) -> None:
        if self._at_once:
            self._call()
        while not self._stopping.wait(self._seconds):
            self._call()

    def _call(self) -> None:
        try:
            self._work()
        except Exception:
            _log.exception("%s", self._name)
