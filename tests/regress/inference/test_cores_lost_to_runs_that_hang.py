"""A run whose operator hangs kept its place among the runs that there is room for, also when it had
been given up and its sessions replaced. With every place lost, each batch of every large model
waited a second before it ran.
"""

import threading
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np

from inference.cores import Cores, Running
from inference.cpu import CpuSettings
from inference.version import ReadyVersion
from tests.support.onnx_models import Perceptron
from tests.support.version_files import VersionFiles, clean_rows

LARGE = Perceptron.random(inputs=512, hidden=2200)


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


def is_free(cores: Cores) -> bool:
    with cores.taken("another") as free:
        return free


def test_what_is_given_up_has_no_core() -> None:
    cores = Cores(1, patience=0.01)
    files = VersionFiles.of(LARGE).encode()
    version = ReadyVersion.build("", files, CpuSettings(2), running=Running(cores=cores))
    version._served = stuck = Stuck(version._served)
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
    # What comes back late has no place to give back a second time.
    with cores.taken("one"):
        assert not is_free(cores)
