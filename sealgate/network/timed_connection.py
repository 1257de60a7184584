"""Ends connections on which no request comes whole: places are few, and all callers share them.

A web server waits for a request as long as somebody likes to take. So nobody could be served any
more once as many silent connections stood as there may be. Where nearly as many stand, a new one
takes the place of the oldest that waits for its other end, of the address that has most of them: so
whoever opens many ends their own. Needs uvicorn, as the extras `console` and `federated` have it.
"""

import asyncio
from collections import Counter
from typing import Any, ClassVar

from uvicorn.protocols.http.h11_impl import H11Protocol

_TICK = 0.5


class TimedLoop(asyncio.SelectorEventLoop):
    """An event loop whose servers give a TLS handshake `HANDSHAKE_SECONDS`, not a minute: until its
    end, nothing else bounds how many connections there are.
    """

    HANDSHAKE_SECONDS: ClassVar[float] = 5.0

    async def create_server(self, *given: Any, **options: Any) -> asyncio.Server:
        """See `asyncio.loop.create_server`."""
        if options.get("ssl") is not None:
            options["ssl_handshake_timeout"] = self.HANDSHAKE_SECONDS
        return await super().create_server(*given, **options)


LOOP = f"{__name__}:{TimedLoop.__name__}"
"""How a configuration of uvicorn names that loop."""


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
        if self.limit_concurrency is not None and len(self.connections) >= self.limit_concurrency:
            self._make_room()

    def resume_writing(self) -> None:
        """Called when the other end has taken most of what waited for it."""
        super().resume_writing()
        self._since = self.loop.time()

    def connection_lost(self, exc: Exception | None) -> None:
        self._timer.cancel()
        super().connection_lost(exc)

    def _make_room(self) -> None:
        waiting = [
            each
            for each in self.connections
            if isinstance(each, TimedConnection) and each is not self and each._is_waiting()
        ]
        counts = Counter(each._address for each in waiting)
        if waiting:
            most = max(waiting, key=lambda each: (counts[each._address], -each._since))
            most.transport.abort()
            # With TLS it is lost some turns of the loop later, and a request may come before.
            self.connections.discard(most)

    @property
    def _address(self) -> str:
        return self.client[0] if self.client else ""

    def _is_waiting(self) -> bool:
        return not self._is_answering() and not self.transport.is_closing()

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
