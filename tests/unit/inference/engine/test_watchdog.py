"""Runs that hang: ended where they can be, given up where not; the version goes on answering."""

import gc
import threading
import time
import weakref
from collections.abc import Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor

import numpy as np
import pytest

from inference.backends.local import Watchdog
from inference.engine.ready_version import InferenceResult, ReadyVersion
from inference.engine.statistics import Duration, RunFault
from inference.runtime.session import Session
from inference.runtime.settings import CpuSettings
from sealgate.reasons import Reason, SealgateError
from tests.support.builders.models.hard_graphs import endless
from tests.support.builders.models.onnx_models import Perceptron
from tests.support.builders.models.version_files import VersionFiles, clean_rows, int8_logits
from tests.support.fakes.blocking_worker import until

MODEL = Perceptron.random()
FILES = VersionFiles.of(MODEL).encode()
ROWS = clean_rows(MODEL, 4)


def build() -> ReadyVersion:
    return ReadyVersion.build("sha256:" + "0" * 64, FILES, CpuSettings(1))


def answers(version: ReadyVersion) -> bool:
    return np.array_equal(version.submit(ROWS).outputs["logits"], int8_logits(MODEL, ROWS))


def faults(version: ReadyVersion) -> Mapping[RunFault, int]:
    return version.statistics.report(Duration()).faults


def refused(future: "Future[InferenceResult]") -> Reason:
    error = future.exception(60)
    assert isinstance(error, SealgateError)
    return error.reason


class Deaf:
    """In place of a graph: an operator that hangs, so that the run does not hear of its end."""

    def __init__(self, session: Session) -> None:
        self.inputs = session.inputs
        self.entered = threading.Event()
        self.free = threading.Event()
        self._session = session

    def run(self, feeds: Mapping[str, np.ndarray]) -> list[np.ndarray]:
        self.entered.set()
        assert self.free.wait(60)
        return self._session.run(feeds)


@pytest.fixture
def deaf() -> Iterator[tuple[ReadyVersion, Deaf]]:
    version = build()
    assert isinstance(version.served, Session)
    stuck = Deaf(version.served)
    version.served = stuck
    yield version, stuck
    stuck.free.set()


def test_a_run_without_end_is_ended_and_the_version_answers_on() -> None:
    version = build()
    served, version.served = version.served, Session.open(endless(MODEL.inputs, 3), ("logits",))
    Watchdog(every=0.02, grace=60).watch(version, 1.0, build)
    with pytest.raises(SealgateError) as ended:
        version.submit(ROWS)
    assert ended.value.reason is Reason.RUN_HUNG
    until(lambda: faults(version) == {RunFault.RUN_ENDED: 1})
    version.served = served
    assert answers(version)
    assert version.counts().dropped == 1


def test_a_run_that_does_not_end_is_given_up_and_the_sessions_are_replaced(
    deaf: tuple[ReadyVersion, Deaf],
) -> None:
    version, stuck = deaf
    with ThreadPoolExecutor(4) as pool:
        leader = pool.submit(version.submit, ROWS)
        assert stuck.entered.wait(60)
        queued = [pool.submit(version.submit, ROWS) for _ in range(3)]
        until(lambda: len(version.batcher.queue) == 3)
        Watchdog(every=0.02, grace=0.05).watch(version, 1.0, build)
        # Nobody has to wait for the operator but the thread that leads.
        assert [refused(future) for future in queued] == [Reason.RUN_HUNG] * 3
        until(lambda: faults(version).get(RunFault.SESSIONS_REPLACED) == 1)
        assert not leader.done()
        assert answers(version)
        stuck.free.set()
        leader.result(60)
    assert answers(version)
    counts = version.counts()
    assert (counts.requests, counts.dropped) == (2, 4)
    assert version.close(60)


def test_who_comes_before_the_sessions_are_replaced_is_refused_at_once(
    deaf: tuple[ReadyVersion, Deaf],
) -> None:
    version, stuck = deaf
    fails = threading.Event()

    def unreadable() -> ReadyVersion:
        if not fails.is_set():
            fails.set()
            raise SealgateError(Reason.VERSION_ALTERED)
        return build()

    with ThreadPoolExecutor(1) as pool:
        pool.submit(version.submit, ROWS)
        assert stuck.entered.wait(60)
        version.give_up()
        with pytest.raises(SealgateError) as at_once:
            version.submit(ROWS)
        assert at_once.value.reason is Reason.RUN_HUNG
        # A version that cannot be built at first is tried again.
        Watchdog(every=0.02, grace=60).watch(version, 60, unreadable)
        until(lambda: not version.is_given_up)
        assert fails.is_set()
        assert answers(version)
        stuck.free.set()


def test_what_does_not_hang_is_left_alone() -> None:
    version = build()
    Watchdog(every=0.01, grace=0.01).watch(version, 30, build)
    assert all(answers(version) for _ in range(50))
    assert faults(version) == {}


def test_a_version_is_not_kept_alive_and_the_thread_ends_with_the_last() -> None:
    version = build()
    watchdog = Watchdog(every=0.01)
    watchdog.watch(version, 30, build)
    gone = weakref.ref(version)
    del version
    gc.collect()
    until(lambda: gone() is None and watchdog.thread is None)
    again = build()
    watchdog.watch(again, 30, build)
    assert watchdog.thread is not None


def test_a_run_can_be_ended_by_hand() -> None:
    session = Session.open(endless(4, 2), ("logits",))
    with ThreadPoolExecutor(1) as pool:
        future = pool.submit(session.run, {"x": np.ones((1, 4), np.float32)})
        until(lambda: session.end_runs(time.monotonic()) == 1)
        error = future.exception(60)
    assert isinstance(error, SealgateError)
    assert error.reason is Reason.RUN_HUNG
    assert session.end_runs(time.monotonic()) == 0
