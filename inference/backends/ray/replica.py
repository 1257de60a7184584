"""Ray replica: an engine that verifies everything itself and runs the batches it is given.

It reads pointers from the board and verifies them from its own root keys, as an engine does with
what a gateway shows it. So write access to the board is not enough to run an unapproved version. A
batch carries the number up to which the board must have been read; a replica that is behind reads
the board first.

Environment of a private Ray instance: its folder and token, and the board of pointers. Anyone who
can connect to Ray can run code as its user. So Ray listens on loopback only, and a connection needs
a token that is new at each start and readable only by that user.
"""

import logging
import os
import secrets
import shutil
import tempfile
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple, Self, TypeVar

import numpy.typing as npt

from inference.batching import BatchCosts, RequestOptions
from inference.engine import InferenceResult
from inference.server.host import EngineHost
from inference.server.services import read_load
from sealgate.files import replace_file
from sealgate.oip import grpc_service_pb2 as oip
from sealgate.reasons import Reason, SealgateError

_TOKEN_BYTES = 32
# Ray's settings of whoever started us are not for our instance.
_FOREIGN = "RAY_"


@dataclass(frozen=True, slots=True)
class RayEnvironment:
    """A private folder (mode 0700) for one start of Ray, removed with it."""

    folder: Path

    @classmethod
    def make(cls) -> Self:
        """Makes the folder and puts Ray's settings into the environment. Ray must not be imported
        yet.
        """
        # Ray's sockets are below it, and their paths may have 107 bytes.
        found = cls(Path(tempfile.mkdtemp(prefix="sealgate-")))
        found.board.mkdir(mode=0o700)
        token = found.folder / "token"
        token.touch(mode=0o600)
        token.write_text(secrets.token_hex(_TOKEN_BYTES))
        for name in [name for name in os.environ if name.startswith(_FOREIGN)]:
            del os.environ[name]
        os.environ.update(
            RAY_AUTH_MODE="token",
            RAY_AUTH_TOKEN_PATH=str(token),
            RAY_USAGE_STATS_ENABLED="0",
            # Where clusters are not to be, Ray leaves 127.0.0.1 as it is; else it looks for the
            # address by which others reach this machine, and listens there.
            RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER="0",
            # How often the queue is looked at that replicas are added for.
            RAY_SERVE_HANDLE_AUTOSCALING_METRIC_PUSH_INTERVAL_S="0.5",
        )
        return found

    @property
    def board(self) -> Path:
        """The folder where replicas find the pointers to follow."""
        return self.folder / "board"

    def own_file(self, name: str) -> Path:
        """A file of this process alone."""
        return self.folder / f"{name}-{os.getpid()}"

    def remove(self) -> None:
        shutil.rmtree(self.folder, ignore_errors=True)


class PointerBoard:
    """A folder of numbered pointers: one process adds and removes, others read."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def put(self, number: int, shown: bytes) -> None:
        """Raises: OSError."""
        replace_file(self._path(number), shown)

    def remove(self, number: int) -> None:
        """Remove `number`, which was replaced or refused."""
        self._path(number).unlink(missing_ok=True)

    def after(self, number: int) -> Iterator[tuple[int, bytes]]:
        """The entries added after `number`, in order, each with its own number."""
        while True:
            found = sorted(int(path.name) for path in self._folder.glob("[0-9]*"))
            later = [each for each in found if each > number]
            if not later:
                return
            try:
                shown = self._path(later[0]).read_bytes()
            except FileNotFoundError:
                # Removed meanwhile; what replaces it is listed.
                continue
            number = later[0]
            yield number, shown

    def _path(self, number: int) -> Path:
        return self._folder / str(number)


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
    """Return a replica's answer. Raises the refusal, if it is one."""
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
        """The costs of batches here; see `EngineHost.costs`."""
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
