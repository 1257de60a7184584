"""One caller can't take all places for streams."""

import time
from contextlib import ExitStack
from types import SimpleNamespace

import pytest

import gateway.admission.stream_limiter
from gateway.admission.stream_limiter import SWEEP_SECONDS, StreamLimiter
from gateway.config.sections import GatewayLimits
from sealgate.reasons import Reason, SealgateError
from tests.support.fakes.blocking_worker import until


class Open:
    """A stream."""

    def __init__(self) -> None:
        self.ended = 0.0

    def cancel(self) -> None:
        self.ended = self.ended or time.monotonic()


def test_one_caller_leaves_places_for_others() -> None:
    stream_limiter = StreamLimiter(GatewayLimits(threads=16))
    with ExitStack() as held:
        for _ in range(3):
            held.enter_context(stream_limiter.streaming(Open(), "greedy"))
        with pytest.raises(SealgateError) as caught, stream_limiter.streaming(Open(), "greedy"):
            raise AssertionError("it was let in")
        assert caught.value.reason is Reason.QUEUE_FULL
        held.enter_context(stream_limiter.streaming(Open(), "modest"))
    # The places that they held are free again.
    with ExitStack() as held:
        for _ in range(3):
            held.enter_context(stream_limiter.streaming(Open(), "greedy"))


def test_by_default_a_caller_may_have_64_messages_on_their_way() -> None:
    """On a busy machine that many calls are read at once; none of them is slow."""
    stream_limiter = StreamLimiter(GatewayLimits())
    with ExitStack() as held:
        for _ in range(64):
            held.enter_context(stream_limiter.reading(Open(), "busy"))
        for _ in range(8):
            held.enter_context(stream_limiter.reading(Open(), "another"))


def test_an_idle_stream_ends_early(monkeypatch: pytest.MonkeyPatch) -> None:
    # A clock of its own: how long the machine takes is nothing to it.
    clock = SimpleNamespace(now=1000.0)
    monkeypatch.setattr(
        gateway.admission.stream_limiter, "time", SimpleNamespace(monotonic=lambda: clock.now)
    )
    stream_limiter = StreamLimiter(GatewayLimits(threads=16, idle=3.0))
    stream_limiter.start()
    try:
        busy, silent = Open(), Open()
        with stream_limiter.streaming(busy, "a"), stream_limiter.streaming(silent, "b"):
            for _ in range(4):
                with stream_limiter.idle(busy):
                    clock.now += 2.0
                    # Time enough for the thread that ends them to look.
                    time.sleep(2 * SWEEP_SECONDS)
            assert not busy.ended
            with stream_limiter.idle(silent):
                clock.now += 2.0
                time.sleep(2 * SWEEP_SECONDS)
                assert not silent.ended
                clock.now += 2.0
                until(lambda: bool(silent.ended))
        assert not busy.ended
    finally:
        stream_limiter.stop()
