"""The threads of the server: each call is handled once, and its end is told once."""

import gc
import sys
import threading
import time
from collections.abc import Callable

from gateway.admission.overload import Threads


def until(holds: Callable[[], bool]) -> None:
    end = time.monotonic() + 60
    while not holds():
        assert time.monotonic() < end
        time.sleep(0.001)


def test_threads_know_how_many_wait() -> None:
    threads, gate, done = Threads(1), threading.Event(), threading.Event()
    threads.submit(gate.wait, 60)
    threads.submit(done.set)
    until(lambda: threads.waiting == 1)
    gate.set()
    assert done.wait(60)
    assert threads.waiting == 0
    assert threads.waited > 0


def test_no_more_calls_are_handled_at_once_than_there_are_threads() -> None:
    threads, gate = Threads(2), threading.Event()
    begun = threading.Semaphore(0)

    def handle() -> None:
        begun.release()
        gate.wait(60)

    for _ in range(5):
        threads.submit(handle)
    assert begun.acquire(timeout=60)
    assert begun.acquire(timeout=60)
    assert threads.waiting == 3
    gate.set()
    assert all(begun.acquire(timeout=60) for _ in range(3))


def test_the_end_of_a_call_is_told_once_however_late_one_asks() -> None:
    threads, gate, told = Threads(4), threading.Event(), []
    early = threads.submit(gate.wait, 60)
    early.add_done_callback(told.append)
    assert not told
    gate.set()
    until(lambda: told == [early])
    late = threads.submit(lambda: None)
    until(lambda: late.is_over)
    late.add_done_callback(told.append)
    assert told == [early, late]


def test_each_of_many_ends_is_told_once() -> None:
    threads, told = Threads(8), []
    tasks = [threads.submit(lambda: None) for _ in range(5000)]
    for task in tasks:
        task.add_done_callback(told.append)
    until(lambda: len(told) == len(tasks))
    assert set(told) == set(tasks)


def test_a_thread_outlives_what_a_call_raises() -> None:
    threads, done = Threads(1), threading.Event()
    told: list[object] = []
    failing = threads.submit(lambda: 1 / 0)
    failing.add_done_callback(told.append)
    threads.submit(done.set)
    assert done.wait(60)
    assert told == [failing]


def test_threads_end_with_whom_they_work_for() -> None:
    threads, found = Threads(3), []

    def handle() -> None:
        found.append(threading.current_thread())

    for _ in range(3):
        threads.submit(handle)
    until(lambda: len(found) == 3)
    del threads
    gc.collect()
    until(lambda: not any(thread.is_alive() for thread in found))


def test_many_submitters_get_no_more_threads_than_there_may_be() -> None:
    """A burst's thread submits, and so do those that it has started."""
    threads, seen = Threads(3), set()
    done = threading.Semaphore(0)

    def work() -> None:
        seen.add(threading.get_ident())
        done.release()

    def submit() -> None:
        for _ in range(50):
            threads.submit(work)

    submitters = [threading.Thread(target=submit) for _ in range(16)]
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        for each in submitters:
            each.start()
        for each in submitters:
            each.join()
    finally:
        sys.setswitchinterval(interval)
    for _ in range(16 * 50):
        assert done.acquire(timeout=60)
    assert 1 <= len(seen) <= 3
