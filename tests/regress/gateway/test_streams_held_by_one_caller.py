"""Streams have a quarter of the threads, and one caller could have all of it: with as many streams
open, on which nothing happened, nobody else had an answer streamed for an hour.
"""

import time
from contextlib import ExitStack

import pytest

from gateway.settings import Limits
from gateway.turnstile import Turnstile
from sealgate.reasons import Reason, Refusal


class Open:
    """A stream."""

    def __init__(self) -> None:
        self.ended = 0.0

    def cancel(self) -> None:
        self.ended = self.ended or time.monotonic()


def test_one_caller_leaves_streams_to_others() -> None:
    turnstile = Turnstile(Limits(threads=16))
    with ExitStack() as held:
        for _ in range(3):
            held.enter_context(turnstile.streaming(Open(), "greedy"))
        with pytest.raises(Refusal) as caught, turnstile.streaming(Open(), "greedy"):
            raise AssertionError("it was let in")
        assert caught.value.reason is Reason.QUEUE_FULL
        held.enter_context(turnstile.streaming(Open(), "modest"))
    # What they held is there again.
    with ExitStack() as held:
        for _ in range(3):
            held.enter_context(turnstile.streaming(Open(), "greedy"))


def test_a_stream_on_which_nothing_happens_ends_early() -> None:
    turnstile = Turnstile(Limits(threads=16, idle=0.3))
    turnstile.start()
    try:
        busy, silent, began = Open(), Open(), time.monotonic()
        with turnstile.streaming(busy, "a"), turnstile.streaming(silent, "b"):
            for _ in range(4):
                with turnstile.idle(busy):
                    time.sleep(0.1)
            with turnstile.idle(silent):
                time.sleep(0.8)
        assert not busy.ended
        assert 0.6 < silent.ended - began < 1.3
    finally:
        turnstile.stop()
