"""Calls that repeat safely: retries with backoff, request ids, paged lists, followed streams.

A change carries an id of its own (AIP-155), so the gateway recognises a repetition within a day
and carries it out once. Each message of a stream says where to resume, so nothing is lost or sent
twice.
"""

import itertools
import math
import random
import time
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, TypeVar

import grpc

from sealgate.reasons import Reason
from sealgate.remote.errors import GatewayRefusal, refusal_of


@dataclass(frozen=True, slots=True)
class Retries:
    """The number of attempts and the waits between them, in seconds.

    `attempts` counts the first one too. The wait before the nth retry is drawn from between 0 and
    `first` * 2**n, but no more than `longest`; what RetryInfo asks for comes on top, and whoever
    asks for more than `longest` is not asked again.
    """

    attempts: int = 4
    first: float = 0.05
    longest: float = 2.0

    def __post_init__(self) -> None:
        if self.attempts < 1 or self.first < 0 or self.longest < self.first:
            raise ValueError("attempts >= 1 and 0 <= first <= longest")

    def pause(
        self,
        attempt: int,
        refusal: GatewayRefusal,
        remaining: float,
        chance: Callable[[], float],
    ) -> float | None:
        """The seconds to wait after the given attempt (1, 2, …); None: do not try again.

        `remaining` is what is left of the call's time; `chance` draws from [0, 1).
        """
        asked = refusal.retry_after or 0.0
        if attempt >= self.attempts or not _is_safe(refusal) or asked > self.longest:
            return None
        backoff = min(self.longest, self.first * 2.0 ** (attempt - 1))
        pause = asked + backoff * chance()
        return pause if pause < remaining else None


def _is_safe(refusal: GatewayRefusal) -> bool:
    """No answer has come, and the gateway either was not there or says when to come back.

    A question that was recorded though its answer was lost is recorded again, as what it is:
    asked twice. It changes nothing else.
    """
    if refusal.code is grpc.StatusCode.UNAVAILABLE:
        return True
    return refusal.code is grpc.StatusCode.RESOURCE_EXHAUSTED and refusal.retry_after is not None


R = TypeVar("R")

# Long enough for a gateway that starts again; whoever waits for a command waits 4 s at most.
_RETRIES = Retries(attempts=5, first=0.25, longest=2.0)


def send(method: Callable[[Any], R], request: Any, **options: Any) -> R:
    """Send a request, which gets its id here, as `repeat` does."""
    request.request_id = new_request_id()
    return repeat(lambda: method(request), **options)


def new_request_id() -> str:
    """A random UUID4, in lower case."""
    return str(uuid.uuid4())


def repeat(
    attempt: Callable[[], R],
    *,
    retries: Retries = _RETRIES,
    sleep: Callable[[float], None] = time.sleep,
    chance: Callable[[], float] = random.random,
) -> R:
    """Call `attempt`, which sends one request under one id, a bounded number of times; return its
    result.

    Another attempt is made only where the gateway was not there, or says when to come back.
    Raises grpc.RpcError, the last one.
    """
    number = 0
    while True:
        number += 1
        try:
            return attempt()
        except grpc.RpcError as error:
            pause = retries.pause(number, refusal_of(error), math.inf, chance)
            if pause is None:
                raise
            sleep(pause)


def list_all(
    method: Callable[[Any], Any], request: Any, field: str, limit: int | None = None
) -> Iterator[Any]:
    """The items of all pages, `limit` at most; `field` is where a page holds them.

    The request's filter holds for all pages. Each page is asked for when its turn comes.
    """
    if limit is not None:
        request.page_size = limit
    return itertools.islice(_items(method, request, field), limit)


def _items(method: Callable[[Any], Any], request: Any, field: str) -> Iterator[Any]:
    while True:
        page = method(request)
        yield from getattr(page, field)
        if not page.next_page_token:
            return
        request.page_token = page.next_page_token


# A stream is opened anew after this time at the latest, so a gateway that vanished is noticed.
STREAM_SECONDS = 60.0
_FIRST_PAUSE = 0.1
_LONGEST_PAUSE = 5.0
PASSING = frozenset(
    {
        grpc.StatusCode.UNAVAILABLE,
        grpc.StatusCode.DEADLINE_EXCEEDED,
        # The gateway's own bound on a stream's time.
        grpc.StatusCode.CANCELLED,
    }
)

M = TypeVar("M")


def follow(
    open_stream: Callable[[int | None, float], Any],
    after: Callable[[M], int],
    start: int | None,
    *,
    sleep: Callable[[float], None] = time.sleep,
    chance: Callable[[], float] = random.random,
) -> Iterator[M]:
    """The messages of a stream, for ever.

    `open_stream` opens it at a place (None: what happens from now on), for at most so many seconds;
    `after` says where it goes on after a message. Pauses between attempts that came to nothing
    double, up to 5 s. Raises: GatewayRefusal for what another attempt would not change.
    """
    at, failures = start, 0
    while True:
        stream = open_stream(at, STREAM_SECONDS)
        try:
            for message in stream:
                at, failures = after(message), 0
                yield message
        except grpc.RpcError as error:
            refusal = refusal_of(error)
            if not _is_passing(refusal):
                raise refusal from error
            pause = min(_LONGEST_PAUSE, _FIRST_PAUSE * 2.0**failures) * (0.5 + chance() / 2)
            failures += 1
            sleep((refusal.retry_after or 0.0) + pause)
        finally:
            stream.cancel()


def _is_passing(refusal: GatewayRefusal) -> bool:
    if refusal.code in PASSING:
        return True
    # How a connection that breaks off looks, and a gateway whose places are all taken.
    broken = refusal.code is grpc.StatusCode.INTERNAL and refusal.reason is Reason.CALL_FAILED
    return broken or (
        refusal.code is grpc.StatusCode.RESOURCE_EXHAUSTED
        and refusal.reason is not Reason.CALL_FAILED
    )
