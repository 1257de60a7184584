"""The end of a log that many follow: one look for all, and pages that are read once."""

import threading
import time

import pytest

from gateway.services.log_follower import PAGE, LogFollower, Pages
from registry.storage.changes import PollingChanges
from sealgate.reasons import Reason, SealgateError
from tests.support.builders.documents.people import refused


class Log:
    """A log that grows when told to, and counts how often it was asked."""

    def __init__(self):
        self.length = 0
        self.asked = 0
        self.broken = None

    def token(self):
        if self.broken:
            raise self.broken
        return self.length

    def size(self):
        self.asked += 1
        return self.length


@pytest.fixture
def log():
    return Log()


@pytest.fixture
def tail(log):
    tail = LogFollower(PollingChanges(), log.token, log.size)
    tail.start()
    yield tail
    tail.stop()


def until(tail, known, seconds=60.0):
    deadline = time.monotonic() + seconds
    while (size := tail.wait(known, 0.5)) <= known:
        assert time.monotonic() < deadline
    return size


def test_all_who_wait_hear_of_one_look(log, tail):
    log.length = 1
    until(tail, 0)
    before, heard = log.asked, []
    threads = [threading.Thread(target=lambda: heard.append(until(tail, 1))) for _ in range(50)]
    for thread in threads:
        thread.start()
    log.length = 3
    for thread in threads:
        thread.join()
    assert heard == [3] * 50
    assert log.asked == before + 1


def test_a_wait_ends_though_nothing_happens(tail):
    assert tail.wait(7, 0.01) == 0


@pytest.mark.parametrize("error", [SealgateError(Reason.REGISTRY_UNAVAILABLE), RuntimeError()])
def test_a_database_that_failed_is_asked_again(log, tail, error):
    log.broken = error
    time.sleep(0.1)
    log.length, log.broken = 5, None
    assert until(tail, 0) == 5


def test_whoever_waits_when_it_stops_is_sent_away(tail):
    reasons = []

    def wait():
        try:
            while True:
                tail.wait(0, 5)
        except SealgateError as refusal:
            reasons.append(refusal.reason)

    thread = threading.Thread(target=wait)
    thread.start()
    tail.stop()
    thread.join(60)
    assert reasons == [Reason.DRAINING]
    with refused(Reason.DRAINING):
        tail.wait(0, 0)


class Reads:
    def __init__(self):
        self.calls = []

    def __call__(self, start, end):
        self.calls.append((start, end))
        return list(range(start, end))


def test_a_page_is_read_once_for_all_at_the_same_place():
    reads = Reads()
    pages = Pages(reads)
    assert [pages.page(3, 5) for _ in range(10)] == [[3, 4]] * 10
    assert reads.calls == [(3, 5)]


def test_a_page_is_bounded_and_never_goes_beyond_its_end():
    pages = Pages(Reads())
    assert pages.page(0, 10 * PAGE) == list(range(PAGE))
    assert pages.page(0, 2) == [0, 1]


def test_few_pages_are_kept():
    reads = Reads()
    pages = Pages(reads)
    for start in range(1000):
        pages.page(start, start + 1)
    assert len(pages.kept) <= 16
