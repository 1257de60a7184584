"""An engine harness whose graphs run in replicas, which are of this process here.

What Ray Serve does with them, `make test-extra NAME=ray` sees to.
"""

import itertools
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from inference.backends.local import LocalLoader
from inference.backends.ray.engine_host import ReplicaFront, ReplicaGroup
from inference.backends.ray.replica import (
    PointerBoard,
    RemoteRefusal,
    Replica,
    VersionAddress,
    unwrap,
)
from inference.batching.cost_model import BatchCosts
from inference.batching.limits import NO_BOUNDS
from inference.engine.result import InferenceResult
from inference.runtime.settings import CpuSettings
from inference.server.host import EngineHost
from sealgate.reasons import Reason, SealgateError
from tests.support.fakes.registry import UncheckedRegistry
from tests.support.harness.engine import EngineHarness

MOST = 2


class ReplicatedEngineHarness(EngineHarness):
    """`replicas` are asked by turns, and are a `Fleet`; those that are `deaf` hear of no load."""

    def __init__(self, registry: UncheckedRegistry, folder: Path) -> None:
        self.replicas: list[Replica] = []
        self.deaf: list[Replica] = []
        self.batches: list[int] = []
        self._turn = itertools.count()
        self._folder = folder
        self.shown = folder / "board"
        self.shown.mkdir()
        self.board = PointerBoard(self.shown)
        super().__init__(registry, folder)
        self.replicas.append(self.new_replica())

    def open_host(self) -> EngineHost:
        self.crew = ReplicaGroup(self, self.board, NO_BOUNDS, MOST)
        return ReplicaFront(self.crew, *self.parts(self.crew, self.seen, self.tally))

    def new_replica(self) -> Replica:
        """One that begins with what is on the board, and what the engine in front has seen."""
        seen = self.seen.copy(self._folder / f"seen-{next(self._turn)}")
        host = EngineHost(*self.parts(LocalLoader(CpuSettings(1)), seen, None))
        return Replica(host, self.board)

    def follow(self, number: int) -> list[RemoteRefusal | None]:
        heard_of_it = [each for each in self.replicas if each not in self.deaf]
        return [each.follow(number) for each in heard_of_it]

    def infer(self, number: int, to: VersionAddress, x: np.ndarray[Any, Any]) -> InferenceResult:
        self.batches.append(len(x))
        return unwrap(self._next().infer(number, to, x, 5.0))

    def costs(self, to: VersionAddress) -> BatchCosts:
        return unwrap(self._next().costs(to))

    def close(self) -> None:
        self.replicas.clear()

    def _next(self) -> Replica:
        if not self.replicas:
            raise SealgateError(Reason.ENGINE_UNAVAILABLE, "no replica answers in time")
        return self.replicas[next(self._turn) % len(self.replicas)]


@contextmanager
def replicated_engine_harness(
    registry: UncheckedRegistry, folder: Path
) -> Iterator[ReplicatedEngineHarness]:
    harness = ReplicatedEngineHarness(registry, folder)
    harness.server.start()
    try:
        yield harness
    finally:
        harness.channel.close()
        harness.server.stop()
