"""Runs a graph on a part of the rows at a time, and on as many parts at once as there are cores.

Parts have the same rows on every machine, so that the same data give the same detector to the last
bit, however many cores there are. Memory grows with the rows of a part, of which large ones have
few.
"""

import functools
import os
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt

from inference.runtime import response_contract
from inference.screening.gradient_attacks import AttackSession

Array = npt.NDArray[Any]
Result = TypeVar("Result")

NUMBERS_AT_ONCE = 1 << 20
"""The most numbers of the rows of a part."""
ROWS_AT_ONCE = 64
"""The most rows of a part."""
# More parts at once would take too much of a worker's memory.
_MOST_THREADS = 4
# Told before a worker is shut in.
_THREADS = min(_MOST_THREADS, len(os.sched_getaffinity(0)))


def rows_at_once(x: Array) -> int:
    """How many of rows x [n, ...] are a part."""
    return max(1, min(ROWS_AT_ONCE, NUMBERS_AT_ONCE * len(x) // max(1, x.size)))


def in_parts(x: Array, work: Callable[[slice], Result]) -> list[Result]:
    """The results of `work` for each part of rows x [n, ...], in order; several threads call it."""
    count = rows_at_once(x)
    parts = [slice(at, at + count) for at in range(0, max(len(x), 1), count)]
    return [work(parts[0])] if len(parts) == 1 else list(_pool().map(work, parts))


@functools.cache
def _pool() -> ThreadPoolExecutor:
    return ThreadPoolExecutor(_THREADS, "rows")


@dataclass(frozen=True, slots=True)
class PartedSession:
    """A response graph that is run in parts."""

    session: AttackSession

    def run(self, output_names: Sequence[str] | None, input_feed: Mapping[str, Any]) -> Any:
        by_row = (response_contract.X, response_contract.LABEL)

        def work(part: slice) -> Any:
            rows = {name: input_feed[name][part] for name in by_row}
            return self.session.run(output_names, {**input_feed, **rows})

        parts = in_parts(input_feed[response_contract.X], work)
        return [np.concatenate(each) for each in zip(*parts, strict=True)]
