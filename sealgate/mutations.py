"""Changes that are sent until they are answered, and happen once.

Each carries an id of its own (AIP-155), by which the gateway knows it again, within a day, when the
connection broke before the answer came.
"""

import math
import random
import time
import uuid
from collections.abc import Callable
from typing import Any, TypeVar

import grpc

from sealgate.client.refused import refusal_of
from sealgate.client.retries import Retries

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
    """What `attempt` returns, which sends one request under one id, a bounded number of times.

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
