"""Callers that do not send or read leave places for the calls of others."""

import struct
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

from gateway.transport.native import FrontContext
from tests.support.harness.clients.http2 import RESET, SETTINGS, Http2, frame, frames
from tests.support.harness.native_front import (
    ECHO,
    INFER,
    PATIENCE,
    STREAM,
    FrontHarness,
    front_with,
    until,
)

CALLS = 16


def knowing(context: FrontContext) -> None:
    """Each whole call authenticates."""
    context.note_caller()
    context.answer(context.message)


def infer(connection: Http2) -> bytes:
    connection.socket.sendall(connection.call(INFER, b"x"))
    return connection.body()


@contextmanager
def withheld(front: FrontHarness, count: int) -> Iterator[Http2]:
    """A connection with so many calls whose messages do not come; those beyond the bound end."""
    with front.raw() as connection:
        for _ in range(count):
            connection.socket.sendall(connection.opened(INFER)[1])
        yield connection


def held(front: FrontHarness) -> int:
    return front.front.counts()["calls"]


def test_calls_without_a_message_leave_places_to_known_callers() -> None:
    """Anybody can open them, and each has half a second to come whole."""
    with front_with(knowing, calls=CALLS, whole=PATIENCE) as front, ExitStack() as stack:
        known = stack.enter_context(front.raw())
        assert infer(known)
        for _ in range(3):
            stack.enter_context(withheld(front, CALLS))
        until(lambda: front.front.counts()["refused"] == 3 * CALLS - CALLS // 2)
        assert held(front) == CALLS // 2
        # Strangers from that address have no place left; known callers have the rest.
        assert infer(known)
        stack.enter_context(withheld(front, 1)).await_end()


def test_calls_behind_leave_places_too() -> None:
    with front_with(knowing, calls=CALLS) as front, ExitStack() as stack:
        known = stack.enter_context(front.raw())
        assert infer(known)
        connection = stack.enter_context(front.raw())
        for _ in range(CALLS):
            connection.socket.sendall(connection.opened(STREAM)[1])
        until(lambda: front.front.counts()["refused"] == CALLS - CALLS // 2)
        assert held(front) == CALLS // 2
        assert infer(known)


def test_inference_without_a_message_leaves_places_to_other_methods() -> None:
    """Such as that by which an admin revokes whoever does so."""
    with (
        front_with(knowing, calls=CALLS, handed=CALLS * 3 // 4, whole=PATIENCE) as front,
        front.raw() as known,
        front.channel() as admin,
    ):
        assert infer(known)
        known.socket.sendall(b"".join(known.opened(INFER)[1] for _ in range(CALLS)))
        until(lambda: front.front.counts()["refused"] == CALLS // 4)
        assert admin.unary_unary(ECHO)(b"revoke", timeout=PATIENCE) == b"revoke"


def test_answers_that_are_not_taken_give_way_to_other_calls() -> None:
    with front_with(knowing, calls=CALLS) as front, front.raw() as idle, front.raw() as known:
        assert infer(idle)
        assert infer(known)
        no_window = struct.pack(">HI", 4, 0)
        idle.socket.sendall(frame(SETTINGS, 0, 0, no_window))
        idle.socket.sendall(b"".join(idle.call(ECHO, b"x") for _ in range(CALLS)))
        until(lambda: held(front) == CALLS and len(front.behind.contexts) == CALLS)
        until(lambda: bool(infer(known)))
        assert RESET in (kind for kind, *_ in frames(idle))


def test_who_is_known_may_hold_all_places() -> None:
    gate, taken = threading.Event(), threading.Semaphore(0)
    waiting: list[FrontContext] = []

    def hold(context: FrontContext) -> None:
        context.note_caller()
        if gate.is_set():
            waiting.append(context)
            taken.release()
        else:
            context.answer(b"")

    with front_with(hold, calls=CALLS, handed=CALLS) as front, front.raw() as connection:
        infer(connection)
        gate.set()
        connection.socket.sendall(b"".join(connection.call(INFER, b"") for _ in range(CALLS)))
        assert all(taken.acquire(timeout=PATIENCE) for _ in range(CALLS))
        for context in waiting:
            context.answer(b"")


def test_places_come_back_with_the_end_of_calls_and_connections() -> None:
    with front_with(knowing, calls=CALLS, whole=PATIENCE) as front:
        for _ in range(3):
            with withheld(front, CALLS) as connection:
                until(lambda: held(front) == CALLS // 2)
                resets = b"".join(connection.reset(1 + 2 * at) for at in range(CALLS // 2))
                connection.socket.sendall(resets)
                until(lambda: held(front) == 0)
                more = b"".join(connection.opened(INFER)[1] for _ in range(CALLS // 2))
                connection.socket.sendall(more)
                until(lambda: held(front) == CALLS // 2)
            until(lambda: held(front) == 0)
        with front.raw() as connection:
            assert infer(connection)
