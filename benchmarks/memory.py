"""The memory of a server, read while a load lasts."""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

import numpy as np

# The first share of a run loads code and fills caches.
_WARM = 0.2


@dataclass(slots=True)
class Memory:
    """The gateway's, in MB, by seconds since the first reading."""

    seconds: list[float] = field(default_factory=list)
    mb: list[float] = field(default_factory=list)

    def slope(self) -> float:
        """MB a minute, by least squares, once warm."""
        begin = int(len(self.mb) * _WARM)
        return float(60 * np.polyfit(self.seconds[begin:], self.mb[begin:], 1)[0])


@contextmanager
def watched(read: Callable[[], int], every: float = 1.0) -> Iterator[Memory]:
    """Calls `read`, which gives bytes, all `every` seconds while the block runs."""
    memory, stop = Memory(), threading.Event()

    def watch() -> None:
        second = 0.0
        while not stop.wait(every):
            second += every
            memory.seconds.append(second)
            memory.mb.append(read() / 1e6)

    thread = threading.Thread(target=watch, daemon=True)
    thread.start()
    try:
        yield memory
    finally:
        stop.set()
        thread.join()
