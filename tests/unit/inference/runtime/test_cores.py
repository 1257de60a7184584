"""The cores that large graphs share: no more runs at once than there are cores, of all versions."""

import threading
import time
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest

from inference.engine.ready_version import ReadyVersion
from inference.runtime.settings import SMALL_GRAPH, CorePool, CpuSettings, RunSettings
from tests.support.builders.models.onnx_models import Perceptron
from tests.support.builders.models.version_files import VersionFiles, clean_rows

LARGE = Perceptron.random(inputs=512, hidden=2200)


class CountedRuns:
    """A graph that notes how many run beside it, of all such."""

    now = most = 0
    mutex = threading.Lock()
    place = "cpu"

    def __init__(self, session: Any) -> None:
        self._session = session

    def run(self, feeds: dict[str, np.ndarray]) -> Any:
        with CountedRuns.mutex:
            CountedRuns.now += 1
            CountedRuns.most = max(CountedRuns.most, CountedRuns.now)
        time.sleep(0.002)
        try:
            return self._session.run(feeds)
        finally:
            with CountedRuns.mutex:
                CountedRuns.now -= 1


@pytest.mark.parametrize(("cores", "most"), [(CorePool(2, patience=60), 2), (None, 4)])
def test_versions_together_run_no_more_than_there_are_cores(
    cores: CorePool | None, most: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    files = VersionFiles.of(LARGE).encode()
    assert len(files["model.int8.onnx"]) >= SMALL_GRAPH
    monkeypatch.setattr(CountedRuns, "most", 0)
    versions = [
        ReadyVersion.build(str(number), files, CpuSettings(2), running=RunSettings(cores=cores))
        for number in range(2)
    ]
    for version in versions:
        version.served = CountedRuns(version.served)
    x = clean_rows(LARGE, 1)
    threads = [
        threading.Thread(target=lambda v=version: [v.submit(x) for _ in range(15)])
        for version in versions
        for _ in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert CountedRuns.most <= most
    if cores is None:
        # Two lanes each: without the bound they do run side by side, or this shows nothing.
        assert CountedRuns.most > 2


def test_one_that_hangs_does_not_stop_the_others() -> None:
    cores = CorePool(1, patience=0.01)
    with cores.taken(1) as first, cores.taken(2) as second:
        assert (first, second) == (True, False)
    with cores.taken(1) as again:
        assert again


class Stuck:
    """In place of a graph whose operator hangs until it is let go."""

    place = "cpu"

    def __init__(self, session: Any) -> None:
        self._session = session
        self.entered, self.free = threading.Event(), threading.Event()

    def run(self, feeds: Mapping[str, np.ndarray]) -> Any:
        self.entered.set()
        assert self.free.wait(60)
        return self._session.run(feeds)


def is_free(cores: CorePool) -> bool:
    with cores.taken("another") as free:
        return free


def test_a_run_that_was_given_up_frees_its_core() -> None:
    cores = CorePool(1, patience=0.01)
    files = VersionFiles.of(LARGE).encode()
    version = ReadyVersion.build("", files, CpuSettings(2), running=RunSettings(cores=cores))
    version.served = stuck = Stuck(version.served)
    with ThreadPoolExecutor(1) as pool:
        hung = pool.submit(version.submit, clean_rows(LARGE, 1))
        try:
            assert stuck.entered.wait(60)
            assert not is_free(cores)
            version.give_up()
            assert is_free(cores)
        finally:
            stuck.free.set()
        hung.exception(60)
    # A run that ends late does not give its place back a second time.
    with cores.taken("one"):
        assert not is_free(cores)
