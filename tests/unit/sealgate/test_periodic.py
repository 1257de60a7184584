"""Work that is repeated on a thread of its own."""

import logging
import queue
import threading

import pytest

from sealgate.periodic import PeriodicThread

_SECONDS = 30.0


def test_work_is_repeated_until_it_is_stopped() -> None:
    called: queue.SimpleQueue[str] = queue.SimpleQueue()
    periodic = PeriodicThread("counting", 0.001, lambda: called.put("called"))
    periodic.start()
    for _ in range(3):
        assert called.get(timeout=_SECONDS) == "called"
    assert "counting" in {thread.name for thread in threading.enumerate()}
    periodic.stop()
    assert "counting" not in {thread.name for thread in threading.enumerate()}


def test_the_first_call_may_come_at_once() -> None:
    called: queue.SimpleQueue[str] = queue.SimpleQueue()
    periodic = PeriodicThread("counting", 3600, lambda: called.put("called"), at_once=True)
    periodic.start()
    assert called.get(timeout=_SECONDS) == "called"
    periodic.stop()
    assert called.empty()


def test_work_that_fails_is_logged_and_called_again(caplog: pytest.LogCaptureFixture) -> None:
    called: queue.SimpleQueue[int] = queue.SimpleQueue()

    def failing() -> None:
        called.put(called.qsize())
        raise ValueError("a row is not ours")

    periodic = PeriodicThread("sweeping", 0.001, failing)
    with caplog.at_level(logging.ERROR):
        periodic.start()
        called.get(timeout=_SECONDS)
        called.get(timeout=_SECONDS)
        periodic.stop()
    assert "sweeping" in caplog.messages
    assert "a row is not ours" in caplog.text


def test_what_never_started_is_stopped_all_the_same() -> None:
    PeriodicThread("idle", 1, pytest.fail).stop()
