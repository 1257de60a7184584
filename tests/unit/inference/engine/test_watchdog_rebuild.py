"""A rebuild that hangs does not stop the watchdog from watching other versions."""

import threading
from collections.abc import Mapping

import pytest

from inference.backends.local import Watchdog
from inference.engine.ready_version import ReadyVersion
from inference.engine.statistics import Duration, RunFault
from inference.runtime.session import Session
from inference.runtime.settings import CpuSettings
from sealgate.reasons import Reason, SealgateError
from tests.support.builders.models.hard_graphs import endless
from tests.support.builders.models.onnx_models import Perceptron
from tests.support.builders.models.version_files import VersionFiles, clean_rows
from tests.support.fakes.blocking_worker import until

MODEL = Perceptron.random()
FILES = VersionFiles.of(MODEL).encode()


def build() -> ReadyVersion:
    return ReadyVersion.build("sha256:" + "0" * 64, FILES, CpuSettings(1))


def faults(version: ReadyVersion) -> Mapping[RunFault, int]:
    return version.statistics.report(Duration()).faults


def test_other_versions_are_watched_during_a_rebuild() -> None:
    free, begun, over = (threading.Event() for _ in range(3))

    def hangs_again() -> ReadyVersion:
        begun.set()
        if not free.wait(60):
            over.set()
        return build()

    lost, other = build(), build()
    other.served = Session.open(endless(MODEL.inputs, 3), ("logits",))
    watchdog = Watchdog(every=0.02, grace=60)
    lost.give_up()
    watchdog.watch(lost, 60, hangs_again)
    assert begun.wait(60)
    try:
        watchdog.watch(other, 0.1, build)
        with pytest.raises(SealgateError) as ended:
            other.submit(clean_rows(MODEL, 4))
        assert ended.value.reason is Reason.RUN_HUNG
        until(lambda: RunFault.RUN_ENDED in faults(other))
        assert not over.is_set()
    finally:
        free.set()
    until(lambda: faults(lost) == {RunFault.SESSIONS_REPLACED: 1})
    assert not lost.is_given_up
