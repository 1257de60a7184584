"""When a refused call is made again: only where it is safe, a bounded number of times, jittered."""

from collections.abc import Callable
from dataclasses import dataclass

import grpc

from sealgate.client.refused import GatewayRefusal


@dataclass(frozen=True, slots=True)
class Retries:
    """How often to try and how long to wait, in seconds.

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
