"""Findings of sessions were counted by threads that did not wait for one another, and some were
lost.
"""

import threading
import time
from collections import Counter
from types import SimpleNamespace
from typing import Any

import numpy as np

from gateway.sessions.prints import Printer
from gateway.sessions.store import OwnStore
from gateway.sessions.watch import _HEAD, SessionWatch

THREADS = 8


class Slow(Counter[tuple[str, str]]):
    """Leaves time between what is read and what is written."""

    def __getitem__(self, key: tuple[str, str]) -> int:
        value = super().__getitem__(key)
        time.sleep(0.01)
        return value


def test_each_is_counted() -> None:
    watch: Any = SessionWatch(OwnStore(), b"k" * 32)
    watch.found = Slow()
    (given,) = Printer(b"k" * 32, "digits").of(np.zeros((1, 64), np.float32), 0, 1)
    row = _HEAD.pack(0, 1.0) + given.encode()

    def find() -> None:
        watched = SimpleNamespace(session=SimpleNamespace(add=lambda *_: (True, False)))
        watch._take(watched, row, 60.0, "client", "digits")

    threads = [threading.Thread(target=find) for _ in range(THREADS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert dict(watch.found) == {("digits", "search"): THREADS}
