"""Sends a burst of requests to engines, and tracks where each request is.

1. Requests that fit into one batch travel in one message, and all messages leave at once. The
   engine runs each on a thread of its own, so none waits for another's batches.
2. Answers are passed on as they come. A request whose time has run out is given up, whether or not
   the others are answered.
3. If an engine does not answer a request, another one is asked (`Attempt`).

There are no threads here: the caller that brings the burst waits for all of its messages.
"""

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from queue import Empty, SimpleQueue
from typing import Any, Protocol

from inference.backends.remote.messages import Answer, RemoteRequest, VersionMessages
from inference.backends.remote.placement import EnginePlacement, MeasuredEngine
from sealgate.reasons import Reason, SealgateError

_MOST_BYTES = 1024 * 1024
MOST_ITEMS = 256
"""As many requests as one message may carry."""
# Reasons after which another engine may still answer.
_ELSEWHERE = frozenset({Reason.ENGINE_UNAVAILABLE, Reason.QUEUE_FULL})


@dataclass(frozen=True, slots=True)
class Attempt:
    """Which engines may still be asked, with their measurements, and how many may have run it."""

    candidates: Mapping[str, Mapping[str, MeasuredEngine]]
    asked: int = 1
    full: SealgateError | None = None

    def after(self, name: str, refusal: SealgateError) -> "Attempt":
        """The next attempt, where that engine has refused. Raises: the refusal that counts."""
        full = refusal if refusal.reason is Reason.QUEUE_FULL else self.full
        if refusal.reason not in _ELSEWHERE or len(self.candidates) == 1:
            # A full queue says when to come again.
            raise full or refusal
        others = {other: item for other, item in self.candidates.items() if other != name}
        asked = self.asked + (refusal.reason is Reason.ENGINE_UNAVAILABLE)
        return Attempt(others, asked, full)


class BurstEngine(Protocol):
    """The part of `RemoteEngine` that a burst needs."""

    takes_bursts: bool

    def begin(self, messages: VersionMessages, burst: Sequence[RemoteRequest]) -> Any: ...

    def end(self, call: Any, together: bool) -> Any: ...

    def told(self, refusal: SealgateError) -> SealgateError: ...


@dataclass(eq=False, slots=True)
class Parcel:
    """Requests of a burst, by their places in it, that travel together."""

    requests: dict[int, RemoteRequest]
    attempt: Attempt
    engine: str = ""
    call: Any = None
    refusal: SealgateError | None = None

    @property
    def rows(self) -> int:
        return sum(len(asked.x) for asked in self.requests.values())

    def singly(self) -> "list[Parcel]":
        return [Parcel({place: asked}, self.attempt) for place, asked in self.requests.items()]


@dataclass(frozen=True, slots=True)
class Engines:
    """The engines that may be asked. `described` says how entries describe an answer."""

    by_name: Mapping[str, BurstEngine]
    placement: EnginePlacement
    described: Callable[[str, str, int], str]


@dataclass(slots=True)
class BurstCalls:
    """One burst for the version of `digest`; `answers` sends it."""

    engines: Engines
    digest: str
    messages: VersionMessages
    _ended: "SimpleQueue[Parcel]" = field(default_factory=SimpleQueue)
    _away: set[Parcel] = field(default_factory=set)
    # The requests that still wait, and their deadlines.
    _waiting: dict[int, float | None] = field(default_factory=dict)

    def answers(
        self, burst: Mapping[int, RemoteRequest], attempt: Attempt, most_rows: int
    ) -> Iterator[list[tuple[int, Answer]]]:
        """Send requests by their places; yield what became of them, as it comes. At most
        `most_rows` rows travel together.
        """
        self._waiting = {place: asked.options.deadline for place, asked in burst.items()}
        try:
            for requests in parcelled(burst, most_rows):
                self._send(Parcel(requests, attempt))
            while self._waiting:
                part = self._received()
                if part:
                    yield part
        finally:
            for parcel in self._away:
                self._leave(parcel)

    def _send(self, parcel: Parcel) -> None:
        candidates = parcel.attempt.candidates
        name = self.engines.placement.place(self.digest, parcel.rows, candidates)
        engine = self.engines.by_name[name]
        together = engine.takes_bursts or len(parcel.requests) == 1
        for each in [parcel] if together else parcel.singly():
            each.engine = name
            self._away.add(each)
            try:
                each.call = engine.begin(self.messages, list(each.requests.values()))
            except SealgateError as refusal:
                each.refusal = refusal
                self._ended.put(each)
            else:
                each.call.add_done_callback(lambda _, each=each: self._ended.put(each))

    def _received(self) -> list[tuple[int, Answer]]:
        """Wait until something ends or somebody's time runs out."""
        ends = [deadline for deadline in self._waiting.values() if deadline is not None]
        try:
            parcel = self._ended.get(
                timeout=max(0.0, min(ends) - time.monotonic()) if ends else None
            )
        except Empty:
            return self._expired()
        if parcel not in self._away:
            # It was given up, and ends now.
            return []
        self._away.discard(parcel)
        self.engines.placement.leave(parcel.engine, self.digest, parcel.rows)
        found = self._outcomes(parcel)
        return [each for each in found if self._waiting.pop(each[0], self) is not self]

    def _expired(self) -> list[tuple[int, Answer]]:
        now = time.monotonic()
        late = [
            place
            for place, deadline in self._waiting.items()
            if deadline is not None and deadline <= now
        ]
        for place in late:
            del self._waiting[place]
        for parcel in [each for each in self._away if not self._is_awaited(each)]:
            self._away.discard(parcel)
            self._leave(parcel)
        return [(place, SealgateError(Reason.DEADLINE_TOO_SHORT, "at an engine")) for place in late]

    def _is_awaited(self, parcel: Parcel) -> bool:
        return any(place in self._waiting for place in parcel.requests)

    def _leave(self, parcel: Parcel) -> None:
        """Nobody waits for it any more."""
        self.engines.placement.leave(parcel.engine, self.digest, parcel.rows)
        if parcel.call is not None:
            parcel.call.cancel()

    def _outcomes(self, parcel: Parcel) -> list[tuple[int, Answer]]:
        """The outcomes of an ended parcel, except of requests that another engine is now asked."""
        name, requests = parcel.engine, list(parcel.requests.values())
        engine = self.engines.by_name[name]
        try:
            if parcel.refusal is not None:
                raise parcel.refusal
            response = engine.end(parcel.call, together=len(requests) > 1)
            described = self.engines.described(name, self.digest, parcel.attempt.asked)
            if len(requests) == 1:
                rows = len(requests[0].x)
                found: list[Answer] = [self.messages.answer(response, rows, described)]
            else:
                found = self.messages.answers(response, requests, described)
                found = [engine.told(e) if isinstance(e, SealgateError) else e for e in found]
        except SealgateError as refusal:
            if refusal.reason is Reason.METHOD_UNSUITED and len(requests) > 1:
                # It is asked again, request by request.
                self._send_again(parcel.singly())
                return []
            found = [refusal] * len(requests)
        return self._elsewhere(parcel, dict(zip(parcel.requests, found, strict=True)))

    def _elsewhere(self, parcel: Parcel, found: dict[int, Answer]) -> list[tuple[int, Answer]]:
        """Ask another engine where that may help; return what is settled."""
        settled: list[tuple[int, Answer]] = []
        again: dict[Reason, Parcel] = {}
        for place, answer in found.items():
            if not isinstance(answer, SealgateError):
                settled.append((place, answer))
                continue
            try:
                attempt = parcel.attempt.after(parcel.engine, answer)
            except SealgateError as refusal:
                settled.append((place, refusal))
            else:
                next_one = again.setdefault(answer.reason, Parcel({}, attempt))
                next_one.requests[place] = parcel.requests[place]
        self._send_again(list(again.values()))
        return settled

    def _send_again(self, parcels: Sequence[Parcel]) -> None:
        for parcel in parcels:
            wanted = {p: asked for p, asked in parcel.requests.items() if p in self._waiting}
            if wanted:
                parcel.requests = wanted
                self._send(parcel)


def parcelled(burst: Mapping[int, RemoteRequest], most_rows: int) -> list[dict[int, RemoteRequest]]:
    """The requests in parcels, in order: rows of one shape, and no more than a batch and a message
    hold, unless one alone has more.
    """
    parcels: list[dict[int, RemoteRequest]] = []
    # By shape: the parcel that is being filled, and how many rows and bytes it may still take.
    open_ones: dict[tuple[int, ...], tuple[dict[int, RemoteRequest], int, int]] = {}
    for place, asked in burst.items():
        shape, rows, size = asked.x.shape[1:], len(asked.x), _size(asked)
        parcel, room, left = open_ones.get(shape, ({}, 0, 0))
        if rows > room or size > left or len(parcel) == MOST_ITEMS:
            parcel, room, left = {}, most_rows, _MOST_BYTES
            parcels.append(parcel)
        parcel[place] = asked
        open_ones[shape] = parcel, room - rows, left - size
    return parcels


def _size(asked: RemoteRequest) -> int:
    """How many bytes its rows take in a message."""
    x = asked.x
    return sum(4 + len(text) for text in x.flat) if x.dtype == object else x.nbytes
