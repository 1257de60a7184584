"""Room in the cache: shared out between callers, whoever asks most or first."""

import threading
import time
from collections.abc import Callable

import pytest

from generation.batching.answer_loop import CacheQueue
from sealgate.reasons import Reason, SealgateError
from tests.support.fakes.blocking_worker import until


def here() -> bool:
    return True


def later() -> float:
    return time.monotonic() + 30


class Asking:
    """Somebody who takes pages on a thread of their own, and is told of on `served`."""

    def __init__(self, room: CacheQueue, pages: int, caller: str, served: list[str]) -> None:
        self.refused: Reason | None = None
        self.has_gone = threading.Event()
        self._thread = threading.Thread(target=self._ask, args=(room, pages, caller, served))
        before = [*room.waiting_requests]
        self._thread.start()
        until(lambda: room.waiting_requests != before or not self._thread.is_alive())

    def _ask(self, room: CacheQueue, pages: int, caller: str, served: list[str]) -> None:
        try:
            room.take(pages, later(), lambda: not self.has_gone.is_set(), caller)
            served.append(caller)
        except SealgateError as refusal:
            self.refused = refusal.reason

    def join(self) -> None:
        self._thread.join(30)
        assert not self._thread.is_alive()


def test_fifty_of_one_caller_do_not_starve_another() -> None:
    room, served = CacheQueue(4, 64), []
    room.take(4, later(), here, "greedy")
    asking = [Asking(room, 1, "greedy", served) for _ in range(50)]
    asking.append(Asking(room, 1, "modest", served))
    room.give(1, "greedy")
    until(lambda: served)
    assert served == ["modest"]
    # And whoever is done has what others hold more of.
    room.give(1, "modest")
    until(lambda: len(served) == 2)
    for one in asking:
        one.has_gone.set()
        one.join()
    assert room.waiting == 0


def test_callers_who_hold_as_much_are_served_as_they_came() -> None:
    room, served = CacheQueue(1, 8), []
    room.take(1, later(), here, "first")
    asking = [Asking(room, 1, caller, served) for caller in ("b", "a", "c")]
    for number, caller in enumerate(("first", "b", "a"), 1):
        room.give(1, caller)
        until(lambda number=number: len(served) == number)
    for one in asking:
        one.join()
    assert served == ["b", "a", "c"]


def test_nobody_overtakes_who_needs_much() -> None:
    room, served = CacheQueue(4, 8), []
    room.take(2, later(), here, "x")
    large, small = Asking(room, 4, "large", served), Asking(room, 1, "small", served)
    time.sleep(0.2)
    assert served == []
    room.give(2, "x")
    large.join()
    assert served == ["large"]
    room.give(4, "large")
    small.join()
    assert (room.free, served) == (3, ["large", "small"])


def test_a_queue_that_one_caller_fills_has_room_for_others() -> None:
    room, served = CacheQueue(1, 4), []
    room.take(1, later(), here, "x")
    greedy = [Asking(room, 1, "greedy", served) for _ in range(4)]
    modest = Asking(room, 1, "modest", served)
    greedy[3].join()
    assert greedy[3].refused is Reason.QUEUE_FULL
    assert room.waiting == 4
    # Those who have as many waiting as anybody are told so themselves.
    for caller in ("greedy", "other"):
        assert refused(room, caller) is (Reason.QUEUE_FULL if caller == "greedy" else None)
    for one in (*greedy[:3], modest):
        one.has_gone.set()
        one.join()


def refused(room: CacheQueue, caller: str) -> Reason | None:
    """Why a caller who has gone already, or else is let in, gets no place in the queue."""
    waiting = threading.Event()

    def gone() -> bool:
        waiting.set()
        return False

    with pytest.raises(SealgateError) as found:
        room.take(1, later(), gone, caller)
    return None if waiting.is_set() else found.value.reason


def test_who_waits_and_goes_leaves_nothing_behind() -> None:
    room, served = CacheQueue(2, 8), []
    room.take(2, later(), here, "x")
    asking = [Asking(room, 1, f"caller-{at}", served) for at in range(8)]
    for one in asking:
        one.has_gone.set()
        one.join()
    assert {one.refused for one in asking} == {Reason.DEADLINE_TOO_SHORT}
    room.give(2, "x")
    assert (room.free, room.waiting, room.held) == (2, 0, {})


@pytest.mark.parametrize(("pages", "reason"), [(3, Reason.PROMPT_TOO_LONG), (1, Reason.QUEUE_FULL)])
def test_what_never_has_room_is_refused_at_once(pages: int, reason: Reason) -> None:
    room: CacheQueue = CacheQueue(2, 0)
    ask: Callable[[], None] = lambda: room.take(pages, later(), here, "x")  # noqa: E731
    with pytest.raises(SealgateError) as found:
        ask()
    assert found.value.reason is reason
