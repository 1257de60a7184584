"""Following a gateway's stream for good: whatever cuts it off, nothing is lost or told twice.

Each message says where the stream goes on after it, and that is where it is opened again.
"""

import random
import time
from collections.abc import Callable, Iterator
from typing import Any, TypeVar

import grpc

from sealgate.client.refused import GatewayRefusal, refusal_of
from sealgate.reasons import Reason

# A stream is opened anew after this time at the latest, so a gateway that vanished is noticed.
_STREAM_SECONDS = 60.0
_FIRST_PAUSE = 0.1
_LONGEST_PAUSE = 5.0
_PASSING = frozenset(
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
        stream = open_stream(at, _STREAM_SECONDS)
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
    if refusal.code in _PASSING:
        return True
    # How a connection that breaks off looks, and a gateway whose places are all taken.
    broken = refusal.code is grpc.StatusCode.INTERNAL and refusal.reason is Reason.CALL_FAILED
    return broken or (
        refusal.code is grpc.StatusCode.RESOURCE_EXHAUSTED
        and refusal.reason is not Reason.CALL_FAILED
    )
