"""Loads a version in a confined worker first: one that hangs, or takes all memory, ends there.

A version computes while it is loaded: its constants, and its golden inputs. ONNX Runtime can end a
run between two operators, and the making of a session not at all. So a graph whose constants take
hours would hold a core of this process for good, and one whose constants take gigabytes would end
it. Nobody who approves a version sees its operators.

A worker of ours, with little time and memory and no network, keys or files, does the same work
before this process does it. Passed trials are remembered across starts, by the digest of the files
and the library's release.
"""

import json
import logging
import math
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
from safetensors import numpy as safetensors_numpy

from inference.engine import ReadyVersion
from inference.runtime.machine import RELEASE, available_memory
from inference.runtime.settings import CpuSettings
from registry.sandbox import process
from registry.sandbox.confinement import SandboxLimits
from sealgate.files import read_regular_file, replace_file
from sealgate.reasons import Reason, SealgateError

_log = logging.getLogger(__name__)

SECONDS = 300.0
"""Half of what loading may take with it."""
TASK = f"{__name__}:run"
# The address space that the libraries map. The other half of the memory is left for serving.
_LIBRARIES = 512 << 20
_SCRATCH = 1 << 20
_LARGEST_FILE, _MOST = 1 << 20, 4096
_WORKERS = (Reason.WORKER_LIMIT, Reason.WORKER_FAILED, Reason.WORKER_FORBIDDEN)


class TrialLoad:
    """Runs trial loads in workers. Safe for many threads.

    A version whose worker was ended is not tried again by this process. A worker that does not
    start says nothing about the version, so the next load tries again.
    """

    def __init__(
        self, seconds: float = SECONDS, memory: int = 0, passed: Path | None = None
    ) -> None:
        """A trial may take `seconds`, and `memory` bytes of address space: by default half of the
        machine's or container's memory. `passed` is a file that remembers.
        """
        self._seconds = seconds
        self._memory = memory or available_memory() // 2 + _LIBRARIES
        self._path = passed
        self._passed = _read(passed)
        self._refused: dict[str, SealgateError] = {}

    def check(self, digest: str, files: Mapping[str, bytes]) -> None:
        """Load the version of `digest` in a worker, unless it has passed. Golden answers that come
        out differently on this processor are no matter: where it is loaded they are compared anew.

        Raises SealgateError: WORKER_LIMIT where it takes too long or too much memory, as
        `ReadyVersion.build`, and as `Worker.finish` does where the worker ends or does not start.
        """
        known = f"{digest} {RELEASE}"
        if known in self._passed:
            return
        if refusal := self._refused.get(digest):
            raise SealgateError(refusal.reason, f"{refusal.detail}; it was tried before")
        try:
            self._try(digest, files)
        except SealgateError as refusal:
            if refusal.reason is not Reason.GOLDEN_MISMATCH:
                raise
        except OSError as error:
            raise SealgateError(
                Reason.WORKER_FAILED,
                f"it cannot be started, which needs a folder for files: {error}",
            ) from error
        self._passed[known] = None
        self._save()

    def _try(self, digest: str, files: Mapping[str, bytes]) -> None:
        request = safetensors_numpy.save(
            {name: np.frombuffer(data, np.uint8) for name, data in files.items()}
        )
        limits = SandboxLimits(self._memory, scratch=_SCRATCH, seconds=math.ceil(self._seconds))
        with process.start(TASK, request, limits, unsafe=True) as worker:
            try:
                worker.finish()
            except SealgateError as refusal:
                # A worker says what confines it before it reads anything of the version.
                if refusal.reason in _WORKERS and worker.missing is not None:
                    self._refused[digest] = refusal
                raise

    def _save(self) -> None:
        """Without the file the next start tries again: nothing else is lost."""
        if self._path is None:
            return
        try:
            replace_file(self._path, json.dumps([*self._passed][-_MOST:]).encode())
        except OSError as error:
            _log.warning("%s cannot be written: %s", self._path, error)


def _read(path: Path | None) -> dict[str, None]:
    """The passed trials, the newest last; none if the file is absent or is not ours."""
    if path is None:
        return {}
    try:
        found = json.loads(read_regular_file(path, _LARGEST_FILE))
    except (OSError, ValueError, RecursionError):
        return {}
    named = found if isinstance(found, list) else []
    return dict.fromkeys(each for each in named if isinstance(each, str))


def run(request: bytes, send: Callable[[bytes], None]) -> None:
    """The worker's side. Raises as `ReadyVersion.build`."""
    files = {name: data.tobytes() for name, data in safetensors_numpy.load(request).items()}
    del request
    ReadyVersion.build("", files, CpuSettings(1))
