"""Notices callers who have gone while they are worked for, which HTTP tells nobody.

gRPC calls back when a call ends; on an HTTP connection somebody has to look.
"""

import threading
from collections.abc import Iterator
from contextlib import contextmanager

from gateway.transport.http.peer import HttpContext

_LOOK_SECONDS = 0.1


class DisconnectWatch:
    """Looks after those who are watched, on a thread of its own. Safe for many threads."""

    def __init__(self) -> None:
        self._mutex = threading.Lock()
        self.watched: set[HttpContext] = set()
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="http-absence", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        self._stopping.set()
        if self._thread.is_alive():
            self._thread.join()

    @contextmanager
    def noticed(self, context: HttpContext) -> Iterator[None]:
        """While the block runs, whoever wants to know is told when the caller goes."""
        with self._mutex:
            self.watched.add(context)
        try:
            yield
        finally:
            with self._mutex:
                self.watched.remove(context)

    def _run(self) -> None:
        while not self._stopping.wait(_LOOK_SECONDS):
            with self._mutex:
                watched = [*self.watched]
            for context in watched:
                if not context.is_active():
                    context.leave()
