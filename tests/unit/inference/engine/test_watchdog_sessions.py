"""The watchdog judges rebuilt sessions by their own runs, and retries a rebuild that failed."""

import threading
import time

import pytest

from inference.backends.local import RebuildTerms, Watchdog
from inference.engine.ready_version import ReadyVersion
from inference.engine.statistics import Duration, RunFault
from inference.runtime.settings import CpuSettings
from tests.support.builders.models.onnx_models import Perceptron
from tests.support.builders.models.version_files import VersionFiles
from tests.support.fakes.blocking_worker import until

FILES = VersionFiles.of(Perceptron.random()).encode()


def build() -> ReadyVersion:
    return ReadyVersion.build("sha256:" + "0" * 64, FILES, CpuSettings(1))


def is_replaced(version: ReadyVersion) -> bool:
    faults = version.statistics.report(Duration()).faults
    return faults == {RunFault.SESSIONS_REPLACED: 1} and not version.is_given_up


def test_new_sessions_are_not_given_up_for_old_runs(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    version, free, watchdog = build(), threading.Event(), Watchdog()

    def late() -> ReadyVersion:
        assert free.wait(60)
        return build()

    def hung_until_replaced(*_: object) -> bool:
        free.set()
        until(lambda: not version.is_given_up)
        return True

    terms = RebuildTerms(60, late)
    version.give_up()
    watchdog.look(version, terms, time.monotonic())
    monkeypatch.setattr(ReadyVersion, "is_running_since", hung_until_replaced)
    watchdog.look(version, terms, time.monotonic())
    free.set()
    until(lambda: is_replaced(version))


def test_a_rebuild_without_a_free_thread_is_tried_again(monkeypatch: pytest.MonkeyPatch) -> None:
    version, watchdog, terms = build(), Watchdog(), RebuildTerms(60, build)

    def refuse(_: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    version.give_up()
    with monkeypatch.context() as patch:
        patch.setattr(threading.Thread, "start", refuse)
        with pytest.raises(RuntimeError):
            watchdog.look(version, terms, time.monotonic())
    watchdog.look(version, terms, time.monotonic())
    until(lambda: is_replaced(version))
