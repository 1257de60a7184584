"""Ray replica: an engine that verifies everything itself and runs the batches it is given.

It reads pointers from the board and verifies them from its own root keys, as an engine does with
what a gateway shows it. So write access to the board is not enough to run an unapproved version. A
batch carries the number up to which the board must have been read; a replica that is behind reads
the board first.
"""

import logging
import threading
import time
from typing import Any, NamedTuple, TypeVar

import numpy.typing as npt

from inference.backends.ray.environment import PointerBoard
from inference.batching.cost_model import BatchCosts
from inference.batching.queue import RequestOptions
from inference.engine.result import InferenceResult
from inference.server.host import EngineHost
from inference.server.services import read_load
from sealgate.oip import grpc_service_pb2 as oip
from sealgate.reasons import Reason, SealgateError

_log = logging.getLogger(__name__)

T = TypeVar("T")


class VersionAddress(NamedTuple):
    """Names a version by model, number and digest: these bytes answer, or none."""

    model: str
    version: int
    digest: str


class RemoteRefusal(NamedTuple):
    """An error on its way between processes: the reason's name, and the detail for our log."""

    reason: str
    detail: str


def unwrap(said: T | RemoteRefusal) -> T:
    """What a replica said, or the refusal that it was, raised."""
    if isinstance(said, RemoteRefusal):
        raise SealgateError(Reason.named(said.reason), f"at a replica: {said.detail}")
    return said


class Replica:
    """Verifies pointers from the board and runs batches. Safe for many threads."""

    def __init__(self, host: EngineHost, board: PointerBoard) -> None:
        """Follows everything that was shown so far before it returns."""
        self._host = host
        self._board = board
        self._catching_up = threading.Lock()
        self._number = 0
        self.refused: dict[int, RemoteRefusal] = {}
        self._reach()

    def follow(self, number: int) -> RemoteRefusal | None:
        """Why the replica does not follow what was shown under `number`; None if it does."""
        self._reach()
        return self.refused.get(number)

    def infer(
        self, number: int, to: VersionAddress, x: npt.NDArray[Any], seconds: float
    ) -> InferenceResult | RemoteRefusal:
        """The answer to the rows of `x` [n, …] within `seconds`, or why there is none."""
        until = time.monotonic() + seconds
        try:
            if self._number < number:
                self._reach()
            live = self._host.resolve(*to)
            return self._host.engine.infer(live, x, RequestOptions(until))
        except SealgateError as refusal:
            return _told(refusal)

    def costs(self, to: VersionAddress) -> BatchCosts | RemoteRefusal:
        """What batches cost here; see `EngineHost.costs`."""
        try:
            return self._host.costs(*to)[1]
        except SealgateError as refusal:
            return _told(refusal)

    def _reach(self) -> None:
        """Read the board's newer entries and follow them."""
        with self._catching_up:
            for number, shown in self._board.after(self._number):
                try:
                    request = oip.RepositoryModelLoadRequest.FromString(shown)
                    self._host.load(read_load(request))
                except SealgateError as refusal:
                    _log.warning("the pointer shown as %d is not followed: %s", number, refusal)
                    self.refused = {number: _told(refusal)}
                self._number = number


def _told(refusal: SealgateError) -> RemoteRefusal:
    return RemoteRefusal(refusal.reason.name, refusal.detail)
