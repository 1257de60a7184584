"""Threads that queues share: a queue has its part of them, and its waiting items go together."""

import threading
from collections.abc import Sequence

import pytest

from gateway.admission.overload import Threads
from gateway.admission.thread_shares import ThreadShares


class Work:
    """Notes the groups that it is given; each waits until it `may_go`."""

    def __init__(self) -> None:
        self.groups: list[Sequence[int]] = []
        self.begun, self.ended = threading.Semaphore(0), threading.Semaphore(0)
        self.may_go = threading.Event()

    def __call__(self, items: Sequence[int]) -> None:
        self.groups.append(items)
        self.begun.release()
        assert self.may_go.wait(60)
        self.ended.release()


def shares(threads: int = 4, most: int = 2) -> ThreadShares[int]:
    return ThreadShares(Threads(threads), most)


def submitted(to: ThreadShares[int], work: Work, count: int, at_once: int = 100) -> None:
    """One item after the other; as many as may be are being worked on."""
    for item in range(count):
        to.submit("key", work, (item,), at_once)
        if item < 2:
            assert work.begun.acquire(timeout=60)


def test_what_comes_while_a_share_is_busy_goes_together() -> None:
    some, work = shares(), Work()
    submitted(some, work, 5)
    assert work.groups == [[0], [1]]
    assert some.waiting("key") == (2, 3, 4)
    work.may_go.set()
    assert work.begun.acquire(timeout=60)
    assert work.groups[2] == [2, 3, 4]


def test_no_more_go_together_than_may() -> None:
    some, work = shares(), Work()
    submitted(some, work, 7, at_once=2)
    work.may_go.set()
    assert all(work.begun.acquire(timeout=60) for _ in range(3))
    assert sorted(map(list, work.groups[2:])) == [[2, 3], [4, 5], [6]]


def test_another_key_has_threads_whatever_one_has_waiting() -> None:
    some, work, other = shares(), Work(), Work()
    submitted(some, work, 50)
    some.submit("other", other, (7,), 1)
    assert other.begun.acquire(timeout=60)
    assert other.groups == [[7]]
    for each in (work, other):
        each.may_go.set()


def test_work_that_fails_holds_up_nothing_that_waits(caplog: pytest.LogCaptureFixture) -> None:
    some, may_fail, done = shares(most=1), threading.Event(), threading.Event()

    def work(items: Sequence[int]) -> None:
        if items == [1]:
            assert may_fail.wait(60)
            raise ValueError("no")
        done.set()

    for item in (1, 2):
        some.submit("key", work, (item,), 1)
    may_fail.set()
    assert done.wait(60)
    assert "handling calls" in caplog.text


def test_what_waits_comes_after_what_others_wait_for() -> None:
    some, done, may_go = shares(threads=1, most=1), list[int](), threading.Event()

    def work(items: Sequence[int]) -> None:
        assert may_go.wait(60)
        done.extend(items)

    for item in (1, 2):
        some.submit("key", work, (item,), 1)
    some.submit("other", work, (3,), 1)
    may_go.set()
    assert some.wait(60)
    assert done == [1, 3, 2]


def test_its_end_is_waited_for() -> None:
    some, work = shares(), Work()
    assert some.wait(0)
    submitted(some, work, 3)
    assert not some.wait(0.01)
    work.may_go.set()
    assert some.wait(60)
    assert sum(map(len, work.groups)) == 3
