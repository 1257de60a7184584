"""Ends connections on which no request comes whole: places are few, and all callers share them.

A web server waits for a request as long as somebody likes to take. So nobody could be served any
more once as many silent connections stood as there may be. Needs uvicorn, as the extras `console`
and `federated` have it.
"""

import asyncio
from typing import ClassVar

from uvicorn.protocols.http.h11_impl import H11Protocol

_TICK = 0.5


class TimedConnection(H11Protocol):
    """An HTTP/1.1 connection that ends where the other end takes longer than `SECONDS` to send a
    request, its body included, or to take a part of what was answered: as much as the server
    keeps for it (64 KiB).
    """

    SECONDS: ClassVar[float] = 10.0

    def connection_made(self, transport: asyncio.Transport) -> None:
        super().connection_made(transport)
        self._since = self.loop.time()
        self._timer = self.loop.call_later(min(_TICK, self.SECONDS), self._look)

    def resume_writing(self) -> None:
        """Called when the other end has taken most of what waited for it."""
        super().resume_writing()
        self._since = self.loop.time()

    def connection_lost(self, exc: Exception | None) -> None:
        self._timer.cancel()
        super().connection_lost(exc)

    def _look(self) -> None:
        now = self.loop.time()
        if self._is_answering():
            self._since = now
        elif now - self._since >= self.SECONDS:
            self.transport.abort()
            return
        self._timer = self.loop.call_later(min(_TICK, self.SECONDS), self._look)

    def _is_answering(self) -> bool:
        """Whether an answer is being made to a request that has come whole. One that waits for the
        other end is not.
        """
        cycle = self.cycle
        is_whole = cycle is not None and not cycle.more_body and not cycle.response_complete
        return is_whole and not self.flow.write_paused
