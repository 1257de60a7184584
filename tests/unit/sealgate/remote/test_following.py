"""Following across failures: where a stream goes on, when it waits, and when it gives up."""

from typing import Any

import grpc
import pytest

from sealgate.reasons import Reason, SealgateError
from sealgate.remote.calls import follow
from tests.support.fakes.gateway import Failed

UNAVAILABLE = Failed(grpc.StatusCode.UNAVAILABLE)


class Streams:
    """Streams of numbers, one after another; the last item of each says how it ends."""

    def __init__(self, *scripts):
        self._scripts = iter(scripts)
        self.starts = []
        self.cancelled = 0

    def __call__(self, start, seconds):
        self.starts.append(start)
        return Stream(self, next(self._scripts))


class Stream:
    def __init__(self, streams, script):
        self._streams = streams
        self._script = script

    def __iter__(self):
        for item in self._script:
            if isinstance(item, Exception):
                raise item
            yield item

    def cancel(self):
        self._streams.cancelled += 1


def run(streams, start=None):
    """Return the numbers until the streams end by a refusal, the refusal, and the pauses."""
    told, pauses = [], []
    numbers = follow(
        streams, lambda number: number + 1, start, sleep=pauses.append, chance=lambda: 1.0
    )
    with pytest.raises(SealgateError) as caught:
        told.extend(numbers)
    return told, caught.value, pauses


END = Failed(grpc.StatusCode.UNAUTHENTICATED, Reason.TOKEN_EXPIRED)


@pytest.mark.parametrize(
    "cut",
    [
        UNAVAILABLE,
        Failed(grpc.StatusCode.UNAVAILABLE, Reason.DRAINING),
        Failed(grpc.StatusCode.CANCELLED),
        Failed(grpc.StatusCode.DEADLINE_EXCEEDED),
        Failed(grpc.StatusCode.INTERNAL),
        Failed(grpc.StatusCode.RESOURCE_EXHAUSTED, Reason.QUEUE_FULL),
    ],
)
def test_a_cut_stream_goes_on_where_it_was(cut):
    streams = Streams([3, 4, cut], [5, cut], [6, END])
    told, refusal, _ = run(streams)
    assert told == [3, 4, 5, 6]
    assert streams.starts == [None, 5, 6]
    assert refusal.reason is Reason.TOKEN_EXPIRED
    assert streams.cancelled == 3


def test_a_stream_that_ends_by_itself_goes_on_without_a_pause():
    streams = Streams([1], [2], [END])
    told, _, pauses = run(streams, 1)
    assert (told, streams.starts, pauses) == ([1, 2], [1, 2, 3], [])


def test_pauses_double_up_to_a_bound_and_start_again_after_a_message():
    streams = Streams(*[[UNAVAILABLE]] * 8, [7, UNAVAILABLE], [END])
    _, _, pauses = run(streams)
    assert pauses == pytest.approx([0.1, 0.2, 0.4, 0.8, 1.6, 3.2, 5.0, 5.0, 0.1])


def test_what_the_gateway_asks_to_wait_comes_on_top():
    streams = Streams(
        [Failed(grpc.StatusCode.RESOURCE_EXHAUSTED, Reason.RATE_EXCEEDED, 2.0)], [END]
    )
    assert run(streams)[2] == pytest.approx([2.1])


@pytest.mark.parametrize(
    ("code", "reason"),
    [
        (grpc.StatusCode.PERMISSION_DENIED, Reason.ROLE_TOO_LOW),
        (grpc.StatusCode.NOT_FOUND, Reason.ENTRY_UNKNOWN),
        (grpc.StatusCode.DATA_LOSS, Reason.LOG_INCONSISTENT),
        (grpc.StatusCode.INTERNAL, Reason.INTERNAL),
    ],
)
def test_what_another_attempt_would_not_change_is_raised(code, reason):
    assert run(Streams([Failed(code, reason)]))[1].reason is reason


def test_a_message_too_large_for_us_is_not_asked_for_again():
    streams = Streams([Failed(grpc.StatusCode.RESOURCE_EXHAUSTED)])
    assert run(streams)[1].reason is Reason.CALL_FAILED


def test_whoever_stops_following_ends_the_stream():
    streams = Streams([1, 2, 3])
    messages: Any = follow(streams, lambda number: number + 1, None)
    assert next(messages) == 1
    messages.close()
    assert streams.cancelled == 1
