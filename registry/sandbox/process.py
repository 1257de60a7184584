"""Starts a worker and reads its reply, and finds which confinement this system lacks.

A worker is a program of its own (never a fork, whose memory would hold our keys), with a clean
environment, a folder for scratch files, its request as standard input and its frames as standard
output. It runs one task: a function of this code base, named `module:function`, that takes the
request and a way to send (see `registry.sandbox.__main__`).
"""

import contextlib
import errno
import functools
import itertools
import logging
import math
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from registry.sandbox import frames
from registry.sandbox.confinement import SandboxLimits
from sealgate.reasons import Reason, SealgateError

_log = logging.getLogger(__name__)

_BLOCK = 4096
_DEEPEST = 16
_LOOK = 0.02
# Looking at the scratch folder takes longer.
_LOOKS_PER_SIZE = 5
_END = 2.0


class Worker:
    """A running worker. `receive` each answer in turn, then `finish`.

    `missing` says what this system denied of its confinement, once it has answered.
    """

    def __init__(
        self, process: "subprocess.Popen[bytes]", answers: IO[bytes], watch: "_Watch"
    ) -> None:
        self.process = process
        self.missing: tuple[str, ...] | None = None
        self._answers = answers
        self._watch = watch

    def receive(self, most: int) -> bytes:
        """The next answer, of at most `most` bytes: what is in it is for the caller to check.

        Raises: what the task refused with; WORKER_LIMIT, WORKER_FORBIDDEN or WORKER_FAILED where
        it was ended, or ended itself, or answers what is no answer.
        """
        frame = self._read(most)
        if frame.kind != frames.DATA:
            raise SealgateError(Reason.WORKER_FAILED, "it ended before its work did")
        return frame.data

    def finish(self) -> None:
        """Waits for its end. Raises as `receive` does, also where it had more to say."""
        if self._read(0).kind != frames.END:
            raise SealgateError(Reason.WORKER_FAILED, "it says more than it was asked")

    def _read(self, most: int) -> frames.Frame:
        frame = frames.read_frame(self._answers, most)
        if frame is not None and frame.kind == frames.CONFINED and self.missing is None:
            self.missing = frames.decode_missing(frame.data)
            _warn(self.missing)
            frame = frames.read_frame(self._answers, most)
        if frame is None:
            raise self._ended()
        if frame.kind == frames.REFUSAL:
            raise frames.decode_refusal(frame.data)
        return frame

    def _ended(self) -> SealgateError:
        """Why it ended before its work did."""
        # A process that closed its output may still be running.
        with contextlib.suppress(subprocess.TimeoutExpired):
            self.process.wait(_END)
        if self._watch.exceeded:
            return SealgateError(Reason.WORKER_LIMIT, self._watch.exceeded)
        code = self.process.poll()
        if code is None:
            return SealgateError(Reason.WORKER_FAILED, "it closed its output")
        if code == -signal.SIGSYS:
            return SealgateError(
                Reason.WORKER_FORBIDDEN, "the system call of its end is not allowed"
            )
        if code in (-signal.SIGXCPU, -signal.SIGXFSZ, -signal.SIGKILL):
            return SealgateError(Reason.WORKER_LIMIT, f"ended by {signal.Signals(-code).name}")
        return SealgateError(Reason.WORKER_FAILED, f"it ended with {code}")


@functools.cache
def _warn(missing: tuple[str, ...]) -> None:
    """Says once in a process what its workers go without."""
    if missing:
        _log.warning("workers are confined less than they could be: %s", "; ".join(missing))


class _Watch(threading.Thread):
    """Ends a process that takes too long, writes too much or has too many threads."""

    def __init__(
        self,
        process: "subprocess.Popen[bytes]",
        scratch: Path,
        limits: SandboxLimits,
        look: float,
    ) -> None:
        super().__init__(name="worker-watch", daemon=True)
        self._process, self._scratch, self._limits = process, scratch, limits
        self._look = look
        self._over = threading.Event()
        self.exceeded = ""

    def run(self) -> None:
        end = time.monotonic() + self._limits.seconds
        looks = itertools.count()
        while not self._over.wait(self._look):
            if time.monotonic() > end:
                self.exceeded = f"it took more than {self._limits.seconds} seconds"
            elif _threads(self._process.pid) > self._limits.threads:
                self.exceeded = f"it has more than {self._limits.threads} threads"
            elif next(looks) % _LOOKS_PER_SIZE == 0 and _size(self._scratch) > self._limits.scratch:
                self.exceeded = f"its files are more than {self._limits.scratch} bytes"
            if self.exceeded:
                _kill(self._process)
                return

    def stop(self) -> None:
        self._over.set()
        if self.ident is not None:
            self.join()


@contextmanager
def start(
    task: str,
    request: bytes,
    limits: SandboxLimits,
    *,
    unsafe: bool = False,
    descriptors: Collection[int] = (),
    look: float = _LOOK,
) -> Iterator[Worker]:
    """A worker at `task` with `request`; it is gone when the block ends, however that ends.

    With `unsafe`, it starts also where this system cannot shut it in. Of our open files it has
    those of `descriptors`, under the same numbers. Its time, files and threads are looked at every
    `look` seconds. The time limit counts from its start, and so
    includes the second that it may take to load its libraries. Raises OSError where it cannot be
    started.
    """
    scratch = Path(tempfile.mkdtemp(prefix="sealgate-worker-"))
    try:
        with tempfile.TemporaryFile() as handed:
            handed.write(request)
            handed.seek(0)
            process = _spawn(task, handed, scratch, limits, unsafe, descriptors)
        watch = _Watch(process, scratch, limits, look)
        with process:
            try:
                _begin(watch)
                answers = process.stdout
                assert answers is not None  # noqa: S101 - it was started with a pipe
                yield Worker(process, answers, watch)
            finally:
                watch.stop()
                _kill(process)
    finally:
        # Folders can be nested deeper than Python goes; what is left then is a few inodes.
        with contextlib.suppress(RecursionError):
            shutil.rmtree(scratch, ignore_errors=True)


def _spawn(
    task: str,
    request: IO[bytes],
    scratch: Path,
    limits: SandboxLimits,
    unsafe: bool,
    descriptors: Collection[int],
) -> "subprocess.Popen[bytes]":
    settings = (str(limits), str(int(unsafe)))
    return subprocess.Popen(
        [sys.executable, "-P", "-s", "-m", "registry.sandbox", task, *settings],
        stdin=request,
        stdout=subprocess.PIPE,
        env=_environment(scratch),
        cwd=scratch,
        close_fds=True,
        pass_fds=tuple(descriptors),
        start_new_session=True,
    )


def _begin(thread: threading.Thread) -> None:
    """Raises OSError where no thread can be started."""
    try:
        thread.start()
    except RuntimeError as error:
        raise OSError(errno.EAGAIN, str(error)) from error


def _environment(scratch: Path) -> dict[str, str]:
    """Return a worker's environment: only the paths of the code."""
    return {
        "PYTHONPATH": os.pathsep.join(str(Path(path).absolute()) for path in sys.path),
        "PYTHONDONTWRITEBYTECODE": "1",
        "TMPDIR": str(scratch),
        "HOME": str(scratch),
        "LANG": "C.UTF-8",
        # One thread each; so the same rows give the same detector to the last bit, too.
        "OMP_NUM_THREADS": "1",
        "OPENBLAS_NUM_THREADS": "1",
    }


def _kill(process: "subprocess.Popen[bytes]") -> None:
    """Ends the process and whatever it started, if it could."""
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, signal.SIGKILL)


def _threads(pid: int) -> int:
    """Return the number of a process's threads; none once it has ended."""
    with contextlib.suppress(OSError):
        # Its folder has a link for each thread.
        return os.stat(f"/proc/{pid}/task").st_nlink - 2
    return 0


def _size(folder: Path, depth: int = 0) -> float:
    """Bytes that what lies beneath `folder` takes on disk, a block at least for each entry.

    Files that vanish meanwhile do not count. Folders within folders that no library makes are
    without measure.
    """
    if depth > _DEEPEST:
        return math.inf
    total = 0.0
    with contextlib.suppress(OSError), os.scandir(folder) as entries:
        for entry in entries:
            with contextlib.suppress(OSError):
                taken = entry.stat(follow_symlinks=False).st_blocks * 512
                total += max(taken, _BLOCK)
                if entry.is_dir(follow_symlinks=False):
                    total += _size(Path(entry.path), depth + 1)
    return total


_TASK = f"{__name__}:nothing"
_LIMITS = SandboxLimits(memory=1 << 30, scratch=1 << 20, seconds=60, threads=1)


def nothing(request: bytes, send: Callable[[bytes], None]) -> None:
    """The task of a worker that is only started."""


def missing() -> tuple[str, ...]:
    """A text for each part that is missing. Raises as `Worker.finish` does."""
    with start(_TASK, b"", _LIMITS, unsafe=True) as worker:
        worker.finish()
    return worker.missing or ()
