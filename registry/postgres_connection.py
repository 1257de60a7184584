"""A connection to PostgreSQL that does not wait for ever: one that says nothing is given up.

psycopg waits for an answer without end. A server that hangs, or a network that lost the connection
without a word, would hold the thread that asked, and all others in the end; and the one that
follows the registry, by which revocations arrive.
"""

import time
from collections.abc import Generator
from typing import Any, TypeVar

import psycopg

_Found = TypeVar("_Found")

SILENCE_SECONDS = 15.0


class BoundedConnection(psycopg.Connection[Any]):
    """`patience` is how many seconds a server may say nothing while it is asked; None: for ever.

    Who is given up is closed, so whatever the server was doing, it will roll back.
    """

    patience: float | None = SILENCE_SECONDS

    def wait(self, gen: Generator[Any, Any, _Found], *given: Any, **named: Any) -> _Found:
        """Raises: psycopg.OperationalError."""
        return super().wait(self._heard(gen), *given, **named)

    def _heard(self, gen: Generator[Any, Any, _Found]) -> Generator[Any, Any, _Found]:
        """`gen` asks what to wait for, and is told what came, or each tenth of a second nothing."""
        heard = time.monotonic()
        try:
            wanted = next(gen)
            while True:
                came = yield wanted
                now = time.monotonic()
                if came:
                    heard = now
                elif self.patience is not None and now - heard > self.patience:
                    self.close()
                    raise psycopg.OperationalError("the server does not answer")
                wanted = gen.send(came)
        except StopIteration as end:
            found: _Found = end.value
            return found
