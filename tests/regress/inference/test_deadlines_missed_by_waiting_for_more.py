"""A leader waited for more rows as long as that paid, though a request of its batch, or one that
would come along, had no time left for the run afterwards.
"""

import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from inference.batcher import Batcher
from inference.limits import Limits
from inference.pace import Pace
from tests.support.kitchen import Kitchen, queued, rows, until

DELAY = 1000.0
# What a run is expected to take, how soon the next row is, and what the one in a hurry has left.
RUN, GAP, LEFT = 100.0, 20.0, 110.0


class Known(Pace):
    """Knows what runs take, and learns nothing more."""

    def __init__(self) -> None:
        super().__init__()
        for size in (1, 2, 4, 8) * 4:
            super().ran(size, RUN)

    def ran(self, rows: int, seconds: float) -> None:
        pass


@pytest.mark.parametrize("hurried", [0, 1], ids=["the leader", "who comes along"])
def test_nobody_is_made_late(hurried: int) -> None:
    kitchen = Kitchen()
    batcher = Batcher(kitchen.work, Limits(8, 100, delay=DELAY))
    # A run costs minutes and another row nothing, so it pays to wait for the next.
    batcher._pace = Known()
    waited: list[float] = []
    batcher._arrived.wait_for = lambda done, seconds: waited.append(seconds)  # type: ignore
    with ThreadPoolExecutor(3) as pool:
        futures = [pool.submit(batcher.submit, rows())]
        kitchen.wait_entered()
        for place in range(2):
            deadline = time.monotonic() + LEFT if place == hurried else None
            futures.append(pool.submit(batcher.submit, rows(), deadline))
            queued(batcher, place + 1)
        batcher._pace.gap = GAP
        kitchen.open.set()
        for future in futures:
            future.result(60)
    until(lambda: kitchen.batches == [[1], [1, 1]])
    assert len(waited) == 1
    assert 0 < waited[0] <= LEFT - RUN < GAP
