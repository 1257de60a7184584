"""A full queue said to come again when one batch of all its rows would be done, though it takes
many: where a batch's fixed cost is most of it, callers came again many times too soon.
"""

from concurrent.futures import ThreadPoolExecutor

import pytest

from inference.batcher import Batcher
from inference.limits import Limits
from sealgate.reasons import Reason, Refusal
from tests.support.kitchen import Kitchen, queued, rows


@pytest.mark.parametrize(("lanes", "expected"), [(1, 9.0), (2, 4.5)])
def test_each_of_its_batches_counts(lanes: int, expected: float) -> None:
    kitchen = Kitchen()
    batcher = Batcher(kitchen.work, Limits(4, 16, lanes=lanes))
    for size in (1, 2, 4, 8) * 4:
        batcher._pace.ran(size, 2.0 + 0.0625 * size)
    with ThreadPoolExecutor(8) as pool:
        futures = []
        for _ in range(lanes):
            futures.append(pool.submit(batcher.submit, rows()))
            kitchen.wait_entered()
        for number in range(4):
            futures.append(pool.submit(batcher.submit, rows(4)))
            queued(batcher, number + 1)
        with pytest.raises(Refusal) as refused:
            batcher.submit(rows())
        assert refused.value.reason is Reason.QUEUE_FULL
        assert refused.value.retry == pytest.approx(expected)
        kitchen.open.set()
        for future in futures:
            future.result(60)
